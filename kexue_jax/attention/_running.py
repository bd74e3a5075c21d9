"""Features kept as exponents relative to a running maximum, key by key or by chunk.

Keys have features f exp(u), of which only f exp(u - c) is ever formed, c the largest u
of the channel so far. c cancels in every result, so it is a constant to the gradient.
A state with c is all that later tokens need. Where there is no key yet c is ``LOWEST``,
which is finite, so that differences are never inf - inf.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from kexue_jax._base import checks
from kexue_jax.attention._features import chunks_of, pad_rows


class LogLinearState(NamedTuple):
    """All that is kept of keys with features exp(u), in at least float32.

    s [..., m, d] = sum_j exp(u_j - c)^T v_j, z [..., m] = sum_j exp(u_j - c), and
    c [..., m], the largest u_j, a huge negative number where there was no key.
    Article: kexue.fm/archives/7921.
    """

    s: jax.Array
    z: jax.Array
    c: jax.Array


class Keys(NamedTuple):
    """Exponents u [..., n, m], factors f [..., n, m] or None, values v [..., n, d], and
    which keys count, bool [..., n]."""

    u: jax.Array
    f: jax.Array | None
    v: jax.Array
    keep: jax.Array


def lowest(dtype: Any) -> float:
    """The maximum of no exponents."""
    return float(jnp.finfo(dtype).min) / 2


def safe_spread(dtype: Any) -> float:
    """How far an exponent may lie below its chunk's maximum and keep all its digits."""
    return -0.7 * float(np.log(np.float64(jnp.finfo(dtype).tiny)))


def start_state(name: str, state: Any, lead: tuple, m: int, d: int, dtype: Any) -> Any:
    """``state`` checked and widened, or that of no keys."""
    if state is None:
        return LogLinearState(
            jnp.zeros((*lead, m, d), dtype),
            jnp.zeros((*lead, m), dtype),
            jnp.full((*lead, m), lowest(dtype), dtype),
        )
    shapes = {"s": (*lead, m, d), "z": (*lead, m), "c": (*lead, m)}
    checks.state(name, state, LogLinearState, shapes)
    s, z, c = (jnp.asarray(part, dtype) for part in state)
    return LogLinearState(s, z, jnp.maximum(c, lowest(dtype)))


def absorb(state: LogLinearState, keys: Keys) -> LogLinearState:
    """The state after all of the keys at once."""
    c = jnp.maximum(_masked(keys).max(-2), lax.stop_gradient(state.c))
    b = features(keys, c[..., None, :])
    rate = jnp.exp(state.c - c)
    s = state.s * rate[..., None] + b.mT @ keys.v
    return LogLinearState(s, state.z * rate + b.sum(-2), c)


def absorb_one(state: LogLinearState, u: Any, f: Any, v: Any) -> LogLinearState:
    """The state after one more key, u [..., m], v [..., d]."""
    c = lax.stop_gradient(jnp.maximum(u, state.c))
    b = jnp.exp(u - c) if f is None else f * jnp.exp(u - c)
    rate = jnp.exp(state.c - c)
    s = state.s * rate[..., None] + b[..., None] * v[..., None, :]
    return LogLinearState(s, state.z * rate + b, c)


def features(keys: Keys, c: jax.Array) -> jax.Array:
    """f exp(u - c), 0 where a key does not count."""
    keep = keys.keep[..., None]
    b = jnp.exp(jnp.where(keep, keys.u, c) - c)
    return jnp.where(keep, b if keys.f is None else keys.f * b, 0)


def _masked(keys: Keys) -> jax.Array:
    u = lax.stop_gradient(keys.u)
    return jnp.where(keys.keep[..., None], u, lowest(u.dtype))


class Chunked(NamedTuple):
    """Keys by chunks: maxima c [..., chunks, m] at their ends and over their positions
    [..., n, m], the decay of the state as it enters each, the state that enters the
    first in the units of that, and whether no exponent lies too far below."""

    c: jax.Array
    at: jax.Array
    decay: jax.Array
    start: LogLinearState
    safe: jax.Array


def by_chunks(state: LogLinearState, keys: Keys, chunk_size: int) -> Chunked:
    """The running maximum taken at the ends of the chunks."""
    lead, (n, m) = keys.u.shape[:-2], keys.u.shape[-2:]
    chunk, length = chunks_of(n, chunk_size)
    low = lowest(keys.u.dtype)
    u = pad_rows(_masked(keys), length, low).reshape(*lead, -1, chunk, m)
    c0 = lax.stop_gradient(state.c)[..., None, :]
    c = jnp.maximum(lax.cummax(u.max(-2), axis=u.ndim - 3), c0)
    before = jnp.concatenate([c0, c[..., :-1, :]], -2)
    # The first maximum that any query of the chunk sees must not be far below c.
    first = jnp.maximum(before, u[..., 0, :])
    counts = u.max(-1) > low
    place = jnp.argmax(counts, -1)[..., None, None]
    later = jnp.take_along_axis(u, place, -2)[..., 0, :]
    first = jnp.where(first > low, first, later)
    safe = (c - first).max() <= safe_spread(u.dtype)
    decay = jnp.exp(before - c).at[..., 0, :].set(1)
    rate = jnp.exp(state.c - c[..., 0, :])
    start = LogLinearState(state.s * rate[..., None], state.z * rate, c[..., 0, :])
    at = jnp.broadcast_to(c[..., None, :], u.shape).reshape(*lead, length, m)
    return Chunked(c, at[..., :n, :], decay, start, everywhere(safe))


@jax.custom_batching.custom_vmap
def everywhere(truth: jax.Array) -> jax.Array:
    """``truth``, of all members of a batch under vmap: a branch stays one branch."""
    return truth


@everywhere.def_vmap
def _(size: int, batched: list[bool], truth: jax.Array) -> tuple[jax.Array, bool]:
    return everywhere(jnp.all(truth)), False


Read = Callable[[LogLinearState, jax.Array], jax.Array]


def token_by_token(
    state: LogLinearState, q: jax.Array, keys: Keys, read: Read, chunk_size: int
) -> tuple[LogLinearState, jax.Array]:
    """The states after each key in turn, read by ``read(state, q_i)``: exact always.

    The gradient keeps one state a chunk and recomputes those inside.
    """
    chunk, length = chunks_of(q.shape[-2], chunk_size)
    plain = (q, keys.u, keys.v) + (() if keys.f is None else (keys.f,))
    tokens = [jnp.moveaxis(pad_rows(x, length), -2, 0) for x in plain]
    keep = jnp.moveaxis(pad_rows(keys.keep[..., None], length)[..., 0], -1, 0)
    cut = [x.reshape(-1, chunk, *x.shape[1:]) for x in (keep, *tokens)]

    def step(state: Any, token: Any) -> Any:
        keep, q, u, v, *f = token
        u = jnp.where(keep[..., None], u, state.c)
        new = absorb_one(state, u, f[0] if f else None, v)
        state = jax.tree.map(lambda a, b: jnp.where(_expand(keep, a), a, b), new, state)
        return state, read(state, q)

    @jax.checkpoint
    def turn(state: Any, tokens: Any) -> Any:
        return lax.scan(step, state, tokens)

    state, out = lax.scan(turn, state, tuple(cut))
    out = out.reshape(length, *out.shape[2:])
    return state, jnp.moveaxis(out, 0, -2)[..., : q.shape[-2], :]


def _expand(keep: jax.Array, like: jax.Array) -> jax.Array:
    return keep.reshape(keep.shape + (1,) * (like.ndim - keep.ndim))
