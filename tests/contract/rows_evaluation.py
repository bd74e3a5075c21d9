"""Contract rows of the distances and tests between sets of feature vectors."""

import numpy as np

from tests.contract.case import Bad, Case
from tests.contract.chains import bad_arrays
from tests.oracles import generative_metrics as oracle


def two_sets(rng, n, m, d):
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) + 0.5


def bad_sets(first: str, second: str, few: int = 0) -> tuple[Bad, ...]:
    """Sets of a wrong rank, width, dtype or number of rows (``few`` or fewer)."""
    short = [
        Bad(name, args={place: np.ones((rows, 3))})
        for place, name in enumerate((first, second))
        for rows in range(few + 1)
    ]
    return (
        *bad_arrays(first, 0, (3,), (2, 4, 3), ()),
        *bad_arrays(second, 1, (3,), (2, 4, 3), (4, 2)),
        Bad(first, args={0: np.ones((4, 0)), 1: np.ones((4, 0))}),
        Bad(second, args={1: np.ones((4, 3), np.float16)}),
        *short,
    )


def bad_counts(*names: str) -> tuple[Bad, ...]:
    return tuple(Bad(name, static={name: 0}) for name in names)


def without_block(f):
    """The oracle of a function whose ``block_size`` changes no number."""
    return lambda *sets, block_size, **options: f(*sets, **options)


ROWS = (
    Case(
        "evaluation.frechet_distance",
        lambda rng: two_sets(rng, 7, 5, 3),
        oracle.frechet_distance,
        extreme_grads=False,
        reason="at equal vectors the covariances are singular and gradients infinite",
        bad=bad_sets("x", "y", few=1),
    ),
    Case(
        "evaluation.frechet_distance",
        lambda rng: two_sets(rng, 4, 5, 1),
        oracle.frechet_distance,
        variant="one feature",
        extreme_grads=False,
        reason="at equal vectors the covariances are singular and gradients infinite",
    ),
    Case(
        "evaluation.polynomial_mmd",
        lambda rng: two_sets(rng, 5, 3, 3),
        without_block(oracle.polynomial_mmd),
        {"degree": 3, "block_size": 2},
        bad=(*bad_sets("x", "y", few=1), *bad_counts("degree", "block_size")),
    ),
    Case(
        "evaluation.energy_distance",
        lambda rng: two_sets(rng, 5, 3, 3),
        without_block(oracle.energy_distance),
        {"block_size": 2},
        bad=(*bad_sets("x", "y", few=1), *bad_counts("block_size")),
    ),
    Case(
        "evaluation.nearest_neighbors",
        lambda rng: two_sets(rng, 3, 7, 3),
        without_block(oracle.nearest_neighbors),
        {"k": 2, "leave_one_out": False, "block_size": 2},
        bad=(
            *bad_sets("queries", "data"),
            *bad_counts("k", "block_size"),
            Bad("k", static={"k": 8}),
            Bad("queries", static={"leave_one_out": True}),
        ),
    ),
    Case(
        "evaluation.nearest_neighbors",
        lambda rng: (rng.normal(size=(5, 1)),) * 2,
        without_block(oracle.nearest_neighbors),
        {"k": 1, "leave_one_out": True, "block_size": 256},
        variant="one left out",
        bad=(Bad("k", static={"k": 5}),),
    ),
    Case(
        "evaluation.two_sample_accuracy",
        lambda rng: two_sets(rng, 7, 5, 3),
        without_block(oracle.two_sample_accuracy),
        {"block_size": 3},
        bad=(*bad_sets("x", "y", few=1), *bad_counts("block_size")),
    ),
    Case(
        "evaluation.precision_recall",
        lambda rng: two_sets(rng, 7, 5, 3),
        without_block(oracle.precision_recall),
        {"k": 3, "block_size": 2},
        bad=(
            *bad_sets("x_real", "x_fake", few=3),
            *bad_counts("k", "block_size"),
            Bad("x_fake", static={"k": 5}),
        ),
    ),
    Case(
        "evaluation.density_coverage",
        lambda rng: two_sets(rng, 7, 2, 3),
        without_block(oracle.density_coverage),
        {"k": 5, "block_size": 2},
        bad=(
            *bad_sets("x_real", "x_fake"),
            *bad_counts("k", "block_size"),
            *(Bad("x_real", args={0: np.ones((n, 3))}) for n in (1, 5)),
        ),
    ),
)
