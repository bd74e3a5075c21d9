"""The exact LegS update for an input held over the step, and the projection it equals.

The flow of c' = A c / t from k to k + 1 shrinks the past: the polynomial of the
coefficients, u at r (s + 1) - 1 with r = k / (k + 1), is expanded anew: exactly, by n
Gauss-Legendre nodes, without an exponential of a matrix.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from kexue_jax._base import checks, numerics
from kexue_jax.ssm.basis import legendre_from_ends
from kexue_jax.ssm.hippo import NORMS
from kexue_jax.ssm.legs_algebra import along, from_hippo


def shrinkage(k: jax.Array, power: float) -> tuple[jax.Array, jax.Array]:
    """r = (k / (k + 1))^(1 / power) and 1 - r, without the rounding of the first."""
    if power == 1:
        return k / (k + 1), 1 / (k + 1)
    log = jnp.log1p(-1 / (jnp.maximum(k, 1) + 1)) / power
    none = k == 0
    return jnp.where(none, 0, jnp.exp(log)), jnp.where(none, 1, -jnp.expm1(log))


def exact_step(
    x: jax.Array, u: jax.Array, shrunk: tuple[jax.Array, jax.Array]
) -> jax.Array:
    """E (x - u e_0) + u e_0 of the norm "hippo".

    E_ij = r sum_q w_q g_i(r (s_q + 1) - 1) g_j(s_q); x ``[..., n]``, u ``[...]``,
    ``shrunk`` r and 1 - r, all in one dtype.
    """
    r, rest = shrunk
    n = x.shape[-1]
    s, weighed = nodes(n)
    sizes = np.sqrt((2 * np.arange(n) + 1) / 2)
    below, above = (jnp.asarray(part, x.dtype) for part in (1 + s, 1 - s))
    from_left = r * below
    left = from_left < 1
    ends = jnp.where(left, from_left, above + rest * below)
    new = legendre_from_ends(ends, left, n, sizes)  # [i, q]
    still = along(np.eye(n)[0], x) * u[..., None]
    product = lax.Precision.HIGHEST
    weighed = jnp.asarray(weighed, x.dtype)
    values = jnp.einsum("...j,jq->...q", x - still, weighed, precision=product)
    return r * jnp.einsum("...q,iq->...i", values, new, precision=product) + still


def nodes(n: int) -> tuple[np.ndarray, np.ndarray]:
    """The n Gauss-Legendre nodes s_q, and w_q g_j(s_q) [j, q], in long double.

    A step is the same quadrature each time, so that its error would add up; a Newton
    step brings float64's nodes to more than that.
    """
    s = np.polynomial.legendre.leggauss(n)[0].astype(np.longdouble)
    for _ in range(2):
        p = _legendre(s, n)
        slope = n * (p[n - 1] - s * p[n]) / (1 - s**2)
        s = s - p[n] / slope
    p = _legendre(s, n)
    slope = n * (p[n - 1] - s * p[n]) / (1 - s**2)
    sizes = np.sqrt((2 * np.arange(n, dtype=np.longdouble) + 1) / 2)
    return s, p[:n] * sizes[:, None] * 2 / ((1 - s**2) * slope**2)


def _legendre(s: np.ndarray, n: int) -> np.ndarray:
    """P_0, ..., P_n at s, in the precision of s."""
    p = [np.ones_like(s), s]
    for i in range(1, n):
        p.append(((2 * i + 1) * s * p[i] - i * p[i - 1]) / (i + 1))
    return np.stack(p)


def legs_project(
    u: jax.Array, *, n: int, power: float = 1.0, norm: str = "hippo"
) -> jax.Array:
    """The LegS coefficients of a whole history, the best approximation of it.

    u_j is held from j to j + 1: c_i = sum_j u_j int g_i from s_j to s_{j+1}, s_j = 2
    (j / length)^(1 / power) - 1. The integral of g_i is sqrt((2 i + 1) / 2) (P_{i+1} -
    P_{i-1}) / (2 i + 1), and the sum goes over the jumps u_j - u_{j-1}.

    Shapes: u [..., length] -> [..., n].
    Article: kexue.fm/archives/10114 (10137).  Paper: arXiv 2008.07669.
    Differs: no. It is what ``legs_scan`` with the method "exact" keeps up to date.
    Cost: O(length n) time and memory, one product.
    Raises: TypeError or ValueError for bad arguments.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import legs_project
        >>> c = legs_project(jnp.array([1.0, 3.0]), n=2, norm="lmu")
        >>> print(f"{c[0]:.2f} {c[1]:.2f}")
        2.00 1.50
    """
    name = "legs_project"
    checks.count(name, "n", n)
    checks.number(name, "power", power, minimum=0, open_minimum=True)
    checks.choice(name, "norm", norm, NORMS)
    checks.array(name, "u", u)
    checks.shapes(name, u=(u, "... length"))
    length = u.shape[-1]
    if length == 0:
        raise checks.fail(name, "u", "none", "of at least 1 sample")
    dtype = numerics.accumulation_dtype(u)
    wide = jnp.asarray(u, dtype)
    from_left = 2 * (np.arange(1, length) / length) ** (1 / power)
    left = from_left < 1
    ends = jnp.asarray(np.where(left, from_left, 2 - from_left), dtype)
    legendre = legendre_from_ends(ends, jnp.asarray(left), n + 1, np.ones(n + 1))
    halves = np.sqrt(2 * np.arange(1, n) + 1)
    integrals = (legendre[2:] - legendre[:-2]) / (
        2 * jnp.asarray(halves, dtype)[:, None]
    )
    jumps = wide[..., 1:] - wide[..., :-1]
    rest = -jnp.einsum(
        "...l,il->...i", jumps, integrals, precision=lax.Precision.HIGHEST
    )
    widths = np.diff((np.arange(length + 1) / length) ** (1 / power))
    mean = (wide * along(widths, wide)).sum(-1, keepdims=True)
    c = jnp.concatenate([mean, rest], -1) * along(from_hippo(n, norm), wide)
    return c.astype(u.dtype)
