"""The experiment gan_gradient_norm: how its claims are judged, and its games."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments._gan import claims, players, training
from experiments._gan.measures import COLUMNS, ring_scores
from experiments._gan.players import LOSSES, METHODS, Plan, Task
from experiments._gan.training import PATHS, POINTS, WORST, Cell, Outcome, bounded

SEEDS = [0, 1, 2]
CELLS = [Cell(loss, seed) for loss in LOSSES for seed in SEEDS]
RING = Task("ring", np.zeros((1, 2), np.float32), 2)
PLAN = Plan("gn", 3, 4, 6, 2, (1e-3, 1e-3), 0.1)


def outcome(
    energy=0.1, seconds=1.0, memory=1.0, slope=0.9, quotient=5.0, noise=0.0
) -> Outcome:
    falling = np.linspace(2, 1, POINTS)
    return Outcome(
        {cell: np.zeros((4, 2)) for cell in CELLS},
        {cell: (energy + noise * cell.seed) * falling for cell in CELLS},
        {cell: np.full((2, 3), slope) for cell in CELLS},
        {cell: np.full((2, 3), quotient) for cell in CELLS},
        seconds,
        memory,
    )


def report(gaps=1e-12, **by_method) -> claims.Report:
    """Games on the ring of the methods, their energy distances 0.1 unless given."""
    outcomes = {
        ("ring", name): outcome(**by_method.get(name, {}))
        for name in ("gp", "gn", "none")
    }
    scores = {
        key: {
            cell: {
                **dict.fromkeys(COLUMNS["ring"], 0.0),
                "energy": float(found.energy[cell][-1]),
            }
            for cell in CELLS
        }
        for key, found in outcomes.items()
    }
    values = gaps, 1e-3, 1e-2, 1e-2
    paths = {n: np.full((3, 4), v) for n, v in zip(PATHS, values, strict=True)}
    return claims.Report(outcomes, scores, LOSSES, SEEDS, paths)


@pytest.mark.parametrize(
    ("gn", "verdict"),
    [
        ({"energy": 0.2}, "confirmed"),
        ({"energy": 0.1}, "refuted"),
        ({"energy": 0.05}, "refuted"),
        ({"energy": 0.11, "noise": 0.2}, "refuted"),
    ],
)
def test_differences_are_judged_by_two_standard_errors(gn, verdict) -> None:
    claim = claims._better(report(gn=gn), "words", "gp", "gn", None)
    assert claim.verdict == verdict


def test_equal_time_looks_where_the_cheaper_one_ends() -> None:
    # GN is better at its end, but takes four times as long.
    slow = {"energy": 0.08, "seconds": 4.0}
    at_end = claims._better(report(gn=slow), "words", "gp", "gn", None)
    assert at_end.verdict == "refuted"
    assert claims._equal_time(report(gn=slow)).verdict == "confirmed"
    assert claims._equal_time(report(gn={"energy": 0.08})).verdict == "refuted"


@pytest.mark.parametrize(
    ("gn", "verdict"),
    [
        ({}, "confirmed"),
        ({"slope": 1.01}, "refuted"),
        ({"quotient": 0.9}, "refuted"),
    ],
)
def test_bounds_are_of_gradients_and_not_of_quotients(gn, verdict) -> None:
    assert claims._bound(report(gn=gn), "gn").verdict == verdict


def test_every_claim_is_a_row_once() -> None:
    found = [claim.text for claim in claims.all_claims(report())]
    assert len(found) == len(set(found)) == 8
    assert all(table.rows for table in claims.tables(report()))


def test_slower_needs_time_and_memory_and_paths_every_seed() -> None:
    assert claims._slower(report(gn={"seconds": 2.0, "memory": 2.0})).verdict == (
        "confirmed"
    )
    assert claims._slower(report(gn={"seconds": 2.0})).verdict == "qualified"
    assert claims._slower(report()).verdict == "refuted"
    assert [c.verdict for c in claims._same_path(report())] == ["confirmed"] * 2
    assert claims._same_path(report(gaps=2.0))[0].verdict == "refuted"
    calm = report()
    for name in PATHS[1::2]:
        calm.gaps[name][1] = 1e-6
    assert claims._same_path(calm)[1].verdict == "refuted"


def test_what_is_not_finite_counts_as_worst() -> None:
    found = bounded(np.array([np.nan, np.inf, -np.inf, 2e3, 0.5]))
    np.testing.assert_array_equal(found, [WORST, WORST, WORST, WORST, 0.5])


def test_real_points_of_the_ring_are_near_all_modes() -> None:
    drawn = RING.draw(jnp.zeros((1, 2)), jax.random.key(0), 800)
    found = ring_scores(RING, np.asarray(drawn, np.float32))
    assert found["near"] > 0.99 and found["modes"] == 8
    one = ring_scores(RING, np.tile(players.centers()[:1], (800, 1)).astype("f4"))
    assert one["near"] == 1 and one["modes"] == 1


@pytest.mark.parametrize("method", METHODS)
def test_every_method_plays_in_float32(method) -> None:
    plan = PLAN._replace(method=method)
    weights = jax.ShapeDtypeStruct((3,), jnp.float32)
    rows = jax.ShapeDtypeStruct((1, 2), jnp.float32)
    state = jax.eval_shape(lambda seed: training.start(plan, RING, seed), jnp.uint32(0))
    after = jax.eval_shape(
        lambda r, w, s: training.advance(plan, RING, 2, r, w, s), rows, weights, state
    )
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(
        lambda x: (x.shape, x.dtype), state
    )
    kinds = {str(leaf.dtype) for leaf in jax.tree.leaves(after)}
    assert kinds == {"float32", "int32", "uint32"}
    looked = jax.eval_shape(
        lambda r, s: training.looked_at(plan, RING, r, s), rows, state
    )
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(looked)} == {"float32"}
