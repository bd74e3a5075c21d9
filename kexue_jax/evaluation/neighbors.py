"""Nearest neighbors among feature vectors, and the test that two sets are alike."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.masks import safe_root
from kexue_jax.evaluation._rows import check_sets, map_rows, squared_distances, widen

# Candidates beyond the k wanted that are evaluated exactly, so that the rounding of the
# product form can misplace some without losing a neighbor.
_SPARE = 4


class Neighbors(NamedTuple):
    """The k nearest vectors of each query, the nearest first.

    distance [m, k] is Euclidean, index [m, k] (int32) points into the data.
    """

    distance: jax.Array
    index: jax.Array


class TwoSampleAccuracy(NamedTuple):
    """Leave-one-out accuracy of the 1-nearest-neighbor rule that tells x from y.

    accuracy is the mean of x_accuracy, the share of x whose nearest other vector is in
    x, and y_accuracy, the same of y.
    """

    accuracy: jax.Array
    x_accuracy: jax.Array
    y_accuracy: jax.Array


def nearest_neighbors(
    queries: jax.Array,
    data: jax.Array,
    *,
    k: int = 1,
    leave_one_out: bool = False,
    block_size: int = 256,
) -> Neighbors:
    """The k vectors of ``data`` nearest to each query, with distances and indices.

    distance_ij = |queries_i - data_index_ij|, rising in j; among equal distances the
    lower index comes first. ``leave_one_out`` bars data_i from the neighbors of
    queries_i, for a set against itself.

    Shapes: queries [m, d], data [n, d] -> distance [m, k], index [m, k].
    Article: none; Paper: none (a definition).
    Differs: candidates come from |q|^2 + |x|^2 - 2 q.x, k + 4 of them a query, whose
    distances are then evaluated from the differences: values are exact to rounding,
    and a neighbor can be missed only where more than 4 others are nearer to within
    the rounding of the products. Indices carry no gradient; the gradient of a distance
    of zero is zero.
    Cost: O(m n d) time, O(block_size n) memory.
    Raises: TypeError or ValueError unless both are floating arrays of one dtype with
    equally many columns, k is at most n (n - 1 when one is left out), and m = n when
    one is left out.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.evaluation import nearest_neighbors
        >>> data = jnp.array([[0.0], [1.0], [5.0]])
        >>> print(nearest_neighbors(jnp.array([[2.0]]), data, k=2).index)
        [[1 0]]
    """
    name = "nearest_neighbors"
    check_sets(name, minimum=1, queries=(queries, "m d"), data=(data, "n d"))
    checks.count(name, "k", k)
    checks.flag(name, "leave_one_out", leave_one_out)
    checks.count(name, "block_size", block_size)
    count = data.shape[0] - leave_one_out
    if leave_one_out and queries.shape[0] != data.shape[0]:
        wanted = f"{data.shape[0]} vectors, as many as `data`, when one is left out"
        raise checks.fail(name, "queries", f"{queries.shape[0]}", wanted)
    if k > count:
        raise checks.fail(name, "k", k, f"at most {count}, the vectors to choose from")
    dtype, (queries, data) = queries.dtype, widen(queries, data)
    center = jax.lax.stop_gradient(jnp.mean(data, 0))
    centered = jax.lax.stop_gradient(data) - center[None]
    squares = jnp.sum(centered * centered, -1)
    order = jnp.arange(data.shape[0], dtype=jnp.int32)

    def row(entry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        place, query = entry
        rough = squared_distances(
            jax.lax.stop_gradient(query) - center, centered, squares
        )
        if leave_one_out:
            rough = jnp.where(order == place, jnp.inf, rough)
        candidates = jax.lax.top_k(-rough, min(k + _SPARE, count))[1]
        difference = data[candidates] - query[None]
        squared = jnp.sum(difference * difference, -1)
        squared, index = jax.lax.sort((squared, candidates), num_keys=2)
        return squared[:k], index[:k].astype(jnp.int32)

    rows = (jnp.arange(queries.shape[0]), queries)
    squared, index = map_rows(row, rows, block_size)
    return Neighbors(safe_root(squared).astype(dtype), index)


def two_sample_accuracy(
    x: jax.Array, y: jax.Array, *, block_size: int = 256
) -> TwoSampleAccuracy:
    """The accuracy with which a vector's nearest neighbor tells which set it is from.

    x_accuracy = mean_i [min_{j != i} |x_i - x_j| < min_j |x_i - y_j|], y_accuracy
    likewise, accuracy = (x_accuracy + y_accuracy) / 2; equal distances count one half.

    1: the sets are apart. About one half, (n + m - 2) / (n + m - 1) / 2 on average: one
    distribution. Near 0: y repeats the very vectors of x, as a model that has memorized
    its training set does.

    Shapes: x [n, d], y [m, d] -> three [].
    Article: none; Paper: arXiv 1610.06545 (the classifier two-sample test); arXiv
    1806.07755 (the 1-nearest-neighbor rule left one out, and its two halves).
    Differs: a mean of two rates instead of the pooled rate, so that one half stands for
    "alike" when n and m differ too; equal distances are one half instead of a guess.
    Cost: O((n + m)^2 d) time, O(block_size (n + m)) memory.
    Raises: TypeError or ValueError unless x and y are floating arrays of one dtype with
    at least two rows and equally many columns.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.evaluation import two_sample_accuracy
        >>> x, y = jnp.array([[0.0], [1.0]]), jnp.array([[8.0], [9.0]])
        >>> print(two_sample_accuracy(x, y).accuracy)
        1.0
    """
    name = "two_sample_accuracy"
    check_sets(name, minimum=2, x=(x, "n d"), y=(y, "m d"))
    checks.count(name, "block_size", block_size)
    dtype, (x, y) = x.dtype, widen(x, y)
    # Two evaluations of one distance may differ in their last digits.
    equal = 1 + 8 * float(jnp.finfo(x.dtype).eps)

    def rate(own: jax.Array, other: jax.Array) -> jax.Array:
        near = nearest_neighbors(own, own, leave_one_out=True, block_size=block_size)
        far = nearest_neighbors(own, other, block_size=block_size)
        a, b = near.distance[:, 0], far.distance[:, 0]
        balance = jnp.sum((a * equal < b).astype(a.dtype) - (b * equal < a))
        return (own.shape[0] + balance) / (2 * own.shape[0])

    of_x, of_y = rate(x, y), rate(y, x)
    parts = ((of_x + of_y) / 2, of_x, of_y)
    return TwoSampleAccuracy(*(part.astype(dtype) for part in parts))
