"""The regret of projected descent: below its bounds, at their edge, and where not."""

import functools
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
    optimal_constant_rate,
    regret,
    regret_bound,
    regret_bound_curve,
    trajectory_bound_curve,
    weighted_bound_curve,
)

COUNT, STEPS, RADIUS = 1000, 12, 1.5
SLACK = 1e-10


def loss(theta, batch):
    """Convex: a plane of any slope and a parabola of any curve, by adversaries."""
    off = theta - batch["center"]
    return jnp.vdot(batch["slope"], theta) + batch["curve"] / 2 * jnp.vdot(off, off)


def ball(theta):
    return optax.projections.projection_l2_ball(theta, RADIUS)


@functools.cache
def runs():
    """1,000 streams, in the ball with falling and with wild rates, and free."""
    rng = np.random.default_rng(0)
    batches = {
        "slope": rng.normal(size=(COUNT, STEPS, 3)),
        "curve": rng.exponential(size=(COUNT, STEPS)),
        "center": rng.normal(size=(COUNT, STEPS, 3)),
    }
    wild = 10 ** rng.uniform(-2, 1, (COUNT, STEPS))
    rates = {"falling": np.sort(wild)[:, ::-1], "wild": wild}
    start, other = RADIUS * rng.uniform(-0.5, 0.5, (2, COUNT, 3))
    steep = np.linalg.norm(batches["slope"], axis=-1)
    steep += batches["curve"] * (RADIUS + np.linalg.norm(batches["center"], axis=-1))

    def one(batches, rates, start, other, steep):
        found = {}
        for name, etas in rates.items():
            trace = online_sgd(
                loss,
                start,
                batches,
                schedule=lambda count, etas=etas: etas[count],
                projection=ball,
                comparator=other,
            )
            found[name] = (
                regret(trace.losses, loss, other, batches),
                trajectory_bound_curve(etas, trace.distances, trace.gradient_norms),
                regret_bound_curve(etas, 2 * RADIUS, steep.max()),
                jnp.cumsum(trace.excess) / jnp.arange(1, STEPS + 1),
            )
        small = rates["wild"] / 30
        free = online_sgd(
            loss, start, batches, schedule=lambda count: small[count], comparator=other
        )
        average = jnp.cumsum(small * free.excess) / jnp.cumsum(small)
        far, norm = free.distances[0], free.gradient_norms.max()
        return found, (average, weighted_bound_curve(small, far, norm))

    arrays = jax.tree.map(jnp.asarray, (batches, rates, start, other, steep))
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(*arrays))


@pytest.mark.parametrize("rates", ["falling", "wild"])
def test_holds_for_a_thousand_streams_after_every_step(rates) -> None:
    average, trajectory, theorem, _ = runs()[0][rates]
    assert (average <= trajectory + SLACK * np.abs(trajectory)).all()
    assert (trajectory <= theorem * (1 + SLACK)).all()
    assert (average < 0).any()  # a comparator may be worse than the run


def test_excess_of_the_trace_is_the_regret() -> None:
    for average, _, _, excess in runs()[0].values():
        np.testing.assert_allclose(average, excess, rtol=1e-9, atol=1e-12)


def test_on_any_domain_the_weighted_regret_is_below_its_bound() -> None:
    average, bound = runs()[1]
    assert (average <= bound * (1 + SLACK)).all()


def test_tight_for_one_step_on_a_line() -> None:
    # L = G theta on [-D/2, D/2] from D/2: the regret is D G, and so is the bound.
    diameter, steep = 3.0, 0.7
    eta = diameter / steep
    edge = jnp.array(diameter / 2)
    trace = online_sgd(
        lambda theta, g: g * theta,
        edge,
        jnp.array([steep]),
        schedule=lambda count: eta,
        projection=lambda p: jnp.clip(p, -edge, edge),
        comparator=-edge,
    )
    bounds = (
        regret_bound(jnp.array([eta]), diameter, steep),
        trajectory_bound_curve(trace.rates, trace.distances, trace.gradient_norms)[0],
    )
    np.testing.assert_allclose([trace.excess[0], *bounds], diameter * steep)


ZEROS = {  # rates: the theorem's and the run's bound finite at first, the weighted late
    (1.0, 0.5, 0.0, 0.0): (2, 4),
    (0.0, 0.0, 0.5, 0.5): (0, 2),
    (0.5, 0.0, 0.5, 0.25): (1, 4),
    (0.0, 0.5, 0.0, 0.0): (0, 3),
}


@pytest.mark.parametrize("rates", ZEROS)
def test_a_rate_of_zero_leaves_no_bound_and_no_nan(rates) -> None:
    finite, late = ZEROS[rates]
    etas, distances = jnp.array(rates), jnp.array([2.0, 1.5, 1.2, 1.0, 0.5])

    def curves(etas):
        return (
            regret_bound_curve(etas, 2.0, 1.0),
            trajectory_bound_curve(etas, distances, jnp.ones(4)),
            weighted_bound_curve(etas, 2.0, 1.0),
            last_iterate_bound(etas, 2.0, 1.0)[None],
        )

    known = [np.arange(4) < finite] * 2 + [np.arange(4) >= 4 - late]
    known.append(np.array([rates[-1] > 0]))
    for curve, there, slopes in zip(
        curves(etas), known, jax.jacrev(curves)(etas), strict=True
    ):
        np.testing.assert_array_equal(np.isfinite(curve), there)
        assert (np.asarray(curve)[~there] == np.inf).all()
        assert np.isfinite(slopes).all()
    # What is finite is what the same rates without the rest give.
    if finite:
        alone = etas[:finite]
        np.testing.assert_array_equal(
            curves(etas)[0][:finite], regret_bound_curve(alone, 2.0, 1.0)
        )
    assert regret_bound(etas, 2.0, 1.0) == np.inf
    # In a set of one point there is no regret for any rate.
    assert np.isfinite(regret_bound_curve(etas, 0.0, 1.0)).all()


def test_losses_are_those_before_the_step() -> None:
    batches = jnp.array([2.0, 1.0])
    trace = online_sgd(
        lambda p, g: g * p, jnp.array(1.0), batches, schedule=lambda count: 0.25
    )
    np.testing.assert_array_equal(trace.losses, [2.0, 0.5])
    np.testing.assert_array_equal(trace.mean, 0.75)
    assert trace.excess is None and trace.distances is None


def test_the_formula_of_the_article_is_false_for_rates_that_rise() -> None:
    # Idle steps from the wrong end, then a large one: D^2 / (2 T eta_T) sees only it.
    diameter, steep, steps = 2.0, 1.0, 5
    etas = jnp.array([1e-9] * (steps - 1) + [diameter / steep])
    edge = jnp.array(1.0)
    trace = online_sgd(
        lambda theta, g: g * theta,
        edge,
        jnp.full(steps, steep),
        schedule=lambda count: etas[count],
        projection=lambda p: jnp.clip(p, -1, 1),
        comparator=-edge,
    )
    average = float(trace.excess.mean())
    article = diameter**2 / (2 * steps * etas[-1]) + steep**2 * etas.sum() / (2 * steps)
    assert average > 2 * float(article)
    assert average <= float(regret_bound(etas, diameter, steep))


def test_bound_of_falling_rates_is_the_formula_of_the_article() -> None:
    etas = jnp.asarray(0.3 / np.sqrt(np.arange(1, 50)))
    article = 4 / (2 * 49 * etas[-1]) + 0.25 * etas.sum() / (2 * 49)
    np.testing.assert_allclose(regret_bound(etas, 2.0, 0.5), article, rtol=1e-12)


def test_random_signs_show_that_no_learner_beats_the_bound_by_far() -> None:
    # Losses +-G theta on [-D/2, D/2]: E regret = (D G / 2) E|sum of signs| / T, 0.399
    # D G / sqrt(T), against the bound D G / sqrt(T): within a factor of 2.51.
    steps, edge = 100, 0.5
    signs = np.random.default_rng(1).choice([-1.0, 1.0], (COUNT, steps))
    eta = float(optimal_constant_rate(1.0, 1.0, steps=steps))

    @jax.jit
    @jax.vmap
    def average(signs):
        best = -edge * jnp.sign(signs.sum())
        trace = online_sgd(
            lambda theta, g: g * theta,
            jnp.array(0.0),
            signs,
            schedule=lambda count: eta,
            projection=lambda p: jnp.clip(p, -edge, edge),
            comparator=best,
        )
        return trace.excess.mean()

    found = np.asarray(average(jnp.asarray(signs))) * math.sqrt(steps)
    assert found.max() <= 1
    # Six standard errors of the mean.
    assert abs(found.mean() - 0.399) < 6 * found.std() / math.sqrt(COUNT)


def test_optimal_rates_and_their_bounds() -> None:
    diameter, steep, steps = 3.0, 0.5, 400
    best = float(optimal_constant_rate(diameter, steep, steps=steps))

    def constant(eta):
        return float(regret_bound(jnp.full(steps, eta), diameter, steep))

    least = diameter * steep / math.sqrt(steps)
    np.testing.assert_allclose(constant(best), least, rtol=1e-12)
    assert min(constant(0.9 * best), constant(1.1 * best)) > least
    alpha = diameter / (math.sqrt(2) * steep)

    def falling(alpha):
        etas = sqrt_decay(alpha=alpha)(jnp.arange(steps))
        return float(regret_bound(etas, diameter, steep))

    assert math.sqrt(2) * 0.95 * least < falling(alpha) < math.sqrt(2) * least
    assert min(falling(0.8 * alpha), falling(1.25 * alpha)) > falling(alpha)
    # Twice the steps: half the squared bound. Losses times c at eta / c: c times it.
    twice = float(optimal_constant_rate(diameter, steep, steps=2 * steps))
    ratio = regret_bound(jnp.full(2 * steps, twice), diameter, steep) / least
    np.testing.assert_allclose(ratio**2, 0.5, rtol=1e-12)
    scaled = regret_bound(jnp.full(steps, best / 7), diameter, 7 * steep)
    np.testing.assert_allclose(scaled, 7 * least, rtol=1e-12)


def test_sums_of_inverse_roots() -> None:
    t = np.arange(1, 100_001)
    sums = np.cumsum(t**-0.5)
    assert (sums <= 2 * np.sqrt(t) - 1 + 1e-9).all()
    assert (sums >= 2 * np.sqrt(t + 1) - 2).all()
    assert sums[0] == 2 * math.sqrt(1) - 1  # equal at T = 1


def test_the_identity_behind_the_last_iterate() -> None:
    # Of any numbers q and any positive weights: 1,000 of each.
    rng = np.random.default_rng(5)
    q, w = rng.normal(size=(COUNT, 9)), 10 ** rng.uniform(-2, 1, (COUNT, 9))
    tail = np.cumsum(w[:, ::-1], axis=1)[:, ::-1]
    total = (w * q).sum(1) / tail[:, 0]
    for k in range(8):
        inner = (w[:, k:] * (q[:, k:] - q[:, k : k + 1])).sum(1)
        total = total + (1 / tail[:, k + 1] - 1 / tail[:, k]) * inner
    np.testing.assert_allclose(total, q[:, -1], atol=1e-11)


def test_the_last_iterate_obeys_its_bound_for_any_rates() -> None:
    # One convex loss, the largest of five planes: no mean over batches is needed.
    rng = np.random.default_rng(6)
    planes = jnp.asarray(rng.normal(size=(COUNT, 5, 3)))
    etas = jnp.asarray(10 ** rng.uniform(-2, 0, (COUNT, STEPS)))
    start, other = jnp.asarray(rng.normal(size=(2, COUNT, 3)))

    @jax.jit
    @jax.vmap
    def both(planes, etas, start, other):
        trace = online_sgd(
            lambda theta, _: jnp.max(planes @ theta),
            start,
            jnp.zeros(STEPS),
            schedule=lambda count: etas[count],
            comparator=other,
        )
        steep = jnp.linalg.norm(planes, axis=-1).max()
        return trace.excess[-1], last_iterate_bound(etas, trace.distances[0], steep)

    excess, bound = both(planes, etas, start, other)
    assert (excess <= bound * (1 + SLACK)).all()
    one = last_iterate_bound(jnp.array([2.0]), 2.0, 1.0)
    np.testing.assert_allclose(one, 2.0)  # equal for one step of D / G on a line


def test_only_a_line_to_zero_is_free_of_the_logarithm() -> None:
    def ends(shape):
        values = []
        for steps in (10**3, 10**5):
            t = jnp.arange(steps) / steps
            etas = shape(t, steps) / math.sqrt(steps)
            values.append(float(last_iterate_bound(etas, 1.0, 1.0)) * steps**0.5)
        return values

    constant = ends(lambda t, n: jnp.ones_like(t))
    falling = ends(lambda t, n: 1 / jnp.sqrt(t + 1 / n))
    line = ends(lambda t, n: 1 - t)
    # The logarithm of 10^5 is 4.6 more than that of 10^3.
    assert constant[1] - constant[0] > 2 and falling[1] - falling[0] > 0.4
    assert abs(line[1] - line[0]) < 0.1 and line[1] < 3


def test_logistic_regression_of_the_card_stays_below_the_bound() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2000, 20))
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    y = np.sign(x @ rng.normal(size=20) + 0.3 * rng.normal(size=2000))
    rows = rng.integers(0, 2000, 1000)
    batches = {"x": jnp.asarray(x[rows]), "y": jnp.asarray(y[rows])}
    rates = jnp.stack(
        [
            jnp.full(1000, 10 / math.sqrt(1000)),
            *(
                alpha / jnp.sqrt(jnp.arange(1.0, 1001))
                for alpha in (10 / math.sqrt(2), 1.0)
            ),
        ]
    )

    @jax.jit
    @jax.vmap
    def run(etas):
        f = lambda p, e: jnp.log1p(jnp.exp(-e["y"] * jnp.vdot(e["x"], p)))  # noqa: E731
        project = lambda p: optax.projections.projection_l2_ball(p, 5.0)  # noqa: E731
        trace = online_sgd(
            f, jnp.zeros(20), batches, schedule=lambda t: etas[t], projection=project
        )
        best = 5 * trace.params / jnp.linalg.norm(trace.params)
        return regret(trace.losses, f, best, batches), trace.gradient_norms.max()

    averages, norms = run(rates)
    assert norms.max() <= 1  # G of the logistic loss is the norm of x
    bounds = regret_bound_curve(rates, 10.0, 1.0)
    assert (averages <= bounds).all()
    np.testing.assert_allclose(
        bounds[:, -1] * math.sqrt(1000), [10, 14.0, 51], rtol=0.02
    )


PROJECTIONS = {
    "l2 ball": lambda v: optax.projections.projection_l2_ball(v, 1.0),
    "l1 ball": lambda v: optax.projections.projection_l1_ball(v, 1.0),
    "box": lambda v: optax.projections.projection_box(v, -0.5, 0.7),
    "simplex": lambda v: optax.projections.projection_simplex(v),
}


@pytest.mark.parametrize("name", PROJECTIONS)
def test_projections_do_what_the_proof_asks_of_them(name) -> None:
    rng = np.random.default_rng(3)
    out, other = 2 * rng.normal(size=(2, COUNT, 4))
    project = jax.jit(jax.vmap(PROJECTIONS[name]))
    near, inside = (np.asarray(project(jnp.asarray(v))) for v in (out, other))
    again = np.asarray(project(jnp.asarray(near)))
    np.testing.assert_allclose(again, near, atol=1e-12)
    turned = np.sum((near - inside) * (out - near), axis=-1)
    assert (turned >= -1e-12).all()
    squares = [np.sum((a - b) ** 2, -1) for a, b in ((out, inside), (near, inside))]
    assert (squares[0] >= squares[1] + np.sum((out - near) ** 2, -1) - 1e-12).all()
    assert (
        np.linalg.norm(near - inside, axis=-1)
        <= np.linalg.norm(out - other, axis=-1) + 1e-12
    ).all()


def test_gradient_bounds_of_the_common_losses() -> None:
    rng = np.random.default_rng(4)
    reach, size, radius = 2.0, 1.5, 3.0
    x, theta = rng.normal(size=(2, COUNT, 4))
    x *= size / np.linalg.norm(x, axis=-1, keepdims=True)
    theta *= radius / np.linalg.norm(theta, axis=-1, keepdims=True)
    y = rng.uniform(-reach, reach, COUNT)

    def norms(f):
        grads = jax.vmap(jax.grad(f))(*map(jnp.asarray, (theta, x, y)))
        return np.linalg.norm(np.asarray(grads), axis=-1)

    logistic = norms(lambda p, x, y: jnp.log1p(jnp.exp(-jnp.sign(y) * jnp.vdot(p, x))))
    hinge = norms(lambda p, x, y: jnp.maximum(0, 1 - jnp.sign(y) * jnp.vdot(p, x)))
    square = norms(lambda p, x, y: jnp.square(jnp.vdot(p, x) - y) / 2)
    assert logistic.max() <= size and hinge.max() <= size + 1e-12
    assert square.max() <= size * (size * radius + reach)
