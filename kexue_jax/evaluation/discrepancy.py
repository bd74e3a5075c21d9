"""Distances between two clouds of feature vectors: Frechet, polynomial MMD."""

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax.evaluation._rows import check_sets, map_rows, product, widen


def frechet_distance(x: jax.Array, y: jax.Array) -> jax.Array:
    """The squared Frechet distance between Gaussians fitted to two sets of vectors.

    |mean x - mean y|^2 + tr(C_x) + tr(C_y) - 2 tr((C_x C_y)^(1/2)), with the unbiased
    covariances C. With C_x = A^T A and C_y = B^T B the last trace is the sum of the
    singular values of A B^T; A and B are triangular factors of the centered vectors.

    It is biased upward by O(1 / n): compare values at equal n and m only, beside that
    of two real sets.

    Shapes: x [n, d], y [m, d] -> [].
    Article: none; Paper: arXiv 1706.08500, eq. 6 (on Inception features there; on any
    features here, hence never an "FID").
    Differs: common code takes a matrix square root of C_x C_y, which loses half of the
    digits where covariances are singular (dead features, n <= d) and may turn complex;
    singular values of A B^T lose none. Gradients need n > d and covariances of full
    rank: elsewhere they are not finite.
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
    a, b = jnp.linalg.qr(x, mode="r"), jnp.linalg.qr(y, mode="r")
    overlap = jnp.linalg.svd(product(a, b.T), compute_uv=False)
    spread = jnp.sum(x * x) + jnp.sum(y * y) - 2 * jnp.sum(overlap)
    shift = mean_x - mean_y
    return (jnp.sum(shift * shift) + jnp.maximum(spread, 0)).astype(dtype)


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
