"""Softmax attention by the whole matrix of weights: what the fast forms must equal."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks, numerics
from kexue_jax.attention._arguments import (
    check_band,
    check_mask,
    check_qkv,
    check_scale,
    in_band,
)


class AttentionPart(NamedTuple):
    """Attention over some of the keys, and the logarithm of its normalizer.

    out [..., n, e]; lse [..., n] = log sum_j exp(score_ij), in at least float32, -inf
    for a query that saw no key. ``merge_attention`` makes parts into a whole.
    Article: kexue.fm/archives/7546.
    """

    out: jax.Array
    lse: jax.Array


def dense_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    mask: jax.Array | None = None,
    scale: float | jax.Array | None = None,
    causal: bool = False,
    band: tuple[int | None, int | None] | None = None,
    return_lse: bool = False,
) -> Any:
    """Softmax attention over the keys that mask and band leave, by the n x m matrix.

    o_i = sum_j exp(s_ij) v_j / sum_j exp(s_ij), s_ij = scale q_i . k_j, over the j with
    mask_ij and low <= i - j <= high; ``causal`` adds i - j >= 0. scale None is
    1 / sqrt(d), a side None of the band is open. A query without keys gives 0.

    Shapes: q [..., n, d], k [..., m, d], v [..., m, e], mask boolean, broadcastable to
    [..., n, m] -> [..., n, e]; with ``return_lse`` AttentionPart(out, lse [..., n]).
    Article: kexue.fm/archives/7546.  Paper: arXiv 1706.03762.
    Differs: rows without keys are 0 with gradient 0 where the formula says 0 / 0.
    Cost: 2 n m (d + e) flops, memory of n m scores: the twin of blockwise_attention.
    Raises: TypeError or ValueError for shapes that do not fit, dtypes that differ, a
    mask that is not boolean, a band that is not a pair of integers.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import dense_attention
        >>> v = jnp.arange(4.0).reshape(4, 1)
        >>> out = dense_attention(jnp.zeros((4, 2)), jnp.ones((4, 2)), v, causal=True)
        >>> print(out[:, 0])
        [0.  0.5 1.  1.5]
    """
    name = "dense_attention"
    check_qkv(name, q, k, v)
    shape = (*q.shape[:-1], k.shape[-2])
    check_mask(name, "mask", mask, shape)
    factor = check_scale(name, scale, q.shape[-1])
    band = check_band(name, band, causal)
    checks.flag(name, "return_lse", return_lse)
    keep = kept(shape, band, mask)
    part = masked_part(scaled_scores(q, k, factor), keep, v)
    return part if return_lse else part.out


def kept_pairs(n: int, m: int, band: tuple[int | None, int | None]) -> jax.Array:
    """Which of the pairs (query, key) [n, m] lie in the band."""
    return in_band(jnp.arange(n)[:, None] - jnp.arange(m)[None, :], band)


def kept(
    shape: tuple[int, ...],
    band: tuple[int | None, int | None],
    mask: jax.Array | None,
) -> jax.Array:
    """Which of the pairs [..., n, m] lie in the band and in the mask."""
    keep = jnp.broadcast_to(kept_pairs(shape[-2], shape[-1], band), shape)
    return keep if mask is None else keep & jnp.broadcast_to(mask, shape)


def scaled_scores(q: jax.Array, k: jax.Array, scale: Any) -> jax.Array:
    """scale q_i . k_j [..., n, m], accumulated.

    The scale goes into q: a compiler that fuses a later factor with the subtraction of
    the row's maximum rounds it otherwise there, and exp overflows at huge scores.
    """
    dtype = numerics.accumulation_dtype(q)
    scaled = jnp.asarray(q, dtype) * jnp.asarray(scale, dtype)
    return jnp.einsum("...nd,...md->...nm", scaled, jnp.asarray(k, dtype))


def masked_part(scores: jax.Array, keep: jax.Array, v: jax.Array) -> AttentionPart:
    """Attention of scores [..., n, m] over the pairs to keep; 0 where there is none."""
    weights, lse = masked_weights(scores, keep)
    out = jnp.einsum("...nm,...me->...ne", weights, v.astype(scores.dtype))
    return AttentionPart(out.astype(v.dtype), lse)


def masked_weights(scores: jax.Array, keep: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The softmax over the pairs to keep, and the logarithm of its normalizer.

    The double ``where`` keeps gradients finite where a row has no key.
    """
    some = keep.any(-1, keepdims=True)
    scores = jnp.where(keep, scores, jnp.where(some, -jnp.inf, 0))
    top = jax.lax.stop_gradient(scores.max(-1, keepdims=True))
    weights = jnp.where(keep, jnp.exp(scores - top), 0)
    total = jnp.where(some, weights.sum(-1, keepdims=True), 1)
    lse = jnp.where(some, top + jnp.log(total), -jnp.inf)
    return weights / total, lse[..., 0]
