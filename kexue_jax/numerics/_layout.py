"""How a floating dtype lies in the bits of an unsigned integer."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


class Layout(NamedTuple):
    """Of one dtype: its integers, mantissa bits m, and the patterns of magnitudes.

    For positive normal x = 2^n (1 + f) the pattern is 2^m (n + bias + f). Patterns of
    eight bits are handled in sixteen, so that sums of two of them fit.
    """

    stored: Any
    uint: Any
    mantissa: int
    bias: int  # the exponent's bias * 2^m: the pattern of 1
    least: int  # the smallest normal number
    most: int  # the largest finite number
    special: int  # the first pattern that is no finite number
    infinite: bool  # whether that pattern is infinity

    @property
    def sign(self) -> int:
        """The bit of the sign."""
        return 1 << (jnp.iinfo(self.stored).bits - 1)

    @property
    def fraction(self) -> int:
        """The bits of the mantissa."""
        return (1 << self.mantissa) - 1

    @property
    def exponent(self) -> int:
        """The bias of the exponent."""
        return self.bias >> self.mantissa

    def shift(self, offset: float) -> int:
        """``offset`` of the sum of mantissas in units of the last place."""
        return round(offset * (1 << self.mantissa))


UINTS = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint64}


def layout(dtype: Any) -> Layout:
    """The layout of a binary floating dtype."""
    dtype = jnp.dtype(dtype)
    info = jnp.finfo(dtype)
    stored = UINTS[dtype.itemsize]

    def pattern(value: Any) -> int:
        return int(np.asarray(value, dtype).view(np.dtype(stored)))

    most = pattern(info.max)
    return Layout(
        stored=stored,
        uint=UINTS[max(dtype.itemsize, 2)],
        mantissa=int(info.nmant),
        bias=pattern(1),
        least=pattern(info.smallest_normal),
        most=most,
        special=most + 1,
        infinite=bool(np.isinf(np.asarray(np.inf, dtype).astype(np.float32))),
    )


def bits(x: jax.Array, form: Layout) -> jax.Array:
    """The pattern of x."""
    return lax.bitcast_convert_type(x, form.stored).astype(form.uint)


def magnitude(pattern: jax.Array, form: Layout) -> jax.Array:
    """The pattern without its sign."""
    return pattern & constant(form.sign - 1, form)


def number(pattern: jax.Array, dtype: Any, form: Layout) -> jax.Array:
    """The number of a pattern."""
    return lax.bitcast_convert_type(pattern.astype(form.stored), dtype)


def constant(value: int, form: Layout) -> jax.Array:
    """A pattern, or a number to add to one."""
    return jnp.asarray(value, form.uint)
