"""The discretized decoder: a distribution over levels, exact in value and gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from kexue_jax.diffusion import discretized_log_likelihood
from tests.oracles import diffusion as oracle

log_likelihood = jax.jit(discretized_log_likelihood, static_argnames="levels")


def grid(levels: int) -> np.ndarray:
    return np.linspace(-1, 1, levels)


def random_cases(seed: int, levels: int, decades: tuple[float, float], n: int = 1000):
    rng = np.random.default_rng(seed)
    x = rng.choice(grid(levels), n)
    sigma = 10 ** rng.uniform(*decades, n)
    return x, x + rng.normal(size=n) * rng.choice([0.01, 1, 5], n) * sigma, sigma


@pytest.mark.parametrize("sigma", [1e-4, 0.0045, 0.1, 1.0, 30.0])
@pytest.mark.parametrize("levels", [2, 3, 256])
def test_probabilities_of_the_levels_sum_to_one(levels: int, sigma: float) -> None:
    mean = np.random.default_rng(0).uniform(-1.5, 1.5, 1000)
    x, mean = np.broadcast_arrays(grid(levels)[:, None], mean[None])
    log_prob = log_likelihood(x, mean, sigma, levels=levels)
    total = np.exp(np.asarray(log_prob)).sum(0)
    np.testing.assert_allclose(total, 1, rtol=1e-12)


@pytest.mark.parametrize("levels", [2, 5, 256, 65536])
@pytest.mark.parametrize("decades", [(-3.0, -1.0), (-1.0, 1.0), (1.0, 3.0)])
def test_equals_quadrature(decades: tuple[float, float], levels: int) -> None:
    x, mean, sigma = random_cases(1, levels, decades)
    got = log_likelihood(x, mean, sigma, levels=levels)
    wanted = oracle.discretized_log_likelihood(x, mean, sigma, levels)
    np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("levels", [5, 256, 65536])
def test_float32_keeps_its_digits_however_narrow_the_level(levels: int) -> None:
    x, mean, sigma = (
        np.asarray(v, np.float32) for v in random_cases(2, levels, (-2.5, 2.0))
    )
    got = log_likelihood(x, mean, sigma, levels=levels)
    wide = [v.astype(np.float64) for v in (x, mean, sigma)]
    wanted = oracle.discretized_log_likelihood(*wide, levels)
    # x itself is off its grid by a rounding, which sigma magnifies in a tail.
    np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_extremes_stay_finite_in_value_and_gradient(dtype) -> None:
    distance = np.array([0, 1e-3, 1, 10, 1e3, 1e6, 1e12])
    distance = np.concatenate([distance, -distance])
    sigma = np.array([1e-4, 1.0, 1e4])
    shape = (distance.size, sigma.size, 4)
    x = np.broadcast_to([-1.0, -1 / 255, 1 / 255, 1.0], shape).astype(dtype)
    mean = (x + distance[:, None, None]).astype(dtype)
    sigma = np.broadcast_to(sigma, shape[:2]).astype(dtype)

    def total(x, mean, sigma):
        values = discretized_log_likelihood(x, mean, sigma, levels=256)
        return values.sum(), values

    run = jax.jit(jax.grad(total, argnums=(0, 1, 2), has_aux=True))
    gradients, values = run(x, mean, sigma)
    assert np.isfinite(values).all()
    assert (np.asarray(values) <= 0).all()
    assert all(np.isfinite(g).all() for g in gradients)


def test_gradient_in_the_far_tail_is_that_of_the_density() -> None:
    # Far out the log-probability is -(distance to the near edge)^2 / (2 sigma^2).
    for dtype, bound in ((jnp.float32, 1e-5), (jnp.float64, 1e-9)):
        x, mean = jnp.asarray([0.0], dtype), jnp.asarray([2.0], dtype)
        slope = jax.grad(lambda m, x=x: log_likelihood(x, m, 1e-3, levels=256)[0])(mean)
        edge = (2 - 1 / 255) / 1e-3
        assert float(slope[0]) == pytest.approx(-(edge + 1 / edge) / 1e-3, rel=bound)


@pytest.mark.parametrize("sigma", [0.002, 0.0045, 0.05, 2.0])
def test_gradients_equal_numerical_ones_in_every_branch(sigma: float) -> None:
    x = jnp.asarray([-1.0, -0.2, 0.0, 0.6, 1.0])
    x = jnp.round((x + 1) / 2 * 255) / 255 * 2 - 1
    mean = x + jnp.asarray([0.3, -0.5, 0.002, 3.0, -1.0]) * sigma

    def function(x, mean, sigma):
        return log_likelihood(x, mean, sigma, levels=256)

    inputs = (x, mean, jnp.full(5, sigma))
    check_grads(
        jax.jit(function), inputs, 1, ("fwd", "rev"), atol=1e-5, rtol=1e-5, eps=1e-7
    )


def test_branches_meet_without_a_step() -> None:
    # Around half = 0.25 and |m| half = 0.25, where the form changes.
    for half in (0.25, 0.05):
        sigma = (1 / 255) / half
        middle = 0.0 if half == 0.25 else 0.25 / half
        x = np.full(2001, 1 / 255)
        near = middle * (1 + np.linspace(-1e-3, 1e-3, 2001)) + 1e-9
        mean = x - sigma * near
        sigmas = sigma * (1 + np.linspace(-1e-3, 1e-3, 2001))
        for values in ((x, mean, sigma), (x, x - sigma * middle, sigmas)):
            got = np.asarray(discretized_log_likelihood(*values, levels=256))
            wanted = oracle.discretized_log_likelihood(*values, 256)
            np.testing.assert_allclose(got, wanted, rtol=1e-12)


def test_sigma_may_be_one_number_an_example() -> None:
    x = jnp.zeros((3, 4, 5)) + 1 / 255
    sigma = jnp.asarray([0.01, 0.1, 1.0])
    got = log_likelihood(x, x + 0.02, sigma, levels=256)
    for i in range(3):
        each = log_likelihood(x[i], x[i] + 0.02, float(sigma[i]), levels=256)
        np.testing.assert_allclose(got[i], each, rtol=1e-12)


def test_half_precision_data_gives_float32() -> None:
    x = jnp.zeros(3, jnp.bfloat16)
    assert log_likelihood(x, x, 0.1, levels=3).dtype == jnp.float32


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"levels": 1}, "levels"),
        ({"levels": 2.0}, "levels"),
        ({"sigma": 0.0}, "sigma"),
        ({"sigma": jnp.ones(2)}, "sigma"),
        ({"sigma": None}, "sigma"),
        ({"x": jnp.zeros(3, jnp.int32)}, "x"),
        ({"mean": jnp.zeros((3, 1))}, "mean"),
    ],
)
def test_bad_input_is_refused(change: dict, argument: str) -> None:
    given = {"x": jnp.zeros(3), "mean": jnp.zeros(3), "sigma": 0.1, "levels": 3}
    given |= change
    match = f"discretized_log_likelihood: `{argument}`"
    with pytest.raises((TypeError, ValueError), match=match):
        discretized_log_likelihood(
            given["x"], given["mean"], given["sigma"], levels=given["levels"]
        )
