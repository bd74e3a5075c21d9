"""The layers that carry the U-Nets: convolution, group norm with its gradient."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark.case import Case
from kexue_jax.models.convolution import conv3x3, conv3x3_direct
from kexue_jax.models.layers import group_norm, group_norm_plain


def images(seed: int) -> tuple[jax.Array, jax.Array]:
    """x [8, 32, 32, 64] and a kernel of 64 channels in and out."""
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((8, 32, 32, 64))
    kernel = draw.standard_normal((3, 3, 64, 64)) / 24
    return jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32)


def normed(seed: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """x [8, 32, 32, 64], a scale and an offset."""
    draw = np.random.default_rng(seed)
    shapes = ((8, 32, 32, 64), (64,), (64,))
    x, scale, offset = (
        jnp.asarray(draw.standard_normal(shape), jnp.float32) for shape in shapes
    )
    return x, scale, offset


def with_gradient(form: Callable[..., jax.Array], **options: Any) -> Any:
    """Value and gradient of a sum of cosines of the form's output."""

    def total(*inputs: Any) -> jax.Array:
        return jnp.sum(jnp.cos(form(*inputs, **options)))

    def both(*inputs: Any) -> Any:
        return jax.value_and_grad(total, tuple(range(len(inputs))))(*inputs)

    return both


GROUPS = {"groups": 32, "epsilon": 1e-6}

CASES = (
    Case(
        "layers.conv3x3",
        images,
        conv3x3,
        conv3x3_direct,
        gradient=(0, 1),
        about="3x3 convolution of 8 images of 32x32x64; twin: XLA's",
    ),
    Case(
        "layers.group_norm_gradient",
        normed,
        with_gradient(group_norm, **GROUPS),
        with_gradient(group_norm_plain, **GROUPS),
        tolerance=1e-4,
        about="group norm of 8 images of 32x32x64 with its gradients; twin: by reshape",
    ),
)
