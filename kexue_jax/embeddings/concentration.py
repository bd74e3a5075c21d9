"""How far norms and inner products of random vectors stray, as bounds and exactly."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.embeddings._chi_squared import log_remainder

_TERMS = 18  # of the series of log(1 + x) - x, at |x| <= 1/2
# The double exponential rule for integrals over (0, inf) of what falls as exp(-t).
_TURNS = np.arange(-45, 59) * 0.08
_NODES = np.exp(_TURNS - np.exp(-_TURNS))
_WEIGHTS = 0.08 * _NODES * (1 + np.exp(-_TURNS))


class UnitNormTail(NamedTuple):
    """Bounds of the probability that a squared norm is eps too large, or too small.

    upper and lower [...] are Chernoff's, bound [...] is above both.
    """

    upper: jax.Array
    lower: jax.Array
    bound: jax.Array


class ExactNormTail(NamedTuple):
    """The probability that a squared norm is eps too large, and eps too small."""

    upper: jax.Array
    lower: jax.Array


def unit_norm_log_mgf(lam: jax.Array, *, n: int) -> jax.Array:
    """log E exp(lam |u|^2) of a vector u of n entries from N(0, 1/n).

    -(n/2) log(1 - 2 lam / n) for lam < n/2, inf from there on. Chernoff's bound of
    P(|u|^2 >= 1 + eps), this less lam (1 + eps), is least at lam = n eps / (2 (1+eps)).

    Shapes: lam [...] -> [...].
    Article: kexue.fm/archives/8679.  Paper: none.
    Differs: its logarithm, which does not overflow.
    Cost: one logarithm an entry.
    Raises: TypeError or ValueError for a lam that is not a floating array, n < 1.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.embeddings import unit_norm_log_mgf
        >>> print(f"{unit_norm_log_mgf(jnp.array(1.0), n=4):.4f}")
        1.3863
    """
    name = "unit_norm_log_mgf"
    _check(name, "lam", lam, n)
    wide = jnp.asarray(lam, accumulation_dtype(lam))
    inside = wide < n / 2
    found = -n / 2 * jnp.log1p(jnp.where(inside, -2 / n * wide, 0))
    return jnp.where(inside, found, jnp.inf).astype(lam.dtype)


def unit_norm_tail(eps: jax.Array, *, n: int) -> UnitNormTail:
    """Chernoff's bounds for |u|^2 of a vector u of n entries from N(0, 1/n).

    P(|u|^2 - 1 >= eps) <= upper = exp(n (log(1 + eps) - eps) / 2),
    P(1 - |u|^2 >= eps) <= lower = exp(n (log(1 - eps) + eps) / 2),
    and lower <= upper <= bound = exp(-n eps^2 / 8) for eps in (0, 1].

    Shapes: eps [...], from 0 to 1 -> three [...].
    Article: kexue.fm/archives/8679.  Paper: none.
    Differs: log(1 + x) - x by a series near 0, where the difference loses its digits.
    exp(-n eps^2 / 4) lies above lower but not above upper, nor above the law itself
    where n is large: the article's -eps^2/4 is halved by n/2. lower is 0 from eps = 1.
    Cost: some 40 multiply-adds an entry.
    Raises: TypeError or ValueError for an eps that is not a floating array, n < 1.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.embeddings import unit_norm_tail
        >>> print([f"{v:.5f}" for v in unit_norm_tail(jnp.array(0.3), n=256)])
        ['0.00809', '0.00071', '0.05613']
    """
    name = "unit_norm_tail"
    _check(name, "eps", eps, n)
    wide = jnp.asarray(eps, accumulation_dtype(eps))
    inside = wide < 1
    lower = jnp.exp(n / 2 * _log_gap(jnp.where(inside, -wide, 0)))
    found = (
        jnp.exp(n / 2 * _log_gap(wide)),
        jnp.where(inside, lower, 0),
        jnp.exp(-n / 8 * wide * wide),
    )
    return UnitNormTail(*(value.astype(eps.dtype) for value in found))


def exact_norm_tail(eps: jax.Array, *, n: int) -> ExactNormTail:
    """The law of |A w|^2 / |w|^2 itself, A an [n, m] matrix of entries from N(0, 1/n).

    It is chi^2_n / n, of mean 1 and variance 2/n, whatever w and m:
    upper = P(chi^2_n >= n (1 + eps)), lower = P(chi^2_n <= n (1 - eps)).

    Shapes: eps [...], from 0 to 1 -> two [...].
    Article: kexue.fm/archives/8679.  Paper: none (the definition of chi^2).
    Differs: the article has bounds of it, ``unit_norm_tail``. lower is 0 from eps = 1.
    The common incomplete gamma function of float32 is off by 1e-4 at n = 1,000; here
    Chernoff's factor stands apart and what is left is a sum of positive terms.
    Cost: 2 sums of 104 terms an entry.
    Raises: as ``unit_norm_tail`` does.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.embeddings import exact_norm_tail
        >>> print([f"{v:.5f}" for v in exact_norm_tail(jnp.array(0.3), n=256)])
        ['0.00087', '0.00008']
    """
    name = "exact_norm_tail"
    _check(name, "eps", eps, n)
    wide = jnp.asarray(eps, accumulation_dtype(eps))
    inside = wide < 1
    safe = jnp.where(inside, wide, 0.5)
    upper = _tail(wide, n / 2, upper=True)
    lower = jnp.where(inside, _tail(safe, n / 2, upper=False), 0)
    return ExactNormTail(upper.astype(eps.dtype), lower.astype(eps.dtype))


def orthogonality_bound(eps: jax.Array, *, n: int) -> jax.Array:
    """A bound of P(|<u, v>| >= eps) for independent u, v of n entries from N(0, 1/n).

    4 exp(-n eps^2 / 8), from <u, v> = (|(u+v)/sqrt 2|^2 - |(u-v)/sqrt 2|^2) / 2, whose
    two vectors are of the law of u.

    Shapes: eps [...], from 0 to 1 -> [...].
    Article: kexue.fm/archives/8679.  Paper: none.
    Differs: no. (If <u, v> >= eps, one of two norms is off by eps; the article words it
    the other way round.) Above 1 it says nothing.
    Cost: one exponential an entry.
    Raises: as ``unit_norm_tail`` does.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.embeddings import orthogonality_bound
        >>> print(f"{orthogonality_bound(jnp.array(0.5), n=512):.2e}")
        4.50e-07
    """
    name = "orthogonality_bound"
    _check(name, "eps", eps, n)
    wide = jnp.asarray(eps, accumulation_dtype(eps))
    return (4 * jnp.exp(-n / 8 * wide * wide)).astype(eps.dtype)


def jl_failure_bound(eps: jax.Array, *, num_points: int, n: int) -> jax.Array:
    """A bound of the probability that a projection moves any squared distance by eps.

    N (N-1) exp(-n eps^2 / 8), N = num_points: the pairs, and two sides of each.

    Shapes: eps [...], from 0 to 1 -> [...].
    Article: kexue.fm/archives/8679.  Paper: Johnson & Lindenstrauss 1984.
    Differs: no. It holds for a matrix drawn independently of the points; above 1 it
    says nothing.
    Cost: one exponential an entry.
    Raises: as ``unit_norm_tail`` does, and for num_points < 1.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.embeddings import jl_failure_bound
        >>> print(f"{jl_failure_bound(jnp.array(0.5), num_points=100, n=443):.5f}")
        0.00962
    """
    name = "jl_failure_bound"
    _check(name, "eps", eps, n)
    checks.count(name, "num_points", num_points)
    wide = jnp.asarray(eps, accumulation_dtype(eps))
    pairs = int(num_points) * (int(num_points) - 1)
    log_pairs = math.log(pairs) if pairs else -math.inf
    return jnp.exp(log_pairs - n / 8 * wide * wide).astype(eps.dtype)


def _check(name: str, argument: str, value: jax.Array, n: int) -> None:
    checks.array(name, argument, value)
    checks.count(name, "n", n)


def _tail(eps: jax.Array, a: float, *, upper: bool) -> jax.Array:
    """P(chi^2_2a >= 2a (1 + eps)), or P(chi^2_2a <= 2a (1 - eps)).

    x^a e^-x / Gamma(a) times the integral over t > 0 of (1 + t)^(a-1) e^(-x t), or over
    0 < w = 1 - e^-t < 1 of (1 - w)^(a-1) e^(x w), by the double exponential rule.
    """
    scale = jax.lax.stop_gradient(1 / (math.sqrt(a) + a * jnp.abs(eps)))
    last = (1,) * eps.ndim + (-1,)
    t = scale[..., None] * jnp.asarray(_NODES, eps.dtype).reshape(last)
    if upper:
        grown, step, jacobian = _log_gap(t), t, -jnp.log1p(t)
    else:
        step = -jnp.expm1(-t)
        near = step < 0.5
        gap = _log_gap(-jnp.where(near, step, 0))
        grown, jacobian = jnp.where(near, gap, step - t), 0
    terms = jnp.exp(a * (grown - eps[..., None] * step) + jacobian)
    weights = jnp.asarray(_WEIGHTS, eps.dtype).reshape(last)
    total = scale * jnp.sum(terms * weights, -1)
    side = eps if upper else -eps
    return jnp.exp(a * _log_gap(side) + math.log(a) - log_remainder(a)) * total


def _log_gap(x: jax.Array) -> jax.Array:
    """log(1 + x) - x, x > -1, to full relative precision.

    With r = x / (2 + x) it is -x r + 2 (r^3/3 + r^5/5 + ...).
    """
    near = jnp.abs(x) < 0.5
    small = jnp.where(near, x, 0)
    r = small / (2 + small)
    square, total = r * r, jnp.zeros_like(r)
    for i in range(_TERMS, 0, -1):
        total = total * square + 2 / (2 * i + 1)
    series = -small * r + total * square * r
    return jnp.where(near, series, jnp.log1p(jnp.where(near, 0, x)) - x)
