"""Contract rows of LegS."""

import numpy as np

from kexue_jax import ssm
from tests.contract.case import Bad, Case
from tests.oracles import legs as oracle

AFTER = 3  # samples before the state of the rows below


def signal(rng):
    return (rng.normal(size=(2, 6)),)


def scan(u, **options):
    return ssm.legs_scan(u, **options).coef


def scan_oracle(u, **options):
    return np.stack([oracle.history(row, **options) for row in u])


def stepped(state, u, **options):
    return ssm.legs_step(state, u, **options).coef


def state_and_sample(rng, n=4):
    x = rng.normal(size=(2, n))
    return ssm.LegsState(x, np.int32(AFTER)), rng.normal(size=2)


def step_oracle(state, u, **options):
    pairs = zip(state.x, u, strict=True)
    return np.stack([oracle.step(x, v, AFTER, **options) for x, v in pairs])


def bad(u, static):
    """Signals without samples, states of another shape."""
    good = np.zeros((2, 4))

    def state(x=good, k=AFTER):
        return ssm.LegsState(x, np.asarray(k))

    return (
        *(Bad("u", args=args) for args in u),
        Bad("n", static={"n": 0}),
        Bad("power", static={"power": 0.0}),
        Bad("method", static={"method": "midpoint"}),
        *(
            Bad(argument, **{"static" if static else "args": {place: value}})
            for place in (("state",) if static else (0,))
            for argument, value in (
                ("state.x", state(np.zeros((2, 5)))),
                ("state.x", state(np.zeros((2, 4), int))),
                ("state.k", state(k=3.0)),
                ("state.k", state(k=np.zeros(2, int))),
            )
        ),
    )


def scan_row(method, **options):
    return Case(
        "ssm.legs_scan",
        signal,
        scan_oracle,
        {"n": 4, "method": method, **options},
        variant=method,
        call=scan,
        bad=bad([{0: np.ones(())}, {0: np.ones((2, 0))}], True),
    )


def step_row(method, **options):
    return Case(
        "ssm.legs_step",
        state_and_sample,
        step_oracle,
        {"n": 4, "method": method, **options},
        variant=method,
        call=stepped,
        follows=1,
        data=(0,),
        optional=("state",),
        bad=bad([{1: np.ones((3, 2))}], False)[1:],
    )


ROWS = (
    scan_row("trapezoid", norm="lmu", power=0.5),
    scan_row("exact", norm="hippo"),
    step_row("trapezoid", norm="lmu"),
    step_row("exact", norm="hippo", power=1.0),
    Case(
        "ssm.legs_project",
        signal,
        oracle.project,
        {"n": 5, "power": 2.0, "norm": "lmu"},
        bad=(
            Bad("u", args={0: np.ones(())}),
            Bad("u", args={0: np.ones((2, 0))}),
            Bad("n", static={"n": 0}),
        ),
    ),
    Case(
        "ssm.legs_matvec",
        lambda rng: (rng.normal(size=(2, 5)),),
        oracle.matvec,
        {"norm": "lmu"},
        bad=(Bad("x", args={0: np.ones(())}), Bad("x", args={0: np.ones((2, 0))})),
    ),
    Case(
        "ssm.legs_solve",
        lambda rng: (rng.normal(size=(2, 5)), rng.random(2)),
        oracle.solve,
        {"norm": "lmu"},
        bad=(
            Bad("v", args={0: np.ones(())}),
            Bad("v", args={0: np.ones((2, 0))}),
            Bad("lam", args={1: np.ones(3)}),
        ),
    ),
)
