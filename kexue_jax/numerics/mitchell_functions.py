"""Logarithms, powers of two and roots read off the bit patterns of floats."""

import functools
import math

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.numerics import _layout
from kexue_jax.numerics._layout import constant

SLOPES = ("straight_through", "exact")
# What the known constant 0x5f3759df of float32 takes off 3/2 of the pattern of 1.
_TUNED = (0x5F400000 - 0x5F3759DF) / 2**23


def mitchell_log2(x: jax.Array, *, grad: str = "straight_through") -> jax.Array:
    """The base-2 logarithm by Mitchell's line: exponent plus mantissa.

    n + f for x = 2^n (1 + f), below log2(x) by at most 0.08607 (f = 0.4427) and by
    0.0573 in the mean. Derivative: 1 / (x ln 2) for grad="straight_through", 2^-n, that
    of this piecewise linear function, for "exact".

    Shapes: x [...] -> [...].
    Article: kexue.fm/archives/7991.  Paper: IRE Trans. EC-11 (1962).
    Differs: subnormals are taken for 0, whose logarithm is -inf; NaN below 0.
    Cost: a few integer operations an entry.
    Raises: TypeError or ValueError unless x is a floating array and ``grad`` one of the
    two.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.numerics import mitchell_log2
        >>> print(mitchell_log2(jnp.array([0.5, 1.0, 3.0, 12.0])))
        [-1.   0.   1.5  3.5]
    """
    checks.array("mitchell_log2", "x", x)
    checks.choice("mitchell_log2", "grad", grad, SLOPES)
    return _log2(jnp.asarray(x), grad)


def mitchell_exp2(y: jax.Array, *, grad: str = "straight_through") -> jax.Array:
    """The power of two by Mitchell's line, the inverse of ``mitchell_log2``.

    2^n (1 + f) with n = floor(y), f = y - n: above 2^y by a factor of at most 1.06148.
    Derivative: ln(2) 2^y for grad="straight_through", 2^n for "exact".

    Shapes: y [...] -> [...].
    Article: kexue.fm/archives/7991.  Paper: IRE Trans. EC-11 (1962).
    Differs: below the exponent of the smallest normal number 0, above that of the
    largest inf (or the largest number, where a dtype has no inf).
    Cost: a few integer operations an entry.
    Raises: TypeError or ValueError unless y is a floating array and ``grad`` one of the
    two.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.numerics import mitchell_exp2
        >>> print(mitchell_exp2(jnp.array([-1.0, 0.5, 3.5])))
        [ 0.5  1.5 12. ]
    """
    checks.array("mitchell_exp2", "y", y)
    checks.choice("mitchell_exp2", "grad", grad, SLOPES)
    return _exp2(jnp.asarray(y), grad)


def mitchell_sqrt(x: jax.Array) -> jax.Array:
    """The square root as half of Mitchell's logarithm: one addition and one shift.

    The number of pattern (I + B) / 2, I that of x and B that of 1; above sqrt(x) by a
    factor of at most 1.0607, at f = 1 and odd n. Derivative: that of sqrt(x).

    Shapes: x [...] -> [...].
    Article: kexue.fm/archives/7991.  Paper: IRE Trans. EC-11 (1962).
    Differs: subnormals are taken for 0; NaN below 0.
    Cost: a few integer operations an entry.
    Raises: TypeError unless x is a floating array.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.numerics import mitchell_sqrt
        >>> print(mitchell_sqrt(jnp.array([1.0, 2.0, 4.0])))
        [1.  1.5 2. ]
    """
    checks.array("mitchell_sqrt", "x", x)
    return _sqrt(jnp.asarray(x))


def mitchell_rsqrt(
    x: jax.Array, *, tuned: bool = False, newton_steps: int = 0
) -> jax.Array:
    """The inverse square root: a subtraction, a shift, and Newton's steps if asked for.

    The number of pattern (3 B - I) / 2, I that of x and B that of 1; ``tuned`` takes
    off it what the known constant 0x5f3759df does. A step: y (3 - x y^2) / 2.
    Derivative: that of x^(-1/2).

    Shapes: x [...] -> [...].
    Article: kexue.fm/archives/7991.  Paper: IRE Trans. EC-11 (1962).
    Differs: no; the article has no roots. Subnormals are taken for 0, whose inverse
    root is inf; NaN below 0.
    Cost: a few integer operations an entry, four products a step.
    Raises: TypeError or ValueError unless x is a floating array, ``tuned`` a bool and
    newton_steps an integer of at least 0.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.numerics import mitchell_rsqrt
        >>> x = jnp.array([0.25, 2.0])
        >>> print(mitchell_rsqrt(x), mitchell_rsqrt(x, newton_steps=3).round(4))
        [2.   0.75] [2.     0.7071]
    """
    name = "mitchell_rsqrt"
    checks.array(name, "x", x)
    checks.flag(name, "tuned", tuned)
    checks.count(name, "newton_steps", newton_steps, minimum=0)
    return _rsqrt(jnp.asarray(x), bool(tuned), int(newton_steps))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _log2(x: jax.Array, grad: str) -> jax.Array:
    form = _layout.layout(x.dtype)
    size = _layout.magnitude(_layout.bits(x, form), form)
    wide = accumulation_dtype(x)
    n = (size >> constant(form.mantissa, form)).astype(jnp.int32) - form.exponent
    f = (size & constant(form.fraction, form)).astype(wide) / (1 << form.mantissa)
    found = n.astype(wide) + f
    found = jnp.where(size < constant(form.least, form), -jnp.inf, found)
    finite = (x >= 0) & (size < constant(form.special, form))
    # log2 is right at inf, at NaN and below 0, but for what is taken for -0.
    small = size < constant(form.least, form)
    edge = jnp.log2(jnp.where(finite | small, 1, x).astype(wide))
    return jnp.where(finite | small, found, edge).astype(x.dtype)


@_log2.defjvp
def _(grad: str, primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (x,), (tangent,) = primals, tangents
    slope = 1 / (x * math.log(2)) if grad == "straight_through" else 1 / _power(x)
    return _log2(x, grad), slope * tangent


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _exp2(y: jax.Array, grad: str) -> jax.Array:
    form = _layout.layout(y.dtype)
    wide = y.astype(accumulation_dtype(y))
    low, high = 1 - form.exponent, form.special >> form.mantissa
    high -= form.exponent
    inside = jnp.clip(jnp.where(jnp.isnan(wide), 0, wide), low, high)
    n = jnp.floor(inside)
    f = jnp.round((inside - n) * (1 << form.mantissa)).astype(form.uint)
    steps = (n + form.exponent).astype(form.uint) << constant(form.mantissa, form)
    most = form.special if form.infinite else form.most
    pattern = jnp.minimum(steps + f, constant(most, form))
    pattern = jnp.where(wide < low, constant(0, form), pattern)
    found = _layout.number(pattern, y.dtype, form)
    return jnp.where(jnp.isnan(wide), jnp.nan, found)


@_exp2.defjvp
def _(grad: str, primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (y,), (tangent,) = primals, tangents
    found = _exp2(y, grad)
    wide = y.astype(accumulation_dtype(y))
    if grad == "straight_through":
        slope = math.log(2) * jnp.exp2(wide)
    else:
        slope = jnp.where(found > 0, jnp.exp2(jnp.floor(wide)), 0)
    return found, slope.astype(y.dtype) * tangent


@jax.custom_jvp
def _sqrt(x: jax.Array) -> jax.Array:
    form = _layout.layout(x.dtype)
    size = _layout.magnitude(_layout.bits(x, form), form)
    half = (size + constant(form.bias, form)) >> constant(1, form)
    small = size < constant(form.least, form)
    found = jnp.where(small, 0, _layout.number(half, x.dtype, form))
    plain = small | ((x > 0) & (size < constant(form.special, form)))
    return jnp.where(plain, found, jnp.sqrt(jnp.where(plain, 1, x)))


@_sqrt.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (x,), (tangent,) = primals, tangents
    return _sqrt(x), 0.5 / jnp.sqrt(x) * tangent


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _rsqrt(x: jax.Array, tuned: bool, steps: int) -> jax.Array:
    form = _layout.layout(x.dtype)
    size = _layout.magnitude(_layout.bits(x, form), form)
    least = round(_TUNED * (1 << form.mantissa)) if tuned else 0
    # From the patterns' halves: three times that of 1 may not fit.
    magic = 3 * form.bias // 2 - least
    found = _layout.number(
        constant(magic, form) - (size >> constant(1, form)), x.dtype, form
    )
    small = size < constant(form.least, form)
    plain = ~small & (x > 0) & (size < constant(form.special, form))
    wide = x.astype(accumulation_dtype(x))
    y, inside = found.astype(wide.dtype), jnp.where(plain, wide, 1)
    for _ in range(steps):
        y = y * (1.5 - 0.5 * inside * y * y)
    edge = 1 / jnp.sqrt(jnp.where(plain, 1, jnp.where(small, 0, wide)))
    return jnp.where(plain, y, edge).astype(x.dtype)


@_rsqrt.defjvp
def _(
    tuned: bool, steps: int, primals: tuple, tangents: tuple
) -> tuple[jax.Array, jax.Array]:
    (x,), (tangent,) = primals, tangents
    return _rsqrt(x, tuned, steps), -0.5 / (x * jnp.sqrt(x)) * tangent


def _power(x: jax.Array) -> jax.Array:
    """2^n for x = 2^n (1 + f)."""
    form = _layout.layout(x.dtype)
    size = _layout.magnitude(_layout.bits(x, form), form)
    return _layout.number(size & ~constant(form.fraction, form), x.dtype, form)
