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

CHUNK = 20  # steps between two looks at the training loss


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
    """By seed: what was measured, steps taken, whether the loss was reached."""

    measured: Measured
    steps: np.ndarray
    reached: np.ndarray


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
    """Networks of all seeds trained until the loss of all rows is below ``goal``."""
    chunks = steps // CHUNK
    starts = [networks.init(jax.random.key(s), sizes) for s in seeds]
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)
    order = None
    if way.batch_size:
        drawn = [batches(data, way, s, chunks * CHUNK) for s in seeds]
        order = jnp.asarray(np.stack(drawn).reshape(len(seeds), chunks, CHUNK, -1))
    judged = (data.x, data.y, data.test_x, data.test_y)
    limits = jnp.float32(way.rate), jnp.float32(goal), jnp.int32(chunks)
    found = _all_seeds(params, order, judged, limits, name)
    measured, count, value = jax.tree.map(np.asarray, found)
    return Trained(measured, count * CHUNK, value <= goal)


@functools.partial(jax.jit, static_argnames=("name",))
def _all_seeds(params: Any, order: Any, judged: Any, limits: Any, name: str) -> Any:
    """What is measured of each seed's network, the chunks it took, its loss."""
    x, y, *_ = judged
    rate, goal, chunks = limits

    def step(params: Any, chosen: Any) -> tuple[Any, None]:
        seen = (x, y) if chosen is None else (x[chosen], y[chosen])
        grads = jax.grad(networks.mean_loss)(params, *seen, name)
        return jax.tree.map(lambda p, g: p - rate * g, params, grads), None

    def run(params: Any, order: Any) -> Any:
        def going(state: Any) -> Any:
            _, count, value = state
            return (count < chunks) & (value > goal)

        def chunk(state: Any) -> Any:
            params, count, _ = state
            rows = None if order is None else order[count]
            params = jax.lax.scan(step, params, rows, length=CHUNK)[0]
            return params, count + 1, networks.mean_loss(params, x, y, name)

        unknown = jnp.full((), jnp.inf, params[0][0].dtype)
        start = (params, jnp.zeros((), jnp.int32), unknown)
        params, count, value = jax.lax.while_loop(going, chunk, start)
        return networks.measured(params, judged, name), count, value

    # One seed after the other: each stops where it is done.
    return jax.lax.map(lambda a: run(*a), (params, order))
