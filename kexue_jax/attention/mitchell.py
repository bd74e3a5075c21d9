"""Softmax attention whose products are Mitchell's: additions in place of products."""

import jax
import jax.numpy as jnp

from kexue_jax._base import checks, numerics
from kexue_jax.attention._arguments import check_mask, check_qkv, check_scale
from kexue_jax.attention.dense import kept, masked_weights
from kexue_jax.numerics import mitchell_matmul, mitchell_mul
from kexue_jax.numerics.mitchell import check_rule


def mitchell_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    mask: jax.Array | None = None,
    scale: float | None = None,
    causal: bool = False,
    offset: float = 0.0,
    grad: str = "straight_through",
    block: int = 64,
) -> jax.Array:
    """Softmax attention with Mitchell's products in scores, scale and mean.

    o_i = sum_j M(w_ij, v_j), w = softmax_j(M(scale, sum_c M(q_ic, k_jc))), M that of
    ``mitchell_mul``, its overflow clamped; the softmax is exact. offset = 1/16 is
    L-Mul's attention. A query without keys gives 0.

    Shapes: q [..., n, d], k [..., m, d], v [..., m, e], mask boolean, broadcastable to
    [..., n, m] -> [..., n, e].
    Article: kexue.fm/archives/7991.  Paper: arXiv 2410.00907, 2305.17190.
    Differs: no; a simulation of hardware without multipliers, slower than
    ``dense_attention``. scale None is 1 / sqrt(d).
    Cost: n m (d + e) products of some ten integer operations, memory of n m scores.
    Raises: TypeError or ValueError as ``dense_attention`` and ``mitchell_matmul``.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import mitchell_attention
        >>> v = jnp.arange(4.0).reshape(4, 1)
        >>> out = mitchell_attention(jnp.zeros((4, 2)), jnp.ones((4, 2)), v)
        >>> print(out[:, 0])
        [1.5 1.5 1.5 1.5]
    """
    name = "mitchell_attention"
    check_qkv(name, q, k, v)
    shape = (*q.shape[:-1], k.shape[-2])
    check_mask(name, "mask", mask, shape)
    factor = check_scale(name, scale, q.shape[-1])
    checks.flag(name, "causal", causal)
    checks.count(name, "block", block)
    check_rule(name, offset, grad, "clamp")
    keep = kept(shape, (0 if causal else None, None), mask)
    # In at least float32, as all sums: the products are of these.
    dtype = numerics.accumulation_dtype(q)
    q, k, wide = (jnp.asarray(x, dtype) for x in (q, k, v))
    how = {"offset": offset, "grad": grad, "overflow": "clamp"}
    sums = {**how, "block": block, "acc_dtype": dtype}
    scores = mitchell_matmul(q, jnp.swapaxes(k, -1, -2), **sums)
    scores = mitchell_mul(scores, jnp.asarray(factor, dtype), **how)
    weights, _ = masked_weights(scores, keep)
    return mitchell_matmul(weights, wide, **sums).astype(v.dtype)
