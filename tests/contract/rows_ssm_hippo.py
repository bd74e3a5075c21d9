"""Contract rows of HiPPO's matrices."""

import numpy as np

from kexue_jax import ssm
from tests.contract.case import Bad, Case
from tests.oracles import hippo as oracle

STATIC = "takes no traced array: built in NumPy and cast at the end"
DTYPES = tuple(Bad("dtype", static={"dtype": d}) for d in ("int32", "text", None))


def parts(a, b):
    """Real and imaginary parts, for the battery compares real numbers."""
    return np.real(a), np.real(b), np.imag(a), np.imag(b)


def matrices(**options):
    a, b = ssm.hippo_matrices(**options)
    return a.real, b.real, a.imag, b.imag


def matrices_row(measure, n, bad=(), **options):
    return Case(
        "ssm.hippo_matrices",
        lambda rng: (),
        lambda **options: parts(*oracle.matrices(**options)),
        {"measure": measure, "n": n, **options},
        variant="_".join([measure, *map(str, options.values())]),
        call=matrices,
        follows=None,
        takes_dtype=True,
        grad=False,
        vmap=False,
        jit=False,
        extremes=False,
        reason=STATIC,
        bad=(*bad, *DTYPES),
    )


ROWS = (
    matrices_row(
        "legt",
        5,
        window=3.0,
        norm="lmu",
        bad=(
            Bad("n", static={"n": 0}),
            Bad("window", static={"window": 0.0}),
            Bad("kappa", static={"kappa": 1.0}),
            Bad("alpha", static={"alpha": 1.0}),
            Bad("power", static={"power": 2.0}),
        ),
    ),
    matrices_row("legt", 4, window=0.5, norm="orthonormal"),
    matrices_row("legs", 5, bad=(Bad("window", static={"window": 2.0}),)),
    matrices_row("legs", 4, power=0.5, norm="lmu"),
    matrices_row("lagt", 4, window=2.0, kappa=1.0),
    matrices_row(
        "lagt",
        4,
        kappa=0.7,
        alpha=1.5,
        bad=(
            Bad("alpha", static={"alpha": -1.0}),
            Bad("norm", static={"norm": "lmu"}),
        ),
    ),
    matrices_row("fourier", 5, window=2.0, bad=(Bad("n", static={"n": 4}),)),
    matrices_row("fourier_real", 7, window=0.5, bad=(Bad("n", static={"n": 6}),)),
    matrices_row("fourier_all", 5, bad=(Bad("window", static={"window": 2.0}),)),
)
