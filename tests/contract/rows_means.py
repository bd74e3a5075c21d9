"""Contract rows of power means."""

import math

import numpy as np

from kexue_jax import evaluation
from tests.contract.case import Bad, Case, Static
from tests.oracles import leaderboard as oracle

POSITIVE = "means of order below 1 are of positive scores, and refuse others"


def table(rng, *shape):
    return rng.uniform(20, 90, shape)


def mask(rng, *shape):
    kept = rng.random(shape) < 0.6
    kept[..., 0] = kept[..., 2] = True
    return kept


def power_mean(scores, p, weights, where):
    return evaluation.power_mean(scores, p, weights=weights, where=where)


BAD_TABLES = tuple(
    Bad("scores", args={0: wrong})
    for wrong in (np.ones(()), np.ones((2, 0)), np.ones((3, 4), np.int32))
)


def bad_values(place=0, shape=(3, 4)):
    """Scores that are known and that no mean takes."""
    found = []
    for wrong in (np.nan, np.inf, -np.inf):
        scores = np.full(shape, 50.0)
        scores[..., 1, 2] = wrong
        found.append(Bad("scores", args={place: scores}, traced=False))
    return tuple(found)


NOT_POSITIVE = tuple(
    Bad("scores", args={0: np.full((3, 4), value)}, traced=False)
    for value in (0.0, -3.0)
)
BAD_WEIGHTS = (
    Bad("weights", args={2: np.ones(3)}),
    Bad("weights", args={2: np.ones((4, 4))}),
    Bad("weights", args={2: -np.ones(4)}, traced=False),
    Bad("weights", args={2: np.zeros(4)}, traced=False),
    Bad("where", args={3: np.ones((2, 4), bool)}),
    Bad("where", args={3: np.zeros((3, 4), bool)}, traced=False),
    Bad("where", args={3: np.ones((3, 4))}),
)
BAD_ORDERS = (
    Bad("p", args={1: Static(np.nan)}),
    Bad("p", args={1: Static(True)}),
    Bad("p", args={1: Static("1")}),
    Bad("p", args={1: np.ones(2)}),
    Bad("p", args={1: np.ones((), np.int32)}),
)


def order_row(p, name, **options):
    unweighted = p in (1, math.inf, -math.inf)  # a row of zero weights has no mean
    return Case(
        "evaluation.power_mean",
        lambda rng: (
            table(rng, 3, 4),
            Static(p),
            None if unweighted else rng.uniform(0.5, 2, 4),
            mask(rng, 3, 4),
        ),
        oracle.power_mean,
        variant=name,
        call=power_mean,
        optional=("weights", "where"),
        **options,
    )


ORDERS = (
    order_row(1, "arithmetic", bad=(*BAD_TABLES, *bad_values(), *BAD_WEIGHTS)),
    order_row(math.inf, "largest"),
    order_row(-math.inf, "smallest", bad=BAD_ORDERS),
    *(
        order_row(p, name, extremes=False, reason=POSITIVE, bad=NOT_POSITIVE[p > 0 :])
        for p, name in (
            (-30, "-30"),
            (-1, "harmonic"),
            (0, "geometric"),
            (1e-9, "1e-9"),
            (0.5, "0.5"),
            (3, "3"),
        )
    ),
)

TRACED = Case(
    "evaluation.power_mean",
    lambda rng: (
        table(rng, 2, 3, 4),
        rng.uniform(-3, 3, ()),
        rng.uniform(0.5, 2, (2, 3, 4)),
        None,
    ),
    oracle.power_mean,
    variant="a traced order",
    call=power_mean,
    optional=("weights", "where"),
    extremes=False,
    reason=POSITIVE,
)


def wrapped(name, p):
    def call(scores, weights, where):
        return getattr(evaluation, name)(scores, weights=weights, where=where)

    return Case(
        f"evaluation.{name}",
        lambda rng: (table(rng, 3, 4), rng.uniform(0.5, 2, 4), mask(rng, 3, 4)),
        lambda scores, weights, where: oracle.power_mean(scores, p, weights, where),
        call=call,
        optional=("weights", "where"),
        extremes=False,
        reason=f"{POSITIVE}; weights of zero are no weights",
        bad=(
            *BAD_TABLES,
            *bad_values(),
            *(NOT_POSITIVE if p < 1 else ()),
            Bad("weights", args={1: np.ones(3)}),
            Bad("where", args={2: np.ones((2, 4), bool)}),
        ),
    )


ROWS = (
    *ORDERS,
    TRACED,
    wrapped("arithmetic_mean", 1),
    wrapped("geometric_mean", 0),
    wrapped("harmonic_mean", -1),
)
