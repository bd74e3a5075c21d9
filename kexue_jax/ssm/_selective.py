"""The selective scan over rows, with a gradient that recomputes the states.

x, delta [rows, L, e], a [n, e], b, c [rows, L, n] and states [rows, n, e], all of one
dtype, L a multiple of the chunk. States have the wide axis last, and are met with c by
a matrix product: XLA on a CPU fuses a sum with what makes the summands, and computes
the exponentials again for it. The forward pass keeps the states that enter the chunks;
the gradient goes backwards from chunk to chunk and makes the states in each again, so
that its memory holds one chunk of states at a time.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax.ssm._engine import Options, recurrence

Results = tuple[jax.Array, jax.Array]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def selective(
    chunk: int,
    x: jax.Array,
    delta: jax.Array,
    a: jax.Array,
    b: jax.Array,
    c: jax.Array,
    h0: jax.Array,
) -> Results:
    """y_t = c_t h_t, h_t = exp(delta_t a) h_{t-1} + b_t (delta_t x_t), and h_L."""
    out, end, _ = _by_platform(_rows_forward, _all_forward)(chunk)(
        x, delta, a, b, c, h0
    )
    return out, end


def _keep(chunk: int, *inputs: Any) -> tuple[Results, Any]:
    out, end, kept = _by_platform(_rows_forward, _all_forward)(chunk)(*inputs)
    return (out, end), (inputs[:-1], kept)


def _pull(chunk: int, saved: Any, cotangents: Results) -> tuple[Any, ...]:
    inputs, kept = saved
    return _by_platform(_rows_backward, _all_backward)(chunk)(
        *inputs, kept, *cotangents
    )


selective.defvjp(_keep, _pull)


def _by_platform(loop: Any, parallel: Any) -> Any:
    """Row after row in loops on a CPU; elsewhere all rows, chunks in parallel."""

    def chosen(chunk: int) -> Any:
        def run(*arrays: Any) -> Any:
            return lax.platform_dependent(
                *arrays,
                cpu=functools.partial(loop, chunk),
                default=functools.partial(parallel, chunk),
            )

        return run

    return chosen


def _cut(chunk: int, *arrays: Any) -> tuple[jax.Array, ...]:
    """Arrays [L, m] as [chunks, chunk, m]."""
    return tuple(x.reshape(-1, chunk, x.shape[-1]) for x in arrays)


def _rows_forward(chunk: int, x: Any, delta: Any, a: Any, b: Any, c: Any, h0: Any):
    """Row after row: outputs, last states, and the states that enter the chunks."""

    def step(h: Any, now: Any) -> Any:
        driven, delta, b, c = now
        h = jnp.exp(delta[None] * a) * h + b[:, None] * driven[None]
        return h, c @ h

    def piece(h: Any, now: Any) -> Any:
        last, out = lax.scan(step, h, now)
        return last, (out, h)

    def row(now: Any) -> Any:
        h0, *parts = now
        end, (out, kept) = lax.scan(piece, h0, _cut(chunk, *parts))
        return out.reshape(-1, out.shape[-1]), end, kept

    return _over_rows(row, (h0, delta * x, delta, b, c))


def _rows_backward(
    chunk: int, x: Any, delta: Any, a: Any, b: Any, c: Any, kept: Any, g: Any, dh: Any
) -> tuple[Any, ...]:
    """The gradients, chunks from the last to the first, states made again in each."""

    def again(h: Any, now: Any) -> Any:
        driven, delta, b = now
        decay = jnp.exp(delta[None] * a)
        later = decay * h + b[:, None] * driven[None]
        return later, (decay, h)

    def step(carry: Any, now: Any) -> Any:
        m, da = carry
        decay, before, driven, delta, b, c, g = now
        ell = c[:, None] * g[None] + m
        m = decay * ell
        part = m * before
        after = decay * before + b[:, None] * driven[None]
        d_rate = jnp.ones_like(b) @ (part * a)
        return (m, da + part * delta[None]), (b @ ell, d_rate, ell @ driven, after @ g)

    def piece(carry: Any, now: Any) -> Any:
        h, *parts, c, g = now
        _, made = lax.scan(again, h, tuple(parts))
        return lax.scan(step, carry, (*made, *parts, c, g), reverse=True)

    def row(now: Any) -> Any:
        kept, dh, *parts = now
        start = (dh, jnp.zeros_like(a))
        (dh0, da), parts = lax.scan(
            piece, start, (kept, *_cut(chunk, *parts)), reverse=True
        )
        return dh0, da, *(d.reshape(-1, d.shape[-1]) for d in parts)

    dh0, da, d_driven, d_rate, db, dc = _over_rows(
        row, (kept, dh, delta * x, delta, b, c, g)
    )
    return d_driven * delta, d_driven * x + d_rate, da.sum(0), db, dc, dh0


def _over_rows(row: Any, arrays: Any) -> Any:
    """``row`` of each row, one after the other; without a loop where there is one."""
    if arrays[0].shape[0] == 1:
        results = row(jax.tree.map(lambda x: x[0], arrays))
        return jax.tree.map(lambda x: x[None], results)
    return lax.map(row, arrays)


def _all_forward(chunk: int, x: Any, delta: Any, a: Any, b: Any, c: Any, h0: Any):
    """Chunk after chunk of all rows, in parallel inside."""
    parts = tuple(jnp.moveaxis(_chunks(chunk, p), 1, 0) for p in (x, delta, b, c))

    def piece(h: Any, now: Any) -> Any:
        out, last = _together(a, h, *now)
        return last, (out, h)

    end, (out, kept) = lax.scan(piece, h0, parts)
    return jnp.moveaxis(out, 0, 1).reshape(x.shape), end, jnp.moveaxis(kept, 0, 1)


def _all_backward(
    chunk: int, x: Any, delta: Any, a: Any, b: Any, c: Any, kept: Any, g: Any, dh: Any
) -> tuple[Any, ...]:
    """As ``_rows_backward``, by the gradient of each chunk made again."""
    parts = tuple(jnp.moveaxis(_chunks(chunk, p), 1, 0) for p in (x, delta, b, c, g))

    def piece(carry: Any, now: Any) -> Any:
        dh, total = carry
        h, *inputs, g = now
        _, pull = jax.vjp(_together, a, h, *inputs)
        da, dh, *parts = pull((g, dh))
        return (dh, total + da), tuple(parts)

    start = (dh, jnp.zeros_like(a))
    now = (jnp.moveaxis(kept, 1, 0), *parts)
    (dh0, da), found = lax.scan(piece, start, now, reverse=True)
    like = (x, delta, b, c)
    dx, d_delta, db, dc = (
        jnp.moveaxis(d, 0, 1).reshape(p.shape) for d, p in zip(found, like, strict=True)
    )
    return dx, d_delta, da, db, dc, dh0


def _chunks(chunk: int, x: Any) -> jax.Array:
    """``x [rows, L, m]`` as [rows, chunks, chunk, m]."""
    return x.reshape(x.shape[0], -1, chunk, x.shape[-1])


def _together(a: Any, h: Any, x: Any, delta: Any, b: Any, c: Any) -> Results:
    """Outputs and last states of one chunk of all rows, x [rows, chunk, e]."""
    decay = jnp.exp(delta[:, :, None] * a[None, None])
    driven = b[..., None] * (delta * x)[:, :, None]
    options = Options(1, False, "associative", x.shape[1])
    states = recurrence(options, decay, driven, h)
    return jnp.einsum("rtn,rtne->rte", c, states), states[:, -1]
