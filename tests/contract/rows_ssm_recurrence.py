"""Contract rows of the linear recurrences: scan, step, convolution, dense system."""

import numpy as np

from tests.contract.case import Bad, Case
from tests.oracles import recurrence as oracle

NO_FORWARD = (
    "the fast forms have a custom gradient and no forward mode; reverse mode is "
    "checked against the plain scan in tests/ssm"
)
GROWS = "a decay of 1e4 overflows after a few steps, as the recurrence says"
H0 = np.array([0.5, -1.0, 0.25])


def inputs(rng, decay=(5, 1)):
    return rng.random(decay) * 0.8 + 0.1, rng.normal(size=(2, 5, 3))


def scan(a, b, *, h0, reverse, method, chunk_size):
    return oracle.linear_scan(a, b, h0=h0, reverse=reverse)


def options(method, **changed):
    plain = {"h0": None, "reverse": False, "chunk_size": 2}
    return {**plain, "method": method, **changed}


BAD_SCAN = (
    Bad("a", args={0: np.ones(4)}),
    Bad("a", args={0: np.ones((3, 2, 5, 3))}),
    Bad("a", args={0: np.ones(3, int)}),
    Bad("b", args={1: np.ones((2, 5, 3), int)}),
    Bad("b", args={1: np.ones((2, 0, 3))}),
    Bad("h0", static={"h0": np.ones(4)}),
    Bad("h0", static={"h0": np.ones((2, 5, 3))}),
    Bad("axis", static={"axis": 3}),
    Bad("axis", static={"axis": -4}),
    Bad("axis", static={"axis": True}),
)


def system(rng):
    a = rng.normal(size=(4, 4)) / 4
    b, c = rng.normal(size=(4, 2)), rng.normal(size=(3, 4))
    return a, b, c, rng.normal(size=(2, 5, 2))


def token(rng):
    return rng.normal(size=(2, 3)), rng.random(3), rng.normal(size=(2, 3))


ROWS = (
    Case(
        "ssm.linear_scan",
        inputs,
        scan,
        options("auto"),
        complexes=("a", "b"),
        optional=("h0",),
        grad=False,
        extremes=False,
        reason=f"{NO_FORWARD}; {GROWS}",
        bad=BAD_SCAN,
    ),
    Case(
        "ssm.linear_scan",
        inputs,
        scan,
        options("sequential", h0=H0, reverse=True),
        variant="sequential",
        complexes=("a", "b"),
        extremes=False,
        reason=GROWS,
    ),
    *(
        Case(
            "ssm.linear_scan",
            lambda rng: inputs(rng, (2, 1, 3)),
            scan,
            options(method, h0=H0),
            variant=method,
            complexes=("a", "b"),
            grad=False,
            extremes=False,
            reason=f"{NO_FORWARD}; {GROWS}",
            bad=(Bad("method", args={0: np.ones((5, 3))}),) * (method[0] == "u"),
        )
        for method in ("associative", "upper_lower")
    ),
    Case(
        "ssm.linear_scan_step",
        token,
        lambda state, a, b: a * state + b,
        complexes=("state", "a", "b"),
        bad=(
            Bad("a", args={1: np.ones(4)}),
            Bad("a", args={1: np.ones((2, 2, 3))}),
            Bad("b", args={2: np.ones((3, 3))}),
        ),
    ),
    Case(
        "ssm.ssm_recurrent",
        system,
        lambda a, b, c, u: oracle.ssm_recurrent(a, b, c, u),
        complexes=("a", "b", "c", "u"),
        follows=None,
        extremes=False,
        reason=GROWS,
        bad=(
            Bad("a", args={0: np.ones((4, 3))}),
            Bad("b", args={1: np.ones((3, 2))}),
            Bad("c", args={2: np.ones((3, 3))}),
            Bad("u", args={3: np.ones((2, 5, 3))}),
            Bad("u", args={3: np.ones((2, 0, 2))}),
            Bad("state", static={"state": np.ones(3)}),
        ),
    ),
    Case(
        "ssm.causal_fft_conv",
        lambda rng: (rng.normal(size=(2, 6, 3)), rng.normal(size=(7, 3))),
        oracle.causal_conv,
        complexes=("u", "kernel"),
        bad=(
            Bad("u", args={0: np.ones(6)}),
            Bad("u", args={0: np.ones((2, 0, 3))}),
            Bad("kernel", args={1: np.ones((7, 4))}),
            Bad("kernel", args={1: np.ones(7)}),
            Bad("kernel", args={1: np.ones((3, 2, 7, 3))}),
        ),
    ),
)
