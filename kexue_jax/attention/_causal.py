"""The causal product of linear attention by chunks, with its gradient by hand.

For features a_i, b_j and values v_j, with a state s, z of the keys before the first:

    num_i = a_i (s + sum_{j <= i} b_j^T v_j),  den_i = a_i (z + sum_{j <= i} b_j).

Inside a chunk the sums are a masked matrix product; between chunks they are a state of
one matrix. On a CPU one loop runs over all chunks of all rows, so that a chunk's
numbers stay in the cache; elsewhere, and where a row is one chunk, all chunks are
computed at once (a loop over rows that jit divides over CPU devices would gather them
first). The gradient is again causal products, some of them reversed in time, and needs
nothing from the forward pass but the state before each chunk.

``decay [rows, chunks, m]`` multiplies the state as it enters a chunk, for features that
are kept relative to a running maximum. It is a constant to the gradient.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax._base.masks import safe_divide


class Options(NamedTuple):
    """What is static: positions a chunk, and whether to divide by den + eps."""

    chunk: int
    normalize: bool


class Kept(NamedTuple):
    """What the gradient needs beside the inputs: entering states, results."""

    s: jax.Array
    z: jax.Array
    out: jax.Array
    den: jax.Array | None


Causal = tuple[jax.Array, jax.Array, jax.Array]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def causal_product(
    options: Options,
    a: jax.Array,
    b: jax.Array,
    v: jax.Array,
    s: jax.Array,
    z: jax.Array,
    decay: jax.Array | None,
    eps: jax.Array,
) -> Causal:
    """``num / (den + eps)`` (or num) [rows, n, d], and the state s, z at the end.

    a, b [rows, n, m], v [rows, n, d] in one dtype of at least float32, n a multiple of
    the chunk; s [rows, m, d], z [rows, m]. Reverse mode only.
    """
    return _by_platform(_loop, _together)(options, False, a, b, v, s, z, decay, eps)[0]


def _keep(options: Options, *inputs: Any) -> tuple[Causal, Any]:
    results, kept = _by_platform(_loop, _together)(options, True, *inputs)
    a, b, v, _, _, decay, _ = inputs
    return results, (a, b, v, decay, kept)


def _pull(options: Options, saved: Any, cotangents: Causal) -> tuple[Any, ...]:
    decay = saved[3]
    form = _by_platform(_loop_gradient, _together_gradient)
    da, db, dv, ds, dz, deps = form(options, False, saved, cotangents)
    none = None if decay is None else jnp.zeros_like(decay)
    return da, db, dv, ds, dz, none, deps


causal_product.defvjp(_keep, _pull)


def _by_platform(loop: Any, together: Any) -> Any:
    def chosen(options: Options, keep: bool, *inputs: Any) -> Any:
        a = jax.tree.leaves(inputs)[0]
        if a.shape[1] == options.chunk:
            return together(options, keep, *inputs)
        return lax.platform_dependent(
            *inputs,
            cpu=functools.partial(loop, options, keep),
            default=functools.partial(together, options, keep),
        )

    return chosen


def _value(
    options: Options, a: Any, b: Any, v: Any, s: Any, z: Any, eps: Any
) -> tuple[jax.Array, jax.Array | None]:
    """Results of chunks ``[..., c, m]`` that the states ``[..., m, d]`` enter."""
    scores = jnp.tril(a @ b.mT)
    out = scores @ v + a @ s
    if not options.normalize:
        return out, None
    den = _row_sums(scores) + (a @ z[..., None])[..., 0] + eps
    return safe_divide(out, den[..., None]), den


def _gradient(
    a: Any, b: Any, v: Any, kept: Kept, g: Any, r: Any, w: Any
) -> tuple[Any, ...]:
    """Gradients of chunks, given those of their results and of the states they leave.

    Returns da, db, dv, what the chunk adds to the gradients of the states, and that
    of eps.
    """
    w_row = w[..., None, :]
    if kept.den is not None:
        g_num = safe_divide(g, kept.den[..., None])
        g_den = -_row_sums(g_num * kept.out)
    else:
        g_num, g_den = g, None
    scores, d_scores = jnp.tril(a @ b.mT), g_num @ v.mT
    dr = a.mT @ g_num
    if g_den is None:
        d_scores = jnp.tril(d_scores)
        da = d_scores @ b + g_num @ kept.s.mT
        dw, deps = jnp.zeros_like(w), jnp.zeros_like(w, shape=())
    else:
        d_scores = jnp.tril(d_scores + g_den[..., None])
        da = d_scores @ b + g_num @ kept.s.mT + g_den[..., None] * kept.z[..., None, :]
        dw, deps = (a.mT @ g_den[..., None])[..., 0], g_den.sum()
    db = d_scores.mT @ a + v @ r.mT + w_row
    dv = scores.mT @ g_num + b @ r
    return da, db, dv, dr, dw, deps


def _row_sums(x: jax.Array) -> jax.Array:
    """``x.sum(-1)`` as a product: XLA on a CPU would fuse a sum with what makes x, and
    compute that twice and slowly (measured)."""
    return x @ jnp.ones(x.shape[-1], x.dtype)


def _loop(options: Options, keep: bool, *inputs: Any) -> tuple[Causal, Kept | None]:
    """One loop over the chunks of all rows; a row's first chunk takes its own state."""
    a, b, v, starts, sums, decay, eps = inputs
    rows, n = a.shape[:2]

    def body(carry: Any, chunk: Any) -> Any:
        state, ends = carry
        row, begins, _, a, b, v, factor = chunk
        state = _either(begins, (starts[row], sums[row]), state)
        s, z = _enter(state[0], state[1], factor)
        out, den = _value(options, a, b, v, s, z, eps)
        state = s + b.T @ v, z + b.sum(0)
        # XLA drops the writing of the states where nobody asks for them.
        return (state, _write(ends, state, row)), (out, (s, z, den) if keep else None)

    chunks = _flat(options, rows, n, a, b, v, decay)
    start = (starts[0], sums[0]), (starts, sums)
    (_, ends), (out, kept) = lax.scan(body, start, chunks)
    result = (out.reshape(rows, n, -1), *ends)
    if kept is None:
        return result, None
    states, sums, den = jax.tree.map(lambda x: x.reshape(rows, -1, *x.shape[1:]), kept)
    return result, Kept(states, sums, out.reshape(rows, -1, *out.shape[1:]), den)


def _loop_gradient(
    options: Options, _: bool, saved: Any, cotangents: Causal
) -> tuple[Any, ...]:
    """The same loop backwards; a row's last chunk takes the gradient of its end."""
    a, b, v, decay, kept = saved
    g, ds, dz = cotangents
    rows, n = a.shape[:2]

    def body(carry: Any, chunk: Any) -> Any:
        state, begins, deps = carry
        (row, _, ends, a, b, v, factor), kept, g = chunk
        r, w = _either(ends, (ds[row], dz[row]), state)
        *d, dr, dw, de = _gradient(a, b, v, kept, g, r, w)
        state = _enter(r + dr, w + dw, factor)
        return (state, _write(begins, state, row), deps + de), d

    chunks = _flat(options, rows, n, a, b, v, decay)
    kept = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), kept)
    g = g.reshape(-1, options.chunk, g.shape[-1])
    start = (ds[0], dz[0]), (ds, dz), jnp.zeros_like(a, shape=())
    last, parts = lax.scan(body, start, (chunks, kept, g), reverse=True)
    da, db, dv = (part.reshape(rows, n, -1) for part in parts)
    return da, db, dv, *last[1], last[2]


def _enter(s: Any, z: Any, factor: Any) -> tuple[jax.Array, jax.Array]:
    """States ``[..., m, d]``, ``[..., m]`` times the decay of a chunk (None: as is)."""
    return (s, z) if factor is None else (s * factor[..., None], z * factor)


def _flat(options: Options, rows: int, n: int, *arrays: Any) -> tuple[Any, ...]:
    """Each chunk's row, whether it begins and ends it, its part of the arrays."""
    count = n // options.chunk
    *features, decay = arrays
    row = jnp.repeat(jnp.arange(rows, dtype=jnp.int32), count)
    place = jnp.tile(jnp.arange(count, dtype=jnp.int32), rows)
    chunks = [x.reshape(rows * count, options.chunk, x.shape[-1]) for x in features]
    decay = None if decay is None else decay.reshape(rows * count, -1)
    return (row, place == 0, place == count - 1, *chunks, decay)


def _either(first: Any, one: Any, other: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(first, a, b), one, other)


def _write(arrays: Any, parts: Any, row: Any) -> Any:
    """The arrays [rows, ...] with ``parts`` in the place of one row."""
    write = lax.dynamic_update_index_in_dim
    return jax.tree.map(lambda x, part: write(x, part, row, 0), arrays, parts)


def _together(options: Options, keep: bool, *inputs: Any) -> tuple[Causal, Any]:
    """All chunks at once, after the states that enter them."""
    a, b, v, s, z, decay, eps = inputs
    rows, n = a.shape[:2]
    a, b, v = _cut(options, a, b, v)
    s, s_end = _states(b.mT @ v, s, decay)
    z, z_end = _states(b.sum(-2), z, decay)
    out, den = _value(options, a, b, v, s, z, eps)
    kept = Kept(s, z, out, den) if keep else None
    return (out.reshape(rows, n, -1), s_end, z_end), kept


def _together_gradient(
    options: Options, _: bool, saved: Any, cotangents: Causal
) -> tuple[Any, ...]:
    """All chunks at once, after the gradients of the states that leave them."""
    a, b, v, decay, kept = saved
    g, ds, dz = cotangents
    rows, n = a.shape[:2]
    a, b, v, g = _cut(options, a, b, v, g)
    none = (jnp.zeros_like(kept.s), jnp.zeros_like(kept.z))
    later = None
    if decay is not None:
        later = jnp.concatenate([decay[:, 1:], jnp.ones_like(decay[:, :1])], 1)[:, ::-1]
    # What each chunk adds to the states' gradients does not depend on those.
    dr, dw = _gradient(a, b, v, kept, g, *none)[3:5]
    r, ds = _states(dr[:, ::-1], ds, later)
    w, dz = _states(dw[:, ::-1], dz, later)
    da, db, dv, _, _, deps = _gradient(a, b, v, kept, g, r[:, ::-1], w[:, ::-1])
    ds, dz = _enter(ds, dz, None if decay is None else decay[:, 0])
    da, db, dv = (part.reshape(rows, n, -1) for part in (da, db, dv))
    return da, db, dv, ds, dz, deps


def _cut(options: Options, *arrays: jax.Array) -> list[jax.Array]:
    return [x.reshape(x.shape[0], -1, options.chunk, x.shape[-1]) for x in arrays]


def _states(added: Any, start: Any, decay: Any) -> tuple[jax.Array, jax.Array]:
    """The states entering the chunks ``[rows, chunks, ...]``, and the one at the end.

    entering_g = decay_g leaving_{g-1}, leaving_g = entering_g + added_g.
    """
    start = start[:, None]
    if decay is None:
        leaving = jnp.cumsum(added, 1) + start
        return jnp.concatenate([start, leaving[:, :-1]], 1), leaving[:, -1]
    decay = decay.reshape(decay.shape + (1,) * (added.ndim - decay.ndim))

    def join(one: Any, two: Any) -> Any:
        return one[0] * two[0], two[0] * one[1] + two[1]

    wide = jnp.broadcast_to(decay, added.shape)
    total, sums = lax.associative_scan(join, (wide, added), axis=1)
    leaving = total * start + sums
    return decay * jnp.concatenate([start, leaving[:, :-1]], 1), leaving[:, -1]
