"""HiPPO matrices from a basis and a warp, and by a change of basis."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from kexue_jax._base import checks, numerics
from kexue_jax._base.elimination import solved
from kexue_jax.ssm.hippo import NORMS, HippoMatrices, norm_scale


def hippo_from_basis(
    basis: Callable[[np.ndarray], Any],
    flow: Callable[[np.ndarray], Any],
    *,
    n: int,
    interval: tuple[float, float] = (-1.0, 1.0),
    nodes: int | None = None,
    dtype: Any = jnp.float32,
) -> HippoMatrices:
    """The HiPPO matrices of any basis g_i and warp s -> t_T(s) of [a, b] to the past.

    With psi(s) = (dt / dT) / (dt / ds): A_ik = -psi(a) g_i(a) g~_k(a) - int (psi g_i)'
    g~_k ds, B_i = psi(b) g_i(b), g~ the dual functions, by Gauss-Legendre quadrature:
    exact for polynomials.

    Shapes: basis(s [q]) -> (g, g', g~) or (g, g'), of [n, q] each, g~ = conj(g) if not
    given; flow(s [q]) -> (psi, psi') of [q] each; NumPy arrays in and out ->
    HippoMatrices(a [n, n], b [n]).
    Article: kexue.fm/archives/10114 (10137).  Paper: arXiv 2008.07669, appendix D.
    Differs: no. u at the oldest end is replaced by its expansion there, as in the
    article; for a Fourier basis that value is the mean of both ends, which
    ``hippo_matrices`` allows for and this does not. A factor f(T) of psi is left out
    and stands before A c + B u: psi = s + 1 for "legs", whose f is 1 / T.
    Cost: O(n^2 nodes) in float64 on the host; nodes is 2 n + 32 if not given.
    Raises: TypeError or ValueError for what is not callable, for results of another
    shape, an interval that is none.
    Example:
        >>> import numpy as np
        >>> from kexue_jax.ssm import hippo_from_basis
        >>> one = lambda s: (np.full((1, s.size), 0.5**0.5), np.zeros((1, s.size)))
        >>> a, b = hippo_from_basis(one, lambda s: (s + 1, np.ones(s.size)), n=1)
        >>> print(f"{a[0, 0]:.4f} {b[0]:.4f}")
        -1.0000 1.4142
    """
    name = "hippo_from_basis"
    checks.function(name, "basis", basis)
    checks.function(name, "flow", flow)
    checks.count(name, "n", n)
    checks.count(name, "nodes", 2 * n + 32 if nodes is None else nodes)
    checks.float_dtype(name, "dtype", dtype)
    low, high = _ends(name, interval)
    points, weights = np.polynomial.legendre.leggauss(nodes or 2 * n + 32)
    points = low + (high - low) * (points + 1) / 2
    weights = weights * (high - low) / 2
    s = np.concatenate([[low], points, [high]])
    parts = _called(name, "basis", basis(s), (n, s.size), (2, 3))
    g, slope, dual = (*parts, parts[0].conj())[:3]
    psi, psi_slope = _called(name, "flow", flow(s), (s.size,), (2,))
    inner = (psi * slope + psi_slope * g)[:, 1:-1] * weights
    a = -psi[0] * np.outer(g[:, 0], dual[:, 0]) - inner @ dual[:, 1:-1].T
    b = psi[-1] * g[:, -1]
    if np.iscomplexobj(a):
        dtype = jnp.promote_types(jnp.dtype(dtype), jnp.complex64)
    return HippoMatrices(jnp.asarray(a, dtype), jnp.asarray(b, dtype))


def change_basis(a: jax.Array, b: jax.Array, transform: jax.Array) -> HippoMatrices:
    """The system of the coefficients M c, from that of c.

    A~ = M A M^-1, B~ = M B.

    Shapes: a [..., n, n], b [..., n], transform M [..., n, n] or [n, n] ->
    HippoMatrices(a [..., n, n], b [..., n]).
    Article: kexue.fm/archives/10114 (Chebyshev is named there, not worked out).
    Paper: arXiv 2008.07669.
    Differs: no.
    Cost: O(n^3), one solve.
    Raises: TypeError or ValueError for shapes that do not fit, dtypes that differ.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import change_basis
        >>> a, b = jnp.array([[0.0, 1.0], [2.0, 3.0]]), jnp.ones(2)
        >>> print(change_basis(a, b, jnp.diag(jnp.array([1.0, 2.0]))).a.tolist())
        [[0.0, 0.5], [4.0, 3.0]]
    """
    name = "change_basis"
    arrays = {"a": a, "b": b, "transform": transform}
    for argument, value in arrays.items():
        checks.array(name, argument, value, "inexact")
    checks.same_dtype(name, **arrays)
    matrix = (transform, "n n" if np.ndim(transform) == 2 else "... n n")
    checks.shapes(name, a=(a, "... n n"), b=(b, "... n"), transform=matrix)
    dtype = numerics.accumulation_dtype(a)
    wide_a, m = jnp.asarray(a, dtype), jnp.asarray(transform, dtype)
    m = jnp.broadcast_to(m, wide_a.shape)
    exact = lax.Precision.HIGHEST
    left = jnp.matmul(m, wide_a, precision=exact)
    new_a = solved(m.mT, left.mT).mT
    new_b = jnp.einsum("...ik,...k->...i", m, b.astype(dtype), precision=exact)
    return HippoMatrices(new_a.astype(a.dtype), new_b.astype(b.dtype))


def chebyshev_from_legendre(
    *, n: int, norm: str = "hippo", dtype: Any = jnp.float32
) -> jax.Array:
    """The matrix M of int u(t_T(s)) T_i(s) ds = sum_k M_ik c_k.

    M_ik = lambda_k sqrt((2 k + 1) / 2) int T_i P_k ds, from the coefficients of "legt"
    or "legs" in a norm: lower triangular, since T_i is a sum of P_0, ..., P_i.

    Shapes: -> [n, n].
    Article: kexue.fm/archives/10114 (named there).  Paper: arXiv 2008.07669.
    Differs: the measure stays flat, as the article has it; the paper's Chebyshev
    weight is another system. ``change_basis(a, b, M)`` is the system of these
    coefficients; solve M for c to reconstruct.
    Cost: O(n^3) in float64 on the host.
    Raises: TypeError or ValueError for bad arguments.
    Example:
        >>> from kexue_jax.ssm import chebyshev_from_legendre
        >>> m = chebyshev_from_legendre(n=2, norm="lmu")
        >>> print(f"{m[0, 0]:.4f} {m[1, 0]:.4f} {m[1, 1]:.4f}")
        2.0000 0.0000 0.6667
    """
    name = "chebyshev_from_legendre"
    checks.count(name, "n", n)
    checks.choice(name, "norm", norm, NORMS)
    checks.float_dtype(name, "dtype", dtype)
    points, weights = np.polynomial.legendre.leggauss(n)
    i = np.arange(n)
    chebyshev = np.cos(np.outer(i, np.arccos(points)))
    legendre = np.polynomial.legendre.legvander(points, n - 1)
    factors = norm_scale("legs", n, norm, 0.0) * np.sqrt((2 * i + 1) / 2)
    m = np.tril((chebyshev * weights) @ legendre) * factors
    m[(i[:, None] - i) % 2 == 1] = 0  # an even function times an odd one
    return jnp.asarray(m, dtype)


def _ends(function: str, interval: Any) -> tuple[float, float]:
    ends = checks.concrete(function, "interval", interval, "number")
    rising = ends.shape == (2,) and np.isfinite(ends).all() and ends[0] < ends[-1]
    if not rising:
        wanted = "two finite numbers, the second above the first"
        raise checks.fail(function, "interval", interval, wanted)
    return float(ends[0]), float(ends[1])


def _called(
    function: str, argument: str, result: Any, shape: tuple[int, ...], counts: Any
) -> list[np.ndarray]:
    """What a caller's function gave, as arrays of ``shape``; or the fault."""
    wanted = f"a function that gives {' or '.join(map(str, counts))} arrays {shape}"
    if not isinstance(result, (tuple, list)) or len(result) not in counts:
        got = f"one that gives a {type(result).__name__}"
        raise checks.fail_type(function, argument, got, wanted)
    parts = [checks.concrete(function, argument, part, "number") for part in result]
    for part in parts:
        if part.shape != shape:
            raise checks.fail(function, argument, f"shape {part.shape}", wanted)
        if not np.isfinite(part).all():
            raise checks.fail(function, argument, "one that is not finite", wanted)
    return parts
