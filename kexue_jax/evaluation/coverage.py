"""Fidelity and variety apart: how much of one set lies among the balls of the other."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax.evaluation._rows import (
    check_sets,
    map_rows,
    slack,
    squared_distances,
    widen,
)
from kexue_jax.evaluation.neighbors import nearest_neighbors


class PrecisionRecall(NamedTuple):
    """precision: share of the fake vectors among the real ones; recall: the reverse."""

    precision: jax.Array
    recall: jax.Array


class DensityCoverage(NamedTuple):
    """density: real balls around a fake vector, over k; coverage: real balls hit."""

    density: jax.Array
    coverage: jax.Array


def precision_recall(
    x_real: jax.Array, x_fake: jax.Array, *, k: int = 3, block_size: int = 256
) -> PrecisionRecall:
    """The k-nearest-neighbor precision and recall of fake vectors against real ones.

    precision = mean_j [fake_j in union_i ball(real_i, r_i)], where r_i is the distance
    from real_i to its k-th nearest other real vector; recall is the same with the two
    sets exchanged.

    Shapes: x_real [n, d], x_fake [m, d] -> two [].
    Article: none; Paper: arXiv 1904.06991, section 2.
    Differs: a vector on the surface of a ball, to within the rounding of the distance,
    is inside.
    Cost: O((n + m)^2 d) time, O(block_size (n + m)) memory; no gradient.
    Raises: TypeError or ValueError unless both are floating arrays of one dtype with
    equally many columns and more than k rows.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.evaluation import precision_recall
        >>> x_real = jnp.array([[0.0], [1.0], [2.0], [9.0]])
        >>> x_fake = jnp.array([[0.4], [0.5], [0.6], [0.7]])
        >>> print(*precision_recall(x_real, x_fake, k=1))
        1.0 0.0
    """
    name = "precision_recall"
    _check(name, x_real, x_fake, k, block_size)
    dtype, (real, fake) = x_real.dtype, widen(x_real, x_fake)

    def inside(points: jax.Array, centers: jax.Array) -> jax.Array:
        radius = _radii(centers, k, block_size)
        balls = _balls_around(points, centers, radius, block_size)
        return jnp.mean((balls > 0).astype(real.dtype)).astype(dtype)

    return PrecisionRecall(inside(fake, real), inside(real, fake))


def density_coverage(
    x_real: jax.Array, x_fake: jax.Array, *, k: int = 5, block_size: int = 256
) -> DensityCoverage:
    """The density and coverage of fake vectors against real ones.

    density = mean_j #{i: fake_j in ball(real_i, r_i)} / k and
    coverage = mean_i [some fake_j in ball(real_i, r_i)], where r_i is the distance from
    real_i to its k-th nearest other real vector.

    An outlier among the real vectors, whose ball is wide, raises precision but hardly
    density, and recall's balls around bad samples play no part. For two large sets of
    one distribution density is 1 and coverage 1 - 2^-k.

    Shapes: x_real [n, d], x_fake [m, d] -> two [].
    Article: none; Paper: arXiv 2002.09797, section 3.
    Differs: a vector on the surface of a ball, to within the rounding of the distance,
    is inside.
    Cost: O((n + m) n d) time, O(block_size (n + m)) memory; no gradient.
    Raises: TypeError or ValueError unless both are floating arrays of one dtype with
    equally many columns, x_real has more than k rows and x_fake at least one.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.evaluation import density_coverage
        >>> x_real = jnp.array([[0.0], [1.0], [3.0], [9.0]])
        >>> print(*density_coverage(x_real, jnp.array([[0.5], [0.6]]), k=1))
        2.0 0.5
    """
    name = "density_coverage"
    _check(name, x_real, x_fake, k, block_size, fake=False)
    dtype, (real, fake) = x_real.dtype, widen(x_real, x_fake)
    radius = _radii(real, k, block_size)
    balls = _balls_around(fake, real, radius, block_size)
    density = jnp.mean(balls.astype(real.dtype)) / k
    nearest = nearest_neighbors(real, fake, block_size=block_size).distance[:, 0]
    unit = 8 * float(jnp.finfo(real.dtype).eps)
    coverage = jnp.mean((nearest <= radius * (1 + unit)).astype(real.dtype))
    return DensityCoverage(density.astype(dtype), coverage.astype(dtype))


def _check(
    name: str,
    x_real: jax.Array,
    x_fake: jax.Array,
    k: int,
    block_size: int,
    fake: bool = True,
) -> None:
    check_sets(name, minimum=1, x_real=(x_real, "n d"), x_fake=(x_fake, "m d"))
    checks.count(name, "k", k)
    checks.count(name, "block_size", block_size)
    rows = {"x_real": x_real, "x_fake": x_fake} if fake else {"x_real": x_real}
    for argument, value in rows.items():
        if value.shape[0] <= k:
            got, wanted = f"shape {value.shape}", f"of more than k = {k} rows"
            raise checks.fail(name, argument, got, wanted)


def _radii(centers: jax.Array, k: int, block_size: int) -> jax.Array:
    """The distance from each vector to its k-th nearest other one."""
    found = nearest_neighbors(
        centers, centers, k=k, leave_one_out=True, block_size=block_size
    )
    return jax.lax.stop_gradient(found.distance[:, -1])


def _balls_around(
    points: jax.Array, centers: jax.Array, radius: jax.Array, block_size: int
) -> jax.Array:
    """For each point the number of closed balls that hold it."""
    mean = jnp.mean(centers, 0)
    centered = centers - mean[None]
    squares = jnp.sum(centered * centered, -1)

    def row(point: jax.Array) -> jax.Array:
        point = point - mean
        squared = squared_distances(point, centered, squares)
        inside = squared <= radius**2 + slack(point, squares)
        return jnp.sum(inside, dtype=jnp.int32)

    return map_rows(row, points, block_size)
