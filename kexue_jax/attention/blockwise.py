"""Softmax attention block by block: O(n) memory, no work outside of a band.

The online softmax of arXiv 2205.14135 (FlashAttention), written as one scan over the
pairs of a block of queries and a block of keys that the band touches. The gradient is
written by hand from the output and the logarithm of the normalizer alone.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax._base import checks, numerics
from kexue_jax._base.varying import zero_like
from kexue_jax.attention._arguments import (
    Band,
    broadcast,
    check_band,
    check_mask,
    check_qkv,
    check_scale,
)
from kexue_jax.attention._blocks import (
    Blocks,
    Walk,
    accelerator_rows,
    cpu_rows,
    plan,
    put,
)
from kexue_jax.attention.dense import AttentionPart


def blockwise_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    key_mask: jax.Array | None = None,
    causal: bool = False,
    band: tuple[int | None, int | None] | None = None,
    scale: float | jax.Array | None = None,
    block_size: int | None = None,
    return_lse: bool = False,
) -> Any:
    """Softmax attention over the keys that mask and band leave, in O(n) memory.

    o_i = sum_j exp(s_ij) v_j / sum_j exp(s_ij), s_ij = scale q_i . k_j, over the j with
    key_mask_j and low <= i - j <= high; ``causal`` adds i - j >= 0. For one block of
    scores S after the other: m' = max(m, rowmax S), l <- l e^(m - m') + rowsum
    e^(S - m'), o <- o e^(m - m') + e^(S - m') V. The gradient with respect to S is
    P * (dO V^T - rowsum(dO * O) + dlse) with P = e^(S - lse).

    Shapes: q [..., n, d], k [..., m, d], v [..., m, e], key_mask boolean, broadcastable
    to [..., m] -> [..., n, e]; with ``return_lse`` AttentionPart(out, lse [..., n]).
    Article: kexue.fm/archives/7546.  Paper: arXiv 2205.14135, 2112.05682.
    Differs: blocks wholly outside of the band are not computed, and lse carries its
    gradient, so that ``merge_attention`` of bands is exact forward and backward. A
    query without keys gives 0, lse -inf and no gradient. Reverse mode only.
    Cost: 2 b (d + e) flops for the b pairs in blocks that the band touches, 2.5 times
    as many again in the gradient; memory O((n + m) (d + e)) and a block of scores,
    ``block_size`` squared (a default by device).
    Raises: TypeError or ValueError for shapes that do not fit, dtypes that differ, a
    mask that is not boolean, a band that is not a pair of integers, a block_size < 1.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import blockwise_attention
        >>> q, v = jnp.zeros((4, 2)), jnp.arange(4.0).reshape(4, 1)
        >>> print(blockwise_attention(q, q, v, band=(0, 1))[:, 0])
        [0.  0.5 1.5 2.5]
    """
    name = "blockwise_attention"
    check_qkv(name, q, k, v)
    lead, m, d = q.shape[:-2], k.shape[-2], q.shape[-1]
    check_mask(name, "key_mask", key_mask, (*lead, m))
    scale = check_scale(name, scale, d)
    band = check_band(name, band, causal)
    if block_size is not None:
        checks.count(name, "block_size", block_size)
    checks.flag(name, "return_lse", return_lse)
    dtype = numerics.accumulation_dtype(q)
    scaled = jnp.asarray(q).astype(dtype) * jnp.asarray(scale, dtype)
    flat = [x.reshape(-1, *x.shape[-2:]) for x in (scaled, jnp.asarray(k), v)]
    mask = None
    if key_mask is not None:
        mask = broadcast(key_mask, (*lead, m)).reshape(-1, m)
    out, lse = _attend(*flat, mask, (band, block_size))
    out = out.reshape(*lead, *out.shape[1:]).astype(v.dtype)
    lse = lse.reshape(*lead, lse.shape[-1])
    return AttentionPart(out, lse) if return_lse else out


Static = tuple[Band, int | None]


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _attend(
    q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array | None, static: Static
) -> tuple[jax.Array, jax.Array]:
    """Attention of scaled queries with one leading axis: (out, lse), accumulated."""
    return _attend_forward(q, k, v, mask, static)[0]


def _attend_forward(
    q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array | None, static: Static
) -> tuple[tuple[jax.Array, jax.Array], tuple[Any, ...]]:
    out, top, total = _by_platform(_forward, static, (q, k, v, mask))
    return (out, top + jnp.log(total)), (q, k, v, mask, out, top, total)


def _attend_backward(
    static: Static, saved: tuple[Any, ...], cotangents: tuple[jax.Array, jax.Array]
) -> tuple[Any, ...]:
    q, k, v, mask, out, top, total = saved
    d_out, d_lse = cotangents
    empty = jnp.isneginf(top)
    # The score of a pair gets P (dO . v - shift): one number a query. P is made from
    # top and total, since their lse is rounded where scores are huge.
    shift = (d_out * out).sum(-1) - jnp.where(empty, 0, d_lse)
    top = jnp.where(empty, 0, top)
    arrays = (q, k, v, mask, d_out, top, 1 / total, shift)
    dq, dk, dv = _by_platform(_backward, static, arrays)
    return dq, dk.astype(k.dtype), dv.astype(v.dtype), None


_attend.defvjp(_attend_forward, _attend_backward)


def _by_platform(
    pass_: Callable[..., Any], static: Static, arrays: tuple[Any, ...]
) -> Any:
    """A pass over the blocks: on a CPU one head after the other, else all at once."""
    band, size = static
    n, m = arrays[0].shape[-2], arrays[1].shape[-2]
    on_cpu = plan(n, m, band, size or cpu_rows(n, band))
    elsewhere = plan(n, m, band, size or accelerator_rows(band))

    def one_by_one(*arrays: Any) -> Any:
        return lax.map(lambda head: pass_(head, band, on_cpu), arrays)

    def together(*arrays: Any) -> Any:
        return pass_(arrays, band, elsewhere)

    return lax.platform_dependent(*arrays, cpu=one_by_one, default=together)


def _forward(arrays: Any, band: Band, blocks: Blocks) -> tuple[jax.Array, ...]:
    """(out, top, total) of q [..., n, d] that holds the scale: a scan over the blocks.

    A row has weights exp(score - top) / total; without keys top is -inf and total 1.
    """
    q, k, v, mask = arrays
    n, lead, dtype = q.shape[-2], q.shape[:-2], q.dtype
    walk = Walk.of(blocks, band, k.shape[-2], mask)
    q, k, v = walk.pad_rows(q), walk.pad_columns(k), walk.pad_columns(v)
    shape = (*lead, q.shape[-2])
    zero = zero_like(q, k, v, mask)
    tops, totals = (
        jnp.broadcast_to(zero - jnp.inf, shape),
        jnp.broadcast_to(zero, shape),
    )
    outs = jnp.broadcast_to(zero, (*shape, v.shape[-1]))

    def step(carry: Any, i: jax.Array, j: jax.Array, edge: bool) -> Any:
        outs, tops, totals = carry
        scores = walk.scores(walk.row(q, i), walk.column(k, j), i, j, edge)
        old = walk.row(tops, i, -1)
        top = jnp.maximum(old, scores.max(-1))
        finite = jnp.where(jnp.isneginf(top), 0, top)
        shrink, weights = jnp.exp(old - finite), jnp.exp(scores - finite[..., None])
        total = walk.row(totals, i, -1) * shrink + weights.sum(-1)
        more = weights @ walk.column(v, j).astype(dtype)
        out = walk.row(outs, i) * shrink[..., None] + more
        outs = put(outs, out, i * blocks.rows, -2)
        tops = put(tops, top, i * blocks.rows, -1)
        return outs, tops, put(totals, total, i * blocks.rows, -1)

    outs, tops, totals = walk.scan(step, (outs, tops, totals))
    totals = jnp.where(totals > 0, totals, 1)
    outs = outs / totals[..., None]
    return outs[..., :n, :], tops[..., :n], totals[..., :n]


def _backward(arrays: Any, band: Band, blocks: Blocks) -> tuple[jax.Array, ...]:
    """The gradients of q, k and v: every block of scores is made once more."""
    q, k, v, mask, d_out, top, inverse, shift = arrays
    n, m, dtype = q.shape[-2], k.shape[-2], q.dtype
    walk = Walk.of(blocks, band, m, mask)
    q, d_out = walk.pad_rows(q), walk.pad_rows(d_out)
    top, inverse, shift = (walk.pad_rows(x, -1) for x in (top, inverse, shift))
    k, v = walk.pad_columns(k), walk.pad_columns(v)

    def step(carry: Any, i: jax.Array, j: jax.Array, edge: bool) -> Any:
        dq, dk, dv = carry
        queries, keys = walk.row(q, i), walk.column(k, j).astype(dtype)
        slopes, values = walk.row(d_out, i), walk.column(v, j).astype(dtype)
        scores = walk.scores(queries, keys, i, j, edge)
        weights = jnp.exp(jnp.minimum(scores - walk.row(top, i, -1)[..., None], 0))
        weights *= walk.row(inverse, i, -1)[..., None]
        pulled = jnp.einsum("...ie,...je->...ij", slopes, values)
        pulled = weights * (pulled - walk.row(shift, i, -1)[..., None])
        more_k = jnp.einsum("...ij,...id->...jd", pulled, queries)
        more_v = jnp.einsum("...ij,...ie->...je", weights, slopes)
        dq = put(dq, walk.row(dq, i) + pulled @ keys, i * blocks.rows, -2)
        dk = put(dk, walk.column(dk, j) + more_k, j * blocks.columns, -2)
        return dq, dk, put(dv, walk.column(dv, j) + more_v, j * blocks.columns, -2)

    zero = zero_like(q, k, v, mask, d_out)
    start = tuple(jnp.broadcast_to(zero, x.shape) for x in (q, k, v))
    dq, dk, dv = walk.scan(step, start)
    return dq[..., :n, :], dk[..., :m, :], dv[..., :m, :]
