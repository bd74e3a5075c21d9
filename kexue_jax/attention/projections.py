"""Random projections of the Performer: independent rows, or orthogonal in blocks."""

import functools
import math
from statistics import NormalDist
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks, numerics
from kexue_jax._base.orthogonal import orthonormal

NORMS = ("chi", "sqrt_d", "quantile", "midpoint")


def gaussian_projection(
    key: jax.Array,
    *,
    m: int,
    d: int,
    heads: int | None = None,
    dtype: Any = jnp.float32,
) -> jax.Array:
    """Rows drawn independently from N(0, I_d).

    w_r ~ N(0, I_d), drawn as ``normal(key, [heads, m, d])``.

    Shapes: key -> [m, d], or [heads, m, d].
    Article: kexue.fm/archives/7921.  Paper: arXiv 2009.14794.
    Differs: no.
    Cost: m d normal numbers.
    Raises: TypeError or ValueError for a bad key, count or dtype.
    Example:
        >>> import jax
        >>> from kexue_jax.attention import gaussian_projection
        >>> gaussian_projection(jax.random.key(0), m=6, d=4).shape
        (6, 4)
    """
    name = "gaussian_projection"
    lead = _checked(name, key, m, d, heads, dtype)
    return _normal(key, (*lead, m, d), dtype)


def orthogonal_projection(
    key: jax.Array,
    *,
    m: int,
    d: int,
    heads: int | None = None,
    norms: str = "chi",
    dtype: Any = jnp.float32,
) -> jax.Array:
    """Rows from N(0, I_d) in direction, orthogonal to each other in blocks of d.

    With key_q, key_n = split(key): G = normal(key_q, [blocks, d, d]) = Q R with
    R_jj > 0, the directions are the columns of Q; their norms are by ``norms``: "chi"
    those of the rows of normal(key_n, [m, d]), "sqrt_d" all sqrt(d) (the kernel SMREG),
    "quantile" the R_i with P(chi_d <= R_i) = i / (m + 1), "midpoint" (i - 1/2) / m,
    i = 1..m, both in the order permutation(key_n, m).

    Shapes: key -> [m, d], or [heads, m, d] with a split of key a head.
    Article: kexue.fm/archives/7921.  Paper: arXiv 2009.14794, 1703.00864.
    Differs: the published codes take Q as QR returns it, whose diagonal is negative on
    average: the estimate of exp(q.k) is then biased (at d = m = 16 and q = k of norm
    1/2 it is 1.10 for 1.28). Only "chi" is unbiased; the others trade a bias of a few
    percent for less variance.
    Cost: 8 m d^2 flops in d turns of a loop.
    Raises: TypeError or ValueError for a bad key, count, rule or dtype.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.attention import orthogonal_projection
        >>> w = orthogonal_projection(jax.random.key(0), m=4, d=4, norms="sqrt_d")
        >>> bool(jnp.abs(w @ w.T - 4 * jnp.eye(4)).max() < 1e-5)
        True
    """
    name = "orthogonal_projection"
    lead = _checked(name, key, m, d, heads, dtype)
    checks.choice(name, "norms", norms, NORMS)
    if not lead:
        return _orthogonal(key, m, d, norms, dtype)
    keys = jax.random.split(key, lead[0])
    return jax.vmap(lambda one: _orthogonal(one, m, d, norms, dtype))(keys)


def redrawn_projection(
    key: jax.Array,
    step: int | jax.Array,
    *,
    every: int,
    m: int,
    d: int,
    heads: int | None = None,
    norms: str = "chi",
    dtype: Any = jnp.float32,
) -> jax.Array:
    """The orthogonal projection of a step of training: a new one every so many steps.

    w = orthogonal_projection(fold_in(key, step // every), ...).

    Shapes: key, step an integer [] -> [m, d], or [heads, m, d].
    Article: kexue.fm/archives/7921.  Paper: arXiv 2009.14794, section 4.2.
    Differs: the published code seeds a redraw by the sum of the queries, which differs
    between devices; here by the step. The common interval is 1,000.
    Cost: that of ``orthogonal_projection``, at every step under jit.
    Raises: TypeError or ValueError for a bad key, step, count, rule or dtype.
    Example:
        >>> import jax
        >>> from kexue_jax.attention import redrawn_projection
        >>> draw = lambda t: redrawn_projection(jax.random.key(0), t, every=9, m=2, d=2)
        >>> bool((draw(8) == draw(0)).all()), bool((draw(9) == draw(0)).all())
        (True, False)
    """
    name = "redrawn_projection"
    checks.key(name, "key", key)
    checks.count(name, "every", every)
    if isinstance(step, (int, np.integer)) and not isinstance(step, bool):
        checks.count(name, "step", step, minimum=0)
    else:
        checks.array(name, "step", step, "integer")
        checks.shapes(name, step=(step, ""))
    _checked(name, key, m, d, heads, dtype)
    checks.choice(name, "norms", norms, NORMS)
    own = jax.random.fold_in(key, numerics.signed(step) // every)
    return orthogonal_projection(own, m=m, d=d, heads=heads, norms=norms, dtype=dtype)


def _checked(
    name: str, key: Any, m: Any, d: Any, heads: Any, dtype: Any
) -> tuple[int, ...]:
    """The leading axes, after the checks that all projections share."""
    checks.key(name, "key", key)
    checks.count(name, "m", m)
    checks.count(name, "d", d)
    checks.float_dtype(name, "dtype", dtype)
    if heads is None:
        return ()
    checks.count(name, "heads", heads)
    return (int(heads),)


def _normal(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Normal numbers drawn in at least float32, then cast."""
    wide = jnp.promote_types(dtype, jnp.float32)
    return jax.random.normal(key, shape, wide).astype(dtype)


def _orthogonal(key: jax.Array, m: int, d: int, norms: str, dtype: Any) -> jax.Array:
    wide = jnp.promote_types(dtype, jnp.float32)
    key_q, key_n = jax.random.split(key)
    blocks = jax.random.normal(key_q, (-(-m // d), d, d), wide)
    rows = orthonormal(blocks.mT).reshape(-1, d)[:m]
    return (rows * _norms(key_n, m, d, norms, wide)[:, None]).astype(dtype)


def _norms(key: jax.Array, m: int, d: int, rule: str, dtype: Any) -> jax.Array:
    if rule == "chi":
        rows = jax.random.normal(key, (m, d), dtype)
        return jnp.sqrt(jnp.square(rows).sum(-1))
    if rule == "sqrt_d":
        return jnp.full(m, math.sqrt(d), dtype)
    i = np.arange(1, m + 1)
    shares = i / (m + 1) if rule == "quantile" else (i - 0.5) / m
    radii = chi_quantiles(tuple(shares.tolist()), d)
    return jnp.asarray(radii, dtype)[jax.random.permutation(key, m)]


@functools.cache
def chi_quantiles(shares: tuple[float, ...], d: int) -> np.ndarray:
    """The R with P(chi_d <= R) = share, in float64.

    By Newton's method on the squares, from Wilson and Hilferty's approximation, held
    inside of a bracket that every step narrows.
    """
    p, a = np.asarray(shares), d / 2
    normal = np.array([NormalDist().inv_cdf(share) for share in shares])
    start = d * (1 - 2 / (9 * d) + normal * math.sqrt(2 / (9 * d))) ** 3 / 2
    low, high = np.zeros(len(p)), np.full(len(p), a + 40 + 20 * math.sqrt(a))
    x = np.clip(start, 1e-3 * p, high)
    for _ in range(60):
        excess = _gamma_share(a, x) - p
        low, high = np.where(excess <= 0, x, low), np.where(excess > 0, x, high)
        density = np.exp((a - 1) * np.log(x) - x - math.lgamma(a))
        step = x - excess / density
        x = np.where((step > low) & (step < high), step, (low + high) / 2)
    return np.sqrt(2 * x)


def _gamma_share(a: float, x: np.ndarray) -> np.ndarray:
    """The regularized incomplete gamma function P(a, x), by its series of positive
    terms x^(a+i) e^-x / Gamma(a + i + 1)."""
    term = np.exp(a * np.log(x) - x - math.lgamma(a + 1))
    total, i = term.copy(), 0
    while i < 10_000 and (term > 1e-17 * total).any():
        i += 1
        term = term * (x / (a + i))
        total += term
    return total
