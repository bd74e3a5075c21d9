"""The layers of the image networks: channels last, no bias by default, no hidden state.

Every layer computes in the dtype of its input (parameters are cast to it) and sums in
at least float32. Spatial operations are written in the forms that XLA compiles well on
a CPU: pooling as a mean over a reshape, upsampling as a broadcast, 1x1 convolutions as
matrix products.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.models.convolution import conv3x3
from kexue_jax.models.functional import uniform_param
from kexue_jax.training.recompute import remat

DotGeneral = Callable[..., jax.Array]  # (x, y, dimension_numbers), as lax.dot_general


def kernel_param(shape: tuple[int, ...], *, scale: float = 1.0) -> nnx.Param:
    """A uniform kernel of variance scale / mean(fan in, fan out); zeros at scale 0."""
    fan_average = math.prod(shape[:-2]) * (shape[-2] + shape[-1]) / 2
    return uniform_param(shape, bound=math.sqrt(3 * scale / fan_average))


def along_last(values: jax.Array, like: jax.Array) -> jax.Array:
    """``values [c]`` in the dtype of ``like [..., c]``, with its number of axes."""
    return values.astype(like.dtype).reshape((1,) * (like.ndim - 1) + values.shape)


class Dense(nnx.Module):
    """``x @ kernel (+ bias)`` over the last axis; a 1x1 convolution on images."""

    def __init__(
        self,
        in_width: int,
        width: int,
        *,
        bias: bool = False,
        scale: float = 1.0,
        dot_general: DotGeneral = lax.dot_general,
    ):
        self.kernel = kernel_param((in_width, width), scale=scale)
        self.bias = nnx.Param(jnp.zeros(width, jnp.float32)) if bias else None
        self.dot_general = dot_general

    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.kernel[...].astype(x.dtype)
        y = self.dot_general(x, kernel, (((x.ndim - 1,), (0,)), ((), ())))
        return y if self.bias is None else y + along_last(self.bias[...], y)


class Conv(nnx.Module):
    """A 3x3 convolution ``[b, h, w, i] -> [b, h / stride, w / stride, o]``."""

    def __init__(
        self,
        in_width: int,
        width: int,
        *,
        stride: int = 1,
        bias: bool = False,
        scale: float = 1.0,
    ):
        self.kernel = kernel_param((3, 3, in_width, width), scale=scale)
        self.bias = nnx.Param(jnp.zeros(width, jnp.float32)) if bias else None
        self.stride = stride

    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.kernel[...].astype(x.dtype)
        if self.stride == 1:
            y = conv3x3(x, kernel)
        else:
            y = lax.conv_general_dilated(
                x,
                kernel,
                (self.stride, self.stride),
                "SAME",
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
        return y if self.bias is None else y + along_last(self.bias[...], y)


def group_norm(
    x: jax.Array, scale: jax.Array, offset: jax.Array, *, groups: int, epsilon: float
) -> jax.Array:
    """``scale * (x - mean) / sqrt(variance + epsilon) + offset`` over strided groups.

    ``x [b, h, w, c]``; group g holds channels g, g + groups, g + 2 groups, ... Groups
    are summed and spread by products with a 0/1 matrix: XLA on a CPU fuses a reshape or
    tile of the statistics into the loop over pixels and then does not vectorize it.
    """
    dtype = accumulation_dtype(x)
    _, h, w, c = x.shape
    member = jnp.asarray(np.tile(np.eye(groups), (1, c // groups)), dtype)
    exact = partial(jnp.dot, precision=lax.Precision.HIGHEST)

    def group_mean(values: jax.Array) -> jax.Array:
        sums = exact(values.sum((1, 2)), member.T)
        return exact(sums / (h * w * c // groups), member)

    def wide(values: jax.Array) -> jax.Array:
        return values[:, None, None, :]

    pixels = x.astype(dtype)
    mean = group_mean(pixels)
    variance = group_mean(jnp.square(pixels - wide(mean)))
    factor = lax.rsqrt(variance + epsilon) * along_last(scale, mean)
    shift = along_last(offset, mean) - mean * factor
    return (pixels * wide(factor) + wide(shift)).astype(x.dtype)


def group_norm_plain(
    x: jax.Array, scale: jax.Array, offset: jax.Array, *, groups: int, epsilon: float
) -> jax.Array:
    """The readable twin of ``group_norm``, by its definition."""
    dtype = accumulation_dtype(x)
    b, h, w, c = x.shape
    grouped = x.astype(dtype).reshape(b, h * w, c // groups, groups)
    centered = grouped - grouped.mean((1, 2), keepdims=True)
    variance = jnp.square(centered).mean((1, 2), keepdims=True)
    normal = (centered * lax.rsqrt(variance + epsilon)).reshape(x.shape)
    normal = normal * along_last(scale, normal) + along_last(offset, normal)
    return normal.astype(x.dtype)


class GroupNorm(nnx.Module):
    """Group normalization over the author's strided groups, with scale and offset.

    ``groups`` is the wish; gcd(width, groups) is taken, so that every width works.
    """

    def __init__(self, width: int, *, groups: int, epsilon: float = 1e-6):
        self.scale = nnx.Param(jnp.ones(width, jnp.float32))
        self.offset = nnx.Param(jnp.zeros(width, jnp.float32))
        self.groups = math.gcd(width, groups)
        self.epsilon = epsilon

    def __call__(self, x: jax.Array) -> jax.Array:
        return group_norm(
            x,
            self.scale[...],
            self.offset[...],
            groups=self.groups,
            epsilon=self.epsilon,
        )


class Embedding(nnx.Module):
    """Rows of a trainable table, uniform in +-0.05 at the start."""

    def __init__(self, rows: int, width: int):
        self.table = uniform_param((rows, width), bound=0.05)

    def __call__(self, index: jax.Array) -> jax.Array:
        """Rows ``index``, clipped into the table; linear between them if floating."""
        table = jnp.asarray(self.table[...])
        last = table.shape[0] - 1
        if jnp.issubdtype(index.dtype, jnp.integer):
            return table[jnp.clip(index, 0, last)]
        index = jnp.clip(index.astype(accumulation_dtype(index)), 0, last)
        low = jnp.floor(index)
        share = (index - low)[..., None].astype(table.dtype)
        low = low.astype(jnp.int32)
        return table[low] * (1 - share) + table[jnp.minimum(low + 1, last)] * share


def label_embedding(num_classes: int | None, width: int) -> Embedding | None:
    """The table of ``num_classes`` labels and, last, of "no label"; None without."""
    return None if num_classes is None else Embedding(num_classes + 1, width)


def sinusoidal_embedding(
    position: jax.Array, *, width: int, dtype: jnp.dtype
) -> jax.Array:
    """``[sin(position w_i), cos(position w_i)]``, ``w_i = 10000^(-2 i / width)``."""
    half = width // 2
    frequency = 10_000.0 ** (-jnp.arange(half, dtype=dtype) / half)
    frequency = frequency.reshape((1,) * position.ndim + (half,))
    angle = position[..., None].astype(dtype) * frequency
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], -1)


def average_pool(x: jax.Array) -> jax.Array:
    """The mean of each 2x2 square: ``[b, h, w, c] -> [b, h / 2, w / 2, c]``."""
    b, h, w, c = x.shape
    squares = x.reshape(b, h // 2, 2, w // 2, 2, c)
    return squares.mean((2, 4), dtype=accumulation_dtype(x)).astype(x.dtype)


def nearest_upsample(x: jax.Array) -> jax.Array:
    """Each pixel twice along both sides: ``[b, h, w, c] -> [b, 2 h, 2 w, c]``."""
    b, h, w, c = x.shape
    squares = jnp.broadcast_to(x[:, :, None, :, None, :], (b, h, 2, w, 2, c))
    return squares.reshape(b, 2 * h, 2 * w, c)


def dropout(x: jax.Array, key: jax.Array | None, *, rate: float) -> jax.Array:
    """``x`` with entries zeroed at ``rate`` and the rest scaled up; x without a key."""
    if key is None or rate == 0:
        return x
    kept = jax.random.bernoulli(key, 1 - rate, x.shape)
    return jnp.where(kept, x / (1 - rate), jnp.zeros_like(x))


def run_block(block: Any, recompute: bool, *inputs: Any) -> jax.Array:
    """``block(*inputs)``; with ``recompute`` its inside is computed twice, not kept."""
    return remat(lambda *values: block(*values), enabled=recompute)(*inputs)
