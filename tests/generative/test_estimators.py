"""Estimators of the gradient: their twin, their exact means, their noise."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType

from kexue_jax.generative import iwae_bound, iwae_loss
from kexue_jax.generative.estimators import loss_from_noise

RANDOM, M = 1000, 6


def encode(params, x):
    h = jnp.tanh(x @ params["w"])
    return h * params["scale"], 0.3 * h - 0.4 + params["shift"]


def log_lik(params, x, z):
    mean = jnp.tanh(z @ params["a"]) + params["c"][None]
    return -jnp.sum((x - mean) ** 2, -1)


def log_prior(params, z):
    return -jnp.sum(jnp.abs(z) ** 2, -1) * params["p"] ** 2


def start(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"w": (3, 2), "scale": (), "shift": (), "a": (2, 3), "c": (3,), "p": ()}
    return {name: jnp.asarray(rng.normal(size=s)) for name, s in shapes.items()}


def data(seed=1):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(4, 3)))


ENCODER = ("w", "scale", "shift")
WITH_PRIOR = (encode, log_lik, log_prior)


def twin(params, x, eps, estimator, groups, parts=WITH_PRIOR):
    """Two surrogates, the encoder's and the model's, by plain differentiation."""
    encode, log_lik, log_prior = parts
    stop = lax.stop_gradient

    def log_w(of_encoder, of_model):
        mean, log_scale = encode(of_encoder, x)
        z = mean[None] + jnp.exp(log_scale)[None] * eps
        if estimator != "plain":
            mean, log_scale = stop((mean, log_scale))
        unit = (z - mean[None]) / jnp.exp(log_scale)[None]
        log_p = -jnp.sum(unit**2 / 2 + log_scale[None] + jnp.log(2 * jnp.pi) / 2, -1)
        lik = jax.vmap(lambda z: log_lik(of_model, x, z))(z)
        return lik + jax.vmap(lambda z: log_prior(of_model, z))(z) - log_p

    value = stop(log_w(params, params))
    share = jax.nn.softmax(value, 0)
    own = jax.nn.softmax(value.reshape(groups, -1, *value.shape[1:]), 1)
    own = own.reshape(value.shape)
    weight = own / groups * (own if estimator == "dreg" else 1)
    for_encoder = jnp.sum(weight * log_w(params, stop(params)), 0)
    for_model = jnp.sum(share * log_w(stop(params), params), 0)
    surrogate = for_encoder + for_model
    return -jnp.mean(iwae_bound(value) + surrogate - stop(surrogate))


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("estimator", ["plain", "stl", "dreg"])
def test_loss_and_gradient_are_those_of_two_surrogates(estimator, groups) -> None:
    key, x, params = jax.random.key(0), data(), start()
    eps = jax.random.normal(key, (M, 4, 2))

    def mine(params):
        ways = {"estimator": estimator, "encoder_groups": groups, "num_samples": M}
        return iwae_loss(
            key, params, x, encode, log_lik, log_prior=log_prior, **ways
        ).loss

    both = [mine, lambda p: twin(p, x, eps, estimator, groups)]
    (a, first), (b, second) = (jax.jit(jax.value_and_grad(f))(params) for f in both)
    assert abs(a - b) < 1e-12 * abs(b)
    for name in params:
        scale = np.abs(second[name]).max()
        np.testing.assert_allclose(first[name], second[name], atol=1e-12 * scale)


def linear(n=RANDOM):
    """Models x = w z + noise of one dimension, with proposals off the posterior."""
    rng = np.random.default_rng(0)
    names = ("w", "mean", "log_scale")
    params = dict(zip(names, rng.uniform(-0.4, 0.4, (3, n)), strict=True))
    params["w"] += 0.7
    params["log_scale"] = np.abs(params["log_scale"])  # no heavy tails
    x = jnp.asarray(rng.uniform(-1, 1, (n, 1, 1)))
    return {name: jnp.asarray(value) for name, value in params.items()}, x


def line_encode(params, x):
    return x * 0.3 + params["mean"], jnp.zeros_like(x) + params["log_scale"]


def line_lik(params, x, z):
    return -jnp.sum((x - params["w"] * z) ** 2, -1) / 2


LINE = (line_encode, line_lik, None)


def integrated(estimator):
    """E of the gradient over both eps of M = 2, by trapezoids, of every model."""
    t = np.linspace(-6, 6, 80)
    w = np.exp(-t * t / 2)
    pairs = np.stack(np.meshgrid(t, t, indexing="ij"), -1).reshape(-1, 2)
    weight = np.outer(w, w).ravel() / w.sum() ** 2

    def one(params, x):
        def gradient(eps):
            draw = lambda mean: eps.reshape(2, 1, 1)  # noqa: E731
            return jax.grad(
                lambda p: loss_from_noise(draw, p, x, LINE, estimator, 1).loss
            )(params)

        grads = jax.vmap(gradient)(jnp.asarray(pairs))
        return jax.tree.map(lambda g: jnp.tensordot(jnp.asarray(weight), g, 1), grads)

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(*linear()))


def test_dreg_is_unbiased_on_a_thousand_models_and_stl_is_not() -> None:
    """Expectations over all noise, by quadrature, for the bound of two samples."""
    plain, dreg, stl = (integrated(e) for e in ("plain", "dreg", "stl"))
    for name in ("mean", "log_scale", "w"):
        scale = np.abs(plain[name]).max()
        np.testing.assert_allclose(dreg[name], plain[name], atol=1e-6 * scale)
    np.testing.assert_allclose(stl["w"], plain["w"], atol=1e-9)
    for name in ("mean", "log_scale"):
        away = np.abs(stl[name] - plain[name])
        assert np.median(away) > 1e-2 and away.mean() > 0.1 * np.abs(plain[name]).mean()


def test_one_sample_makes_stl_and_dreg_the_same() -> None:
    key, x, params = jax.random.key(0), data(), start()

    def grads(estimator):
        def f(p):
            return iwae_loss(
                key, p, x, encode, log_lik, num_samples=1, estimator=estimator
            ).loss

        return jax.jit(jax.grad(f))(params)

    one, two, plain = grads("stl"), grads("dreg"), grads("plain")
    for name in ENCODER:
        np.testing.assert_allclose(one[name], two[name], rtol=1e-12, atol=1e-13)
    assert any(np.abs(one[n] - plain[n]).max() > 1e-3 for n in ENCODER)


def posterior():
    """A thousand linear models whose encoder is the posterior."""
    params, x = linear()
    variance = 1 / (1 + params["w"] ** 2)
    mean = variance * params["w"] * x[:, 0, 0] - 0.3 * x[:, 0, 0]
    return {"w": params["w"], "mean": mean, "log_scale": jnp.log(variance) / 2}, x


@pytest.mark.parametrize("estimator", ["plain", "stl", "dreg"])
def test_at_the_posterior_stl_and_dreg_are_zero_sample_by_sample(estimator) -> None:
    def one(key, params, x):
        return jax.grad(
            lambda p: (
                iwae_loss(
                    key, p, x, line_encode, line_lik, num_samples=5, estimator=estimator
                ).loss
            )
        )(params)

    keys = jax.random.split(jax.random.key(0), RANDOM)
    grads = jax.jit(jax.vmap(one))(keys, *posterior())
    size = max(float(jnp.abs(grads[n]).max()) for n in ("mean", "log_scale"))
    assert size < 1e-13 if estimator != "plain" else size > 1
    if estimator == "plain":  # zero on average only
        for name in ("mean", "log_scale"):
            each = np.asarray(grads[name])
            assert abs(each.mean()) < 5 * each.std() / RANDOM**0.5


def ratios(estimator, m, draws=20_000):
    """|mean| / std of the gradient by the encoder and by the model."""
    params = {"w": jnp.array(1.0), "mean": jnp.array(0.7), "log_scale": jnp.array(0.0)}
    x = jnp.ones((1, 1))

    def one(key):
        return jax.grad(
            lambda p: (
                iwae_loss(
                    key, p, x, line_encode, line_lik, num_samples=m, estimator=estimator
                ).loss
            )
        )(params)

    keys = jax.random.split(jax.random.key(m), draws)
    grads = jax.jit(jax.vmap(one))(keys)
    return {n: float(abs(g.mean()) / g.std()) for n, g in grads.items()}


def test_signal_of_the_encoder_drowns_in_plain_gradients_and_grows_in_dreg() -> None:
    plain, dreg = ({m: ratios(e, m) for m in (1, 8, 32)} for e in ("plain", "dreg"))
    for name in ("mean", "log_scale"):
        assert plain[32][name] < plain[8][name] < plain[1][name] / 2
        assert plain[32][name] < plain[1][name] / 4
        # As sqrt(M) once M is large, and so does the model's for either.
        assert 1.5 < dreg[32][name] / dreg[8][name] < 2.7
        assert dreg[32][name] > 10 * plain[32][name]
    for found in (plain, dreg):
        assert 1.7 < found[32]["w"] / found[8]["w"] < 2.3


def test_weights_that_are_not_stopped_give_a_wrong_gradient() -> None:
    """sum softmax(log w) log w has one term more than the bound's gradient."""
    log_w = jnp.asarray(np.random.default_rng(0).normal(size=(M, RANDOM)))

    def total(weights):
        return lambda a: jnp.sum(weights(jax.nn.softmax(a, 0)) * a)

    wanted = jax.grad(lambda a: jnp.sum(iwae_bound(a)))(log_w)
    stopped = jax.grad(total(lax.stop_gradient))(log_w)
    np.testing.assert_allclose(stopped, wanted, atol=1e-14)
    loose = jax.grad(total(lambda w: w))(log_w)
    assert np.abs(loose - wanted).max(0).min() > 1e-3


def test_what_is_reported_has_no_gradient_and_the_loss_is_its_mean() -> None:
    def f(params, part):
        found: Any = iwae_loss(
            jax.random.key(0), params, data(), encode, log_lik, num_samples=M
        )
        return found.loss if part == "loss" else getattr(found.aux, part).mean()

    run = jax.jit(f, static_argnums=1)
    values = {p: run(start(), p) for p in ("loss", "bound", "elbo", "ess")}
    assert abs(values["loss"] + values["bound"]) < 1e-12
    assert values["elbo"] < values["bound"] and 1 <= values["ess"] <= M
    grads = jax.jit(jax.grad(f), static_argnums=1)(start(), "bound")
    assert all(not np.any(g) for g in jax.tree.leaves(grads))


def test_loss_is_divided_over_a_mesh() -> None:
    """The mean over devices of each one's gradient is that of its own examples."""
    mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))
    spec, none = jax.sharding.PartitionSpec("data"), jax.sharding.PartitionSpec()
    key, params, x = jax.random.key(0), start(), data()

    def loss(params, x):
        return iwae_loss(key, params, x, encode, log_lik, num_samples=M).loss

    def part(params, x):
        return lax.pmean(jax.grad(loss)(params, x), "data")

    sharded = jax.shard_map(part, mesh=mesh, in_specs=(none, spec), out_specs=none)
    found, wanted = jax.jit(sharded)(params, x), jax.jit(jax.grad(loss))(params, x)
    for name in params:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-12, atol=1e-14)
