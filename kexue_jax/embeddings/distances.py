"""Squared distances of all pairs, and how far a map moves them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks
from kexue_jax._base.masks import safe_root
from kexue_jax._base.numerics import accumulation_dtype

# Rounding of a squared distance from products, in units of |x_i|^2 + |x_j|^2.
_SLACK = 8.0


class Distortion(NamedTuple):
    """How far the ratios r of squared distances, after and before, are from 1.

    max and mean are those of |r - 1|, std is the standard deviation of r.
    """

    max: jax.Array
    mean: jax.Array
    std: jax.Array


def pairwise_sq_dists(x: jax.Array) -> jax.Array:
    """The squared distances of all pairs of rows.

    D_ij = |x_i|^2 + |x_j|^2 - 2 x_i . x_j, cut off at 0, from the Gram matrix of the
    rows less their mean; 0 on the diagonal.

    Shapes: x [..., n, m] -> [..., n, n].
    Article: kexue.fm/archives/8679.  Paper: none (a definition).
    Differs: no. Sums in at least float32; the rounding error is that of |x_i - mean|^2,
    so that nearly equal rows far from the mean keep few digits.
    Cost: 2 n^2 m flops, n^2 memory.
    Raises: TypeError or ValueError unless x is a floating array of at least two axes.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.embeddings import pairwise_sq_dists
        >>> print(pairwise_sq_dists(jnp.array([[0.0, 0.0], [3.0, 4.0]])))
        [[ 0. 25.]
         [25.  0.]]
    """
    name = "pairwise_sq_dists"
    checks.array(name, "x", x)
    checks.shapes(name, x=(x, "... n m"))
    return _squares(x)[0].astype(x.dtype)


def distortion(x: jax.Array, y: jax.Array) -> Distortion:
    """How far the squared distances of the rows y are from those of the rows x.

    r_ij = |y_i - y_j|^2 / |x_i - x_j|^2 over the pairs i < j: max |r - 1|,
    mean |r - 1|, and the standard deviation of r.

    Shapes: x [..., N, m], y [..., N, n] -> three [...].
    Article: kexue.fm/archives/8679.  Paper: Johnson & Lindenstrauss 1984.
    Differs: pairs of equal x, whose distance is below its rounding error, are left out;
    0 where no pair is left, NaN where a distance is NaN.
    Cost: 2 N^2 (m + n) flops, N^2 memory.
    Raises: TypeError or ValueError unless both are floating arrays of one dtype and of
    as many rows.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.embeddings import distortion
        >>> x = jnp.array([[0.0], [1.0], [3.0]])
        >>> print(distortion(x, 2 * x).max)
        3.0
    """
    name = "distortion"
    checks.array(name, "x", x)
    checks.array(name, "y", y)
    checks.same_dtype(name, x=x, y=y)
    checks.shapes(name, x=(x, "... N m"), y=(y, "... N n"))
    before, norms = _squares(x)
    after, _ = _squares(y)
    unit = _SLACK * float(jnp.finfo(before.dtype).eps)
    # Not "before > ...": a NaN is no distance to leave out, it must come through.
    apart = ~(before <= unit * (norms[..., :, None] + norms[..., None, :]))
    n = x.shape[-2]
    upper = np.arange(n)[:, None] < np.arange(n)
    kept = apart & jnp.broadcast_to(upper, apart.shape)
    count = jnp.maximum(kept.sum((-2, -1)), 1).astype(before.dtype)
    ratio = jnp.where(kept, after / jnp.where(kept, before, 1), 1)
    away = jnp.abs(ratio - 1)
    mean = jnp.sum(ratio - 1, (-2, -1)) / count
    spread = jnp.where(kept, ratio - 1 - mean[..., None, None], 0)
    found = (
        jnp.max(away, (-2, -1), initial=0),
        jnp.sum(away, (-2, -1)) / count,
        safe_root(jnp.sum(spread * spread, (-2, -1)) / count),
    )
    return Distortion(*(value.astype(x.dtype) for value in found))


def _squares(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Squared distances [..., n, n] and squared norms about the mean [..., n]."""
    wide = jnp.asarray(x, accumulation_dtype(x))
    centered = wide - jnp.mean(wide, -2, keepdims=True)
    gram = jnp.matmul(centered, centered.mT, precision="highest")
    norms = jnp.diagonal(gram, axis1=-2, axis2=-1)
    found = norms[..., :, None] + norms[..., None, :] - 2 * gram
    return jnp.maximum(found, 0), norms
