"""Distances between two clouds of vectors: Frechet, polynomial MMD, energy."""

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.masks import safe_divide, safe_root
from kexue_jax.evaluation._rows import check_sets, map_rows, product, widen


def frechet_distance(x: jax.Array, y: jax.Array) -> jax.Array:
    """The squared Frechet distance between Gaussians fitted to two sets of vectors.

    |mean x - mean y|^2 + tr(C_x) + tr(C_y) - 2 tr((C_x C_y)^(1/2)), with the unbiased
    covariances C. With C_x = A^T A and C_y = B^T B the last trace is the sum of the
    singular values of A B^T; A and B are the centered vectors, turned to d rows each.

    It is biased upward by O(1 / n): compare values at equal n and m only, beside that
    of two real sets.

    Shapes: x [n, d], y [m, d] -> [].
    Article: none; Paper: arXiv 1706.08500, eq. 6 (on Inception features there; on any
    features here, hence never an "FID").
    Differs: common code takes a matrix square root of C_x C_y, which loses half of the
    digits where covariances are singular (dead features, n <= d) and may turn complex;
    singular values of A B^T lose none. The gradient is exact for covariances of full
    rank; elsewhere, where none exists, directions without variance have none.
    Cost: O((n + m) d^2 + d^3) time, O((n + m) d) memory.
    Raises: TypeError or ValueError unless x and y are floating arrays of one dtype with
    at least two rows and equally many columns.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.evaluation import frechet_distance
        >>> x = jnp.array([[0.0, 1.0], [2.0, 1.0], [1.0, 0.0], [1.0, 2.0]])
        >>> print(f"{frechet_distance(x, x + 3):.3f}")
        18.000
    """
    check_sets("frechet_distance", minimum=2, x=(x, "n d"), y=(y, "m d"))
    dtype, (x, y) = x.dtype, widen(x, y)
    mean_x, mean_y = jnp.mean(x, 0), jnp.mean(y, 0)
    x = (x - mean_x[None]) / (x.shape[0] - 1) ** 0.5
    y = (y - mean_y[None]) / (y.shape[0] - 1) ** 0.5
    spread = jnp.sum(x * x) + jnp.sum(y * y) - 2 * _nuclear_norm(x, y)
    shift = mean_x - mean_y
    return (jnp.sum(shift * shift) + jnp.maximum(spread, 0)).astype(dtype)


@jax.custom_jvp
def _nuclear_norm(x: jax.Array, y: jax.Array) -> jax.Array:
    """The sum of the singular values of ``x y^T``, for x [n, d] and y [m, d]."""
    overlap = product(_turned(x)[1], _turned(y)[1].T)
    return jnp.sum(jnp.linalg.svd(overlap, compute_uv=False))


@_nuclear_norm.defjvp
def _nuclear_norm_jvp(
    primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """With x = Q_x A, y = Q_y B and A B^T = U S W^T: the slope U W^T, and no 1 / 0."""
    (q_x, a), (q_y, b) = (_turned(primal) for primal in primals)
    u, values, wt = jnp.linalg.svd(product(a, b.T))
    along_x = product(q_x, product(product(u, wt), b))
    along_y = product(q_y, product(product(u, wt).T, a))
    slope = jnp.sum(along_x * tangents[0]) + jnp.sum(along_y * tangents[1])
    return jnp.sum(values), slope


def _turned(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``x = Q A`` with orthonormal columns in Q [n, d] and orthogonal rows in A [d, d].

    The rows of A are eigenvectors of x^T x times the lengths of x along them, measured
    on x itself: the roots of eigenvalues near zero would be wrong by the root of the
    machine's unit. (A QR factorization is as exact, but the LAPACK of the CPU backend
    takes up to a thousand times as long for it when cores are shared.)
    """
    vectors = jnp.linalg.eigh(product(x.T, x))[1]
    turned = product(x, vectors)
    lengths = jnp.sqrt(jnp.sum(turned * turned, 0))
    unit = float(jnp.finfo(x.dtype).eps)
    noise = max(x.shape) * unit * jnp.max(lengths)
    q = jnp.where((lengths > noise)[None], safe_divide(turned, lengths[None]), 0)
    return q, lengths[:, None] * vectors.T


def polynomial_mmd(
    x: jax.Array, y: jax.Array, *, degree: int = 3, block_size: int = 256
) -> jax.Array:
    """The unbiased squared maximum mean discrepancy under a polynomial kernel.

    mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j),
    k(a, b) = (a.b / d + 1)^degree.

    Being unbiased, it is zero on average, and below zero half of the time, for two
    sets from one distribution.

    Shapes: x [n, d], y [m, d] -> [].
    Article: none; Paper: arXiv 1801.01401, section 4 (its kernel and degree 3).
    Differs: over all pairs, not averaged over random subsets.
    Cost: O((n + m)^2 d) time, O(block_size (n + m)) memory.
    Raises: TypeError or ValueError unless x and y are floating arrays of one dtype with
    at least two rows and equally many columns, and ``degree`` and ``block_size`` are
    integers of at least 1.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.evaluation import polynomial_mmd
        >>> x, y = jnp.array([[0.0], [1.0]]), jnp.array([[2.0], [3.0]])
        >>> print(polynomial_mmd(x, y, degree=1))
        3.5
    """
    name = "polynomial_mmd"
    check_sets(name, minimum=2, x=(x, "n d"), y=(y, "m d"))
    checks.count(name, "degree", degree)
    checks.count(name, "block_size", block_size)
    dtype, (x, y) = x.dtype, widen(x, y)

    def kernel(a: jax.Array, b: jax.Array) -> jax.Array:
        return (product(b, a) / b.shape[1] + 1) ** degree

    def within(a: jax.Array) -> jax.Array:
        def row(entry: tuple[jax.Array, jax.Array]) -> jax.Array:
            index, vector = entry
            others = jnp.arange(a.shape[0]) != index
            return jnp.sum(kernel(vector, a), where=others) / (a.shape[0] - 1)

        rows = (jnp.arange(a.shape[0]), a)
        return jnp.mean(map_rows(row, rows, block_size))

    def between(vector: jax.Array) -> jax.Array:
        return jnp.mean(kernel(vector, y))

    across = jnp.mean(map_rows(between, x, block_size))
    return (within(x) + within(y) - 2 * across).astype(dtype)


def energy_distance(x: jax.Array, y: jax.Array, *, block_size: int = 64) -> jax.Array:
    """The unbiased squared energy distance between two sets of vectors.

    2 mean_{i, j} |x_i - y_j| - mean_{i != j} |x_i - x_j| - mean_{i != j} |y_i - y_j|.

    Zero on average for two sets from one distribution (and below zero half of the
    time), above zero for any two others: it needs no kernel and no features.

    Shapes: x [n, d], y [m, d] -> [].
    Article: none; Paper: Szekely and Rizzo, Energy statistics, 2013.
    Differs: no. Distances are taken from the differences; that of equal vectors has a
    gradient of 0.
    Cost: O((n + m)^2 d) time, O(block_size (n + m) d) memory.
    Raises: TypeError or ValueError unless x and y are floating arrays of one dtype with
    at least two rows and equally many columns, and ``block_size`` is an integer of at
    least 1.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.evaluation import energy_distance
        >>> x, y = jnp.array([[0.0], [1.0]]), jnp.array([[5.0], [6.0]])
        >>> print(energy_distance(x, y))
        8.0
    """
    name = "energy_distance"
    check_sets(name, minimum=2, x=(x, "n d"), y=(y, "m d"))
    checks.count(name, "block_size", block_size)
    dtype, (x, y) = x.dtype, widen(x, y)

    def total(a: jax.Array, b: jax.Array) -> jax.Array:
        def row(vector: jax.Array) -> jax.Array:
            difference = b - vector[None]
            return jnp.sum(safe_root(jnp.sum(difference * difference, -1)))

        return jnp.sum(map_rows(row, a, block_size))

    n, m = x.shape[0], y.shape[0]
    within = total(x, x) / (n * (n - 1)) + total(y, y) / (m * (m - 1))
    return (2 * total(x, y) / (n * m) - within).astype(dtype)
