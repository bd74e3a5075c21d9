"""All steps of LegS at once: order i of step k while order i - 1 of step k + 1.

A step (I - p_k A) x_{k+1} = (I + q_k A) x_k + g_k B u_k of the norm "hippo" is, with
r_i = sqrt(2 i + 1) and C_{k,i} = sum_{j <= i} r_j x_{k,j},

    x_{k+1,i} = ((1 - q_k (i + 1)) x_{k,i} + r_i (g_k u_k - q_k C_{k,i-1}
                 - p_k C_{k+1,i-1})) / (1 + p_k (i + 1)).

Order i needs the lower orders only. So on a CPU all orders move together, order i one
step behind order i - 1: length + n steps of one fused kernel over n numbers. Elsewhere
the orders come in turn, each a linear recurrence over all time in O(log length).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from kexue_jax._base.varying import all_varying


class Weights(NamedTuple):
    """p, q and g of every step, [length] each; all 0 where x is to stay as it is."""

    implicit: jax.Array
    explicit: jax.Array
    given: jax.Array


Moved = tuple[jax.Array, jax.Array]


def all_steps(u: jax.Array, x: jax.Array, weights: Weights) -> Moved:
    """The last x [n, rows], and x after every step [length, n, rows].

    u [length, rows], x [n, rows], weights [length], of one dtype.
    """
    u, x, *parts = all_varying(u, x, *weights)
    return lax.platform_dependent(
        u, x, Weights(*parts), cpu=_together, default=_in_turn
    )


def _together(u: jax.Array, x: jax.Array, weights: Weights) -> Moved:
    """Order i of step k in turn k + i; p, q and g u wander along the orders."""
    length, (n, rows) = len(u), x.shape
    more, r = _numbers(n, x.dtype)
    pushed = weights.given[:, None] * u
    entering = (weights.implicit[:, None], weights.explicit[:, None], pushed)
    entering = tuple(jnp.pad(part, [(0, n - 1), (0, 0)]) for part in entering)
    sums = jnp.cumsum(r * x, 0)
    none = jnp.zeros((n, 1), x.dtype)

    def step(carry: Any, entering: Any) -> Any:
        x, sums, earlier, p, q, push = carry
        p, q, push = map(_enter, (p, q, push), entering)
        below, below_earlier = map(_enter, (sums, earlier), (0 * x[0], 0 * x[0]))
        drive = push - q * below_earlier - p * below
        x = ((1 - q * more) * x + r * drive) / (1 + p * more)
        return (x, below + r * x, sums, p, q, push), x

    none, push, *_ = all_varying(none, jnp.zeros_like(x), x)
    start = x, sums, sums, none, none, push
    (x, *_), skewed = lax.scan(step, start, entering)
    return x, _straightened(skewed, length, n, rows)


def _enter(values: jax.Array, first: jax.Array) -> jax.Array:
    """``values [n, ...]`` moved on by one, with ``first`` in front."""
    return jnp.concatenate([first[None], values[:-1]])


def _straightened(skewed: jax.Array, length: int, n: int, rows: int) -> jax.Array:
    """``[k, i] = skewed[k + i, i]``: rows of length + n - 1 read as one longer."""
    turns = length + n - 1
    flat = skewed.transpose(1, 0, 2).reshape(n * turns, rows)
    flat = jnp.pad(flat, [(0, n), (0, 0)]).reshape(n, turns + 1, rows)
    return flat[:, :length].transpose(1, 0, 2)


def _in_turn(u: jax.Array, x: jax.Array, weights: Weights) -> Moved:
    """One order after the other, each by an associative scan over time."""
    p, q, g = (part[:, None] for part in weights)
    pushed = g * u
    more, r = (part[:, 0] for part in _numbers(len(x), x.dtype))

    def join(one: Any, two: Any) -> Any:
        return one[0] * two[0], two[0] * one[1] + two[1]

    def order(sums: jax.Array, numbers: Any) -> Any:
        first, more, r = numbers
        below = 1 + p * more
        factor = jnp.broadcast_to((1 - q * more) / below, u.shape)
        drive = r * (pushed - q * sums[:-1] - p * sums[1:]) / below
        drive = drive.at[0].add(factor[0] * first)
        found = lax.associative_scan(join, (factor, drive))[1]
        sums = sums + r * jnp.concatenate([first[None], found])
        return sums, found

    none = all_varying(jnp.zeros((len(u) + 1, x.shape[1]), x.dtype), x)[0]
    _, found = lax.scan(order, none, (x, more, r))
    return found[:, -1], found.transpose(1, 0, 2)


def _numbers(n: int, dtype: Any) -> tuple[jax.Array, jax.Array]:
    """i + 1 and sqrt(2 i + 1), [n, 1] each."""
    i = np.arange(n)[:, None]
    return jnp.asarray(i + 1, dtype), jnp.asarray(np.sqrt(2 * i + 1), dtype)
