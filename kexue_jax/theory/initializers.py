"""Initializers with the variance that they say, in the signature of jax's own."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks

Initializer = Callable[..., jax.Array]

# Variance of N(0, 1) cut off at +-2, and the factor that gives it back.
TRUNCATED_VARIANCE = 1 - 4 * math.exp(-2) / (
    math.sqrt(2 * math.pi) * math.erf(math.sqrt(2))
)
MODES = ("fan_in", "fan_out", "fan_avg")
DISTRIBUTIONS = ("truncated_normal", "normal", "uniform")


def truncated_normal(
    *, stddev: float | jax.Array, corrected: bool = True
) -> Initializer:
    """An initializer: a normal distribution cut off at two standard deviations.

    init(key, shape, dtype) = s * z with z ~ N(0, 1) drawn within [-2, 2]; s = stddev /
    0.8796256610 if ``corrected``, whose standard deviation is then ``stddev``; else
    s = stddev, whose standard deviation is 0.8796256610 stddev.

    Shapes: -> a function (key, shape, dtype=float32) -> shape.
    Article: kexue.fm/archives/8747, 7180.  Paper: none.
    Differs: ``jax.nn.initializers.truncated_normal(stddev)`` is the uncorrected one, as
    is BERT's (0.02 there means 0.0175925). Half types are drawn in float32 and cast.
    Cost: one draw an entry.
    Raises: TypeError or ValueError for a ``stddev`` that is no finite number of at
    least 0 and no floating scalar, a ``corrected`` that is no bool; from the
    initializer for a bad key, shape or dtype.
    Example:
        >>> import jax
        >>> from kexue_jax.theory import truncated_normal
        >>> w = truncated_normal(stddev=0.02)(jax.random.key(0), (500, 500))
        >>> round(float(w.std()), 4)
        0.02
    """
    name = "truncated_normal"
    checks.number(name, "stddev", stddev, minimum=0, traced=True)
    checks.flag(name, "corrected", corrected)
    factor = TRUNCATED_VARIANCE**-0.5 if corrected else 1.0

    def init(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> Any:
        _check_call(name, key, shape, dtype)
        wide = jnp.promote_types(dtype, jnp.float32)
        z = jax.random.truncated_normal(key, -2, 2, tuple(shape), wide)
        return (stddev * factor * z).astype(dtype)

    return init


def variance_scaling(
    *,
    scale: float = 1.0,
    mode: str = "fan_in",
    distribution: str = "truncated_normal",
    in_axis: int | Sequence[int] = -2,
    out_axis: int | Sequence[int] = -1,
    batch_axis: int | Sequence[int] = (),
) -> Initializer:
    """An initializer whose variance is a scale over a number of connections.

    Var = scale / n, with n by ``mode`` "fan_in": the inputs of an output, "fan_out":
    the outputs of an input, "fan_avg": their mean. LeCun is 1 by "fan_in", Xavier 1 by
    "fan_avg", He 2 by "fan_in"; for another activation than ReLU the scale that keeps
    the second moment is 1 / E phi(z)^2 (``activation_moments``), 2.3517 for GELU.

    Shapes: -> a function (key, shape, dtype=float32) -> shape.
    Article: kexue.fm/archives/7180, 8620, 8747.  Paper: Glorot and Bengio 2010, arXiv
    1502.01852.
    Differs: ``jax.nn.initializers.variance_scaling``, drawn in at least float32 and
    cast. A kernel [d, heads, d_head] has in_axis 0 and out_axis (1, 2), one of stacked
    layers [layers, in, out] batch_axis 0: the defaults are wrong there.
    Cost: one draw an entry.
    Raises: TypeError or ValueError for a scale that is not above 0, an unknown mode or
    distribution, axes that are no integers; from the initializer for a bad key, shape
    or dtype.
    Example:
        >>> import jax
        >>> from kexue_jax.theory import variance_scaling
        >>> w = variance_scaling(scale=2.0)(jax.random.key(0), (400, 300))
        >>> round(float(w.var() * 400), 1)
        2.0
    """
    name = "variance_scaling"
    checks.number(name, "scale", scale, minimum=0, open_minimum=True)
    checks.choice(name, "mode", mode, MODES)
    checks.choice(name, "distribution", distribution, DISTRIBUTIONS)
    axes = {"in_axis": in_axis, "out_axis": out_axis, "batch_axis": batch_axis}
    for argument, value in axes.items():
        for axis in value if isinstance(value, (tuple, list)) else (value,):
            checks.count(name, argument, axis, minimum=-32)

    def init(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> Any:
        _check_call(name, key, shape, dtype)
        wide = jnp.promote_types(dtype, jnp.float32)
        build: Any = jax.nn.initializers.variance_scaling
        draw = build(scale, mode, distribution, in_axis, out_axis, batch_axis)
        return draw(key, tuple(shape), wide).astype(dtype)

    return init


def zero_hadamard(*, gain: float = math.sqrt(2)) -> Initializer:
    """An initializer of zeros and one constant: part of an identity, or of a Hadamard.

    For a kernel [m, n] the first n columns of the identity where n <= m; else
    gain * 2^(-k/2) (-1)^popcount(i & j), k = ceil(log2 n): rows of a Hadamard matrix,
    orthogonal to each other where n is a power of 2. Nothing is drawn.

    Shapes: -> a function (key, shape [m, n], dtype=float32) -> [m, n].
    Article: kexue.fm/archives/8747.  Paper: arXiv 2110.12661.
    Differs: the article names it in passing. The gain of sqrt(2) is the constant
    2^(-(k - 1) / 2) of the paper's algorithm 1; its authors' code has a gain of 1, for
    which rows of 2^k entries have norm 1. The key is taken for the signature's sake.
    Cost: none worth the name.
    Raises: TypeError or ValueError for a gain that is no finite number; from the
    initializer for a bad key, a shape that is not [m, n], or a bad dtype.
    Example:
        >>> import jax
        >>> from kexue_jax.theory import zero_hadamard
        >>> print(zero_hadamard(gain=2.0)(jax.random.key(0), (2, 4)))
        [[ 1.  1.  1.  1.]
         [ 1. -1.  1. -1.]]
    """
    name = "zero_hadamard"
    checks.number(name, "gain", gain)

    def init(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> Any:
        _check_call(name, key, shape, dtype)
        if len(shape) != 2:
            raise checks.fail(name, "shape", tuple(shape), "of two axes [m, n]")
        m, n = shape
        if n <= m:
            return jnp.eye(m, n, dtype=dtype)
        both = np.arange(m)[:, None] & np.arange(n)
        signs = 1 - 2 * (np.bitwise_count(both) % 2).astype(float)
        return jnp.asarray(gain * 2 ** (-math.ceil(math.log2(n)) / 2) * signs, dtype)

    return init


def _check_call(name: str, key: Any, shape: Any, dtype: Any) -> None:
    checks.key(name, "key", key)
    if not isinstance(shape, (tuple, list)):
        got = f"a {type(shape).__name__}"
        raise checks.fail_type(name, "shape", got, "a tuple of integers")
    for size in shape:
        checks.count(name, "shape", size, minimum=0)
    checks.float_dtype(name, "dtype", dtype)
