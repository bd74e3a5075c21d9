"""Averaged iterates: below the theorem by Jensen, and in expectation; the last one."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kexue_jax.optim import sqrt_decay
from kexue_jax.theory import (
    last_iterate_bound,
    online_sgd,
    regret,
    regret_bound,
    weighted_bound_curve,
)

COUNT, STEPS, RADIUS = 1000, 12, 1.5
SLACK = 1e-10


def ball(theta):
    return optax.projections.projection_l2_ball(theta, RADIUS)


def test_the_weighted_bound_is_tight_for_the_same_step() -> None:
    # |theta_1 - theta| = D: (D^2 + G^2 eta^2) / (2 eta) = D G at eta = D / G alone.
    diameter, steep = 3.0, 0.7
    edge = jnp.array(diameter / 2)

    def both(eta):
        trace = online_sgd(
            lambda theta, g: g * theta,
            edge,
            jnp.array([steep]),
            schedule=lambda count: eta,
            comparator=-edge,
        )
        rates = jnp.array([eta])
        bound = weighted_bound_curve(rates, trace.distances[0], steep)[0]
        return float(trace.excess[0]), float(bound)

    excess, bound = both(diameter / steep)
    np.testing.assert_allclose([excess, bound], diameter * steep, rtol=1e-12)
    for factor in (0.9, 1.1):
        excess, bound = both(factor * diameter / steep)
        np.testing.assert_allclose(excess, diameter * steep, rtol=1e-12)
        assert bound > 1.004 * excess


def test_both_terms_of_the_last_iterates_bound_are_reached() -> None:
    # G |theta| from its minimum, where G is a subgradient: theta_2 = -eta G is as bad
    # as the bound says, eta G^2 / 2 from each of its terms. Another constant in either
    # of them, or another second rate, is not reached or is passed.
    steep, eta = 0.7, 0.3
    trace = online_sgd(
        lambda theta, _: steep * jnp.where(theta >= 0, theta, -theta),
        jnp.array(0.0),
        jnp.zeros(2),
        schedule=lambda count: eta,
        comparator=jnp.array(0.0),
    )
    bound = last_iterate_bound(trace.rates, trace.distances[0], steep)
    np.testing.assert_allclose([trace.excess[-1], bound], eta * steep**2, rtol=1e-12)
    for second in (0.5 * eta, 2 * eta):
        more = last_iterate_bound(jnp.array([eta, second]), 0.0, steep)
        assert more > 1.1 * bound
    # Of a constant rate: (D^2 / eta + G^2 eta T (1 + H_{T-1})) / 2 T.
    steps, distance = 50, 2.0
    harmonic = np.sum(1 / np.arange(1, steps))
    wanted = distance**2 / (eta * steps) + steep**2 * eta * (1 + harmonic)
    found = last_iterate_bound(jnp.full(steps, eta), distance, steep)
    np.testing.assert_allclose(found, wanted / 2, rtol=1e-12)


def test_the_average_weighted_by_rates_obeys_the_bound_on_one_loss() -> None:
    # One convex loss throughout: Jensen brings the bound to the average itself.
    f = lambda theta, _: jnp.sum(jnp.sqrt(1 + theta**2))  # noqa: E731
    start, rate = jnp.array([3.0, -2.0]), sqrt_decay(alpha=0.5)
    trace = online_sgd(f, start, jnp.zeros(200), schedule=rate, comparator=jnp.zeros(2))
    bound = weighted_bound_curve(trace.rates, trace.distances[0], math.sqrt(2))[-1]
    assert float(f(trace.weighted_mean, None)) - 2 <= float(bound)


def test_the_uniform_average_obeys_the_theorem_on_one_loss_a_thousand_times() -> None:
    # One convex loss, the largest of five planes, in the ball: by Jensen the average of
    # the points is below the average of the losses, and that below the theorem.
    rng = np.random.default_rng(7)
    planes = jnp.asarray(rng.normal(size=(COUNT, 5, 3)))
    etas = jnp.asarray(np.sort(10 ** rng.uniform(-2, 1, (COUNT, STEPS)))[:, ::-1])
    start, other = jnp.asarray(RADIUS * rng.uniform(-0.5, 0.5, (2, COUNT, 3)))

    @jax.jit
    @jax.vmap
    def both(planes, etas, start, other):
        f = lambda theta: jnp.max(planes @ theta)  # noqa: E731
        trace = online_sgd(
            lambda theta, _: f(theta),
            start,
            jnp.zeros(STEPS),
            schedule=lambda count: etas[count],
            projection=ball,
            comparator=other,
        )
        steep = jnp.linalg.norm(planes, axis=-1).max()
        bound = regret_bound(etas, 2 * RADIUS, steep)
        return f(trace.mean) - f(other), trace.excess.mean(), bound

    of_mean, mean, bound = both(planes, etas, start, other)
    assert (of_mean <= mean + SLACK).all()
    assert (of_mean < mean - 1e-3).mean() > 0.5  # strictly, so the two are told apart
    assert (mean <= bound * (1 + SLACK)).all()


def test_the_expected_loss_of_the_average_obeys_the_theorem_for_drawn_rows() -> None:
    # Hinge losses of rows drawn alike, against one fixed point: the mean over many runs
    # of the population's loss at the average, within six standard errors.
    rng = np.random.default_rng(8)
    x = rng.normal(size=(50, 3))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = jnp.asarray(np.sign(x[:, 0] + 0.3 * rng.normal(size=50)))
    x, rows = jnp.asarray(x), jnp.asarray(rng.integers(0, 50, (COUNT, 40)))
    other = jnp.array([RADIUS, 0.0, 0.0])
    rate = sqrt_decay(alpha=math.sqrt(2) * RADIUS)

    def hinge(theta, row):
        return jnp.maximum(0, 1 - y[row] * jnp.vdot(x[row], theta))

    def population(theta):
        return jax.vmap(hinge, (None, 0))(theta, jnp.arange(50)).mean()

    @jax.jit
    @jax.vmap
    def run(rows):
        trace = online_sgd(
            hinge, -other, rows, schedule=rate, projection=ball, comparator=other
        )
        gap = population(trace.mean) - population(other)
        return gap, trace.excess.mean(), trace.gradient_norms.max(), trace.rates

    gap, excess, norms, rates = (np.asarray(part) for part in run(rows))
    bound = float(regret_bound(jnp.asarray(rates[0]), 2 * RADIUS, 1.0))
    error = gap.std() / math.sqrt(COUNT)
    assert norms.max() <= 1 + 1e-12
    assert gap.mean() + 6 * error <= bound
    assert gap.mean() <= excess.mean() + 6 * error
    assert gap.mean() > 0.02 * bound  # above 0: the start is on the wrong side


@pytest.mark.parametrize(
    ("steps", "wanted"), [(100, (1.0, 1.364, 5.09)), (10**5, (0.0316, 0.0447, 0.161))]
)
def test_bounds_of_the_card_by_schedule(steps, wanted) -> None:
    """D = 10 and G = 1: the best constant, the falling one of its size, 1 / sqrt(t)."""
    root = jnp.sqrt(jnp.arange(1.0, steps + 1))
    etas = jnp.stack([jnp.full(steps, 10 / steps**0.5), 10 / 2**0.5 / root, 1 / root])
    found = jax.vmap(lambda eta: regret_bound(eta, 10.0, 1.0))(etas)
    np.testing.assert_allclose(found, wanted, rtol=3e-3)


def test_losses_times_c_at_rates_over_c_have_c_times_the_regret() -> None:
    g = jnp.asarray(np.random.default_rng(0).normal(size=30))

    def run(c):
        return online_sgd(
            lambda theta, b: c * b * theta,
            jnp.array(0.3),
            g,
            schedule=lambda count: 0.1 / c,
            projection=lambda theta: jnp.clip(theta, -1, 1),
            comparator=jnp.array(-1.0),
        )

    np.testing.assert_allclose(run(7.0).excess, 7 * run(1.0).excess, rtol=1e-9)


def test_sums_of_many_float32_losses_are_kept() -> None:
    """10^5 losses of 0.1: adding them up one by one in float32 loses four digits."""
    losses = jnp.full(100_000, 0.1, jnp.float32)
    found = regret(losses, lambda p, b: p * b, jnp.float32(0), jnp.zeros_like(losses))
    exact = float(np.float32(0.1))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, exact, rtol=2e-6)
    total = np.cumsum(np.asarray(losses))[-1]
    assert abs(total / 1e5 / exact - 1) > 1e-4
