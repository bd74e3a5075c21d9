"""Retention by chunks, with a gradient that keeps one state a chunk.

q, k [rows, L, n], v [rows, L, d], log decays w [rows, L], states [rows, n, d], all of
one dtype, L a multiple of the chunk. With c_i = w_1 + .. + w_i inside a chunk,

    o_i = sum_{j <= i} e^{c_i - c_j} (q_i . k_j) v_j + e^{c_i} q_i s,
    s <- e^{c_C} s + sum_j e^{c_C - c_j} k_j^T v_j.

No exponent is positive. On a CPU rows and chunks are loops, so that a chunk's numbers
stay in the cache; elsewhere all chunks are computed at once.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax.ssm._engine import Options, recurrence

Results = tuple[jax.Array, jax.Array]


def retained(
    chunk: int, q: jax.Array, k: jax.Array, v: jax.Array, w: jax.Array, s: jax.Array
) -> Results:
    """Outputs [rows, L, d] and the states at the end. Reverse mode only."""
    return _by_rows(chunk, q, k, v, w, s)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _by_rows(chunk: int, q: Any, k: Any, v: Any, w: Any, s: Any) -> Results:
    return _by_platform(_loop, _together)(chunk)(q, k, v, w, s)[:2]


def _keep(chunk: int, *inputs: Any) -> tuple[Results, Any]:
    out, end, kept = _by_platform(_loop, _together)(chunk)(*inputs)
    return (out, end), (*inputs[:-1], kept)


def _pull(chunk: int, saved: Any, cotangents: Results) -> tuple[Any, ...]:
    return _by_platform(_loop_gradient, _together_gradient)(chunk)(*saved, *cotangents)


_by_rows.defvjp(_keep, _pull)


def _by_platform(loop: Any, together: Any) -> Any:
    def chosen(chunk: int) -> Any:
        return lambda *arrays: lax.platform_dependent(
            *arrays,
            cpu=functools.partial(loop, chunk),
            default=functools.partial(together, chunk),
        )

    return chosen


def piece(s: Any, q: Any, k: Any, v: Any, w: Any) -> Results:
    """Output and state after a chunk [..., C, n] that the state [..., n, d] enters."""
    inner, until, after = _weights(w)
    out = (inner * (q @ k.mT)) @ v + (until[..., None] * q) @ s
    return out, until[..., -1:, None] * s + (after[..., None] * k).mT @ v


def _weights(w: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    """e^{c_i - c_j} where j <= i else 0, e^{c_i}, and e^{c_C - c_j}."""
    lower = jnp.tril(jnp.ones((w.shape[-1],) * 2, w.dtype))
    total = (lower @ w[..., None])[..., 0]
    gaps = total[..., :, None] - total[..., None, :]
    seen = lower.reshape((1,) * (w.ndim - 1) + lower.shape) > 0
    inner = jnp.where(seen, jnp.exp(jnp.where(seen, gaps, 0)), 0)
    return inner, jnp.exp(total), jnp.exp(total[..., -1:] - total)


def _cut(chunk: int, x: Any) -> jax.Array:
    """``x [..., L, *m]`` of a row or rows in chunks."""
    return x.reshape(*x.shape[:-2], -1, chunk, x.shape[-1])


def _over_rows(row: Any, arrays: Any) -> Any:
    """``row`` of each row, one after the other; without a loop where there is one."""
    if arrays[0].shape[0] == 1:
        results = row(jax.tree.map(lambda x: x[0], arrays))
        return jax.tree.map(lambda x: x[None], results)
    return lax.map(row, arrays)


def _loop(chunk: int, q: Any, k: Any, v: Any, w: Any, s: Any) -> Any:
    def step(s: Any, now: Any) -> Any:
        q, k, v, w = now
        out, later = piece(s, q, k, v, w[:, 0])
        return later, (out, s)

    def row(now: Any) -> Any:
        s, *parts = now
        end, (out, kept) = lax.scan(step, s, tuple(_cut(chunk, p) for p in parts))
        return out.reshape(-1, out.shape[-1]), end, kept

    return _over_rows(row, (s, q, k, v, w[..., None]))


def _loop_gradient(
    chunk: int, q: Any, k: Any, v: Any, w: Any, kept: Any, g: Any, ds: Any
) -> Any:
    def step(ds: Any, now: Any) -> Any:
        s, *parts, w, g = now
        _, pull = jax.vjp(piece, s, *parts, w[:, 0])
        ds, *parts, dw = pull((g, ds))
        return ds, (*parts, dw[:, None])

    def row(now: Any) -> Any:
        ds, kept, *parts = now
        pieces = (kept, *(_cut(chunk, p) for p in parts))
        ds, found = lax.scan(step, ds, pieces, reverse=True)
        return (*(d.reshape(-1, d.shape[-1]) for d in found), ds)

    *found, dw, ds = _over_rows(row, (ds, kept, q, k, v, w[..., None], g))
    return *found, dw[..., 0], ds


def _together(chunk: int, q: Any, k: Any, v: Any, w: Any, s: Any) -> Any:
    """All chunks at once, after the states that enter them."""
    kept, end = _states(chunk, k, v, w, s)
    queries, keys, values, decays = (_cut(chunk, p) for p in (q, k, v, w[..., None]))
    out, _ = piece(kept, queries, keys, values, decays[..., 0])
    return out.reshape(v.shape), end, kept


def _together_gradient(
    chunk: int, q: Any, k: Any, v: Any, w: Any, kept: Any, g: Any, ds: Any
) -> Any:
    """The gradient of ``_together`` made again from the first states."""

    def run(q: Any, k: Any, v: Any, w: Any, s: Any) -> Results:
        out, end, _ = _together(chunk, q, k, v, w, s)
        return out, end

    return jax.vjp(run, q, k, v, w, kept[:, 0])[1]((g, ds))


def _states(chunk: int, k: Any, v: Any, w: Any, s: Any) -> Results:
    """The states that enter the chunks [rows, chunks, n, d], and the one at the end."""
    k, v, w = (_cut(chunk, p) for p in (k, v, w[..., None]))
    _, until, after = _weights(w[..., 0])
    added = (after[..., None] * k).mT @ v
    options = Options(1, False, "associative", chunk)
    leaving = recurrence(options, until[..., -1:, None], added, s)
    return jnp.concatenate([s[:, None], leaving[:, :-1]], 1), leaving[:, -1]
