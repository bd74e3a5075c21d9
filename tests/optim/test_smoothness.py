"""Relaxed smoothness: which bounds hold, for theta^4 and others, and which do not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.optim import (
    descent_bound,
    fit_relaxed_smoothness,
    gradient_bound,
    hessian_norm,
    relaxed_gd,
    relaxed_step_size,
    trajectory_smoothness,
    value_bound,
)

PAIRS = ((16.0, 1.0), (4.0, 2.0), (64.0, 0.5))
DRAWS = 200_000


def quartic(x):
    return x**4


@functools.cache
def draws() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return 5 * rng.normal(size=DRAWS), 3 * rng.normal(size=DRAWS)


@pytest.mark.parametrize(("l0", "l1"), PAIRS)
def test_quartic_has_the_hessian_form_iff_l0_l1_squared_is_16(l0, l1) -> None:
    theta = np.linspace(-10, 10, 4001)

    def slack(l0):
        return l0 + l1 * 4 * np.abs(theta) ** 3 - 12 * theta**2

    assert l0 * l1**2 == 16
    assert slack(l0).min() >= -1e-9
    tight = l0 + l1 * 4 * (2 / l1) ** 3 - 12 * (2 / l1) ** 2
    assert tight == pytest.approx(0, abs=1e-9)
    assert slack(0.99 * l0).min() < 0  # a smaller constant does not do


def test_quartic_has_not_the_difference_form_of_the_article() -> None:
    # At 0 the gradient is 0: |grad(d)| = 4 |d|^3 <= l0 |d| ends at |d| = sqrt(l0) / 2.
    for l0, l1 in PAIRS:
        for d, holds in (
            (0.99 * np.sqrt(l0) / 2, True),
            (1.01 * np.sqrt(l0) / 2, False),
        ):
            assert (4 * d**3 <= (l0 + l1 * 0.0) * d) == holds
            exact = gradient_bound(jnp.array(0.0), jnp.asarray(d), l0=l0, l1=l1)
            assert 4 * d**3 <= float(exact)


@pytest.mark.parametrize(("l0", "l1"), PAIRS)
def test_exponential_bounds_hold_for_the_quartic_and_the_quadratic_fails(l0, l1):
    theta, step = draws()
    norm, distance = np.abs(4 * theta**3), np.abs(step)
    gap = (theta + step) ** 4 - theta**4 - 4 * theta**3 * step
    change = np.abs(4 * (theta + step) ** 3 - 4 * theta**3)
    arguments = jnp.asarray(norm), jnp.asarray(distance)
    values = np.asarray(value_bound(*arguments, l0=l0, l1=l1))
    changes = np.asarray(gradient_bound(*arguments, l0=l0, l1=l1))
    assert (gap <= values * (1 + 1e-9) + 1e-9).all()
    assert (change <= changes * (1 + 1e-9) + 1e-9).all()
    quadratic = (l0 + l1 * norm) * distance**2 / 2
    failed = float((gap > quadratic).mean())
    assert failed > 0.1
    if l0 == 16:
        assert failed == pytest.approx(0.26, abs=0.02)


def test_exponential_bounds_are_reached_by_the_hyperbolic_cosine() -> None:
    # f = l0 / l1^2 cosh(l1 x) is relaxed smooth with these constants.
    l0, l1 = 3.0, 0.7
    x = np.linspace(-8, 8, 401)
    norm = np.abs(l0 / l1 * np.sinh(l1 * x))
    hessian = l0 * np.cosh(l1 * x)
    assert (hessian <= l0 + l1 * norm + 1e-9).all()
    assert hessian[200] == pytest.approx(l0)  # equality at 0
    assert hessian[-1] / (l0 + l1 * norm[-1]) > 0.99
    # Far out and further out the gap approaches its bound.
    far, r = 20.0, 1.3
    f = lambda y: l0 / l1**2 * np.cosh(l1 * y)  # noqa: E731
    slope = l0 / l1 * np.sinh(l1 * far)
    gap = f(far + r) - f(far) - slope * r
    bound = value_bound(jnp.asarray(slope), jnp.asarray(r), l0=l0, l1=l1)
    assert 0.9999 < gap / float(bound) <= 1 + 1e-12


def test_the_logarithmic_step_minimizes_the_bound() -> None:
    rng = np.random.default_rng(1)
    n, l0, l1 = rng.uniform(1e-3, 20, 1000), 2.0, 0.8
    at = lambda step: np.asarray(  # noqa: E731
        descent_bound(jnp.asarray(n), jnp.asarray(step), l0=l0, l1=l1)
    )
    best = np.asarray(relaxed_step_size(jnp.asarray(n), l0=l0, l1=l1, rule="log"))
    inverse = np.asarray(relaxed_step_size(jnp.asarray(n), l0=l0, l1=l1))
    for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2.0):
        assert (at(best * factor) > at(best)).all()
    assert (at(inverse) >= at(best) - 1e-12).all()
    # The article's step has a guarantee of 3 - e times step n^2, not of one half.
    guarantee = (3 - np.e) * inverse * n**2
    assert (at(inverse) <= -guarantee * (1 - 1e-9)).all()
    assert (at(inverse) > -inverse * n**2 / 2).all()
    far = descent_bound(
        jnp.asarray(1e9), jnp.asarray(1 / (l0 + l1 * 1e9)), l0=l0, l1=l1
    )
    assert float(far) / (1e9**2 / (l0 + l1 * 1e9)) == pytest.approx(-(3 - np.e), 1e-6)


def test_descent_is_sure_below_1_2564_times_the_inverse_step_and_not_above() -> None:
    l0, l1, n = 1.0, 1.0, jnp.asarray(1e9)
    step = relaxed_step_size(n, l0=l0, l1=l1)
    for k, falls in ((1.0, True), (1.2563, True), (1.2566, False), (1.9, False)):
        assert (float(descent_bound(n, k * step, l0=l0, l1=l1)) < 0) == falls
    root = 1.2564
    assert np.exp(root) == pytest.approx(1 + 2 * root, abs=2e-4)


def test_bounds_without_l1_are_those_of_plain_smoothness() -> None:
    n, r = jnp.array([0.5, 3.0]), jnp.array([0.1, 2.0])
    np.testing.assert_allclose(value_bound(n, r, l0=3.0, l1=0.0), 1.5 * r**2)
    np.testing.assert_allclose(gradient_bound(n, r, l0=3.0, l1=0.0), 3 * r)
    # Near 0 the series meets the closed form.
    z = np.array([0.49999, 0.50001])
    found = value_bound(jnp.zeros(2), jnp.asarray(z), l0=1.0, l1=1.0)
    np.testing.assert_allclose(found, np.expm1(z) - z, rtol=1e-12)


# The card's table: steps of each rule from theta = 10 until the gradient is below 1e-3.
TABLE = {
    "descent": (lambda n: 1 / 1200.0 + 0 * n, 37_789),
    "descent, 1.9 times": (lambda n: 1.9 / 1200.0 + 0 * n, 19_883),
    "inverse": (lambda n: relaxed_step_size(n, l0=16.0, l1=1.0), 509),
    "log": (lambda n: relaxed_step_size(n, l0=16.0, l1=1.0, rule="log"), 514),
    "hard": (lambda n: jnp.minimum(1, 16 / jnp.maximum(n, 1e-9)) / 16, 507),
    "inverse (4, 2)": (lambda n: relaxed_step_size(n, l0=4.0, l1=2.0), 142),
}


def test_quartic_needs_the_steps_of_the_card() -> None:
    rules = [rule for rule, _ in TABLE.values()]

    def steps(rule):
        def more(carry):
            theta, _ = carry
            return jnp.abs(4 * theta**3) >= 1e-3

        def move(carry):
            theta, count = carry
            gradient = 4 * theta**3
            step = jax.lax.switch(rule, rules, jnp.abs(gradient))
            return theta - step * gradient, count + 1

        return jax.lax.while_loop(more, move, (jnp.asarray(10.0), 0))[1]

    found = jax.jit(steps)
    for place, (_, wanted) in enumerate(TABLE.values()):
        assert int(found(place)) == pytest.approx(wanted, rel=0.02)
    with np.errstate(over="ignore", invalid="ignore"):
        theta = np.float64(10.0)
        for _ in range(50):
            theta = theta - 0.02 * 4 * theta**3
        assert not np.isfinite(theta)  # a rate of 0.02 diverges


def test_quartic_is_passed_at_rates_above_one_over_four_theta_squared() -> None:
    """theta (1 - 4 rate theta^2): beyond 0 above 1 / (4 theta^2), out above twice that.

    The card's "eta >= 0.005 = 2 / (4 theta^2)" is where |theta| grows; the minimum is
    passed from 0.0025 on.
    """
    start, rates = 10.0, np.array([0.0024, 0.0026, 0.0049, 0.0051])
    after = start - rates * 4 * start**3
    np.testing.assert_array_equal(after < 0, [False, True, True, True])
    np.testing.assert_array_equal(np.abs(after) > start, [False, False, False, True])
    theta = np.full(4, start)
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(60):
            theta = theta - rates * 4 * theta**3
    np.testing.assert_array_equal(np.abs(theta) < 5, [True, True, True, False])


@pytest.mark.parametrize("degree", range(1, 9))
def test_polynomials_of_any_degree_are_relaxed_smooth_for_some_pair(degree) -> None:
    """|p''| <= l0 + l1 |p'|; with l1 = 0 only up to the degree 2.

    l1 = 1 does for any: beyond some place |p'| is the larger one, and before it |p''|
    is bounded, by the l0 that is found here on a range and holds ten times further.
    """
    rng = np.random.default_rng(degree)
    for _ in range(125):
        p = np.polynomial.Polynomial(rng.normal(size=degree + 1))
        first, second = p.deriv(1), p.deriv(2)
        # Beyond the real roots of p' - p'' and p' + p'' the first is the larger one.
        places = [
            np.abs((first + sign * second).roots()).max(initial=0.0) for sign in (1, -1)
        ]
        inside = np.linspace(-1, 1, 2001) * (max(places) + 1e-9)
        l0 = max(0.0, float((np.abs(second(inside)) - np.abs(first(inside))).max()))
        outside = np.geomspace(1, 10, 500) * (max(places) + 1e-9)
        for x in (outside, -outside):
            room = l0 + np.abs(first(x)) - np.abs(second(x))
            assert (room >= -1e-6 * (1 + np.abs(second(x)))).all()
        far = 1e3 * (1 + max(places))
        bounded = abs(second(far)) <= 100 * abs(second(far / 1e3)) + 1e-9
        assert bounded == (degree <= 2)


def test_relaxed_descent_is_the_rule_on_gradients() -> None:
    opt, g = relaxed_gd(16.0, 1.0, scale=0.5), jnp.array(4000.0)
    found = opt.update(g, opt.init(g))[0]
    assert float(found) == pytest.approx(-0.5 * 4000 / 4016)


def test_in_one_dimension_the_inverse_step_never_passes_the_minimum() -> None:
    # The distance to the next zero of f' is at least ln(1 + l1 n / l0) / l1.
    n, l0, l1 = np.geomspace(1e-6, 1e6, 2000), 3.0, 0.4
    least = np.log1p(l1 * n / l0) / l1
    moved = n * relaxed_step_size(jnp.asarray(n), l0=l0, l1=l1)
    assert (moved <= least * (1 + 1e-12)).all()
    theta = np.random.default_rng(2).normal(size=1000) * 10
    g = np.abs(4 * theta**3)
    moved = g * relaxed_step_size(jnp.asarray(g), l0=16.0, l1=1.0)
    assert (moved <= np.abs(theta)).all()
    # With half the l0, which theta^4 does not allow, some steps pass it.
    near = np.linspace(0.5, 4, 1000)
    g = 4 * near**3
    assert (g * relaxed_step_size(jnp.asarray(g), l0=0.5, l1=0.2) > near).any()


def test_trajectory_smoothness_of_a_quadratic_is_its_curvature() -> None:
    curves = jnp.array([1.0, 5.0])
    start, after = {"x": jnp.array([1.0, 1.0])}, {"x": jnp.array([1.0, 3.0])}
    gradient = lambda p: {"x": curves * p["x"]}  # noqa: E731
    found = trajectory_smoothness(gradient, start, after)
    assert float(found.smoothness) == pytest.approx(5)
    assert float(found.grad_norm) == pytest.approx(np.sqrt(26))
    still = trajectory_smoothness(gradient, start, start)
    assert float(still.smoothness) == 0


def test_hessian_norm_finds_negative_curvature_too() -> None:
    rng = np.random.default_rng(3)
    basis = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    hessian = basis @ np.diag([-9.0, 5, 3, 1, -1, 0.1]) @ basis.T
    hessian = jnp.asarray((hessian + hessian.T) / 2)

    def loss(p):
        x = jnp.concatenate([p["a"], p["b"]])
        return x @ hessian @ x / 2

    params = {"a": jnp.zeros(2), "b": jnp.ones(4)}
    found = hessian_norm(jax.random.key(0), loss, params, iters=60)
    assert float(found) == pytest.approx(9, rel=1e-9)


def test_envelopes_lie_above_every_pair_and_touch_two() -> None:
    rng = np.random.default_rng(4)
    n = rng.uniform(0, 5, (1000, 20))
    h = np.abs(1 + 2 * n + rng.normal(size=n.shape))
    l0, l1 = (
        np.asarray(x)
        for x in jax.jit(jax.vmap(fit_relaxed_smoothness))(
            jnp.asarray(n), jnp.asarray(h)
        )
    )
    slack = l0[:, None] + l1[:, None] * n - h
    assert (l0 >= 0).all() and (l1 >= 0).all()
    assert (slack >= -1e-9).all()
    touched = (slack < 1e-9).sum(1) + (l0 < 1e-12)
    assert (touched >= 1).all() and (touched >= 2).mean() > 0.9
    # The least squares line is exceeded by about half of the pairs.
    l0, l1 = (
        np.asarray(x)
        for x in jax.vmap(lambda n, h: fit_relaxed_smoothness(n, h, envelope=False))(
            jnp.asarray(n), jnp.asarray(h)
        )
    )
    exceeded = h > l0[:, None] + l1[:, None] * n
    assert 0.3 < exceeded[np.isfinite(l0)].mean() < 0.7


def test_the_least_l0_is_kept_where_a_curved_cloud_would_give_none() -> None:
    n = jnp.geomspace(0.01, 10, 30)
    assert fit_relaxed_smoothness(n, n**1.2).l0 == 0
    l0, l1 = fit_relaxed_smoothness(n, n**1.2, least_l0=0.3)
    assert float(l0) == pytest.approx(0.3) and (l0 + l1 * n >= n**1.2 - 1e-9).all()
    relaxed_gd(float(l0), float(l1))  # which refuses l0 = 0
    with pytest.raises(ValueError, match="l0"):
        relaxed_gd(0.0, 1.0)
    steep = fit_relaxed_smoothness(n, 1 + n, least_l0=0.3)
    np.testing.assert_allclose(steep, (1, 1), rtol=1e-12)


def test_slope_of_the_logarithmic_step_at_a_gradient_of_zero() -> None:
    l0, l1 = 2.0, 3.0

    def step(n):
        return relaxed_step_size(n, l0=l0, l1=l1, rule="log")

    # 1/l0 - 3 l1 n / (2 l0^2) + ...
    found = [float(jax.grad(step)(jnp.asarray(n))) for n in (0.0, 1e-7)]
    np.testing.assert_allclose(found, -1.5 * l1 / l0**2, rtol=1e-5)


def test_impossible_trends_are_refused() -> None:
    falling = fit_relaxed_smoothness(
        jnp.array([0.0, 1.0]), jnp.array([2.0, 1.0]), envelope=False
    )
    assert np.isnan(falling).all()
    l0, l1 = fit_relaxed_smoothness(jnp.array([0.0, 1.0]), jnp.array([2.0, 1.0]))
    assert (float(l0), float(l1)) == (2.0, 0.0)


def test_steps_of_the_relaxed_rule_do_not_grow_with_the_steepest_gradient() -> None:
    """theta^4 from 10 and 20: plain descent takes 4 times the steps, 1 / (12 start^2).

    The relaxed rule takes but those of ten units more, of length near 1 each.
    """

    @functools.partial(jax.jit, static_argnums=0)
    def steps(rate, start):
        def more(carry):
            return jnp.abs(4 * carry[0] ** 3) >= 1e-3

        def move(carry):
            g = 4 * carry[0] ** 3
            return carry[0] - rate(jnp.abs(g), start) * g, carry[1] + 1

        return jax.lax.while_loop(more, move, (start, 0))[1]

    def relaxed(n, start):
        return relaxed_step_size(n, l0=16.0, l1=1.0)

    def plain(n, start):
        return 1 / (12 * start**2)

    counts = {
        f: [int(steps(f, jnp.array(s))) for s in (10.0, 20.0)] for f in (relaxed, plain)
    }
    assert counts[relaxed][1] - counts[relaxed][0] <= 12
    assert counts[plain][1] / counts[plain][0] == pytest.approx(4, rel=0.02)


def test_plain_smoothness_has_its_best_step_at_1_over_l_and_descends_below_2() -> None:
    n, l0 = jnp.array([0.5, 3.0]), 3.0
    best = descent_bound(n, jnp.full(2, 1 / l0), l0=l0, l1=0.0)
    np.testing.assert_allclose(best, -(n**2) / (2 * l0))
    for factor, sign in ((1.99, -1), (2.01, 1)):
        found = descent_bound(n, jnp.full(2, factor / l0), l0=l0, l1=0.0)
        assert (np.sign(found) == sign).all()
