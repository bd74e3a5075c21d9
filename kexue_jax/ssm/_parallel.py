"""A diagonal recurrence in parallel over time: the forms for accelerators.

Arrays as in ``_loops``: of the rank of ``b``, the decay of size 1 where it does not
vary. ``reverse`` runs from the end.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def associative(axis: int, reverse: bool, a: Any, b: Any, h0: Any) -> jax.Array:
    """All states by an associative scan of the pairs (a, b)."""
    decays, states = _prefixes(axis, reverse, a, b)
    return decays * jnp.expand_dims(h0, axis) + states


def chunked(
    axis: int, reverse: bool, a: Any, b: Any, h0: Any, *, chunk_size: int
) -> jax.Array:
    """Chunk after chunk, each by an associative scan: less memory at once."""
    length = b.shape[axis]
    chunk = min(chunk_size, length)
    count = -(-length // chunk)
    if count == 1:
        return associative(axis, reverse, a, b, h0)
    constant = a.shape[axis] == 1
    pieces = _cut(axis, reverse, b, count, chunk, 0)
    decays = None if constant else _cut(axis, reverse, a, count, chunk, 1)
    end = 0 if reverse else chunk - 1

    def body(h: Any, piece: Any) -> Any:
        b, part = piece
        states = associative(axis, reverse, a if part is None else part, b, h)
        return lax.index_in_dim(states, end, axis, keepdims=False), states

    _, states = lax.scan(body, h0, (pieces, decays), reverse=reverse)
    states = jnp.moveaxis(states, 0, axis)
    merged = (*b.shape[:axis], count * chunk, *b.shape[axis + 1 :])
    start = count * chunk - length if reverse else 0
    return lax.slice_in_dim(states.reshape(merged), start, start + length, axis=axis)


def upper_lower(axis: int, reverse: bool, a: Any, b: Any, h0: Any) -> jax.Array:
    """The article's form, for a decay that does not vary in time.

    Blocks of 2, 4, .. steps: to the later half of each is added what the last state
    of the earlier half has become, a^1 .. a^(block/2) times it.
    """
    length = b.shape[axis]
    decays = lax.squeeze(a, (axis,))
    if reverse:
        b = jnp.flip(b, axis)
    first = lax.index_in_dim(b, 0, axis) + jnp.expand_dims(decays * h0, axis)
    b = jnp.concatenate([first, lax.slice_in_dim(b, 1, length, axis=axis)], axis)
    x = jnp.moveaxis(b, axis, 0)
    stages = max(length - 1, 0).bit_length()
    x = jnp.pad(x, [(0, 2**stages - length)] + [(0, 0)] * (x.ndim - 1))
    powers = decays[None]
    for stage in range(stages):
        half = 2**stage
        x = x.reshape(-1, 2, half, *h0.shape)
        added = powers[None] * x[:, 0, -1:]
        x = jnp.stack([x[:, 0], x[:, 1] + added], 1)
        powers = jnp.concatenate([powers, powers * powers[-1:]])
    x = jnp.moveaxis(x.reshape(-1, *h0.shape)[:length], 0, axis)
    return jnp.flip(x, axis) if reverse else x


def _prefixes(axis: int, reverse: bool, a: Any, b: Any) -> tuple[Any, Any]:
    """Products of the decays up to each time, and the states that start from 0."""

    def join(one: Any, two: Any) -> Any:
        return two[0] * one[0], two[0] * one[1] + two[1]

    over_time = (*a.shape[:axis], b.shape[axis], *a.shape[axis + 1 :])
    pairs = (jnp.broadcast_to(a, over_time), b)
    return lax.associative_scan(join, pairs, axis=axis, reverse=reverse)


def _cut(
    axis: int, reverse: bool, x: Any, count: int, chunk: int, value: int
) -> jax.Array:
    """``x`` with ``value`` after its last step, in chunks along a new first axis."""
    more = count * chunk - x.shape[axis]
    widths = [(0, 0)] * x.ndim
    widths[axis] = (more, 0) if reverse else (0, more)
    x = jnp.pad(x, widths, constant_values=value)
    x = x.reshape(*x.shape[:axis], count, chunk, *x.shape[axis + 1 :])
    return jnp.moveaxis(x, axis, 0)
