"""Attention by even Taylor polynomials: the whole matrix, and row blocks in O(n)."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.attention._arguments import check_mask, check_qkv, check_scale
from kexue_jax.numerics.exp_taylor import check_order, widened
from kexue_jax.numerics.taylor_softmax import divided, shares_of_peak, taylor_softmax

# Scores of all batches and heads that are in work at a time, by platform. On a CPU
# products of few rows run on one thread: 8 heads of 2,048 x 32 take 117 and 54 ms on
# two with 2^19 and 2^21 scores, 100 and 82 on one. A causal block of 2^21 would
# reach far over the diagonal.
CPU_SCORES = 2**21
CPU_CAUSAL_SCORES = 2**20
SCORES = 2**25
# Causal rows are cut into this many parts, each with the keys up to its last row only.
CAUSAL_PARTS = 8


def taylor_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    order: int = 2,
    causal: bool = False,
    mask: jax.Array | None = None,
    scale: float | jax.Array | None = None,
    monotone: bool = False,
) -> jax.Array:
    """Attention with f_n in place of exp, n even, by the whole n x m matrix.

    o_i = sum_j f_n(s_ij) v_j / sum_j f_n(s_ij), s_ij = scale q_i . k_j, over the keys j
    that ``mask`` keeps and, if ``causal``, with j <= i; scale None is 1 / sqrt(d).
    ``monotone`` replaces s by max(s, x*). A query without keys gives 0.

    Shapes: q [..., n, d], k [..., m, d], v [..., m, e], mask boolean, broadcastable to
    [..., n, m] -> [..., n, e].
    Article: kexue.fm/archives/7919 and 8601.  Paper: arXiv 2402.18668 (order 2).
    Differs: masked weights are multiplied by 0; f_n(-infinity) is infinite, so that a
    masked score would get all of the weight.
    Cost: 2 n m (d + e) flops and 2 order more a score; memory of n m scores: the twin
    of blockwise_taylor_attention and of linear attention over the Taylor features.
    Raises: TypeError or ValueError for shapes that do not fit, dtypes that differ, an
    order that is not an even integer in 2..24, or a mask that is not boolean.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import taylor_attention
        >>> x = jnp.arange(4.0).reshape(4, 1) / 2
        >>> out = taylor_attention(x, x, x, causal=True)
        >>> print(" ".join(f"{o:.3f}" for o in out[:, 0]))
        0.000 0.281 0.646 1.070
    """
    name = "taylor_attention"
    scale = _checked(name, q, k, v, order, causal, mask, scale, monotone)
    shape = (*q.shape[:-1], k.shape[-2])
    keep = None if mask is None else jnp.broadcast_to(mask, shape)
    if causal:
        seen = jnp.broadcast_to(jnp.tril(jnp.ones(shape[-2:], bool)), shape)
        keep = seen if keep is None else keep & seen
    dtype = accumulation_dtype(q)
    scores = jnp.einsum("...nd,...md->...nm", q.astype(dtype), k.astype(dtype))
    weights = taylor_softmax(
        scores * jnp.asarray(scale, dtype), order=order, where=keep, monotone=monotone
    )
    out = jnp.einsum("...nm,...me->...ne", weights, v.astype(dtype))
    return out.astype(jnp.result_type(v))


def blockwise_taylor_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    order: int = 2,
    causal: bool = False,
    mask: jax.Array | None = None,
    scale: float | jax.Array | None = None,
    monotone: bool = False,
    block_size: int | None = None,
) -> jax.Array:
    """What ``taylor_attention`` gives, a block of rows at a time.

    o_i = sum_j f_n(s_ij) v_j / sum_j f_n(s_ij). The backward pass makes each block of
    scores again. Give a mask of keys alone the shape [..., 1, m], so that it too takes
    O(n) memory.

    Shapes: q [..., n, d], k [..., m, d], v [..., m, e], mask boolean, broadcastable to
    [..., n, m] -> [..., n, e].
    Article: kexue.fm/archives/7919 and 8601.  Paper: arXiv 2402.18668 (order 2).
    Differs: in memory only. block_size None chooses the rows by platform, so that the
    scores in work stay in a cache of a CPU and fill an accelerator.
    Cost: as taylor_attention, causal 9/16 of it; memory of block_size x m scores.
    Raises: TypeError or ValueError as taylor_attention, and for a block_size that is
    not a positive integer.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import blockwise_taylor_attention
        >>> x = jnp.arange(4.0).reshape(4, 1) / 2
        >>> out = blockwise_taylor_attention(x, x, x, causal=True, block_size=2)
        >>> print(" ".join(f"{o:.3f}" for o in out[:, 0]))
        0.000 0.281 0.646 1.070
    """
    name = "blockwise_taylor_attention"
    scale = _checked(name, q, k, v, order, causal, mask, scale, monotone)
    if block_size is not None:
        checks.count(name, "block_size", block_size)
    lead, n, m = q.shape[:-2], q.shape[-2], k.shape[-2]
    if 0 in lead:
        return jnp.zeros((*lead, n, v.shape[-1]), v.dtype)
    flat = [x.reshape(-1, *x.shape[-2:]) for x in (q, k, v)]
    flat.append(jnp.asarray(scale, accumulation_dtype(q)))
    if mask is not None:
        flat.append(_flat_mask(mask, lead))

    def form(scores: int) -> Callable[..., jax.Array]:
        rows = block_size or _rows(scores, flat[0].shape[0] * m)
        return functools.partial(
            _in_blocks,
            rows=min(int(rows), n),
            causal=bool(causal),
            weigh=functools.partial(_weighed, order=int(order), monotone=monotone),
        )

    few = CPU_CAUSAL_SCORES if causal else CPU_SCORES
    if block_size is None and _rows(few, flat[0].shape[0] * m) < n:
        out = lax.platform_dependent(*flat, cpu=form(few), default=form(SCORES))
    else:
        out = form(SCORES)(*flat)
    return out.reshape(*lead, n, -1).astype(jnp.result_type(v))


def _checked(
    name: str, q: Any, k: Any, v: Any, order: Any, causal: Any, mask: Any, *rest: Any
) -> Any:
    """Check what both forms take; the scale."""
    scale, monotone = rest
    check_qkv(name, q, k, v)
    check_order(name, order)
    checks.flag(name, "causal", causal)
    checks.flag(name, "monotone", monotone)
    check_mask(name, "mask", mask, (*q.shape[:-1], k.shape[-2]))
    return check_scale(name, scale, int(q.shape[-1]))


def _rows(scores: int, across: int) -> int:
    """Rows of a block of about that many scores: a power of two in 16..512."""
    rows = 16
    while rows < 512 and 2 * rows * across <= scores:
        rows *= 2
    return rows


def _flat_mask(mask: jax.Array, lead: tuple[int, ...]) -> jax.Array:
    """[b, n or 1, m or 1] with b = 1 where the mask is one for all leading axes."""
    mask = jnp.asarray(mask)
    mask = mask.reshape((1,) * (len(lead) + 2 - mask.ndim) + mask.shape)
    if any(size != 1 for size in mask.shape[:-2]):
        mask = jnp.broadcast_to(mask, (*lead, *mask.shape[-2:]))
    return mask.reshape(-1, *mask.shape[-2:])


def _in_blocks(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    scale: jax.Array,
    mask: jax.Array | None = None,
    *,
    rows: int,
    causal: bool,
    weigh: Callable[..., jax.Array],
) -> jax.Array:
    """All rows, b heads at once; causal ones in parts that each see a prefix."""
    n, m = q.shape[1], k.shape[1]
    blocks = -(-n // rows)
    parts = min(CAUSAL_PARTS, blocks) if causal else 1
    outs = []
    for part in range(parts):
        first, last = (rows * (blocks * (part + i) // parts) for i in (0, 1))
        last = min(last, n)
        seen = min(last, m) if causal else m
        own = None
        if mask is not None:
            own = mask if mask.shape[1] == 1 else mask[:, first:last]
            own = own if mask.shape[2] == 1 else own[..., :seen]
        outs.append(
            _part(q[:, first:last], k[:, :seen], v[:, :seen], scale, own)(
                rows, first if causal else None, weigh
            )
        )
    return jnp.concatenate(outs, 1)


def _part(
    q: jax.Array, k: jax.Array, v: jax.Array, scale: jax.Array, mask: jax.Array | None
) -> Callable[..., jax.Array]:
    """The function that runs over the blocks of rows of q."""

    def run(rows: int, first: int | None, weigh: Callable[..., jax.Array]) -> jax.Array:
        batch, n, _ = q.shape
        rowwise = None if mask is None or mask.shape[1] == 1 else mask
        blocks = -(-n // rows)

        def cut(x: jax.Array) -> jax.Array:
            x = jnp.pad(x, ((0, 0), (0, blocks * rows - n), (0, 0)))
            return jnp.moveaxis(x.reshape(x.shape[0], blocks, rows, -1), 1, 0)

        starts = None if first is None else first + rows * jnp.arange(blocks)

        @jax.checkpoint
        def body(block: Any) -> jax.Array:
            own, start, kept = block
            keep = mask if kept is None else kept
            if start is not None:
                places = start + lax.broadcasted_iota(jnp.int32, (1, rows, 1), 1)
                seen = places >= lax.broadcasted_iota(jnp.int32, (1, 1, k.shape[1]), 2)
                keep = seen if keep is None else keep & seen
            return weigh(own, k, v, scale, keep)

        out = lax.map(body, (cut(q), starts, None if rowwise is None else cut(rowwise)))
        return jnp.moveaxis(out, 0, 1).reshape(batch, blocks * rows, -1)[:, :n]

    return run


def _weighed(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    scale: jax.Array,
    keep: jax.Array | None,
    *,
    order: int,
    monotone: bool,
) -> jax.Array:
    """Attention of a block of rows [b, rows, d] over all of k, v."""
    wide = scale.dtype
    scores = jnp.einsum("bnd,bmd->bnm", q.astype(wide) * scale, k.astype(wide))
    shares = shares_of_peak(widened(scores, order, monotone), order, -1, keep)
    total = shares.sum(-1, keepdims=True)
    return divided(jnp.einsum("bnm,bme->bne", shares, v.astype(wide)), total)
