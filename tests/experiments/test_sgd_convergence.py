"""sgd_convergence: schedules, problem and rules on cases that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments._convergence import claims, runs
from experiments._convergence.runs import SCHEDULES, Beyond, Problem, Ran
from experiments._harness.data import load_images

HORIZONS = (100, 1000)
SEEDS = 3


def curve(size, horizon, power=-0.5):
    return np.full((SEEDS, horizon), size * horizon**power)


def ran(horizon, size=1.0, power=-0.5):
    gaps = [np.full(SEEDS, g) for g in (0.1, 0.1, 0.2)]
    regret = curve(size, horizon, power)
    return Ran(regret, 2 * regret, curve(10 * size, horizon), *gaps)


def with_last(found, gap):
    return found._replace(gap_last=np.full(SEEDS, gap))


def report():
    """What the article says, in numbers; linear decay has the largest regret."""
    sizes = {"const": 1.0, "sqrt": 2.0, "linear": 3.0}
    found = {n: {h: ran(h, s) for h in HORIZONS} for n, s in sizes.items()}
    found["linear"] = {h: with_last(r, 0.15) for h, r in found["linear"].items()}
    flat = np.full(HORIZONS[-1], 0.5)
    return claims.Report(found, {"const": Beyond(flat, flat, 2 * flat)})


def verdicts(found):
    return [claim.verdict for claim in claims.all_claims(found)]


def test_every_claim_is_confirmed_where_all_is_as_the_article_says() -> None:
    assert set(verdicts(report())) == {"confirmed"}


def replaced(place):
    found = report()
    rows = {name: dict(by_horizon) for name, by_horizon in found.runs.items()}
    last = HORIZONS[-1]
    if place == 0:
        rows["const"][last] = rows["const"][last]._replace(theorem=curve(0.5, last))
    if place == 1:
        rows["const"][last] = rows["const"][last]._replace(theorem=curve(30.0, last))
    if place == 2:
        rows["sqrt"] = {h: ran(h, 0.1, power=0.0) for h in HORIZONS}
    if place == 3:
        rows["const"][last] = ran(last, 2.5)
    if place == 4:  # in the reversed order
        for name, size in (("const", 3.0), ("linear", 1.0)):
            rows[name][last] = rows[name][last]._replace(regret=curve(size, last))
    if place == 5:
        rows["linear"][last] = ran(last, 0.5)
    if place == 6:
        for name in ("const", "sqrt"):
            worse = rows[name][last]._replace(gap_mean=np.full(SEEDS, 0.3))
            rows[name][last] = worse
    networks = dict(found.networks)
    if place == 7:
        rows["linear"][last] = with_last(rows["linear"][last], 0.3)
    if place == 8:
        networks["const"] = networks["const"]._replace(trajectory=np.zeros(last))
    return claims.Report(rows, networks)


@pytest.mark.parametrize("place", range(9))
def test_each_claim_is_refuted_where_it_is_false(place) -> None:
    assert verdicts(replaced(place))[place] == "refuted"


def with_slope(name, power, spread=0.0):
    """The report whose regrets of a schedule fall so, seeds apart by ``spread``."""
    found = report()
    powers = power + spread * np.array([[-1.0], [0.0], [1.0]])
    rows = {h: ran(h, 5.0) for h in HORIZONS}
    rows = {
        h: r._replace(regret=np.full((SEEDS, h), 5.0 * h**powers))
        for h, r in rows.items()
    }
    return claims.Report({**found.runs, name: rows}, found.networks)


def test_a_slower_fall_than_the_bound_is_not_confirmed() -> None:
    """Not by a hair more than the standard error of the seeds."""
    for name, power, spread, verdict in (
        ("inv_sqrt", -0.5, 0.0, "confirmed"),
        ("inv_sqrt", -0.49, 0.0, "qualified"),
        ("inv_sqrt", -0.49, 0.02, "confirmed"),
        ("inv_sqrt", -0.49, 0.01, "qualified"),
        ("const", -0.49, 0.0, "refuted"),
    ):
        assert verdicts(with_slope(name, power, spread))[2] == verdict


def test_all_schedules_but_warm_up_never_rise_and_end_above_zero() -> None:
    t = np.arange(1, 1001)
    for name, rates in SCHEDULES.items():
        etas = rates(t, 1000, 40.0, 1.4)
        assert etas.shape == (1000,) and (etas > 0).all()
        assert (np.diff(etas) <= 0).all() == (name != "warmup")


def test_rows_have_length_one_and_gradients_below_the_bound() -> None:
    task = runs.problem(load_images("digits"), 20.0)
    np.testing.assert_allclose(np.linalg.norm(task.x, axis=1), 1, rtol=1e-12)
    w = jnp.asarray(np.random.default_rng(0).normal(size=(10, 64)) * 5)
    rows = {"x": jnp.asarray(task.x[:50]), "y": jnp.asarray(task.y[:50])}
    grads = jax.vmap(jax.grad(runs.loss), (None, 0))(w, rows)
    assert jnp.linalg.norm(grads.reshape(50, -1), axis=-1).max() <= task.steepness


def test_the_best_point_is_no_worse_than_others_of_the_ball() -> None:
    rng = np.random.default_rng(1)
    x, y = jnp.asarray(rng.normal(size=(30, 4)) / 4), jnp.asarray(np.arange(30) % 3)
    weights = jnp.full(30, 1 / 30)
    found = runs.best(x, y, weights, 6.0, 3)
    assert jnp.linalg.norm(found) <= 3 + 1e-9

    def total(w):
        return -jax.nn.log_softmax(x @ w.T)[jnp.arange(30), y].mean()

    for _ in range(20):
        other = runs.ball(found + 0.1 * jnp.asarray(rng.normal(size=(3, 4))), 6.0)
        assert total(found) <= total(other) + 1e-9


def test_bounds_hold_on_a_small_stream() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(20, 3))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    task = Problem(x, np.arange(20) % 2, 2, 4.0, np.sqrt(2))
    for found in runs.run(task, ("sqrt", "warmup"), 50, (0, 1)).values():
        assert found.regret.shape == (2, 50)
        assert (found.regret <= found.trajectory + 1e-9).all()
        assert (found.trajectory <= found.theorem + 1e-9).all()
