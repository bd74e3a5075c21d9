"""Descent at several rates and batch sizes to one training loss, all seeds at once."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._harness.data_types import order_of
from experiments._penalty import networks
from experiments._penalty.networks import Measured, Rows

TOLERANCE = 1e-3  # of the goal, within which a loss is "at" it
HALVINGS = 24


class Way(NamedTuple):
    """How a network is trained: rate, and batch size (0: all rows)."""

    rate: float
    batch_size: int

    @property
    def name(self) -> str:
        """The row of a table."""
        kind = f"batch {self.batch_size}" if self.batch_size else "all rows"
        return f"{kind}, rate {self.rate:g}"


class Trained(NamedTuple):
    """By seed what was measured and steps taken, the last a share; the loss wanted."""

    measured: Measured
    steps: np.ndarray
    goal: float

    @property
    def reached(self) -> np.ndarray:
        """Whether the loss is at the goal."""
        return np.abs(self.measured.loss / self.goal - 1) <= TOLERANCE


def batches(data: Rows, way: Way, seed: int, steps: int) -> np.ndarray:
    """Rows of every step [steps, size]."""
    count, size = len(data.x), way.batch_size
    each = count // size
    epochs = -(-steps // each)
    order = [order_of(count, seed, e)[: each * size] for e in range(epochs)]
    return np.concatenate(order).reshape(-1, size)[:steps].astype(np.int32)


def train(
    data: Rows,
    way: Way,
    seeds: Sequence[int],
    sizes: tuple[int, ...],
    name: str,
    goal: float,
    steps: int,
) -> Trained:
    """Networks of all seeds where the loss of all rows first is ``goal``."""
    keys = jax.vmap(jax.random.key)(jnp.asarray(seeds))
    params = jax.vmap(lambda key: networks.init(key, sizes))(keys)
    order = None
    if way.batch_size:
        order = jnp.asarray(np.stack([batches(data, way, s, steps) for s in seeds]))
    limits = jnp.float32(way.rate), jnp.float32(goal), jnp.int32(steps)
    ends, count = _all_seeds(params, order, (data.x, data.y), limits, name)
    judged = (data.x, data.y, data.test_x, data.test_y)
    measured = jax.tree.map(np.asarray, _measured(ends, judged, name))
    return Trained(measured, np.asarray(count), goal)


@functools.partial(jax.jit, static_argnames=("name",))
def _measured(params: Any, judged: Any, name: str) -> Measured:
    """What is measured of each seed's network."""
    return jax.lax.map(lambda p: networks.measured(p, judged, name), params)


@functools.partial(jax.jit, static_argnames=("name",))
def _all_seeds(params: Any, order: Any, data: Any, limits: Any, name: str) -> Any:
    """Each seed's network where the loss is the goal, and the steps that it took."""
    x, y = data
    rate, goal, steps = limits

    def loss(params: Any) -> jax.Array:
        return networks.mean_loss(params, x, y, name)

    def run(params: Any, order: Any) -> Any:
        def going(state: Any) -> Any:
            return (state[2] < steps) & (state[3] > goal)

        def turn(state: Any) -> Any:
            _, params, count, _ = state
            seen = (x, y) if order is None else (x[order[count]], y[order[count]])
            grads = jax.grad(networks.mean_loss)(params, *seen, name)
            new = jax.tree.map(lambda p, g: p - rate * g, params, grads)
            return params, new, count + 1, loss(new)

        start = (params, params, jnp.zeros((), jnp.int32), loss(params))
        before, after, count, _ = jax.lax.while_loop(going, turn, start)
        found, share = crossing(before, after, loss, goal)
        return found, count - 1 + share

    # One seed after the other: each stops where it is done.
    return jax.lax.map(lambda a: run(*a), (params, order))


def crossing(before: Any, after: Any, loss: Any, goal: Any) -> tuple[Any, jax.Array]:
    """Where the loss is ``goal`` on the way between two states, and its share.

    The last step is cut short, by halving: a step at a large rate may fall far below
    the goal, and what is compared at one loss must not hang on that. ``after`` where
    its loss is still above.
    """

    def between(share: Any) -> Any:
        return jax.tree.map(lambda a, b: a + share * (b - a), before, after)

    def halve(_: Any, ends: Any) -> Any:
        low, high = ends
        middle = (low + high) / 2
        above = loss(between(middle)) > goal
        return jnp.where(above, middle, low), jnp.where(above, high, middle)

    share = jax.lax.fori_loop(0, HALVINGS, halve, (jnp.zeros(()), jnp.ones(())))[1]
    return between(share), share
