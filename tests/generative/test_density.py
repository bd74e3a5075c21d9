"""Densities by chunks: their twin, their memory, their trustworthiness."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType

from kexue_jax.generative import (
    bernoulli_log_prob,
    delta_corrected,
    effective_sample_size,
    elbo,
    estimate_log_prob,
    gaussian_log_prob,
    iwae_bound,
    linear_gaussian,
    log_weights,
)
from tests.generative.models import fixed, instances, keys


def twin(key, x, encode, log_lik, *, num_samples, chunk):
    """All weights at once, of the same noise."""
    parts = []
    for place, first in enumerate(range(0, num_samples, chunk)):
        own = jax.random.fold_in(key, place)
        count = min(chunk, num_samples - first)
        parts.append(log_weights(own, x, encode, log_lik, num_samples=count))
    return jnp.concatenate(parts)


def encode(params, x):
    h = jnp.tanh(x @ params["w"])
    return h, 0.5 * h - 1


def log_lik(params, x, z):
    return bernoulli_log_prob(x, jnp.tanh(z @ params["a"]) @ params["b"])


def network(d, k=2, h=5, n=4, dtype=jnp.float64):
    rng = np.random.default_rng(0)
    sizes = {"w": (d, k), "a": (k, h), "b": (h, d)}
    params = {name: jnp.asarray(rng.normal(size=s), dtype) for name, s in sizes.items()}
    return params, jnp.asarray(rng.integers(0, 2, (n, d)), dtype)


def run_on(f, params, x, num_samples, chunk, key=None):
    key = jax.random.key(0) if key is None else key
    args = (
        key,
        x,
        functools.partial(encode, params),
        functools.partial(log_lik, params),
    )
    return f(*args, num_samples=num_samples, chunk=chunk)


def test_chunks_are_their_twin_in_value_and_gradient() -> None:
    params, x = network(6)

    def mine(params):
        found = run_on(estimate_log_prob, params, x, 7, 3)
        return found.log_prob.sum(), found

    def theirs(params):
        log_w = run_on(twin, params, x, 7, 3)
        return iwae_bound(log_w).sum(), log_w

    (first, found), (second, log_w) = (
        jax.jit(jax.grad(f, has_aux=True))(params) for f in (mine, theirs)
    )
    np.testing.assert_allclose(found.log_prob, iwae_bound(log_w), rtol=1e-13)
    np.testing.assert_allclose(found.elbo, elbo(log_w), rtol=1e-13)
    np.testing.assert_allclose(found.ess, effective_sample_size(log_w), rtol=1e-12)
    corrected = found.log_prob + found.bias_estimate
    np.testing.assert_allclose(corrected, delta_corrected(log_w), rtol=1e-13)
    share = jax.nn.softmax(log_w, 0).max(0)
    np.testing.assert_allclose(found.max_weight, share, rtol=1e-12)
    for name in params:
        scale = np.abs(second[name]).max()
        np.testing.assert_allclose(first[name], second[name], atol=1e-12 * scale)


def test_weights_of_nothing_and_of_any_size_are_taken() -> None:
    """A likelihood of 0 everywhere is -inf, a huge or tiny one no NaN."""
    x = jnp.ones((2, 1), jnp.float32)
    unit = fixed(np.zeros((2, 1), np.float32), np.zeros((2, 1), np.float32))
    for shift, wanted in ((-jnp.inf, -np.inf), (3e4, 3e4), (-3e4, -3e4)):
        lik = lambda x, z, s=shift: jnp.zeros(2, jnp.float32) + s  # noqa: E731
        run = jax.jit(
            lambda key, x, lik=lik: estimate_log_prob(
                key, x, unit, lik, num_samples=7, chunk=3
            )
        )
        found = run(jax.random.key(0), x)
        np.testing.assert_allclose(found.log_prob, wanted, rtol=1e-6)
        # What nothing was seen of must not pass for trusted.
        np.testing.assert_allclose(found.ess, 0 if wanted == -np.inf else 7, rtol=1e-6)
        assert np.isfinite(found.max_weight).all()
        assert not np.isnan(found.bias_estimate).any()
        weights = jnp.full((7, 2), shift, jnp.float32)
        np.testing.assert_array_equal(iwae_bound(weights), jnp.full(2, wanted))


def temporary(n, num_samples, chunk, gradient=False, plain=False):
    """Bytes that the compiled program wants beside its arguments and results."""
    params, x = jax.eval_shape(lambda: network(16, h=32, n=n, dtype=jnp.float32))
    key = jax.eval_shape(jax.random.key, 0)

    def run(params, x, key):
        f = twin if plain else estimate_log_prob
        found = run_on(f, params, x, num_samples, chunk, key)
        return jnp.sum(iwae_bound(found) if plain else found.log_prob)

    run = jax.grad(run) if gradient else run
    compiled = jax.jit(run).lower(params, x, key).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def test_memory_is_that_of_a_chunk_of_the_batch_whatever_the_samples() -> None:
    base = temporary(64, 32, 4)
    assert temporary(64, 256, 4) < 1.1 * base
    assert 1.7 < temporary(128, 32, 4) / base < 2.2
    assert 1.5 < temporary(64, 32, 8) / base < 2.2
    # Ten thousand images, a thousand samples each: less than 150 numbers an image.
    assert temporary(10_000, 1000, 1) < 10_000 * 150 * 4
    # All samples at once take eight times as much of eight times as many.
    large = [temporary(64, m, m, plain=True) for m in (32, 256)]
    assert large[1] > 6 * large[0] and large[1] > 20 * base


def test_memory_of_the_gradient_grows_by_one_number_an_example_and_turn() -> None:
    few, many = (temporary(64, m, 4, gradient=True) for m in (64, 512))
    # Four sums of 64 examples for each of 112 more turns.
    assert many - few < 112 * 64 * 4 * 4 * 1.5
    large = temporary(64, 512, 512, gradient=True, plain=True)
    assert many < large / 10


def test_a_share_of_the_prior_bounds_every_weight() -> None:
    """w <= q(x|z) / share, where a narrow proposal alone has weights without bound."""
    n, share = 1000, 0.2
    found = instances(n, 3, 1, seed=7)
    narrow = np.log(0.3 * np.sqrt(found.covariance[:, 0]))

    def one(key, model, x, mean, log_scale, share):
        return estimate_log_prob(
            key,
            x,
            fixed(mean, log_scale),
            model.log_lik,
            num_samples=2000,
            chunk=500,
            prior_share=share,
        )

    arrays = found.model, found.x, found.mean, narrow
    run = jax.jit(jax.vmap(functools.partial(one, share=share)))
    mixed = run(keys(n), *arrays)
    plain = jax.jit(jax.vmap(functools.partial(one, share=0.0)))(keys(n), *arrays)
    d = found.x.shape[-1]
    top = -np.log(2 * np.pi * np.asarray(found.model.s2)) * d / 2 - np.log(share)
    largest = np.log(np.asarray(mixed.max_weight) * 2000) + np.asarray(mixed.log_prob)
    assert (largest <= top + 1e-9).all()
    error = np.abs(np.asarray(mixed.log_prob) - found.log_prob)
    assert np.median(error) < 0.1 and error.max() < 0.5
    assert np.median(np.abs(np.asarray(plain.log_prob) - found.log_prob)) > error.mean()
    assert np.median(mixed.ess) > 10


def test_bias_estimate_says_how_much_is_missing() -> None:
    """On average over models and keys, of a wide proposal with 10 samples."""
    n = 8000
    found = instances(n, 4, 3, seed=8, diagonal=True)
    variance = np.diagonal(found.covariance, axis1=1, axis2=2)
    wide = np.log(1.5 * np.sqrt(variance))

    def one(key, model, x, mean, log_scale):
        encode = fixed(mean, log_scale)
        return estimate_log_prob(key, x, encode, model.log_lik, num_samples=10, chunk=5)

    made = jax.jit(jax.vmap(one))(keys(n), found.model, found.x, found.mean, wide)
    gap = found.log_prob - np.asarray(made.log_prob)
    left = gap - np.asarray(made.bias_estimate)
    error = left.std() / n**0.5
    assert gap.mean() > 5 * error
    assert abs(left.mean()) < 5 * error and abs(left.mean()) < gap.mean() / 2
    twice = gap - 2 * np.asarray(made.bias_estimate)
    assert twice.mean() < -5 * error  # V / M would be too much


def test_estimate_runs_inside_a_mesh() -> None:
    mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("data")
    model = linear_gaussian(jnp.ones((2, 1)), jnp.zeros(2), 0.5)

    def run(x):
        mean = model.posterior(x).mean
        return estimate_log_prob(
            jax.random.key(0),
            x,
            lambda x: (mean, jnp.zeros_like(mean)),
            model.log_lik,
            num_samples=8,
            chunk=4,
            prior_share=0.3,
        )

    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 2)))
    sharded = jax.shard_map(run, mesh=mesh, in_specs=spec, out_specs=spec)
    for mine, wanted in zip(jax.jit(sharded)(x), jax.jit(run)(x), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-12)


def test_densities_integrate_to_one() -> None:
    """A wrong constant in any part would show: the integral of exp(log q) over x."""
    t, w = np.polynomial.legendre.leggauss(200)
    x = jnp.asarray(12 * t)[:, None]
    model = linear_gaussian(jnp.full((1, 1), 1.3), jnp.full(1, 0.2), 0.7)
    bits = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])

    @jax.jit
    def densities(x, bits):
        normal = gaussian_log_prob(x, jnp.full((1, 1), 0.5), jnp.full((1, 1), 0.3))
        given = model.log_lik(x, jnp.full((200, 1), -0.4))
        coins = jnp.broadcast_to(jnp.asarray([0.3, -2.0]), bits.shape)
        return model.log_prob(x), normal, given, bernoulli_log_prob(bits, coins)

    *continuous, discrete = densities(x, bits)
    for values in continuous:
        assert abs((12 * w * np.exp(values)).sum() - 1) < 1e-9
    assert abs(np.exp(discrete).sum() - 1) < 1e-12
