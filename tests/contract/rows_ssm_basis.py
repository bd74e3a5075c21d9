"""Contract rows of HiPPO's bases, reconstructions and constructions."""

import numpy as np

from tests.contract.case import Bad, Case
from tests.contract.rows_ssm_hippo import DTYPES, STATIC
from tests.oracles import basis as oracle
from tests.oracles import hippo

BEFORE = "the functions grow exponentially at negative ages, where there is no past"


def places(rng):
    return (rng.uniform(-1, 1, size=(2, 3)),)


def ages(rng):
    return (rng.uniform(0.1, 2, size=(2, 3)),)


def eval_row(measure, n, inputs=places, bad=(), **options):
    return Case(
        "ssm.basis_eval",
        inputs,
        oracle.functions,
        {"measure": measure, "n": n, **options},
        variant="_".join([measure, *map(str, options.values())]),
        extremes=measure != "lagt",
        reason=BEFORE,
        bad=(*bad, Bad("n", static={"n": 0}), Bad("measure", static={"measure": "a"})),
    )


def reconstruct_row(measure, inputs, bad=(), **options):
    return Case(
        "ssm.reconstruct",
        inputs,
        oracle.reconstruct,
        {"measure": measure, **options},
        variant="_".join([measure, *map(str, options.values())]),
        bad=bad,
    )


def legendre(n):
    """g, g' of the orthonormal Legendre polynomials, for a construction."""

    def basis(s):
        rows = [np.polynomial.legendre.Legendre.basis(i) for i in range(n)]
        size = [np.sqrt((2 * i + 1) / 2) for i in range(n)]
        pairs = list(zip(rows, size, strict=True))
        g = np.stack([r * row(s) for row, r in pairs])
        return g, np.stack([r * row.deriv()(s) for row, r in pairs])

    return basis


def all_history(s):
    return s + 1, np.ones_like(s)


ROWS = (
    eval_row(
        "legs",
        5,
        norm="lmu",
        bad=(
            Bad("kappa", static={"kappa": 1.0}),
            Bad("alpha", static={"alpha": 1.0}),
        ),
    ),
    eval_row("lagt", 5, ages, kappa=0.8, alpha=1.5),
    eval_row("fourier_real", 5, bad=(Bad("n", static={"n": 4}),)),
    reconstruct_row(
        "legt",
        lambda rng: (rng.normal(size=(2, 4)), rng.uniform(-1, 1, 3)),
        bad=(
            Bad("s", args={1: np.ones(())}),
            Bad("s", args={1: np.ones((3, 3))}),
            Bad("coef", args={0: np.ones((2, 0))}),
        ),
        norm="orthonormal",
    ),
    reconstruct_row(
        "fourier",
        lambda rng: (
            rng.normal(size=(2, 5)) + 1j * rng.normal(size=(2, 5)),
            rng.uniform(0, 1, (2, 3)),
        ),
        bad=(
            Bad("coef", args={0: np.ones((2, 5))}),
            Bad("coef", args={0: np.ones((2, 4), complex)}),
            Bad("norm", static={"norm": "lmu"}),
        ),
    ),
    *(
        Case(
            "ssm.basis_coordinate",
            lambda rng: (rng.uniform(0, 1.5, (2, 3)),),
            oracle.coordinate,
            {"measure": measure, "window": 2.0, **options},
            variant=measure,
            extremes=measure != "s4",
            reason="e^(-lag) of a huge negative lag, which is no past",
            bad=(
                Bad("window", static={"window": 0.0}),
                Bad("power", static={"measure": "legt", "power": 2.0}),
                Bad("measure", static={"measure": "chebyshev"}),
            ),
        )
        for measure, options in (
            ("legs", {"power": 0.5}),
            ("s4", {}),
        )
    ),
    Case(
        "ssm.change_basis",
        lambda rng: (
            rng.normal(size=(2, 3, 3)),
            rng.normal(size=(2, 3)),
            rng.normal(size=(2, 3, 3)) + 3 * np.eye(3),
        ),
        oracle.change_basis,
        extremes=False,
        reason="a transform of zeros, or of equal huge entries, has no inverse",
        bad=(
            Bad("a", args={0: np.ones((2, 3, 2))}),
            Bad("b", args={1: np.ones((2, 2))}),
            Bad("transform", args={2: np.ones((3, 3, 3))}),
            Bad("transform", args={2: np.ones((2, 2))}),
        ),
    ),
    Case(
        "ssm.chebyshev_from_legendre",
        lambda rng: (),
        oracle.chebyshev,
        {"n": 6, "norm": "hippo"},
        follows=None,
        takes_dtype=True,
        grad=False,
        vmap=False,
        jit=False,
        extremes=False,
        reason=STATIC,
        bad=(*DTYPES, Bad("n", static={"n": 0})),
    ),
    Case(
        "ssm.hippo_from_basis",
        lambda rng: (legendre(4), all_history),
        lambda basis, flow, **options: hippo.matrices("legs", 4, norm="orthonormal"),
        {"n": 4, "nodes": 8},
        follows=None,
        takes_dtype=True,
        grad=False,
        vmap=False,
        jit=False,
        extremes=False,
        reason=STATIC,
        optional=("nodes",),
        bad=(
            *DTYPES,
            Bad("basis", args={0: None}, traced=False),
            Bad("flow", args={1: 3.0}, traced=False),
            Bad("basis", args={0: legendre(3)}, traced=False),
            Bad("basis", args={0: lambda s: s}, traced=False),
            Bad("flow", args={1: lambda s: (s, np.ones(3))}, traced=False),
            Bad("flow", args={1: lambda s: (s * np.nan, s)}, traced=False),
            Bad("interval", static={"interval": (1.0, 0.0)}),
            Bad("interval", static={"interval": None}),
        ),
    ),
)
