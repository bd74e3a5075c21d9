"""All keys for all queries by features kept as exponents, made where they are used.

Features that a projection makes are an array far larger than what they are made from.
On a CPU, where it would not fit into the cache, it is made for a block of one row of
the batch at a time, never whole, in the gradient neither. Else all is done at once.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax._base.masks import safe_divide
from kexue_jax._base.varying import varying_alike
from kexue_jax.attention._blocks import block_rows
from kexue_jax.attention._features import pad_rows
from kexue_jax.attention._running import Keys, LogLinearState, absorb

# Rows of a block on a CPU. Measured for 8 heads of 4,096 rows, d = 64 and 256 features:
# 64, 128, 256 and 512 rows take 1.15, 1.05, 1 and 1 times as long.
CPU_ROWS = 256

# Bytes of features beyond which blocks are taken on a CPU. In ms, 8 heads, d = 64, 256
# features, at once and by blocks: 34 MB on one thread 189 and 92, on two 135 and 106;
# 17 MB 89 and 43, 44 and 48; 8 MB 30 and 23, 15 and 25. With the gradient, 34 MB: 394
# and 300, 252 and 274, in a third of the memory.
LARGE_BYTES = 2**23


class Source(NamedTuple):
    """What features are made from: q [..., n, *], k [..., l, *], values [..., l, d],
    which keys count, bool [..., l], and w: None, or shared [m, *], or [..., m, *]."""

    q: jax.Array
    k: jax.Array
    v: jax.Array
    keep: jax.Array
    w: jax.Array | None


Exponents = Callable[[jax.Array, jax.Array | None], tuple[jax.Array, jax.Array | None]]


class Maps(NamedTuple):
    """Exponents u and factors f, or None, of queries and of keys: (x, w) -> (u, f)."""

    query: Exponents
    key: Exponents


def queries(u: jax.Array, f: jax.Array | None, c: jax.Array) -> jax.Array:
    """The features f exp(u + c), up to a factor for each query."""
    t = u + c
    a = jnp.exp(t - lax.stop_gradient(t.max(-1, keepdims=True)))
    return a if f is None else f * a


def read_all(state: LogLinearState, u: Any, f: Any, eps: Any) -> jax.Array:
    """What queries [..., n, m] get from all keys of the state."""
    a = queries(u, f, state.c[..., None, :])
    den = a @ state.z[..., None] + jnp.asarray(eps, a.dtype)
    return safe_divide(a @ state.s, den)


def all_keys(
    state: LogLinearState, source: Source, maps: Maps, eps: Any
) -> tuple[LogLinearState, jax.Array]:
    """The state after the keys, and what each query gets from it."""
    eps = jnp.asarray(eps, source.v.dtype)
    state, source, eps = varying_alike(state, source, eps)
    if source.w is None or _feature_bytes(source, maps) <= LARGE_BYTES:
        return _together(state, source, eps, maps)
    return lax.platform_dependent(
        state,
        source,
        eps,
        cpu=functools.partial(_by_blocks, maps=maps),
        default=functools.partial(_together, maps=maps),
    )


def _feature_bytes(source: Source, maps: Maps) -> int:
    features = jax.eval_shape(maps.query, source.q, source.w)[0]
    return features.size * features.dtype.itemsize


def _together(
    state: LogLinearState, source: Source, eps: jax.Array, maps: Maps
) -> tuple[LogLinearState, jax.Array]:
    q, k, v, keep, w = source
    state = absorb(state, Keys(*maps.key(k, w), v, keep))
    return state, read_all(state, *maps.query(q, w), eps)


def _by_blocks(
    state: LogLinearState, source: Source, eps: jax.Array, maps: Maps
) -> tuple[LogLinearState, jax.Array]:
    """One row of the batch after the other, and in it block after block."""
    if source.q.ndim > 2:
        own = source.w is not None and source.w.ndim > 2
        shared = None if own else source.w
        mapped = state, source if own else source._replace(w=None)

        def row(inputs: Any) -> Any:
            state, one = inputs
            one = one if own else one._replace(w=shared)
            return _by_blocks(state, one, eps, maps)

        return lax.map(row, mapped)

    q, k, v, keep, w = source
    rows = block_rows(k.shape[0], CPU_ROWS)

    @jax.checkpoint
    def turn(state: LogLinearState, part: Any) -> Any:
        k, v, keep = part
        return absorb(state, Keys(*maps.key(k, w), v, keep[:, 0])), None

    parts = tuple(_cut(x, rows) for x in (k, v, keep[:, None]))
    state, _ = lax.scan(turn, state, parts)

    @jax.checkpoint
    def answer(q: jax.Array) -> jax.Array:
        return read_all(state, *maps.query(q, w), eps)

    out = lax.map(answer, _cut(q, block_rows(q.shape[0], CPU_ROWS)))
    return state, out.reshape(-1, out.shape[-1])[: q.shape[0]]


def _cut(x: jax.Array, rows: int) -> jax.Array:
    """``x [n, *]`` as [blocks, rows, *], zeros (keys that do not count) after it."""
    length = -(-x.shape[0] // rows) * rows
    return pad_rows(x, length, x.dtype.type(0)).reshape(-1, rows, x.shape[-1])
