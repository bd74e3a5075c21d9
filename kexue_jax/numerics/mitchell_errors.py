"""How far Mitchell's product is off, and the offsets that make it least."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype

CRITERIA = ("mean", "rms", "mean_abs", "max")
MANTISSAS = ("uniform", "log_uniform")
_POINTS = 500  # of each mantissa: the integrands have kinks and are continuous


def mitchell_relative_error(
    x1: jax.Array, x2: jax.Array, *, offset: float = 0.0
) -> jax.Array:
    """The relative error of Mitchell's product of 1 + x1 and 1 + x2, before rounding.

    g(x1 + x2 + offset) / ((1 + x1) (1 + x2)) - 1, g(s) = 2^floor(s) (1 + s - floor(s)).
    For offset = 0: -x1 x2 / ((1 + x1) (1 + x2)) for x1 + x2 < 1, and -(1 - x1) (1 - x2)
    over the same from 1 on: at least -1/9, at x1 = x2 = 1/2 alone.

    Shapes: x1, x2 [...] in [0, 1), shapes that broadcast -> [...].
    Article: kexue.fm/archives/7991.  Paper: IRE Trans. EC-11 (1962).
    Differs: no; the article's errors have the opposite sign.
    Cost: a few operations an entry.
    Raises: TypeError or ValueError for arguments that are not floating arrays of one
    dtype, shapes that do not broadcast, or an offset outside [0, 1).
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.numerics import mitchell_relative_error
        >>> print(mitchell_relative_error(jnp.array(0.5), jnp.array(0.5)).round(6))
        -0.111111
    """
    name = "mitchell_relative_error"
    checks.array(name, "x1", x1)
    checks.array(name, "x2", x2)
    checks.same_dtype(name, x1=x1, x2=x2)
    checks.number(name, "offset", offset, minimum=0, maximum=1, open_maximum=True)
    shape = checks.leading(name, {"x1": x1.shape, "x2": x2.shape})
    dtype = accumulation_dtype(x1)
    a, b = (jnp.broadcast_to(jnp.asarray(x, dtype), shape) for x in (x1, x2))
    s = a + b + offset
    whole = jnp.floor(jax.lax.stop_gradient(s))
    # 2^whole (1 + s - whole) - (1 + a) (1 + b), without the 1 + a + b of both.
    gap = offset + jnp.where(whole == 1, s - 1, jnp.where(whole == 2, 3 * s - 5, 0))
    return ((gap - a * b) / ((1 + a) * (1 + b))).astype(x1.dtype)


def optimal_offset(*, criterion: str = "rms", mantissas: str = "uniform") -> float:
    """The offset at which Mitchell's product is best, for mantissas spread at random.

    Of the relative error of ``mitchell_relative_error``: "mean" makes the mean 0, "rms"
    the root of the mean square least, "mean_abs" the mean size, "max" the largest size,
    which solves c = 1 - 8 / (3 - c)^2. ``mantissas``: "uniform" in [0, 1), or
    "log_uniform" (1 + x has density 1 / ((1 + x) ln 2), as data of many scales have).

    Shapes: none; a Python float.
    Article: kexue.fm/archives/7991.  Paper: arXiv 2410.00907.
    Differs: the paper has powers of two (``lmul_offset``); article and Mitchell have 0.
    Cost: 40 averages over 250,000 pairs, once a criterion, on the host.
    Raises: TypeError or ValueError for unknown choices.
    Example:
        >>> from kexue_jax.numerics import optimal_offset
        >>> round(optimal_offset(criterion="mean"), 4)
        0.0566
    """
    checks.choice("optimal_offset", "criterion", criterion, CRITERIA)
    checks.choice("optimal_offset", "mantissas", mantissas, MANTISSAS)
    return _optimal(criterion, mantissas)


@functools.lru_cache
def _optimal(criterion: str, mantissas: str) -> float:
    if criterion == "max":
        return _root(lambda c: c - 1 + 8 / (3 - c) ** 2)
    x = (np.arange(_POINTS) + 0.5) / _POINTS
    if mantissas == "log_uniform":
        x = 2**x - 1
    sums, products = x[:, None] + x[None], np.outer(1 + x, 1 + x)

    def errors(c: float) -> np.ndarray:
        s = sums + c
        whole = np.floor(s)
        return 2**whole * (1 + s - whole) / products - 1

    if criterion == "mean":
        return _root(lambda c: float(errors(c).mean()))
    power = 2 if criterion == "rms" else 1
    return _least(lambda c: float((np.abs(errors(c)) ** power).mean()))


def _root(function: Callable[[float], float]) -> float:
    """Of a function that rises from below 0 at 0 to above 0 at 1/8, by halving."""
    low, high = 0.0, 0.125
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) < 0 else (low, middle)
    return (low + high) / 2


def _least(function: Callable[[float], float]) -> float:
    """The minimum in [0, 1/8], by golden section."""
    golden = (math.sqrt(5) - 1) / 2
    low, high = 0.0, 0.125
    for _ in range(30):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if function(left) < function(right):
            high = right
        else:
            low = left
    return (low + high) / 2
