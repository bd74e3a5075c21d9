"""Contract rows of discretizations."""

import numpy as np

from tests.contract.case import Bad, Case
from tests.oracles import discretization as oracle

GROWS = "the exponential of a huge positive matrix is no finite number"
POLE = "1 - dt a / 2 is singular or the result infinite for some huge a"


def systems(rng, n=3, m=None):
    """Two systems with a step each; the first has a singular matrix."""
    a = rng.normal(size=(2, n, n)) - np.eye(n)
    a[0, 0] = 0.0
    shape = (2, n) if m is None else (2, n, m)
    return a, rng.normal(size=shape), np.array([0.3, 1.2])


def diagonals(rng):
    lam = -rng.random((2, 4)) * np.array([1e-9, 1e-3, 1.0, 3.0])
    return lam, rng.normal(size=(2, 4)), np.array([0.3, 1.2])


def bad(first):
    """Shapes that do not fit, dtypes that differ, alpha in the wrong place."""
    return (
        Bad(first, args={0: np.ones(())}),
        *(Bad("a", args={0: np.ones((0, 0))}) for _ in range(first == "a")),
        Bad("b", args={1: np.ones((2, 7))}),
        Bad("b", args={1: np.ones(())}),
        Bad("b", args={1: np.ones((2, 3), np.float16)}),
        Bad("dt", args={2: np.ones(5)}),
        Bad("dt", args={2: np.ones(2, int)}),
        Bad("alpha", static={"method": "zoh", "alpha": 0.5}),
        Bad("alpha", static={"method": "gbt", "alpha": None}),
        Bad("alpha", static={"method": "gbt", "alpha": 1.5}),
        Bad("method", static={"method": "midpoint"}),
    )


def row(name, inputs, reference, first, method, **extra):
    variant = extra.pop("variant", "")
    return Case(
        f"ssm.{name}",
        inputs,
        reference,
        {"method": method, **extra},
        variant=" ".join([method, variant]).strip(),
        extremes=False,
        reason=GROWS if method == "zoh" else POLE,
        bad=bad(first),
    )


def wide(rng):
    return systems(rng, n=2, m=3)


ROWS = (
    row("discretize", systems, oracle.batch, "a", "zoh"),
    row("discretize", wide, oracle.batch, "a", "gbt", alpha=0.3, variant="matrix b"),
    row("discretize_diagonal", diagonals, oracle.diagonal, "lam", "zoh"),
    row("discretize_diagonal", diagonals, oracle.diagonal, "lam", "gbt", alpha=0.3),
)
