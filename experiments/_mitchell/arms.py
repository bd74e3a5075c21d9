"""How products are made: exactly, or Mitchell's with an offset and a gradient."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax import attention, numerics


class Arm(NamedTuple):
    """A way to multiply; ``offset`` None is the exact one.

    ``grad`` is the rule of ``mitchell_mul``; with ``optimizer`` the products, quotients
    and roots of Adam are approximate too.
    """

    name: str
    offset: float | None = 0.0
    grad: str = "straight_through"
    optimizer: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """Of Mitchell's functions; no product may become infinite."""
        return {"offset": self.offset, "grad": self.grad}

    def matmul(self, a: jax.Array, b: jax.Array) -> jax.Array:
        """a b."""
        if self.offset is None:
            return jnp.matmul(a, b)
        return numerics.mitchell_matmul(a, b, overflow="clamp", **self.options)

    def conv(self, x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
        """The convolution of images, "SAME"."""
        steps = (stride, stride)
        if self.offset is None:
            layout = ("NHWC", "HWIO", "NHWC")
            return lax.conv_general_dilated(
                x, kernel, steps, "SAME", dimension_numbers=layout
            )
        return numerics.mitchell_conv(
            x, kernel, strides=steps, overflow="clamp", **self.options
        )

    def dot_general(self, x: Any, y: Any, dimension_numbers: Any) -> jax.Array:
        """``lax.dot_general`` of this arm."""
        if self.offset is None:
            return lax.dot_general(x, y, dimension_numbers)
        return numerics.mitchell_dot_general(
            x, y, dimension_numbers, overflow="clamp", **self.options
        )

    def attend(self, q: Any, k: Any, v: Any, layer: int) -> jax.Array:
        """Causal softmax attention."""
        if self.offset is None:
            return attention.dense_attention(q, k, v, causal=True)
        return attention.mitchell_attention(q, k, v, causal=True, **self.options)


EXACT = Arm("exact", None)
PLAIN = Arm("Mitchell")
MIMIC = Arm("Mitchell, backwards too", grad="mimic")
PIECES = Arm("Mitchell, its own slopes", grad="exact")
LMUL = Arm("L-Mul", 1 / 16)
OPTIMIZER = Arm("Mitchell, backwards and in Adam", grad="mimic", optimizer=True)


@functools.cache
def best() -> tuple[Arm, Arm]:
    """Mitchell's with the offset of least largest, and of least rms error."""
    return (
        Arm("least largest error", numerics.optimal_offset(criterion="max")),
        Arm("least rms error", numerics.optimal_offset(criterion="rms")),
    )


def trained(few: bool) -> tuple[Arm, ...]:
    """The arms that are trained; ``few``: one for each claim."""
    if few:
        return EXACT, LMUL, MIMIC
    return EXACT, PLAIN, PIECES, LMUL, best()[0], MIMIC, OPTIMIZER


def swapped(few: bool) -> tuple[Arm, ...]:
    """The arms that are put into networks trained exactly."""
    return (PLAIN, LMUL) if few else (PLAIN, LMUL, *best())
