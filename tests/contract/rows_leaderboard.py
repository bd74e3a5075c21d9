"""Contract rows of ranks and leaderboards."""

import jax
import numpy as np

from kexue_jax import evaluation
from tests.contract.case import Bad, Case, Static
from tests.contract.rows_means import BAD_ORDERS, POSITIVE, bad_values, mask, table
from tests.oracles import leaderboard as oracle

INTEGERS = "ranks are integers, which gradients do not see"


def values(rng, *shape):
    """Values with ties."""
    return rng.integers(0, 4, shape) + 0.5


RANKS = tuple(
    Case(
        "evaluation.rank",
        lambda rng: (values(rng, 2, 7),),
        oracle.rank,
        {"method": method, "tolerance": tolerance},
        variant=f"{method}, {tolerance}",
        grad=False,
        reason=INTEGERS,
        bad=(
            Bad("values", args={0: np.ones(())}),
            Bad("tolerance", static={"tolerance": -1.0}),
        ),
    )
    for method in ("min", "average", "dense")
    for tolerance in (0.0, 1.0)
)

TAU = Case(
    "evaluation.kendall_tau",
    lambda rng: (values(rng, 2, 6), values(rng, 2, 6)),
    oracle.kendall_tau,
    grad=False,
    reason="tau is constant between ties",
    bad=(
        Bad("a", args={0: np.ones(()), 1: np.ones(())}),
        Bad("a", args={0: np.ones((2, 1)), 1: np.ones((2, 1))}),
        Bad("b", args={1: np.ones((2, 5))}),
        Bad("b", args={1: np.ones((2, 6), np.float16)}),
    ),
)


def sensitivity(scores, weights, where, *, orders=(1.0, 0.0, -1.0, 2.5)):
    return evaluation.rank_sensitivity(
        scores, orders=orders, weights=weights, where=where
    )


BAD_SYSTEMS = (
    Bad("scores", args={0: np.ones((1, 4))}),
    Bad("scores", args={0: np.ones(4)}),
)

SENSITIVITY = Case(
    "evaluation.rank_sensitivity",
    lambda rng: (table(rng, 2, 5, 4), rng.uniform(0.5, 2, 4), mask(rng, 2, 1, 4)),
    lambda scores, weights, where: oracle.rank_sensitivity(
        scores, weights, where, orders=(1.0, 0.0, -1.0, 2.5)
    ),
    call=sensitivity,
    optional=("weights", "where"),
    extremes=False,
    reason=POSITIVE,
    tolerance={"bfloat16": 3e-2},
    bad=(
        *BAD_SYSTEMS,
        *bad_values(shape=(2, 5, 4)),
        *(
            Bad("orders", static={"orders": wrong})
            for wrong in ((), "1", 1.0, None, (None,), (np.nan,), ("1",))
        ),
    ),
)


def leave_one_out(scores, p, weights):
    return evaluation.leave_one_out_ranks(scores, p, weights=weights)


LEFT_OUT = Case(
    "evaluation.leave_one_out_ranks",
    lambda rng: (table(rng, 2, 5, 4), Static(0.5), rng.uniform(0.5, 2, 4)),
    oracle.leave_one_out_ranks,
    call=leave_one_out,
    optional=("weights",),
    extremes=False,
    reason=POSITIVE,
    bad=(
        *BAD_SYSTEMS,
        Bad("scores", args={0: np.ones((5, 1)), 2: np.ones(1)}),
        Bad("weights", args={2: np.ones((2, 5, 3))}),
        *BAD_ORDERS,
    ),
)

BOOTSTRAP = Case(
    "evaluation.bootstrap_ranks",
    lambda rng: (table(rng, 2, 5, 4), Static(-1)),
    oracle.bootstrap_ranks,
    {"samples": 6},
    draws=lambda key, scores, p: jax.random.randint(
        key, (6, scores.shape[-1]), 0, scores.shape[-1]
    ),
    extremes=False,
    reason=POSITIVE,
    bad=(
        *BAD_SYSTEMS,
        Bad("scores", args={0: np.ones((2, 0))}),
        Bad("samples", static={"samples": 0}),
        *BAD_ORDERS,
    ),
)

REPORTED = np.array([[True, True, True, False], [True, False, True, True], [True] * 4])
BOARD = {
    "reported": REPORTED,
    "missing": "intersect",
    "p": 0.5,
    "tolerance": 0.5,
    "method": "min",
}


def board(
    scores, weights, *, reported, missing, p, tolerance, method, names=None, tasks=None
):
    return evaluation.leaderboard(
        scores,
        reported=reported,
        p=p,
        weights=weights,
        missing=missing,
        method=method,
        tolerance=tolerance,
        names=names,
        tasks=tasks,
    )


BOARDS = (
    Case(
        "evaluation.leaderboard",
        lambda rng: (table(rng, 2, 3, 4), rng.uniform(0.5, 2, 4)),
        oracle.leaderboard,
        BOARD,
        call=board,
        optional=("weights",),
        extremes=False,
        reason=POSITIVE,
        bad=(
            Bad("reported", static={"missing": "error"}),
            Bad("reported", static={"reported": REPORTED.T}),
            Bad("reported", static={"reported": REPORTED.astype(int)}),
            Bad("reported", static={"reported": np.zeros((3, 4), bool)}),
            Bad("reported", static={"reported": "all"}),
            Bad("names", static={"names": ("a", "b")}),
            Bad("names", static={"names": "abc"}),
            Bad("tasks", static={"tasks": (1, 2, 3, 4)}),
            Bad("scores", args={0: np.ones(4)}),
            Bad("scores", args={0: np.ones((0, 4))}),
            Bad("weights", args={1: np.ones((2, 3, 4))}),
            *bad_values(),
        ),
    ),
    Case(
        "evaluation.leaderboard",
        lambda rng: (table(rng, 3, 4), None),
        oracle.leaderboard,
        {**BOARD, "missing": "per_row", "p": 1.0, "method": "dense"},
        variant="per row",
        call=board,
        optional=("weights",),
    ),
)

INFER = Case(
    "evaluation.infer_aggregation",
    lambda rng: (scores := table(rng, 3, 4), scores[:, :3].mean(-1)),
    lambda scores, published: oracle.infer_aggregation(
        scores, published, orders=(1.0, 0.0, -1.0), tolerance=1.0
    ),
    call=lambda scores, published, **options: evaluation.infer_aggregation(
        scores, published, **{"tolerance": 1.0, **options}
    ),
    extremes=False,
    reason="a score of zero has no geometric mean",
    bad=(
        Bad("scores", args={0: np.ones(4)}),
        Bad("scores", args={0: np.ones((3, 0))}),
        Bad("published", args={1: np.ones(4)}),
        Bad("published", args={1: np.ones((3, 1))}),
        Bad("published", args={1: np.ones(3, np.float16)}),
        Bad("reported", static={"reported": np.ones((4, 3), bool)}),
        *(Bad("orders", static={"orders": wrong}) for wrong in ((), "1", 1.0, (None,))),
        *(Bad("tolerance", static={"tolerance": t}) for t in (-1.0, None, np.nan)),
    ),
)

CELLS = (("72.6", "93.8/91.7", "–"), (66.4, 7, None))
COLLAPSE = Case(
    "evaluation.collapse_metrics",
    lambda rng: (Static(CELLS[:1]),),
    lambda table, *, decimal: (
        np.array([[72.6, 92.75]]),
        np.array([[True, True]]),
    ),
    {"decimal": "."},
    call=lambda table, *, decimal: [
        part[:, :2] for part in evaluation.collapse_metrics(table, decimal=decimal)
    ],
    grad=False,
    vmap=False,
    follows=None,
    reason="it reads texts, on the host",
    bad=tuple(
        Bad("table", args={0: Static(wrong)})
        for wrong in (
            None,
            "1 2",
            3.0,
            (),
            ("12", "34"),
            (("1",), ("1", "2")),
            ((),),
            (("1,5",),),
            (("1/",),),
            (("text",),),
            (("nan",),),
            ((True,),),
            (((1, 2),),),
        )
    ),
)

TABLE = Case(
    "evaluation.score_table",
    lambda rng: (),
    lambda *, name: np.array([11.6, 82.8, 81.8, 70.3, 62.5, 65.6, 74.6, 57.4]),
    {"name": "glue_models"},
    call=lambda *, name: evaluation.score_table(name=name).scores[-1],
    grad=False,
    vmap=False,
    follows=None,
    reason="a table of constants",
    bad=tuple(
        Bad("name", static={"name": wrong})
        for wrong in ("", "glue", "GLUE_2021", 1.0, ("glue_2021",))
    ),
)

ROWS = (
    *RANKS,
    TAU,
    SENSITIVITY,
    LEFT_OUT,
    BOOTSTRAP,
    *BOARDS,
    INFER,
    COLLAPSE,
    TABLE,
)
