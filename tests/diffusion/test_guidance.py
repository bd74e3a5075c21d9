"""Guidance against its formulas, and against closed forms on Gaussian mixtures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.diffusion import (
    cfg_eps,
    classifier_guided_eps,
    classifier_guided_mean,
    ddim_sample,
    ddim_taus,
    ddpm_step,
    drop_labels,
    gaussian_eps,
    guided_eps_fn,
    kexue_schedule,
    mixture_eps,
)
from tests.diffusion.chains import normals, relative

SCHEDULE = kexue_schedule(T=1000, dtype=jnp.float64)
KEY = jax.random.key(7)
COND, UNCOND, GRAD = normals(7, 3, 4, 2, 3)
MEANS = jnp.array([[1.0, 0.0], [-1.0, 0.5], [0.0, -1.0]])
VARIANCES, WEIGHTS = jnp.array([0.1, 0.2, 0.05]), jnp.array([0.5, 0.3, 0.2])


def levels(t):
    return SCHEDULE.alpha_bar[t], SCHEDULE.beta_bar[t]


@jax.jit
def conditional(x, t, y):
    """The perfect network: label k is component k, label 3 is no label."""
    alpha_bar, beta_bar = levels(t)
    everything = mixture_eps(x, alpha_bar, beta_bar, MEANS, VARIANCES, WEIGHTS)
    parts = jnp.stack(
        [gaussian_eps(x, alpha_bar, beta_bar, MEANS[k], VARIANCES[k]) for k in range(3)]
        + [everything]
    )
    return jnp.take_along_axis(parts, y[None, :, None], 0)[0]


@pytest.mark.parametrize("w", [0.0, 0.5, 3.0, -1.0])
def test_cfg_is_its_formula(w: float) -> None:
    wanted = (1 + w) * np.asarray(COND) - w * np.asarray(UNCOND)
    for weight in (w, jnp.asarray(w), jnp.full(4, w)):
        assert np.abs(cfg_eps(COND, UNCOND, weight) - wanted).max() < 1e-14
    low = cfg_eps(COND.astype(jnp.bfloat16), UNCOND.astype(jnp.bfloat16), w)
    assert low.dtype == jnp.bfloat16


def test_cfg_ends() -> None:
    assert (cfg_eps(COND, UNCOND, 0.0) == COND).all()
    assert relative(cfg_eps(COND, UNCOND, -1.0), UNCOND) < 1e-15
    assert relative(cfg_eps(COND, COND, 7.0), COND) < 1e-14


def test_guided_function_is_one_call_on_twice_the_batch() -> None:
    calls = []

    def network(x, t, y):
        calls.append((x.shape, t.shape, y.tolist()))
        return conditional(x, t, y)

    x, t, labels = COND[:, 0, :2], jnp.full(4, 300), jnp.array([0, 1, 2, 0])
    guided = guided_eps_fn(network, labels, 1.5, null_label=3)
    got = guided(x, t)
    assert calls == [((8, 2), (8,), [0, 1, 2, 0, 3, 3, 3, 3])]
    null = jnp.full(4, 3)
    wanted = cfg_eps(conditional(x, t, labels), conditional(x, t, null), 1.5)
    assert relative(got, wanted) < 1e-14
    each = guided_eps_fn(network, labels, jnp.array([0.0, 1.5, 3.0, 1.5]), null_label=3)
    assert relative(each(x, t)[1::2], wanted[1::2]) < 1e-14


def test_no_guidance_is_one_call_on_the_batch() -> None:
    sizes = []

    def network(x, t, y):
        sizes.append(x.shape[0])
        return x

    labels = jnp.array([0, 1])
    guided_eps_fn(network, labels, 0.0, null_label=3)(COND[:2], jnp.array([1, 2]))
    guided_eps_fn(network, labels, jnp.zeros(()), null_label=3)(
        COND[:2], jnp.array([1, 2])
    )
    assert sizes == [2, 4]


def test_classifier_guidance_of_the_exact_classifier_is_the_conditional_model() -> None:
    # ln p(y | x_t) = ln p(x_t | y) - ln p(x_t): with scale 1 the unconditional mixture
    # becomes the component; with scale w + 1, classifier-free guidance of weight w.
    t, x = jnp.array([50, 300, 700, 1000]), COND[:, 0, :2]
    alpha_bar, beta_bar = levels(t)
    labels, null = jnp.array([2, 1, 0, 1]), jnp.full(4, 3)

    def log_density(x, k):
        v = alpha_bar**2 * VARIANCES[k] + beta_bar**2
        square = ((x - alpha_bar[:, None] * MEANS[k][None]) ** 2).sum(-1)
        return jnp.log(WEIGHTS[k]) - jnp.log(v) - square / (2 * v)

    def log_classifier(x):
        parts = jnp.stack([log_density(x, k) for k in range(3)])
        rows = jax.nn.log_softmax(parts, axis=0)
        return jnp.take_along_axis(rows, labels[None], 0).sum()

    gradient = jax.jit(jax.grad(log_classifier))(x)
    bare = conditional(x, t, null)
    got = classifier_guided_eps(SCHEDULE, bare, t, gradient, 1.0)
    assert relative(got, conditional(x, t, labels)) < 1e-12
    guided = guided_eps_fn(conditional, labels, 2.0, null_label=3)(x, t)
    stronger = classifier_guided_eps(SCHEDULE, bare, t, gradient, 3.0)
    assert relative(stronger, guided) < 1e-12


def test_guided_mean_is_its_formula_and_the_step_of_the_guided_eps() -> None:
    sigma = jnp.array([0.0, 0.1, 0.5, 1.0])
    wanted = COND + 2 * (np.asarray(sigma) ** 2)[:, None, None] * GRAD
    assert relative(classifier_guided_mean(COND, sigma, GRAD, 2.0), wanted) < 1e-15
    assert (classifier_guided_mean(COND, 0.0, GRAD, 2.0) == COND).all()
    # At sigma = beta the two forms differ by the factor 1 / alpha_t only.
    t = jnp.full(4, 400)
    mean = ddpm_step(SCHEDULE, COND, UNCOND, t, None)
    moved = classifier_guided_mean(mean, SCHEDULE.beta[400], GRAD, 1.5)
    eps = classifier_guided_eps(SCHEDULE, UNCOND, t, GRAD, 1.5)
    other = ddpm_step(SCHEDULE, COND, eps, t, None)
    assert relative(moved - mean, SCHEDULE.alpha[400] * (other - mean)) < 1e-10


def test_guided_eps_keeps_dtype_and_batches_scale() -> None:
    t, scale = jnp.array([1, 10, 500, 1000]), jnp.array([0.0, 1.0, 2.0, -1.0])
    got = classifier_guided_eps(SCHEDULE, COND, t, GRAD, scale)
    rate = np.asarray(scale * SCHEDULE.beta_bar[t])[:, None, None]
    assert relative(got, np.asarray(COND) - rate * np.asarray(GRAD)) < 1e-15
    low = classifier_guided_eps(SCHEDULE, COND.astype(jnp.bfloat16), t, GRAD, scale)
    assert low.dtype == jnp.bfloat16 and relative(low, got) < 3e-2


def test_guidance_draws_samples_to_their_class() -> None:
    labels = jnp.repeat(jnp.arange(3), 300)
    x = normals(8, 900, 2)
    taus = ddim_taus(T=1000, S=40)
    centers = []
    for w in (0.0, 2.0):
        guided = guided_eps_fn(conditional, labels, w, null_label=3)
        got = np.asarray(ddim_sample(None, guided, SCHEDULE, x, taus).x)
        nearest = ((got[:, None] - MEANS[None]) ** 2).sum(-1).argmin(1)
        assert (nearest == labels).mean() > (0.95 if w == 0 else 0.99)
        centers.append(got.reshape(3, 300, 2).var(1).mean())
    assert centers[1] < 0.8 * centers[0]  # guidance trades diversity away


def test_labels_are_dropped_at_the_rate_given() -> None:
    labels = jnp.arange(100_000, dtype=jnp.int32) % 10
    for rate in (0.1, 0.5):
        got = drop_labels(KEY, labels, rate=rate, null=10)
        assert got.dtype == labels.dtype
        dropped = np.asarray(got == 10)
        five = 5 * np.sqrt(rate * (1 - rate) / labels.size)  # false alarm 6e-7
        assert abs(dropped.mean() - rate) < five < abs(dropped.mean() - rate - 0.02)
        assert (np.asarray(got)[~dropped] == np.asarray(labels)[~dropped]).all()
    assert (drop_labels(KEY, labels, rate=0.0, null=10) == labels).all()
    assert (drop_labels(KEY, labels, rate=1.0, null=10) == 10).all()
    jitted = jax.jit(lambda k, y, r: drop_labels(k, y, rate=r, null=10))
    got = jitted(KEY, labels.reshape(10, -1), jnp.asarray(0.1))
    assert got.shape == (10, 10_000)


LABELS = jnp.array([0, 1, 2, 0])
STEPS = jnp.array([1, 2, 3, 4])
BAD = [
    (cfg_eps, "eps_cond", (None, UNCOND, 1.0), {}),
    (cfg_eps, "eps_uncond", (COND, UNCOND[0], 1.0), {}),
    (cfg_eps, "w", (COND, UNCOND, float("nan")), {}),
    (cfg_eps, "w", (COND, UNCOND, jnp.ones(3)), {}),
    (guided_eps_fn, "eps_fn", (None, LABELS, 1.0), {"null_label": 3}),
    (guided_eps_fn, "labels", (conditional, COND, 1.0), {"null_label": 3}),
    (guided_eps_fn, "labels", (conditional, LABELS[None], 1.0), {"null_label": 3}),
    (guided_eps_fn, "w", (conditional, LABELS, None), {"null_label": 3}),
    (guided_eps_fn, "w", (conditional, LABELS, jnp.ones(3)), {"null_label": 3}),
    (guided_eps_fn, "null_label", (conditional, LABELS, 1.0), {"null_label": None}),
    (drop_labels, "key", (0, LABELS), {"rate": 0.1, "null": 3}),
    (drop_labels, "labels", (KEY, COND), {"rate": 0.1, "null": 3}),
    (drop_labels, "rate", (KEY, LABELS), {"rate": 1.1, "null": 3}),
    (drop_labels, "null", (KEY, LABELS), {"rate": 0.1, "null": -1}),
    (classifier_guided_mean, "mean", ("x", 1.0, GRAD, 1.0), {}),
    (classifier_guided_mean, "sigma", (COND, -1.0, GRAD, 1.0), {}),
    (classifier_guided_mean, "grad", (COND, 1.0, GRAD[0], 1.0), {}),
    (classifier_guided_mean, "scale", (COND, 1.0, GRAD, "1"), {}),
    (classifier_guided_eps, "schedule", (None, COND, STEPS, GRAD, 1.0), {}),
    (classifier_guided_eps, "eps", (SCHEDULE, None, STEPS, GRAD, 1.0), {}),
    (classifier_guided_eps, "t", (SCHEDULE, COND, STEPS - 1, GRAD, 1.0), {}),
    (classifier_guided_eps, "t", (SCHEDULE, COND, COND, GRAD, 1.0), {}),
    (classifier_guided_eps, "grad", (SCHEDULE, COND, STEPS, None, 1.0), {}),
    (classifier_guided_eps, "scale", (SCHEDULE, COND, STEPS, GRAD, None), {}),
]


@pytest.mark.parametrize(("function", "argument", "args", "options"), BAD)
def test_bad_input_is_refused_by_name(function, argument, args, options) -> None:
    message = rf"{function.__name__}: `{argument}"
    with pytest.raises((ValueError, TypeError), match=message):
        function(*args, **options)


def test_guided_function_refuses_another_batch_and_a_wrong_network() -> None:
    guided = guided_eps_fn(conditional, LABELS, 1.0, null_label=3)
    with pytest.raises(ValueError, match="guided_eps_fn: `t`"):
        guided(COND[:3], STEPS[:3])
    narrow = guided_eps_fn(lambda x, t, y: x[:4], LABELS, 1.0, null_label=3)
    with pytest.raises(ValueError, match="guided_eps_fn: `eps_fn`"):
        narrow(COND, STEPS)
