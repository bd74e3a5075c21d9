"""The perfect predictors: against densities, regressions and limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.diffusion import gaussian_eps, kexue_schedule, mixture_eps
from tests.diffusion.chains import normals, relative
from tests.oracles import diffusion_sampling as oracle

SCHEDULE = kexue_schedule(T=1000, dtype=jnp.float64)
T = jnp.array([0, 1, 2, 30, 500, 1000])
ALPHA_BAR, BETA_BAR = SCHEDULE.alpha_bar[T], SCHEDULE.beta_bar[T]
X, MEANS = normals(13, 6, 3), normals(1, 4, 3)
VARIANCES = jnp.array([0.3, 1.0, 0.0, 0.02])
WEIGHTS = jnp.array([0.1, 0.4, 0.3, 0.2])
mixture = jax.jit(mixture_eps)  # one program a shape; the last test has it eager


def test_gaussian_is_its_formula_with_numbers_scalars_and_coordinates() -> None:
    mean, variance = np.array([0.1, -0.5, 2.0]), np.array([0.0, 0.5, 3.0])
    a, b = np.asarray(ALPHA_BAR)[1:, None], np.asarray(BETA_BAR)[1:, None]
    x = X[1:]
    each = gaussian_eps(
        x, ALPHA_BAR[1:], BETA_BAR[1:], jnp.asarray(mean), jnp.asarray(variance)
    )
    wanted = oracle.gaussian_eps(np.asarray(x), a, b, mean, variance)
    assert relative(each, wanted) < 1e-14
    for i in range(3):
        one = gaussian_eps(
            x, ALPHA_BAR[1:], BETA_BAR[1:], float(mean[i]), float(variance[i])
        )
        assert relative(one[:, i], wanted[:, i]) < 1e-14
    number = gaussian_eps(x, 0.8, 0.6, jnp.asarray(0.1), jnp.asarray(0.5))
    assert relative(number, oracle.gaussian_eps(np.asarray(x), 0.8, 0.6, 0.1, 0.5)) < (
        1e-14
    )


def test_gaussian_is_the_regression_of_eps_on_x_t() -> None:
    # E[eps | x_t] is linear: its slope is cov(eps, x_t) / var(x_t).
    data, n, t = 0.25, 1 << 18, 300
    x0, eps = normals(2, 2, n)
    a, b = float(SCHEDULE.alpha_bar[t]), float(SCHEDULE.beta_bar[t])
    x = a * data**0.5 * np.asarray(x0) + b * np.asarray(eps)
    slope = (x * np.asarray(eps)).mean() / (x**2).mean()
    exact = float(gaussian_eps(jnp.ones(1), a, b, 0.0, data)[0])
    # Residual variance 1 - b slope, so the slope has this standard deviation.
    std = np.sqrt((1 - b * exact) / (n * (x**2).mean()))
    assert abs(slope - exact) < 5 * std  # false alarm 6e-7
    wrong = float(gaussian_eps(jnp.ones(1), a, b, 0.0, 0.26)[0])
    assert abs(slope - wrong) > 5 * std


def test_gaussian_of_unit_data_is_beta_bar_x() -> None:
    got = gaussian_eps(X, ALPHA_BAR, BETA_BAR, 0.0, 1.0)
    assert relative(got, np.asarray(BETA_BAR)[:, None] * np.asarray(X)) < 1e-14


def test_mixture_is_the_weighted_density_of_its_parts() -> None:
    a, b = np.asarray(ALPHA_BAR), np.asarray(BETA_BAR)
    got = mixture(X, ALPHA_BAR, BETA_BAR, MEANS, VARIANCES, 7 * WEIGHTS)
    parts = (np.asarray(v) for v in (MEANS, VARIANCES, WEIGHTS))
    means, variances, weights = parts
    for i in range(2, 6):
        wanted = oracle.mixture_eps(
            np.asarray(X[i]), a[i], b[i], means, variances, weights
        )
        assert relative(got[i], wanted) < 1e-12


def test_mixture_of_one_part_is_the_gaussian() -> None:
    got = mixture(X, ALPHA_BAR, BETA_BAR, MEANS[:1], VARIANCES[:1], jnp.ones(1))
    wanted = gaussian_eps(X, ALPHA_BAR, BETA_BAR, MEANS[0], VARIANCES[0])
    assert relative(got, wanted) < 1e-14
    # Parts of weight 0 count for nothing.
    weights = jnp.array([0.0, 1.0, 0.0, 0.0])
    got = mixture(X, ALPHA_BAR, BETA_BAR, MEANS, VARIANCES, weights)
    wanted = gaussian_eps(X, ALPHA_BAR, BETA_BAR, MEANS[1], 1.0)
    assert relative(got, wanted) < 1e-14


def test_two_deltas_are_the_hyperbolic_tangent_of_the_card() -> None:
    x = jnp.linspace(-3, 3, 101)[:, None]
    means, zeros = jnp.array([[1.0], [-1.0]]), jnp.zeros(2)
    for t in (1, 10, 300, 1000):
        a, b = SCHEDULE.alpha_bar[t], SCHEDULE.beta_bar[t]
        got = mixture(x, a, b, means, zeros, jnp.ones(2))
        wanted = (x - a * jnp.tanh(a * x / b**2)) / b
        # At t = 1 the exponents reach 2e5 and lose as much of their last digits.
        assert relative(got, wanted) < (1e-11 if t == 1 else 1e-12)


def test_images_and_free_axes() -> None:
    x = normals(3, 2, 5, 3, 4)
    t = np.random.default_rng(0).integers(1, 1001, (2, 5))
    a, b = SCHEDULE.alpha_bar[t], SCHEDULE.beta_bar[t]
    means = normals(4, 6, 3, 4)
    got = mixture(x, a, b, means, 0.1 * jnp.ones(6), jnp.ones(6))
    flat = mixture(
        x.reshape(10, 12),
        a.reshape(10),
        b.reshape(10),
        means.reshape(6, 12),
        0.1 * jnp.ones(6),
        jnp.ones(6),
    )
    assert relative(got.reshape(10, 12), flat) < 1e-13


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_low_precision_keeps_dtype_and_stays_finite_everywhere(dtype) -> None:
    schedule, x = kexue_schedule(T=1000), X.astype(dtype)
    a, b = schedule.alpha_bar[T], schedule.beta_bar[T]
    exact = mixture(x.astype(jnp.float64), a, b, MEANS, VARIANCES, WEIGHTS)
    got = mixture(x, a, b, MEANS, VARIANCES, WEIGHTS)
    assert got.dtype == dtype
    assert relative(got, exact) < {jnp.float32: 2e-5, jnp.bfloat16: 3e-2}[dtype]
    for scale in (0.0, 1.0, 1e4):

        def total(x, means, scale=scale):
            return mixture(scale * x, a, b, means, VARIANCES, WEIGHTS).sum()

        gradient = jax.jit(jax.value_and_grad(total, (0, 1)))
        found = gradient(x, MEANS.astype(dtype))
        assert all(np.isfinite(v).all() for v in jax.tree.leaves(found))


def test_no_noise_gives_zero_and_never_nan() -> None:
    for variance in (0.0, 0.5):
        assert (gaussian_eps(X, 1.0, 0.0, 0.3, variance) == 0).all()
    got = mixture(X, 1.0, 0.0, MEANS, VARIANCES, WEIGHTS)
    assert (got == 0).all()
    gradient = jax.grad(lambda b: gaussian_eps(X, 1.0, b, 0.3, 0.0).sum())
    assert np.isfinite(gradient(jnp.zeros(())))


def test_jit_and_vmap_agree_with_the_call() -> None:
    call = lambda x, a, b: mixture_eps(x, a, b, MEANS, VARIANCES, WEIGHTS)  # noqa: E731
    wanted = call(X, ALPHA_BAR, BETA_BAR)
    assert relative(jax.jit(call)(X, ALPHA_BAR, BETA_BAR), wanted) < 1e-13
    assert relative(jax.jit(jax.vmap(call))(X, ALPHA_BAR, BETA_BAR), wanted) < 1e-13


BAD = [
    (gaussian_eps, "x", (None, 0.8, 0.6, 0.0, 1.0)),
    (gaussian_eps, "alpha_bar", (X, 1.5, 0.6, 0.0, 1.0)),
    (gaussian_eps, "alpha_bar", (X, jnp.ones(5), 0.6, 0.0, 1.0)),
    (gaussian_eps, "beta_bar", (X, 0.8, -0.6, 0.0, 1.0)),
    (gaussian_eps, "beta_bar", (X, 0.8, "0.6", 0.0, 1.0)),
    (gaussian_eps, "mean", (X, 0.8, 0.6, None, 1.0)),
    (gaussian_eps, "variance", (X, 0.8, 0.6, 0.0, -1.0)),
    (gaussian_eps, "variance", (X, 0.8, 0.6, 0.0, jnp.ones(3, bool))),
    (mixture_eps, "x", ([0.0], 0.8, 0.6, MEANS, VARIANCES, WEIGHTS)),
    (mixture_eps, "x", (X[:, :2], 0.8, 0.6, MEANS, VARIANCES, WEIGHTS)),
    (mixture_eps, "alpha_bar", (X, None, 0.6, MEANS, VARIANCES, WEIGHTS)),
    (mixture_eps, "beta_bar", (X, 0.8, X.T, MEANS, VARIANCES, WEIGHTS)),
    (mixture_eps, "means", (X, 0.8, 0.6, MEANS[:2], VARIANCES, WEIGHTS)),
    (mixture_eps, "variances", (X, 0.8, 0.6, MEANS, 0.0, WEIGHTS)),
    (mixture_eps, "weights", (X, 0.8, 0.6, MEANS, VARIANCES, WEIGHTS[:3])),
]


@pytest.mark.parametrize(("function", "argument", "args"), BAD)
def test_bad_input_is_refused_by_name(function, argument, args) -> None:
    message = rf"{function.__name__}: `{argument}"
    with pytest.raises((ValueError, TypeError), match=message):
        function(*args)


def test_coordinates_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="gaussian_eps: `mean`"):
        gaussian_eps(X, 0.8, 0.6, jnp.zeros(2), 1.0)
