"""Even Taylor polynomials of exp: the card's facts, limits by dtype, gradients."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from kexue_jax.numerics import log_taylor_exp, taylor_exp, taylor_min
from kexue_jax.numerics.exp_taylor import taylor
from tests.oracles import taylor as oracle

EVEN = range(2, 25, 2)
TABLE = (2, 4, 6, 8, 10)


def grid(order: int, count: int = 4001) -> np.ndarray:
    """Both signs, dense around the minimum and out to 1e6."""
    near = np.linspace(-3.0 * order, 3.0 * order, count)
    far = np.geomspace(1e-6, 1e6, 400)
    return np.concatenate([near, far, -far])


def exact_log(x: np.ndarray, order: int) -> np.ndarray:
    """log f_n of float64 numbers by whole numbers of Python, without cancellation."""
    result = []
    for value in x:
        top, bottom = float(value).as_integer_ratio()
        total = sum(
            top**k * bottom ** (order - k) * math.perm(order, order - k)
            for k in range(order + 1)
        )
        scale = bottom**order * math.factorial(order)
        shift = total.bit_length() - scale.bit_length()
        ratio = (total << max(-shift, 0)) / (scale << max(shift, 0))
        result.append(math.log(ratio) + shift * math.log(2))
    return np.array(result)


@pytest.mark.parametrize("order", oracle.MINIMA)
def test_the_table_of_minima_to_12_digits(order: int) -> None:
    found, wanted = taylor_min(order=order), oracle.MINIMA[order]
    for mine, theirs in zip(found, wanted, strict=True):
        assert float(f"{mine:.12g}") == pytest.approx(theirs, rel=1.1e-12, abs=0)
    assert found.f_star > math.exp(found.x_star)
    # Six digits, as in the article.
    assert f"{found.x_star:.6g}" == f"{wanted[0]:.6g}"


def test_minima_are_zeros_of_the_derivative_and_move_towards_minus_w() -> None:
    for order in (*range(2, 41, 2), 100, 500, 1000):
        x, f = taylor_min(order=order)
        assert type(x) is float and type(f) is float
        assert x**2 / order**2 < 1 and f > math.exp(x)
        if order <= 20:
            assert abs(x - oracle.stationary(order)) < 1e-9
    slopes = [taylor_min(order=n).x_star / n for n in (2, 10, 40, 100, 500, 1000)]
    limit = -0.2784645427610738  # -W(1/e), the root of w exp(w) = 1/e
    assert abs(-limit * math.exp(-limit) - math.exp(-1)) < 1e-15
    gaps = [limit - slope for slope in slopes]
    assert all(b < a for a, b in itertools.pairwise(gaps)) and 0 < gaps[-1] < 2e-3
    assert taylor_min(order=4) is taylor_min(order=np.int64(4))  # cached


@pytest.mark.parametrize("order", EVEN)
def test_even_orders_are_positive_and_at_least_the_minimum(order: int) -> None:
    draw = np.random.default_rng(order)
    x = np.concatenate([grid(order), draw.normal(0, order, 2000)])
    values = np.asarray(taylor_exp(jnp.asarray(x), order=order))
    low = taylor_min(order=order)
    assert (values > 0).all() and values.min() >= low.f_star * (1 - 1e-7)
    at = float(taylor_exp(jnp.asarray(low.x_star), order=order))
    assert at == pytest.approx(low.f_star, rel=1e-7)  # equality is reached


@pytest.mark.parametrize("order", EVEN)
def test_even_orders_have_one_stationary_point_and_odd_ones_one_zero(order) -> None:
    x = np.linspace(-3.1 * order, 2.9 * order, 5987)
    slopes = np.asarray(taylor(jnp.asarray(x), order - 1))
    assert (np.diff(np.sign(slopes)) != 0).sum() == 1  # the odd f_{n-1}: one zero
    assert slopes[x < taylor_min(order=order).x_star - 1e-3].max() < 0
    assert x[slopes > 0].min() < 0
    odd = np.asarray(taylor(jnp.asarray(x), order - 1))
    assert (np.diff(odd) > -1e-9 * np.abs(odd[1:])).all()  # and strictly increasing


def test_order_2_is_a_square_and_the_monotone_one_a_clipped_square() -> None:
    x = np.random.default_rng(0).normal(0, 3, 1000)
    plain = taylor_exp(jnp.asarray(x), order=2)
    np.testing.assert_allclose(plain, (1 + (1 + x) ** 2) / 2, rtol=1e-14)
    clipped = taylor_exp(jnp.asarray(x), order=2, monotone=True)
    wanted = 0.5 + 0.5 * np.maximum(1 + x, 0) ** 2
    np.testing.assert_allclose(clipped, wanted, rtol=1e-14)


@pytest.mark.parametrize("order", [*TABLE, 24])
def test_the_derivative_is_the_polynomial_one_order_lower(order: int) -> None:
    x = jnp.asarray(np.random.default_rng(order).normal(0, 4, 1000))
    _, slope = jax.jvp(lambda x: taylor_exp(x, order=order), (x,), (jnp.ones(1000),))
    wanted = oracle.polynomial(np.asarray(x), order - 1)
    np.testing.assert_allclose(slope, wanted, rtol=1e-7, atol=1e-9)
    curve = jax.vmap(jax.grad(jax.grad(lambda x: taylor_exp(x, order=order))))(x)
    wanted = oracle.polynomial(np.asarray(x), order - 2)
    np.testing.assert_allclose(curve, wanted, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("order", TABLE)
def test_exp_lies_above_to_the_right_and_below_to_the_left(order: int) -> None:
    x = np.random.default_rng(order).uniform(-12, 12, 2000)
    x = x[np.abs(x) > 0.2]
    gap = np.exp(x) - np.asarray(taylor_exp(jnp.asarray(x), order=order))
    assert (np.sign(gap) == np.sign(x)).all()
    assert float(taylor_exp(jnp.zeros(()), order=order)) == 1  # equality at 0


def test_the_table_of_ratios_to_exp() -> None:
    card = {1: "0.920", -1: "1.359", 2: "0.677", 4: "0.238", -2: "7.389"}
    for x, wanted in card.items():
        ratio = float(taylor_exp(jnp.asarray(float(x)), order=2)) / math.exp(x)
        assert f"{ratio:.3f}" == wanted, x


@pytest.mark.parametrize("order", [*TABLE, 24])
def test_monotone_is_flat_below_the_minimum_and_once_differentiable(order) -> None:
    x_star, f_star = taylor_min(order=order)
    step = np.linspace(0, 3 * order, 500)
    below, above = (
        np.asarray(taylor_exp(jnp.asarray(x), order=order, monotone=True))
        for x in (x_star - step, x_star + step)
    )
    np.testing.assert_allclose(below, f_star, rtol=1e-7)
    assert (np.diff(above[1:]) > 0).all()
    for form in (taylor_exp, log_taylor_exp):
        slope = jax.vmap(jax.grad(lambda x, f=form: f(x, order=order, monotone=True)))
        assert (slope(jnp.asarray(x_star - step[1:])) == 0).all()
        assert (slope(jnp.asarray(x_star + step[1:])) > 0).all()
        assert abs(slope(jnp.asarray([x_star + 1e-7]))[0]) < 1e-6  # C1 at the joint


@pytest.mark.parametrize("order", EVEN)
def test_float32_stays_positive_up_to_order_24(order: int) -> None:
    x = jnp.asarray(np.linspace(-2.0 * order, 0, 200_001), jnp.float32)
    assert float(taylor_exp(x, order=order).min()) > 0
    assert np.isfinite(np.asarray(log_taylor_exp(x, order=order))).all()


def test_where_plain_horner_loses_the_sign() -> None:
    def smallest(order: int, dtype: str, low: float, high: float) -> float:
        # NumPy, since XLA computes float16 in float32 on a CPU.
        x = np.linspace(low, high, 100_001).astype(dtype)
        total = np.ones_like(x)
        for k in range(order, 0, -1):
            total = x.dtype.type(1) + x * total / x.dtype.type(k)
        return float(total.min())

    assert smallest(30, "float32", -9.6, -9.0) <= 0
    assert smallest(12, "float16", -12, 0) > 0 >= smallest(14, "float16", -14, 0)
    for order in (14, 16):  # ours accumulates in float32
        x = jnp.asarray(np.linspace(-14, 0, 10_001), jnp.float16)
        assert taylor_exp(x, order=order).dtype == jnp.float16
        assert float(taylor_exp(x, order=order).min()) > 0


LIMITS = {
    "float16": (360, 34, 17.8, 13.7, 12.2),
    "float32": (2.6e19, 9.5e9, 7.9e6, 2.5e5, 3.2e4),
    "bfloat16": (2.6e19, 9.5e9, 7.9e6, 2.5e5, 3.2e4),
}


@pytest.mark.parametrize("dtype", LIMITS)
def test_the_polynomial_overflows_where_the_card_says(dtype: str) -> None:
    for order, limit in zip(TABLE, LIMITS[dtype], strict=True):
        for factor, finite in ((0.95, True), (1.06, False)):
            x = jnp.asarray([factor * limit], dtype)
            assert bool(jnp.isfinite(taylor_exp(x, order=order))[0]) == finite, order
            assert bool(jnp.isfinite(log_taylor_exp(x, order=order))[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("order", [*TABLE, 12, 16, 24])
def test_log_is_exact_at_every_magnitude(order: int, dtype: str) -> None:
    # The card: 2e-6 (n = 2) to 1.5e-5 (n = 10) in float32; beyond, exp(0.62 n).
    x = np.asarray(jnp.asarray(grid(order, 801), dtype), np.float64)
    wanted = exact_log(x, order)
    found = np.asarray(log_taylor_exp(jnp.asarray(x, dtype), order=order), np.float64)
    unit = np.finfo(dtype).eps
    worst = np.abs(found - wanted).max()
    assert worst <= 3 * (np.abs(wanted).max() + math.exp(0.62 * order)) * unit
    if dtype == "float32" and order <= 10:
        assert worst <= {2: 2.5e-6}.get(order, 2e-5)
    far = np.abs(x) > 2 * order  # no cancellation in this branch
    error = np.abs(found - wanted)[far] / np.maximum(np.abs(wanted[far]), 1)
    assert error.max() < 8 * unit


def test_log_is_precise_near_0_where_log_of_the_polynomial_is_not() -> None:
    x = jnp.asarray([1e-9, -3e-8, 1e-5], jnp.float32)
    np.testing.assert_allclose(log_taylor_exp(x, order=4), x, rtol=1e-6)


@pytest.mark.parametrize("order", [*TABLE, 24])
def test_slope_of_the_log_at_every_magnitude(order: int) -> None:
    x = grid(order, 801)
    x = np.concatenate([x, [1e30, -1e30, 2.0 * order, -2.0 * order]])
    slope = jax.vmap(jax.grad(lambda x: log_taylor_exp(x, order=order)))
    found = np.asarray(slope(jnp.asarray(x)))
    big = np.abs(x) > 1e6
    wanted = oracle.polynomial(x[~big], order - 1) / oracle.polynomial(x[~big], order)
    np.testing.assert_allclose(found[~big], wanted, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(found[big], order / x[big], rtol=1e-4)
    for dtype in (jnp.float32, jnp.bfloat16):
        assert np.isfinite(np.asarray(slope(jnp.asarray(x, dtype)), np.float32)).all()


@pytest.mark.parametrize("order", [2, 6, 10])
def test_first_and_second_derivatives_are_consistent(order: int) -> None:
    edges = 2.0 * order * np.array([-1.5, -1, -0.6, -0.2, 0.3, 0.99, 1.01, 4])
    x = jnp.asarray(edges + 0.013)
    for monotone in (False, True):
        form = lambda x, m=monotone: log_taylor_exp(x, order=order, monotone=m)  # noqa: E731
        check_grads(form, (x,), order=2, atol=1e-6, rtol=1e-6)


def test_infinite_mode_has_slope_1_and_the_same_value() -> None:
    x = jnp.asarray(np.random.default_rng(0).normal(0, 9, 1000))
    for order in TABLE:
        mode = lambda x, n=order: log_taylor_exp(x, order=n, grad_mode="infinite")  # noqa: E731
        value, slope = jax.vmap(jax.value_and_grad(mode))(x)
        assert (value == log_taylor_exp(x, order=order)).all() and (slope == 1).all()
    clipped = jax.vmap(
        jax.grad(
            lambda x: log_taylor_exp(x, order=2, monotone=True, grad_mode="infinite")
        )
    )(x)
    assert (clipped == (x > -1)).all()


def test_infinities_and_nan_pass_through() -> None:
    x = jnp.asarray([jnp.inf, -jnp.inf, jnp.nan, 0.0])
    for form in (taylor_exp, log_taylor_exp):
        found = form(x, order=4)
        assert found[0] == found[1] == jnp.inf and jnp.isnan(found[2])
    slope = jax.vmap(jax.grad(lambda x: log_taylor_exp(x, order=4)))(x)
    assert slope[0] == slope[1] == 0 and jnp.isnan(slope[2]) and slope[3] == 1


@pytest.mark.parametrize("order", [1, 3, 5, 7, 25])
@pytest.mark.parametrize("form", [taylor_exp, log_taylor_exp])
def test_odd_orders_are_refused_when_traced(form, order: int) -> None:
    with pytest.raises(ValueError, match=rf"{form.__name__}: `order` .* got {order}"):
        jax.eval_shape(lambda x: form(x, order=order), jnp.ones(3))
    # The reason: an odd polynomial has a zero, where a logarithm would be NaN.
    assert (oracle.polynomial(np.linspace(-30, 0, 100), order) < 0).any()
