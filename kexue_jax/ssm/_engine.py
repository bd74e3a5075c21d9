"""The engine of every diagonal recurrence: one form by method, one custom gradient.

The gradient of a recurrence is the same recurrence run the other way. It is written by
hand because the automatic one of a loop in place copies the whole result at each step,
and that of an associative scan keeps every level of its tree.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax.ssm import _loops, _parallel

# Steps beyond which accelerators go chunk by chunk, to bound the memory of the tree.
LONG = 65_536


class Options(NamedTuple):
    """What is static: the axis of time, the direction, the form, steps a chunk."""

    axis: int
    reverse: bool
    method: str
    chunk: int


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def recurrence(
    options: Options, a: jax.Array, b: jax.Array, h0: jax.Array
) -> jax.Array:
    """``h_t = a_t h_{t-1} + b_t`` from h0, as b.

    All of one dtype, of at least float32; a of b's rank, 1 where it does not vary; h0
    of b's shape without time. Reverse mode only.
    """
    return _by_platform(options, _loops.forward, _forward)(a, b, h0)


def _keep(options: Options, a: Any, b: Any, h0: Any) -> tuple[Any, Any]:
    h = recurrence(options, a, b, h0)
    return h, (a, h, h0)


def _pull(options: Options, saved: Any, g: Any) -> tuple[Any, ...]:
    return _by_platform(options, _loops.backward, _backward)(*saved, g)


recurrence.defvjp(_keep, _pull)


def _by_platform(options: Options, loop: Any, parallel: Any) -> Any:
    """The loop on a CPU where the method is "auto", else the parallel form."""
    loop = functools.partial(loop, options.axis, options.reverse)
    parallel = functools.partial(parallel, options)
    if options.method != "auto":
        return parallel

    def chosen(*arrays: Any) -> Any:
        return lax.platform_dependent(*arrays, cpu=loop, default=parallel)

    return chosen


def _forward(options: Options, a: Any, b: Any, h0: Any) -> jax.Array:
    axis, reverse, method, chunk = options
    if method == "upper_lower":
        return _parallel.upper_lower(axis, reverse, a, b, h0)
    if method == "chunked" or (method == "auto" and b.shape[axis] > LONG):
        return _parallel.chunked(axis, reverse, a, b, h0, chunk_size=chunk)
    return _parallel.associative(axis, reverse, a, b, h0)


def _backward(options: Options, a: Any, h: Any, h0: Any, g: Any) -> _loops.Gradients:
    """As ``_loops.backward``, by the parallel forms."""
    axis, reverse = options.axis, options.reverse
    later = a if a.shape[axis] == 1 else _shifted(axis, not reverse, a, None)
    back = options._replace(reverse=not reverse)
    ells = recurrence(back, later, g, jnp.zeros_like(h0))
    before = _shifted(axis, reverse, h, h0)
    first = -1 if reverse else 0
    ell, decay = (
        lax.index_in_dim(x, first if x.shape[axis] > 1 else 0, axis, keepdims=False)
        for x in (ells, a)
    )
    return _loops.summed(ells * before, a.shape), ells, decay * ell


def _shifted(axis: int, reverse: bool, x: Any, first: Any) -> jax.Array:
    """``x_{t-1}`` at each t (``reverse``: x_{t+1}), ``first`` (None: 0) where none."""
    length = x.shape[axis]
    low = 1 if reverse else 0
    rest = lax.slice_in_dim(x, low, length - 1 + low, axis=axis)
    if first is None:
        first = jnp.zeros_like(lax.index_in_dim(x, 0, axis, keepdims=False))
    edge = jnp.expand_dims(first, axis)
    return jnp.concatenate([rest, edge] if reverse else [edge, rest], axis)
