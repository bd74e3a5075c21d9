"""Which of n^(n+1) and (n+1)^n is larger, and a^b against b^a, without overflow."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype

# Below this 1/n the quotient log(1 + 1/n) n is taken from its series.
_NEAR = 1e-3


class PowerLimits(NamedTuple):
    """The largest n whose n^(n+1), and whose (n+1)^n, a dtype can hold.

    Article: kexue.fm, id not known.
    """

    left: int
    right: int


def log_power_gap(n: jax.Array) -> jax.Array:
    """d(n) = log n^(n+1) - log (n+1)^n, for real n >= 0; rising in n.

    d(n) = log n - n log(1 + 1/n), -inf at 0 and inf at inf; NaN below 0. Derivative:
    1/n - log(1 + 1/n) + 1/(n + 1) > 0.

    Shapes: n [...] of real numbers -> [...]; integers give the default float dtype.
    Article: kexue.fm, id not known.  Paper: none.
    Differs: (n + 1) log n - n log(n + 1) loses every digit by cancellation (float32:
    0 instead of 17.4 at n = 1e8).
    Cost: two logarithms an entry.
    Raises: TypeError unless n is an array of real numbers.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.numerics import log_power_gap
        >>> print([f"{v:.4f}" for v in log_power_gap(jnp.array([0, 2, 3, 10**9]))])
        ['-inf', '-0.1178', '0.2356', '19.7233']
    """
    n, dtype = _real("log_power_gap", "n", n)
    return _gap(n).astype(dtype)


def power_gap_series(n: jax.Array, *, terms: int = 3) -> jax.Array:
    """d(n) of ``log_power_gap`` by its series for large n.

    log n - 1 + sum_{k=2}^{terms+1} (-1)^k / (k n^(k-1)), which alternates: for n >= 1
    the error is below the first term left out, 1 / ((terms + 2) n^(terms+1)).

    Shapes: n [...] of real numbers -> [...]; integers give the default float dtype.
    Article: kexue.fm, id not known.  Paper: none.
    Differs: no.
    Cost: a logarithm and ``terms`` multiply-adds an entry.
    Raises: TypeError or ValueError for an n that is not an array of real numbers or
    ``terms`` that is not an integer of at least 0.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.numerics import power_gap_series
        >>> print(f"{power_gap_series(jnp.array(10.0)):.5f}")  # 1.34948 is exact
        1.34950
    """
    n, dtype = _real("power_gap_series", "n", n)
    checks.count("power_gap_series", "terms", terms, minimum=0)
    return (jnp.log(n) - _quotient_series(1 / n, int(terms))).astype(dtype)


def compare_consecutive_powers(n: jax.Array) -> jax.Array:
    """The sign of n^(n+1) - (n+1)^n for real n >= 0, exact at every size.

    -1 for n below the crossover 2.29316... (``power_crossover``), so at the integers
    0, 1 and 2, and 1 above. No integer gives 0: that is the answer where there is none
    (n < 0, NaN).

    Shapes: n [...] of real numbers -> [...] of int8.
    Article: kexue.fm, id not known.  Paper: none.
    Differs: powers in int32 wrap (the sign is wrong at n = 9), in float32 are inf
    against inf from 27 on; differences of logarithms fail from 8,332,460 on.
    Cost: one comparison an entry.
    Raises: TypeError unless n is an array of real numbers.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.numerics import compare_consecutive_powers
        >>> print(compare_consecutive_powers(jnp.array([0, 1, 2, 3, 4, 10**9])))
        [-1 -1 -1  1  1  1]
    """
    n, _ = _real("compare_consecutive_powers", "n", n)
    sign = jnp.where(n >= power_crossover(), 1, -1)
    return jnp.where(n >= 0, sign, 0).astype(jnp.int8)


def compare_powers(a: jax.Array, b: jax.Array) -> jax.Array:
    """The sign of a^b - b^a for real a, b >= 0.

    By log(x) / x, which rises to x = e and falls beyond: e <= a < b gives a^b > b^a.
    Integers are decided exactly: equal only for a = b and for 2, 4. Others by the sign
    of b log a - a log b, near a = b as a (r (log a - 1) + r - log(1 + r)) with r =
    b/a - 1; 0 where there is no answer (below 0, NaN).

    Shapes: a, b [...] of real numbers, shapes that broadcast -> [...] of int8.
    Article: kexue.fm, id not known.  Paper: none.
    Differs: no.
    Cost: four logarithms an entry. Of two floats the sign may be wrong where the
    logarithms of both powers agree to a few units in the last place.
    Raises: TypeError or ValueError for arguments that are not arrays of real numbers,
    or whose shapes do not broadcast.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.numerics import compare_powers
        >>> print(compare_powers(jnp.array([2, 2, 2, 1]), jnp.array([3, 4, 5, 9])))
        [-1  0  1 -1]
    """
    name = "compare_powers"
    checks.array(name, "a", a, "number")
    checks.array(name, "b", b, "number")
    shape = checks.leading(name, {"a": a.shape, "b": b.shape})
    whole = all(jnp.issubdtype(x.dtype, jnp.integer) for x in (a, b))
    (a, _), (b, _) = _real(name, "a", a, keep=whole), _real(name, "b", b, keep=whole)
    a, b = jnp.broadcast_to(a, shape), jnp.broadcast_to(b, shape)
    low, high = jnp.minimum(a, b), jnp.maximum(a, b)
    sign = _whole_sign(low, high) if whole else _float_sign(low, high)
    # A power of 0 and the empty product: 0^b < b^0.
    sign = jnp.where(low == 0, -1, sign)
    sign = jnp.where((low >= 0) & (low != high), sign, 0)
    return jnp.where(a <= b, sign, -sign).astype(jnp.int8)


def exact_compare(n: int) -> int:
    """The sign of n^(n+1) - (n+1)^n by Python's integers, the referee of the others.

    -1 for n <= 2 and 1 from 3 on: n > (1 + 1/n)^n, which stays below e.

    Shapes: none; a Python integer.
    Article: kexue.fm, id not known.  Paper: none.
    Differs: no.
    Cost: two powers of some n log2 n bits, on the host.
    Raises: TypeError or ValueError unless n is an integer of at least 0.
    Example:
        >>> from kexue_jax.numerics import exact_compare
        >>> [exact_compare(n) for n in range(6)]
        [-1, -1, -1, 1, 1, 1]
    """
    checks.count("exact_compare", "n", n, minimum=0)
    n = int(n)
    left, right = n ** (n + 1), (n + 1) ** n
    return (left > right) - (left < right)


def power_crossover() -> float:
    """The x at which x^(x+1) = (x+1)^x: 2.293166287411861.

    The root of log x = x log(1 + 1/x), by Newton's iteration from 2.3.

    Shapes: none; a Python float.
    Article: kexue.fm, id not known.  Paper: none.
    Differs: no; the integers change sides between 2 and 3.
    Cost: a few logarithms, once.
    Raises: nothing.
    Example:
        >>> from kexue_jax.numerics import power_crossover
        >>> round(power_crossover(), 12)
        2.293166287412
    """
    return _crossover()


def power_limits(dtype: Any) -> PowerLimits:
    """The largest n whose n^(n+1) and (n+1)^n do not overflow in ``dtype``.

    left = max {n : n^(n+1) <= M}, right = max {n : (n+1)^n <= M}, M its largest number.

    Shapes: none; Python integers.
    Article: kexue.fm, id not known.  Paper: none.
    Differs: no. Above 2^mantissa bits a float holds them rounded.
    Cost: powers of Python's integers, on the host.
    Raises: TypeError unless dtype names an integer or floating dtype.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.numerics import power_limits
        >>> power_limits(jnp.int32), power_limits(jnp.float32)
        (PowerLimits(left=8, right=9), PowerLimits(left=26, right=26))
    """
    name, wanted = "power_limits", "an integer or floating dtype"
    try:
        dtype = jnp.dtype(dtype) if dtype is not None else jnp.dtype(bool)
    except TypeError:
        raise checks.fail_type(name, "dtype", repr(dtype), wanted) from None
    if jnp.issubdtype(dtype, jnp.integer):
        most = int(jnp.iinfo(dtype).max)
    elif jnp.issubdtype(dtype, jnp.floating):
        most = int(float(jnp.finfo(dtype).max))
    else:
        raise checks.fail_type(name, "dtype", repr(dtype), wanted)
    left = right = 0
    while (left + 1) ** (left + 2) <= most:
        left += 1
    while (right + 2) ** (right + 1) <= most:
        right += 1
    return PowerLimits(left, right)


@functools.lru_cache
def _crossover() -> float:
    x = 2.3
    for _ in range(20):
        log = math.log1p(1 / x)
        x -= (math.log(x) - x * log) / (1 / x - log + 1 / (x + 1))
    return x


def _real(name: str, argument: str, x: Any, keep: bool = False) -> tuple[Any, Any]:
    """x in at least float32 (as it is if ``keep``), and the dtype of the result."""
    checks.array(name, argument, x, "number")
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        raise checks.fail_type(name, argument, f"dtype {x.dtype}", "real")
    if keep:
        return jnp.asarray(x), x.dtype
    if jnp.issubdtype(x.dtype, jnp.integer):
        x = jnp.asarray(x).astype(float)
    return jnp.asarray(x, accumulation_dtype(x)), x.dtype


@jax.custom_jvp
def _gap(n: jax.Array) -> jax.Array:
    inside = (n > 0) & (n < jnp.inf)
    safe = jnp.where(inside, n, 1)
    gap = jnp.log(safe) - _quotient(1 / safe)
    return jnp.where(inside, gap, jnp.where(n >= 0, jnp.log(n), jnp.nan))


@_gap.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (n,), (tangent,) = primals, tangents
    x = 1 / jnp.where(n > 0, n, 1)
    slope = x - jnp.log1p(x) + x / (1 + x)
    slope = jnp.where(n > 0, slope, jnp.where(n == 0, jnp.inf, jnp.nan))
    return _gap(n), slope * tangent


def _quotient(x: jax.Array) -> jax.Array:
    """log(1 + x) / x for x > 0."""
    far = jnp.maximum(x, _NEAR)
    return jnp.where(x < _NEAR, _quotient_series(x, 5), jnp.log1p(far) / far)


def _quotient_series(x: jax.Array, terms: int) -> jax.Array:
    """1 - x/2 + x^2/3 - ... to the power ``terms``."""
    total = jnp.full_like(x, 1 / (terms + 1))
    for k in range(terms, 0, -1):
        total = 1 / k - x * total
    return total


def _whole_sign(low: jax.Array, high: jax.Array) -> jax.Array:
    """For integers 1 <= low < high."""
    two = (low == 2) & (high <= 4)
    sign = jnp.where((low == 1) | (two & (high == 3)), -1, 1)
    return jnp.where(two & (high == 4), 0, sign)


def _float_sign(low: jax.Array, high: jax.Array) -> jax.Array:
    """Of high log low - low log high, for 0 < low <= high."""
    safe = jnp.where(low > 0, low, 1)
    over = jnp.where(low > 0, high, 1)
    r = jnp.minimum((over - safe) / safe, 0.5)
    close = r * (jnp.log(safe) - 1) + _less_log1p(r)
    far = over * jnp.log(safe) - safe * jnp.log(over)
    gap = jnp.where(over - safe <= 0.5 * safe, close, far)
    return jnp.where((low == 2) & (high == 4), 0, jnp.sign(gap))


def _less_log1p(r: jax.Array) -> jax.Array:
    """r - log(1 + r) for 0 <= r <= 1/2, to full precision near 0."""
    # log(1 + r) = 2 artanh(s), s = r / (2 + r); r - 2 s = r s.
    s = r / (2 + r)
    q = s * s
    total = jnp.zeros_like(q)
    for k in range(25, 1, -2):
        total = 1 / k + q * total
    return r * s - 2 * s * q * total
