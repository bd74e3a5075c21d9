"""Contract rows of rational transfer functions."""

import numpy as np

from kexue_jax import ssm
from tests.contract.case import Bad, Case
from tests.oracles import rational as oracle

STABLE = "a huge denominator has poles outside of the circle: its powers overflow"
DET = "determinants of d huge factors overflow"


def coefficients(rng, h=2, d=4):
    """A stable denominator and a numerator for each of h channels."""
    a = rng.normal(size=(h, d))
    return 0.8 * a / np.abs(a).sum(-1, keepdims=True), rng.normal(size=(h, d))


def token(rng, b=3):
    a, c = coefficients(rng)
    return rng.normal(size=(b, *a.shape)), a, c, rng.normal(size=(b, 2))


def sequence(rng, b=3, n=5):
    return *coefficients(rng), rng.normal(size=(b, n, 2))


def matrices(rng, d=4):
    a = rng.normal(size=(2, d, d)) / d
    return a, rng.normal(size=(2, d)), rng.normal(size=(2, d))


def bad_pair(first, second):
    return (
        Bad(first, args={0: np.ones(())}),
        Bad(first, args={0: np.ones((2, 0)), 1: np.ones((2, 0))}),
        Bad(second, args={1: np.ones((2, 5))}),
        Bad(second, args={1: np.ones((2, 4), np.float16)}),
    )


def bad_alone(name):
    return (
        Bad(name, args={0: np.ones(())}),
        Bad(name, args={0: np.ones((2, 0))}),
    ) * 2


BAD_LENGTH = tuple(Bad("length", static={"length": n}) for n in (0, 4.0))
BAD_STATES = tuple(
    Bad("state", args={0: x}) for x in (np.ones((2, 4)), np.ones((3, 2, 4), int))
)


def step(state, a, c, u):
    """Only the output: the state is in at least float32 whatever the inputs are."""
    return ssm.rtf_step(state, a, c, u).out


def scan(a, c, u, *, state=None):
    return ssm.rtf_scan(a, c, u, state=state).out


ROWS = (
    Case(
        "ssm.rtf_kernel",
        coefficients,
        oracle.kernel,
        {"length": 9},
        bad=(*bad_pair("a", "b"), *BAD_LENGTH),
    ),
    Case(
        "ssm.rtf_kernel",
        coefficients,
        oracle.kernel,
        {"length": 3},
        variant="shorter than d",
    ),
    Case(
        "ssm.rtf_to_companion",
        coefficients,
        oracle.to_companion,
        {"length": 9},
        extremes=False,
        reason=STABLE,
        bad=(*bad_pair("a", "b"), *BAD_LENGTH[:1]),
        optional=("length",),
    ),
    Case(
        "ssm.rtf_step",
        token,
        lambda *x: oracle.step(*x)[0],
        call=step,
        bad=(*BAD_STATES, Bad("u", args={3: np.ones((3, 3))})),
    ),
    Case(
        "ssm.rtf_scan",
        sequence,
        lambda *x: oracle.scan(*x)[0],
        call=scan,
        extremes=False,
        reason=STABLE,
        bad=(
            *bad_pair("a", "c")[2:],
            Bad("u", args={2: np.ones(2)}),
            Bad("u", args={2: np.ones((3, 5, 3))}),
            Bad("state", static={"state": np.ones((2, 2, 4))}),
        ),
    ),
    Case(
        "ssm.rtf_from_matrices",
        matrices,
        oracle.from_matrices,
        extremes=False,
        reason=DET,
        bad=(
            Bad("a", args={0: np.ones((2, 4, 3))}),
            Bad("b", args={1: np.ones((2, 3))}),
            Bad("c", args={2: np.ones((3, 4))}),
        ),
    ),
    Case(
        "ssm.rtf_from_reflection",
        lambda rng: (rng.normal(size=(2, 4)),),
        oracle.from_reflection,
        {"limit": 0.9},
        bad=(*bad_alone("theta"), Bad("limit", static={"limit": 0.0})),
    ),
    Case(
        "ssm.rtf_reflection",
        lambda rng: (oracle.from_reflection(rng.normal(size=(2, 4))),),
        oracle.reflection,
        extreme_grads=False,
        reason="differences of products of huge numbers: no gradient is left in them",
        tolerance={"bfloat16": 1.0},
        bad=bad_alone("a"),
    ),
)
