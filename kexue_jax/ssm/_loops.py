"""A diagonal recurrence step by step, with its gradient: the form for a CPU.

Arrays have the rank of ``b``; ``axis`` is that of time. The decay ``a`` has size 1
wherever it does not vary, time included, and is never spread in memory. The loop writes
each state over the input that it used, so that XLA needs one buffer where the input is
its to overwrite; a swap of axes would cost more than the recurrence.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

Gradients = tuple[jax.Array, jax.Array, jax.Array]


def forward(axis: int, reverse: bool, a: Any, b: Any, h0: Any) -> jax.Array:
    """``h_t = a_t h_{t-1} + b_t`` (``reverse``: h_{t+1}), all of them, as b."""
    length = b.shape[axis]

    def body(i: Any, carry: Any) -> Any:
        h, states = carry
        t = length - 1 - i if reverse else i
        h = _decay(axis, a, t) * h + _at(axis, states, t)
        return h, _put(axis, states, h, t)

    return lax.fori_loop(0, length, body, (h0, b))[1]


def backward(axis: int, reverse: bool, a: Any, h: Any, h0: Any, g: Any) -> Gradients:
    """Gradients of a, b and h0 in ``forward`` at its result h, given that of h.

    That of b_t is l_t = g_t + a_{t+1} l_{t+1}, that of a_t is l_t h_{t-1}. Only l may
    go from step to step: with a_t l_t there, XLA copies all of g at each of them.
    """
    length, constant = h.shape[axis], a.shape[axis] == 1
    small = _slice_shape(axis, a)

    def body(i: Any, carry: Any) -> Any:
        ell, total, ells = carry
        t, before = (i, i + 1) if reverse else (length - 1 - i, length - 2 - i)
        after = jnp.clip(2 * t - before, 0, length - 1)
        ell = _at(axis, ells, t) + _decay(axis, a, after) * ell
        inside = (before >= 0) & (before < length)
        earlier = _at(axis, h, jnp.clip(before, 0, length - 1))
        part = ell * jnp.where(inside, earlier, h0)
        if constant:
            total = total + part
        else:
            total = _put(axis, total, summed(part, small), t)
        return ell, total, _put(axis, ells, ell, t)

    none = jnp.zeros_like(h0)
    start = (none, none if constant else jnp.zeros_like(a), g)
    ell, total, ells = lax.fori_loop(0, length, body, start)
    if constant:
        total = summed(total, small).reshape(a.shape)
    first = length - 1 if reverse else 0
    return total, ells, _decay(axis, a, first) * ell


def summed(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """``x`` summed over the axes along which ``shape`` has size 1 and x has not."""
    axes = [i for i, n in enumerate(shape) if n == 1 and x.shape[i] != 1]
    return x.sum(axes, keepdims=True) if axes else x


def _slice_shape(axis: int, x: jax.Array) -> tuple[int, ...]:
    return x.shape[:axis] + x.shape[axis + 1 :]


def _at(axis: int, x: jax.Array, t: Any) -> jax.Array:
    """The slice of ``x`` at one time, the axis of time left out."""
    return lax.dynamic_index_in_dim(x, t, axis, keepdims=False)


def _decay(axis: int, a: jax.Array, t: Any) -> jax.Array:
    return lax.squeeze(a, (axis,)) if a.shape[axis] == 1 else _at(axis, a, t)


def _put(axis: int, x: jax.Array, part: jax.Array, t: Any) -> jax.Array:
    return lax.dynamic_update_index_in_dim(x, part, t, axis)
