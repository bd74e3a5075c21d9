"""BigBird's attention: blocks that are near, global or drawn at random."""

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax.attention._arguments import (
    broadcast,
    check_mask,
    check_qkv,
    check_scale,
)
from kexue_jax.attention.blockwise import blockwise_attention
from kexue_jax.attention.dense import masked_part, scaled_scores


def bigbird_attention(
    key: jax.Array,
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    block_size: int,
    n_window: int = 3,
    n_global: int = 1,
    n_random: int = 3,
    key_mask: jax.Array | None = None,
    scale: float | jax.Array | None = None,
) -> jax.Array:
    """Softmax attention to near, global and random blocks of keys.

    Positions are cut into blocks of ``block_size``. The queries of block I attend to
    the ``n_window`` blocks around I (itself in the middle), to the first ``n_global``
    blocks, and to ``n_random`` of the others: those J with the largest entries [I, J]
    of ``jax.random.uniform(key, [blocks, blocks], float32)``. The queries of the first
    n_global blocks attend to all keys. One softmax over the union.

    Shapes: q, k [..., n, d], v [..., n, e], key_mask boolean, broadcastable to
    [..., n] -> [..., n, e].
    Article: kexue.fm/archives/7546.  Paper: arXiv 2007.14062 (its ITC form).
    Differs: one draw for all leading axes (map over keys for one a head); no wrap of
    the window around the ends; all blocks that there are where fewer than n_random are
    left.
    Cost: 2 n b (n_window + n_global + n_random) (d + e) flops and, for the global
    queries, 2 n b n_global (d + e), b the block_size; blocks^2 random numbers.
    Raises: TypeError or ValueError as blockwise_attention, for an even n_window, or
    counts that are negative.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.attention import bigbird_attention
        >>> q, v = jnp.zeros((6, 2)), jnp.arange(6.0).reshape(6, 1)
        >>> counts = dict(block_size=1, n_window=1, n_random=0)
        >>> print(bigbird_attention(jax.random.key(0), q, q, v, **counts)[:, 0])
        [2.5 0.5 1.  1.5 2.  2.5]
    """
    name = "bigbird_attention"
    checks.key(name, "key", key)
    check_qkv(name, q, k, v, equal_lengths=True)
    n, lead = q.shape[-2], q.shape[:-2]
    check_mask(name, "key_mask", key_mask, (*lead, n))
    factor = check_scale(name, scale, q.shape[-1])
    checks.count(name, "block_size", block_size)
    checks.count(name, "n_window", n_window)
    checks.count(name, "n_global", n_global, minimum=0)
    checks.count(name, "n_random", n_random, minimum=0)
    if n_window % 2 == 0:
        raise checks.fail(
            name, "n_window", n_window, "odd: its own block in the middle"
        )
    blocks = -(-n // block_size)
    index, valid = chosen_blocks(key, blocks, n_window, n_global, n_random)
    full = jnp.ones((), bool) if key_mask is None else key_mask
    mask = broadcast(full, (*lead, n))
    cut = lambda x, axis: _cut(jnp.asarray(x), block_size, axis)  # noqa: E731
    queries, masks = cut(q, -2), cut(mask, -1)
    keys, values = (_gathered(cut(x, -2), index, -3) for x in (k, v))
    keep = _gathered(masks, index, -2)
    keep &= jnp.repeat(valid, block_size, -1).reshape((1,) * len(lead) + (blocks, -1))
    scores = scaled_scores(queries, keys, factor)
    keep = jnp.broadcast_to(keep[..., None, :], scores.shape)
    out = masked_part(scores, keep, values).out
    out = out.reshape(*lead, blocks * block_size, v.shape[-1])[..., :n, :]
    if not n_global:
        return out
    first = min(n, n_global * block_size)
    top = blockwise_attention(q[..., :first, :], k, v, key_mask=mask, scale=factor)
    return jnp.concatenate([top, out[..., first:, :]], -2)


def chosen_blocks(
    key: jax.Array, blocks: int, n_window: int, n_global: int, n_random: int
) -> tuple[jax.Array, jax.Array]:
    """The blocks of keys that each block of queries sees, and which of them count.

    Integers and booleans [blocks, n_window + n_global + n_random]; a block that stands
    twice (near and global) or beyond an end counts once or not at all.
    """
    row = jnp.arange(blocks)[:, None]
    near = row + jnp.arange(n_window)[None, :] - n_window // 2
    first = jnp.broadcast_to(jnp.arange(n_global)[None, :], (blocks, n_global))
    distant = jnp.abs(first - row) > n_window // 2
    index = [near, first]
    valid = [(near >= 0) & (near < blocks), distant & (first < blocks)]
    if n_random:
        column = jnp.arange(blocks)[None, :]
        free = (jnp.abs(column - row) > n_window // 2) & (column >= n_global)
        draws = jnp.where(
            free, jax.random.uniform(key, (blocks, blocks), jnp.float32), -1.0
        )
        best, drawn = jax.lax.top_k(draws, min(n_random, blocks))
        index.append(drawn)
        valid.append(best >= 0)
    return jnp.clip(jnp.concatenate(index, 1), 0, blocks - 1), jnp.concatenate(valid, 1)


def _cut(x: jax.Array, size: int, axis: int) -> jax.Array:
    """The axis (counted from the end) as blocks of ``size``, the last one padded."""
    axis += x.ndim
    missing = -x.shape[axis] % size
    widths = [(0, missing if a == axis else 0) for a in range(x.ndim)]
    x = jnp.pad(x, widths)
    return x.reshape(*x.shape[:axis], -1, size, *x.shape[axis + 1 :])


def _gathered(x: jax.Array, index: jax.Array, axis: int) -> jax.Array:
    """Blocks ``index`` [blocks, c] of an axis, their rows one after the other."""
    axis += x.ndim
    x = jnp.take(x, index, axis=axis)
    rows = x.shape[axis + 1] * x.shape[axis + 2]
    return x.reshape(*x.shape[: axis + 1], rows, *x.shape[axis + 3 :])
