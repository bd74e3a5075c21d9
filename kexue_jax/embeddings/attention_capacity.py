"""Which attention patterns queries and keys of d dimensions can make."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype


class AttentionFactors(NamedTuple):
    """q [L, d] and k [M, d] whose softmax(q k^T) is to be a given pattern."""

    q: jax.Array
    k: jax.Array


def sparse_attention_factors(
    key: jax.Array, mask: jax.Array, *, d: int, beta: float, dtype: Any = jnp.float32
) -> AttentionFactors:
    """Queries and keys of d dimensions that attend to given sets of positions.

    k_j = normal(key, [M, d]) / sqrt(d), nearly orthonormal, and q_i = beta times the
    sum of the k_j with mask_ij: q_i . k_j is about beta inside of the set and 0
    outside, to beta times the root of |set| / d.

    Shapes: mask bool [L, M] -> AttentionFactors(q [L, d], k [M, d]).
    Article: kexue.fm/archives/8706.  Paper: arXiv 2106.03764.
    Differs: no. It makes sparse patterns only: softmax(q k^T) = P needs log P, less a
    constant in each row, to have rank d at most.
    Cost: 2 L M d flops.
    Raises: TypeError or ValueError for a bad key, a mask that is not boolean [L, M], a
    bad d, beta or dtype.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.embeddings import sparse_attention_factors
        >>> mask = jnp.eye(8, dtype=bool)[::-1]
        >>> q, k = sparse_attention_factors(jax.random.key(0), mask, d=64, beta=20.0)
        >>> print((q @ k.T).argmax(-1))
        [7 6 5 4 3 2 1 0]
    """
    name = "sparse_attention_factors"
    checks.key(name, "key", key)
    checks.array(name, "mask", mask, "boolean")
    checks.shapes(name, mask=(mask, "L M"))
    checks.count(name, "d", d)
    checks.number(name, "beta", beta)
    checks.float_dtype(name, "dtype", dtype)
    wide = jnp.promote_types(dtype, jnp.float32)
    k = jax.random.normal(key, (mask.shape[-1], d), wide) / d**0.5
    q = beta * jnp.matmul(mask.astype(wide), k, precision="highest")
    return AttentionFactors(q.astype(dtype), k.astype(dtype))


def attention_divergence(p: jax.Array, q: jax.Array, k: jax.Array) -> jax.Array:
    """How far the attention of q and k is from given rows of probabilities.

    The mean over the rows of KL(p_i || softmax(q k^T)_i) =
    sum_j p_ij (log p_ij - log softmax(q k^T)_ij), with 0 log 0 = 0.

    Shapes: p [..., L, M], q [..., L, d], k [..., M, d] -> [...].
    Article: kexue.fm/archives/8706.  Paper: none.
    Differs: no scale: q holds it. The gradient by p at p = 0 leaves log p out.
    Cost: 2 L M d flops, L M memory.
    Raises: TypeError or ValueError unless all are floating arrays of one dtype whose
    shapes fit.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.embeddings import attention_divergence
        >>> q, k = jnp.zeros((2, 3)), jnp.zeros((4, 3))
        >>> print(f"{attention_divergence(jnp.eye(2, 4), q, k):.4f}")  # log 4
        1.3863
    """
    name = "attention_divergence"
    for argument, value in (("p", p), ("q", q), ("k", k)):
        checks.array(name, argument, value)
    checks.same_dtype(name, p=p, q=q, k=k)
    checks.shapes(name, p=(p, "... L M"), q=(q, "... L d"), k=(k, "... M d"))
    p_, q_, k_ = (jnp.asarray(x, accumulation_dtype(p)) for x in (p, q, k))
    logits = jnp.matmul(q_, k_.mT, precision="highest")
    kept = p_ > 0
    own = jnp.where(kept, p_ * jnp.log(jnp.where(kept, p_, 1)), 0)
    rows = jnp.sum(own - p_ * jax.nn.log_softmax(logits, -1), -1)
    return jnp.mean(rows, -1).astype(p.dtype)
