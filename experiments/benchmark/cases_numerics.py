"""Mitchell's arithmetic beside the hardware's, and GELU's forms beside jax's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark.case import Case
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


CASES = (
    Case(
        "numerics.mitchell_mul",
        pairs,
        numerics.mitchell_mul,
        jnp.multiply,
        tolerance=0.12,
        about="Mitchell's product of 4 million pairs; in the twin's place the product",
    ),
    Case(
        "numerics.mitchell_matmul",
        matrices,
        numerics.mitchell_matmul,
        jnp.matmul,
        tolerance=0.12,
        about="256x512 by 512x256 with Mitchell's products; in the twin's place plain",
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
