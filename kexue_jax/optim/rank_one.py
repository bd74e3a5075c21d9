"""The best rank-one form of a nonnegative matrix, by which AdaFactor saves memory."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.masks import safe_divide
from kexue_jax._base.numerics import accumulation_dtype


class RankOne(NamedTuple):
    """A matrix a b^T: ``a`` [..., m] are its row sums, ``b`` [..., n] sums to 1."""

    a: jax.Array
    b: jax.Array


def rank_one_nonneg(c: jax.Array) -> RankOne:
    """The rank-one matrix nearest to a nonnegative one, in the I-divergence.

    a_i = sum_j c_ij, b_j = sum_i c_ij / sum_ij c_ij minimize
    sum_ij c_ij log(c_ij / (a_i b_j)) - c_ij + a_i b_j; row and column sums are kept.

    Shapes: c [..., m, n] >= 0 -> a [..., m], b [..., n].
    Article: kexue.fm/archives/7302.  Paper: arXiv 1804.04235.
    Differs: no; a matrix of zeros gives zeros.
    Cost: two sums over c.
    Raises: TypeError for a ``c`` that is no floating array; ValueError for less than
    two axes. Values are not looked at.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import rank_one_nonneg
        >>> a, b = rank_one_nonneg(jnp.array([[1.0, 3.0], [2.0, 6.0]]))
        >>> print(a, b)
        [4. 8.] [0.25 0.75]
    """
    checks.array("rank_one_nonneg", "c", c)
    checks.shapes("rank_one_nonneg", c=(c, "... m n"))
    wide = jnp.asarray(c, accumulation_dtype(c))
    rows, columns = jnp.sum(wide, -1), jnp.sum(wide, -2)
    b = safe_divide(columns, jnp.sum(columns, -1, keepdims=True))
    return RankOne(rows.astype(c.dtype), b.astype(c.dtype))
