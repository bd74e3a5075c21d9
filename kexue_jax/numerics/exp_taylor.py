"""Even Taylor polynomials of exp, which are positive, their logarithm and minimum."""

import decimal
import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype

# Beyond this order float32 loses the sign of f_n to cancellation.
HIGHEST_ORDER = 24
GRADIENT_MODES = ("finite", "infinite")


class TaylorMin(NamedTuple):
    """The stationary point of f_n and its value there, Python floats.

    Article: kexue.fm/archives/7919.
    """

    x_star: float
    f_star: float


def taylor_exp(x: jax.Array, *, order: int, monotone: bool = False) -> jax.Array:
    """f_n(x), the Taylor polynomial of exp of even order n: positive at every x.

    f_n(x) = sum_{k=0}^n x^k / k!; with ``monotone`` f_n(max(x, x*)), where f_n has its
    minimum at x* (``taylor_min``). Derivative: f_n' = f_{n-1}.

    Shapes: x [...] -> [...].
    Article: kexue.fm/archives/7919.  Paper: arXiv 1511.05042 and 2011.11538.
    Differs: odd orders, which have a zero, are refused; so are those above 24, at which
    float32 may lose the sign.
    Cost: n multiply-adds an entry (Horner), as many again for the gradient.
    Raises: TypeError or ValueError for an x that is not a floating array, or an order
    that is not an even integer in 2..24.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.numerics import taylor_exp
        >>> print(taylor_exp(jnp.array([-2.0, -1.0, 0.0, 1.0]), order=2))
        [1.  0.5 1.  2.5]
    """
    name = "taylor_exp"
    checks.array(name, "x", x)
    check_order(name, order)
    checks.flag(name, "monotone", monotone)
    wide = widened(x, order, monotone)
    return taylor(wide, int(order)).astype(jnp.result_type(x))


def log_taylor_exp(
    x: jax.Array, *, order: int, monotone: bool = False, grad_mode: str = "finite"
) -> jax.Array:
    """log f_n(x) for even n, finite at every finite x.

    log(1 + x (1 + x/2 (1 + ...))) where |x| <= 2n; beyond, n log|x| - log n! + log g
    with g = 1 + (n/x) (1 + ((n-1)/x) (1 + ...)). Derivative: f_{n-1}(x) / f_n(x), or 1
    with grad_mode="infinite", which takes f_n' = f_n as if n were infinite.
    ``monotone`` replaces x by max(x, x*) first, so that entries below x* get no
    gradient, in either mode.

    Shapes: x [...] -> [...].
    Article: kexue.fm/archives/7919.  Paper: arXiv 2011.11538.
    Differs: common code takes the logarithm of the polynomial, which overflows (float16
    at |x| = 18 and order 6). Odd orders and those above 24 are refused.
    Cost: 2n multiply-adds and three logarithms an entry; 4n more for the gradient. In
    float32 the error is at most 2e-5 up to order 10 at every |x| <= 1e6, and grows as
    exp(0.6 n) near x* for higher ones.
    Raises: TypeError or ValueError for an x that is not a floating array, an order
    that is not an even integer in 2..24, or another grad_mode.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.numerics import log_taylor_exp
        >>> y = log_taylor_exp(jnp.array([0.0, 1.0, -1e30]), order=2)
        >>> print([f"{v:.4f}" for v in y])
        ['0.0000', '0.9163', '137.4620']
    """
    name = "log_taylor_exp"
    checks.array(name, "x", x)
    check_order(name, order)
    checks.flag(name, "monotone", monotone)
    checks.choice(name, "grad_mode", grad_mode, GRADIENT_MODES)
    wide = widened(x, order, monotone)
    value = log_taylor(wide, int(order), grad_mode == "infinite")
    return value.astype(jnp.result_type(x))


def taylor_min(*, order: int) -> TaylorMin:
    """The stationary point x* of f_n for even n, its only one, and the minimum there.

    f_{n-1}(x*) = 0, so that f_n(x*) = x*^n / n! > 0. x*/n tends to -W(1/e) = -0.27846.

    Shapes: none; two Python floats.
    Article: kexue.fm/archives/7919.  Paper: none.
    Differs: no; the article tables six digits up to order 20.
    Cost: Newton's iteration in decimals of n/2 + 40 digits, once an order.
    Raises: TypeError or ValueError unless order is an even integer in 2..1000.
    Example:
        >>> from kexue_jax.numerics import taylor_min
        >>> x_star, f_star = taylor_min(order=4)
        >>> print(f"{x_star:.12g} {f_star:.12g}")
        -1.59607163798 0.270394765205
    """
    check_order("taylor_min", order, highest=1000)
    return _minimum(int(order))


def check_order(function: str, order: int, *, highest: int = HIGHEST_ORDER) -> None:
    """Raise unless ``order`` is an even Python integer in 2..highest."""
    checks.count(function, "order", order)
    if order % 2 or not 2 <= order <= highest:
        wanted = f"an even integer in 2..{highest} (odd ones have a zero)"
        raise checks.fail(function, "order", order, wanted)


def widened(x: jax.Array, order: int, monotone: bool) -> jax.Array:
    """``x`` in at least float32, not below x* if ``monotone``."""
    wide = jnp.asarray(x, accumulation_dtype(x))
    return jnp.maximum(wide, _minimum(int(order)).x_star) if monotone else wide


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def taylor(x: jax.Array, order: int) -> jax.Array:
    """f_n(x) for any n >= 0."""
    return _horner(x, range(order, 0, -1))


@taylor.defjvp
def _(order: int, primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (x,), (tangent,) = primals, tangents
    slope = taylor(x, order - 1) * tangent if order else jnp.zeros_like(tangent)
    return taylor(x, order), slope


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def scaled_taylor(x: jax.Array, peak: jax.Array, order: int) -> jax.Array:
    """f_n(x) / peak^n for peak >= max(1, |x|), which overflows at no x.

    Only for ratios at one peak, which do not depend on it: no gradient goes there.
    """
    inverse = 8 / peak  # no denormal number at the largest peak
    t, shrink = (x / 8) * inverse, inverse / 8
    total = jnp.full_like(t, 1 / math.factorial(order))
    power = jnp.ones_like(shrink)
    for k in reversed(range(order)):
        power = power * shrink
        total = total * t + power * (1 / math.factorial(k))
    return total


@scaled_taylor.defjvp
def _(order: int, primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (x, peak), (tangent, _) = primals, tangents
    value = scaled_taylor(x, peak, order)
    if not order:
        return value, jnp.zeros_like(value)
    slope = scaled_taylor(x, peak, order - 1) * (1 / peak)
    return value, slope * tangent


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def log_taylor(x: jax.Array, order: int, infinite: bool) -> jax.Array:
    """log f_n(x) in two branches, each at arguments that suit it."""
    near, inner, outer = _branches(x, order)
    below = jnp.log1p(inner * _horner(inner, range(order, 1, -1)))
    ratio = jnp.log(_horner(1 / outer, range(1, order + 1), invert=True))
    above = order * jnp.log(jnp.abs(outer)) - math.lgamma(order + 1) + ratio
    return jnp.where(near, below, above)


@log_taylor.defjvp
def _(
    order: int, infinite: bool, primals: tuple, tangents: tuple
) -> tuple[jax.Array, jax.Array]:
    (x,), (tangent,) = primals, tangents
    value = log_taylor(x, order, infinite)
    return value, tangent if infinite else _ratio(x, order) * tangent


def _ratio(x: jax.Array, order: int) -> jax.Array:
    """f_{n-1}(x) / f_n(x)."""
    near, inner, outer = _branches(x, order)
    below = _horner(inner, range(order - 1, 0, -1))
    below = below / _horner(inner, range(order, 0, -1))
    less = _horner(1 / outer, range(1, order), invert=True)
    above = order / outer * less
    above = above / (1 + above)
    return jnp.where(near, below, above)


def _branches(x: jax.Array, order: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Where |x| <= 2n, and x for either branch, harmless where the other is taken."""
    near = jnp.abs(x) <= 2 * order
    return near, jnp.where(near, x, 0), jnp.where(near, 2 * order, x)


def _horner(x: jax.Array, steps: range, invert: bool = False) -> jax.Array:
    """1 + x/k (1 + x/l (...)) for the steps ..., l, k; k x for x/k if ``invert``."""
    total = jnp.ones_like(x)
    for k in steps:
        total = 1 + x * total * (k if invert else 1 / k)
    return total


@functools.lru_cache
def _minimum(order: int) -> TaylorMin:
    """Newton on f_{n-1} from near its zero, at a precision that outlasts the terms."""
    with decimal.localcontext() as context:
        context.prec = 40 + order // 2
        x = decimal.Decimal(-0.2785 * order - 0.5)
        for _ in range(100):
            value = decimal.Decimal(1)
            for k in range(order - 1, 0, -1):
                value = 1 + x * value / k
            slope = value - x ** (order - 1) / math.factorial(order - 1)
            step = value / slope
            x -= step
            if abs(step) < decimal.Decimal("1e-30"):
                break
        return TaylorMin(float(x), float(x**order / math.factorial(order)))
