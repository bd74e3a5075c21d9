"""Logarithm, power of two and roots by bit patterns; errors and offsets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.numerics import (
    mitchell_div,
    mitchell_exp2,
    mitchell_log2,
    mitchell_mul,
    mitchell_relative_error,
    mitchell_rsqrt,
    mitchell_sqrt,
    optimal_offset,
)


def test_logarithm_is_low_by_at_most_0_086() -> None:
    f = (np.arange(100_000) + 0.5) / 100_000
    gap = np.log2(1 + f) - np.asarray(mitchell_log2(jnp.asarray(1 + f)))
    assert gap.max() == pytest.approx(0.08607133, abs=1e-8)
    assert f[gap.argmax()] == pytest.approx(1 / np.log(2) - 1, abs=1e-3)
    assert gap.mean() == pytest.approx(0.0573050, abs=1e-7)
    ratio = np.asarray(mitchell_exp2(jnp.asarray(f))) / 2**f
    assert ratio.max() == pytest.approx(1.0614757, abs=1e-7)
    assert f[ratio.argmax()] == pytest.approx(0.442695, abs=1e-3)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_power_and_logarithm_are_inverse(dtype) -> None:
    rng = np.random.default_rng(0)
    y = jnp.asarray(rng.uniform(-14, 14, 1000), dtype)
    back = mitchell_log2(mitchell_exp2(y))
    np.testing.assert_allclose(
        np.asarray(back, float),
        np.asarray(y, float),
        atol=2 * float(jnp.finfo(dtype).eps),
    )


def test_products_are_sums_of_logarithms() -> None:
    rng = np.random.default_rng(1)
    a, b = jnp.asarray(np.exp2(rng.uniform(-8, 8, (2, 1000))))
    by_logs = mitchell_exp2(mitchell_log2(a) + mitchell_log2(b))
    np.testing.assert_allclose(mitchell_mul(a, b), by_logs, rtol=1e-13)
    by_logs = mitchell_exp2(mitchell_log2(a) - mitchell_log2(b))
    np.testing.assert_allclose(mitchell_div(a, b), by_logs, rtol=1e-13)
    root = mitchell_exp2(mitchell_log2(a) / 2)
    np.testing.assert_allclose(mitchell_sqrt(a), root, rtol=1e-13)
    np.testing.assert_allclose(mitchell_rsqrt(a), 1 / root, rtol=0.13)
    # Special cases: a square, a reciprocal.
    np.testing.assert_allclose(
        mitchell_mul(a, a), mitchell_exp2(2 * mitchell_log2(a)), rtol=1e-13
    )
    np.testing.assert_allclose(
        mitchell_div(jnp.ones_like(a), a), mitchell_exp2(-mitchell_log2(a)), rtol=1e-13
    )


def test_edges() -> None:
    x = jnp.asarray([0.0, -0.0, 1e-40, -1.0, np.inf, np.nan], jnp.float32)
    log = np.asarray(mitchell_log2(x))
    np.testing.assert_array_equal(log, [-np.inf] * 3 + [np.nan, np.inf, np.nan])
    root = np.asarray(mitchell_sqrt(x))
    np.testing.assert_array_equal(root, [0, 0, 0, np.nan, np.inf, np.nan])
    inverse = np.asarray(mitchell_rsqrt(x, newton_steps=1))
    np.testing.assert_array_equal(inverse, [np.inf] * 3 + [np.nan, 0, np.nan])
    y = jnp.asarray([-200, -126, 127.5, 128, np.inf, -np.inf, np.nan], jnp.float32)
    power = np.asarray(mitchell_exp2(y), float)
    wanted = [0, 2.0**-126, 1.5 * 2.0**127, np.inf, np.inf, 0, np.nan]
    np.testing.assert_array_equal(power, wanted)


def test_the_known_constant_of_the_inverse_root() -> None:
    x = np.exp2(np.random.default_rng(2).uniform(-60, 60, 10_000)).astype(np.float32)
    bits = np.uint32(0x5F3759DF) - (x.view(np.uint32) >> np.uint32(1))
    found = mitchell_rsqrt(jnp.asarray(x), tuned=True)
    np.testing.assert_array_equal(found, bits.view(np.float32))
    for steps, bound in ((0, 0.0344), (1, 0.00176), (2, 5e-6)):
        close = mitchell_rsqrt(jnp.asarray(x), tuned=True, newton_steps=steps)
        error = np.asarray(close, float) * np.sqrt(x.astype(float)) - 1
        assert np.abs(error).max() < bound
    plain = mitchell_rsqrt(jnp.asarray(x))
    error = np.asarray(plain, float) * np.sqrt(x.astype(float)) - 1
    assert 0.08 < np.abs(error).max() < 0.089


def test_square_root_is_high_by_at_most_six_per_cent() -> None:
    x = jnp.asarray(np.geomspace(1, 4, 100_000))
    ratio = np.asarray(mitchell_sqrt(x)) / np.sqrt(np.asarray(x))
    assert ratio.min() >= 1 - 1e-12
    assert ratio.max() == pytest.approx(1.5 / np.sqrt(2), rel=1e-4)


def test_slopes() -> None:
    x = jnp.asarray(np.exp2(np.random.default_rng(3).uniform(-5, 5, 1000)))

    def slope(function, **options):
        return jax.vmap(jax.grad(lambda v: function(v, **options)))(x)

    powers = np.exp2(np.floor(np.log2(np.asarray(x))))
    np.testing.assert_allclose(slope(mitchell_log2), 1 / (x * np.log(2)), rtol=1e-13)
    np.testing.assert_allclose(slope(mitchell_log2, grad="exact"), 1 / powers)
    np.testing.assert_allclose(slope(mitchell_exp2), np.log(2) * 2.0**x, rtol=1e-13)
    exact = slope(mitchell_exp2, grad="exact")
    np.testing.assert_allclose(exact, 2.0 ** np.floor(np.asarray(x)))
    np.testing.assert_allclose(slope(mitchell_sqrt), 0.5 / np.sqrt(x), rtol=1e-13)
    np.testing.assert_allclose(slope(mitchell_rsqrt), -0.5 * x**-1.5, rtol=1e-13)


def test_relative_error_is_that_of_the_product_and_its_two_branches() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.uniform(size=(2, 1000))
    for offset in (0.0, 1 / 16, 0.9):
        found = mitchell_relative_error(jnp.asarray(x), jnp.asarray(y), offset=offset)
        exact = (1 + x) * (1 + y)
        product = mitchell_mul(jnp.asarray(1 + x), jnp.asarray(1 + y), offset=offset)
        np.testing.assert_allclose(found, np.asarray(product) / exact - 1, atol=1e-14)
    found = mitchell_relative_error(jnp.asarray(x), jnp.asarray(y))
    low = np.where(x + y < 1, x * y, (1 - x) * (1 - y)) / ((1 + x) * (1 + y))
    np.testing.assert_allclose(found, -low, atol=1e-15)
    assert (found <= 0).all() and (found >= -1 / 9).all()
    half = jnp.asarray(0.5)
    assert float(mitchell_relative_error(half, half)) == pytest.approx(
        -1 / 9, rel=1e-15
    )


@pytest.mark.parametrize(
    ("criterion", "wanted"),
    [("mean", 0.05662), ("rms", 0.05526), ("mean_abs", 0.0462), ("max", 0.06884)],
)
def test_best_offsets(criterion, wanted) -> None:
    best = optimal_offset(criterion=criterion)
    assert best == pytest.approx(wanted, abs=1e-4)
    x = jnp.asarray((np.arange(700) + 0.5) / 700)

    def measured(offset):
        error = np.asarray(mitchell_relative_error(x[:, None], x[None], offset=offset))
        return {
            "mean": abs(error.mean()),
            "rms": np.sqrt((error**2).mean()),
            "mean_abs": np.abs(error).mean(),
            "max": np.abs(error).max(),
        }[criterion]

    value = measured(best)
    for other in (0.0, 1 / 16, best - 0.003, best + 0.003):
        assert value < measured(other)
    card = {"rms": 0.03054, "mean_abs": 0.02525, "max": 0.06884}.get(criterion)
    assert card is None or value == pytest.approx(card, abs=2e-4)
