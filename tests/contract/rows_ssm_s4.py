"""Contract rows of S4: its initialization, kernel, readout and step."""

import jax.numpy as jnp
import numpy as np

from kexue_jax import ssm
from tests.contract.case import Bad, Case
from tests.oracles import state_space as oracle

STEP = "a step of 0 is no step, and of 1e4 leaves no digits in 1 - z against z"


def modes(rng, h=2, n=3, r=2, real=False):
    """Stable modes [h, n], a low-rank part and three rows; complex."""

    def draw(*shape):
        return rng.normal(size=shape) + 1j * rng.normal(size=shape)

    lam = -rng.random((h, n)) - 0.2 + 1j * rng.normal(size=(h, n))
    p = draw(h, n, r)
    b, c = draw(h, n), draw(h, n)
    return lam, p, b, c, np.array([0.3, 0.7][:h])


def paired(rng, **sizes):
    """All modes of real systems: each beside its conjugate."""
    *parts, dt = modes(rng, **sizes)
    return *(np.concatenate([x, x.conj()], 1) for x in parts), dt


def without(place):
    def inputs(rng):
        parts = modes(rng)
        return parts[:place] + parts[place + 1 :]

    return inputs


def whole_invariants(*, dtype, **options):
    """nplr as what the choice of eigenvectors' phases does not change."""
    if jnp.issubdtype(dtype, jnp.floating):
        dtype = jnp.result_type(dtype, jnp.complex64)
    lam, p, b, v = ssm.nplr(dtype=dtype, **options)
    return lam, (abs(p) ** 2).sum(-1), p.conj() * b[:, None], v * b[None]


def bad_modes(*names):
    """Arrays of other shapes, dtypes or kinds in the places of the modes."""
    found = [
        Bad("lam", args={0: np.ones((2, 0), complex)}),
        Bad("lam", args={0: np.ones((2, 3))}),
        Bad("p", args={1: np.ones((2, 4, 1), complex)}),
        Bad("p", args={1: np.ones((2, 3, 1), np.complex128)}),
    ]
    for place, name in enumerate(names, 2):
        wrong = np.ones((2, 4), complex) if name != "dt" else np.ones(3)
        found.append(Bad(name, args={place: wrong}))
    return (*found, Bad("dt", args={len(names) + 1: 0.0}, traced=False))


OPTIONS = {"length": 6, "half": True, "damping": 0.5}
BAD_OPTIONS = (
    Bad("length", static={"length": 0}),
    Bad("damping", static={"damping": 0.0}),
    Bad("damping", static={"damping": 1.5}),
)


def stepping(rng, b=2):
    lam, p, weights, c, dt = modes(rng)
    factors = ssm.S4Step(*oracle.s4_step_matrices(lam, p, weights, dt, half=True))
    state = rng.normal(size=(b, 2, 3)) + 1j * rng.normal(size=(b, 2, 3))
    return state, factors, c, rng.normal(size=(b, 2))


def step(state, step, c, u, *, half):
    return ssm.s4_step(state, step, c, u, half=half).out


GOOD = ssm.S4Step(
    *(jnp.ones(s) + 0j for s in ((2, 3),) * 2 + ((2, 3, 2),) * 2 + ((2, 3),))
)
ROWS = (
    *(
        Case(
            "ssm.nplr",
            lambda rng: (),
            oracle.nplr,
            {"measure": measure, "n": n, "norm": norm, "half": half},
            variant=f"{measure} {n}",
            call=whole_invariants,
            vmap=False,
            takes_dtype=True,
            follows=None,
            grad=False,
            extremes=False,
            reason="constants, made on the host: nothing to map or to differentiate",
            bad=(
                Bad("n", static={"n": 0}),
                Bad("half", static={"n": 5, "half": True}),
                Bad("dtype", static={"dtype": int}),
                Bad("dtype", static={"dtype": bool}),
                Bad("kappa", static={"kappa": 1.0}),
            ),
        )
        for measure, n, norm, half in (
            ("legs", 6, "hippo", True),
            ("legt", 5, "orthonormal", False),
        )
    ),
    *(
        Case(
            "ssm.s4_kernel",
            inputs,
            oracle.s4_kernel,
            {**OPTIONS, "half": half, "length": length},
            variant=variant,
            follows=None,
            extremes=False,
            reason=STEP,
            bad=(*bad_modes("b", "c", "dt")[:-1], *BAD_OPTIONS),
        )
        for inputs, half, length, variant in (
            (modes, True, 6, "half"),
            (paired, False, 7, "all"),
        )
    ),
    *(
        Case(
            "ssm.s4_truncate",
            without(2),
            oracle.truncate,
            {**OPTIONS, "inverse": inverse},
            variant="back" if inverse else "",
            follows=None,
            extremes=False,
            reason=STEP,
            bad=(*bad_modes("c", "dt")[:-1], *BAD_OPTIONS),
        )
        for inverse in (False, True)
    ),
    Case(
        "ssm.s4_step_matrices",
        without(3),
        oracle.s4_step_matrices,
        {"half": True},
        follows=None,
        extremes=False,
        reason=STEP,
        bad=bad_modes("b", "dt")[:-1],
    ),
    Case(
        "ssm.s4_step",
        stepping,
        oracle.s4_step,
        {"half": True},
        call=step,
        follows=3,
        bad=(
            Bad("step", args={1: tuple(GOOD)}, traced=False),
            Bad("step.d", args={1: GOOD._replace(d=jnp.ones((2, 4)) + 0j)}),
            Bad("state", args={0: np.ones((2, 2, 4), np.complex64)}),
            Bad("c", args={2: np.ones(3, np.complex64)}),
            Bad("u", args={3: np.ones((2, 3))}),
        ),
    ),
)
