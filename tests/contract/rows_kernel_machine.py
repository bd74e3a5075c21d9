"""Contract rows of kernel machines and of the samples that matter most."""

import numpy as np

from tests.contract.case import Bad, Case
from tests.contract.rows_path_kernel import BF16, rows_of

PSD = "a kernel is positive semidefinite: huge entries of any sign are none"


def top_oracle(attributions, *, count):
    total = attributions if attributions.ndim == 2 else attributions.sum(-1)
    ids = np.argsort(-np.abs(total), 1, kind="stable")[:, :count]
    return ids, np.stack([a[i] for a, i in zip(attributions, ids, strict=True)])


TOP = Case(
    "theory.top_attributions",
    lambda rng: (rng.normal(size=(2, 5, 2)),),
    top_oracle,
    {"count": 3},
    bad=(
        Bad("attributions", args={0: np.ones(3)}),
        Bad("attributions", args={0: np.ones((1, 3, 2, 2))}),
        Bad("count", static={"count": 0}),
        Bad("count", static={"count": 6}),
    ),
)

PREDICT = Case(
    "theory.kernel_machine_predict",
    lambda rng: (rows_of(rng, 3, 4), rows_of(rng, 3, 4), rng.normal(size=3)),
    lambda kernel, alpha, beta: beta + (alpha * kernel).sum(1),
    bad=(
        Bad("kernel", args={0: np.ones(4)}),
        Bad("alpha", args={1: np.ones((2, 4))}),
        Bad("alpha", args={1: np.ones(3)}),
        Bad("alpha", args={1: np.ones(())}),
        Bad("beta", args={2: np.ones(4)}),
        Bad("beta", args={2: np.ones((3, 1))}),
    ),
)


def gram(rng, n=4):
    rows = rng.normal(size=(n, 2 * n))
    return rows @ rows.T / n


def ridge_oracle(kernel, y, *, ridge):
    n = len(y)
    inverse = np.linalg.inv(kernel + ridge * np.eye(n))
    beta = (inverse @ y).sum() / inverse.sum()
    return inverse @ (y - beta), beta


RIDGE = Case(
    "theory.kernel_ridge",
    lambda rng: (gram(rng), rng.normal(size=4)),
    ridge_oracle,
    {"ridge": 0.5},
    extremes=False,
    tolerance=BF16,
    reason=f"{PSD}; rounded entries of a matrix that is inverted",
    bad=(
        Bad("kernel", args={0: np.ones((4, 3))}),
        Bad("kernel", args={0: np.ones(4)}),
        Bad("y", args={1: np.ones(3)}),
        Bad("y", args={1: np.ones((4, 1))}),
        Bad("ridge", static={"ridge": -1.0}),
    ),
)


def flow_oracle(k_tx, k_xx, y, f0_t, f0_x, time):
    """By the power series of the matrix."""
    term, total = np.eye(len(y)) * time, 0
    for k in range(1, 90):
        total = total + term
        term = term @ (-k_xx * time) / (k + 1)
    return f0_t + k_tx @ total @ (y - f0_x)


FLOW = Case(
    "theory.ntk_gradient_flow",
    lambda rng: (
        rows_of(rng, 3, 4),
        gram(rng),
        rng.normal(size=4),
        rng.normal(size=3),
        rng.normal(size=4),
        0.7,
    ),
    flow_oracle,
    extremes=False,
    tolerance=BF16,
    reason=f"{PSD}; rounded entries of a matrix whose exponential is taken",
    bad=(
        Bad("k_xx", args={1: np.ones((4, 3))}),
        Bad("k_xx", args={1: np.ones((3, 3))}),
        Bad("y", args={2: np.ones(3)}),
        Bad("f0_t", args={3: np.ones(4)}),
        Bad("f0_x", args={4: np.ones(3)}),
        Bad("time", args={5: np.ones(2)}),
        Bad("time", args={5: -1.0}, traced=False),
    ),
)

ROWS = (TOP, PREDICT, RIDGE, FLOW)
