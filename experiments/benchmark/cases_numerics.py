"""Mitchell's arithmetic beside the hardware's, and GELU's forms beside jax's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark.case import Case, Peer
from experiments.benchmark.forms import jitted
from kexue_jax import numerics


def pairs(seed: int) -> tuple[jax.Array, jax.Array]:
    """Two rows of 4 million numbers."""
    draw = np.random.default_rng(seed)
    a, b = (jnp.asarray(draw.standard_normal(2**22), jnp.float32) for _ in "ab")
    return a, b


def matrices(seed: int) -> tuple[jax.Array, jax.Array]:
    """[256, 512] and [512, 256]."""
    draw = np.random.default_rng(seed)
    return (
        jnp.asarray(draw.standard_normal((256, 512)), jnp.float32),
        jnp.asarray(draw.standard_normal((512, 256)), jnp.float32),
    )


def numbers(seed: int) -> tuple[jax.Array]:
    """4 million numbers."""
    return pairs(seed)[:1]


def mul_by_parts(a: jax.Array, b: jax.Array) -> jax.Array:
    """Mitchell's product from exponents and mantissas, without a look at the bits."""
    (x, i), (y, j) = (jnp.frexp(jnp.abs(x)) for x in (a, b))
    s = (2 * x - 1) + (2 * y - 1)
    found = jnp.ldexp(jnp.where(s < 1, 1 + s, 2 * s), i + j - 2)
    return jnp.sign(a) * jnp.sign(b) * found


def matmul_by_parts(a: jax.Array, b: jax.Array) -> jax.Array:
    """Rows one by one: the products of a row and the matrix, summed."""
    return jax.lax.map(lambda row: jnp.sum(mul_by_parts(row[:, None], b), 0), a)


# A float's own product is another number, by 1/9 at most.
EXACT = {"label": "jax's exact product", "tolerance": 0.12, "equal": False}

CASES = (
    Case(
        "numerics.mitchell_mul",
        pairs,
        numerics.mitchell_mul,
        mul_by_parts,
        peers=(Peer("jax", functools.partial(jitted, jnp.multiply), **EXACT),),
        about="Mitchell's product of 4 million pairs; twin: exponents and mantissas",
    ),
    Case(
        "numerics.mitchell_matmul",
        matrices,
        numerics.mitchell_matmul,
        matmul_by_parts,
        peers=(Peer("jax", functools.partial(jitted, jnp.matmul), **EXACT),),
        about="256x512 by 512x256 of Mitchell's products; twin: row by row, by parts",
    ),
    *(
        Case(
            f"numerics.gelu_{form}_gradient",
            numbers,
            functools.partial(numerics.gelu, approximate=form),
            functools.partial(jax.nn.gelu, approximate=form == "tanh"),
            gradient=(0,),
            tolerance=1e-5,
            about=f"GELU ({form}) of 4 million numbers, gradients; twin: jax.nn.gelu",
        )
        for form in ("none", "tanh")
    ),
)
