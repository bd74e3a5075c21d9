"""SGD unclipped and clipped at several rates, and smoothness along its way."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments._clipping.networks import Problem
from experiments._harness.data_types import batches_of
from experiments._harness.devices import data_mesh, replicate, shard_batch
from kexue_jax import optim

METHODS = ("none", "hard", "soft", "relaxed")
LINES = ("above all", "least squares")
PROBE = 1.0  # the rate of the softly clipped training along which is measured


class Cell(NamedTuple):
    """One training of a method: its rate (of "relaxed" a multiple of the rule)."""

    rate: float
    seed: int


class Losses(NamedTuple):
    """Of a trained network: on the rows that choose a rate, and on those that judge."""

    validation: float
    test: float


class Cloud(NamedTuple):
    """Pairs along a training: gradient norms and smoothness, [points]."""

    norms: np.ndarray
    smoothness: np.ndarray

    @property
    def correlation(self) -> float:
        """Of the logarithms."""
        kept = (self.norms > 0) & (self.smoothness > 0)
        pairs = np.log(self.norms[kept]), np.log(self.smoothness[kept])
        return float(np.corrcoef(*pairs)[0, 1])


def _count(problem: Problem) -> int:
    return len(jax.tree.leaves(problem.train)[0])


def cloud(
    problem: Problem, rate: float, seed: int, steps: int, size: int, every: int
) -> Cloud:
    """Smoothness between neighboring points of a softly clipped training.

    Points are ``every`` steps apart; both gradients are of one batch.
    """
    blocks = max(steps // every, 2)
    order = batches_of(_count(problem), seed, blocks * every, size)
    order = order.reshape(blocks, every, -1)
    opt = optax.chain(optim.soft_clip_by_global_norm(1.0), optax.sgd(rate))
    train = jax.tree.map(jnp.asarray, problem.train)
    params = problem.init(jax.random.key(seed))

    def rows(chosen: jax.Array) -> Any:
        return jax.tree.map(lambda x: x[chosen], train)

    def step(params: Any, chosen: jax.Array) -> Any:
        g = jax.grad(problem.loss)(params, rows(chosen))
        return optax.apply_updates(params, opt.update(g, opt.init(params))[0]), None

    def block(params: Any, orders: jax.Array) -> Any:
        batch = rows(orders[0])
        after, _ = step(params, orders[0])
        found = optim.trajectory_smoothness(
            lambda p: jax.grad(problem.loss)(p, batch), params, after
        )
        params, _ = jax.lax.scan(step, after, orders[1:])
        return params, found

    found = jax.jit(lambda p, o: jax.lax.scan(block, p, o)[1])(params, order)
    return Cloud(
        np.asarray(found.grad_norm, np.float64),
        np.asarray(found.smoothness, np.float64),
    )


def train(
    problem: Problem,
    method: str,
    cells: Sequence[Cell],
    steps: int,
    size: int,
    line: tuple[float, float],
) -> dict[Cell, Losses]:
    """The losses of each cell after ``steps``; infinite where it diverged."""
    seeds = sorted({c.seed for c in cells})
    orders = {s: batches_of(_count(problem), s, steps, size) for s in seeds}
    starts = {s: problem.init(jax.random.key(s)) for s in seeds}
    models = {
        "params": jax.tree.map(
            lambda *leaves: np.stack(leaves), *(starts[c.seed] for c in cells)
        ),
        "order": np.stack([orders[c.seed] for c in cells]),
        "rate": np.array([c.rate for c in cells], np.float32),
    }
    mesh = data_mesh(len(cells))
    program = jax.jit(functools.partial(_program, problem, method, line))
    half = len(jax.tree.leaves(problem.test)[0]) // 2
    chosen, test = (
        jax.tree.map(lambda x, part=part: x[part], problem.test)
        for part in (slice(half), slice(half, None))
    )
    data = replicate(mesh, (problem.train, chosen, test))
    found = program(shard_batch(mesh, models), *data)
    columns = [np.asarray(x, np.float64) for x in found]
    columns = [np.where(np.isfinite(x), x, np.inf) for x in columns]
    pairs = zip(*columns, strict=True)
    return {c: Losses(*map(float, v)) for c, v in zip(cells, pairs, strict=True)}


def direction(method: str, line: tuple[float, float]) -> Any:
    """What comes before the rate."""
    return {
        "none": optax.identity(),
        "hard": optim.clip_by_global_norm(1.0),
        "soft": optim.soft_clip_by_global_norm(1.0),
        "relaxed": optim.scale_by_relaxed_smoothness(*line),
    }[method]


def _program(
    problem: Problem,
    method: str,
    line: tuple[float, float],
    models: Any,
    train: Any,
    chosen_by: Any,
    test: Any,
) -> tuple[jax.Array, jax.Array]:
    scale = direction(method, line)

    def one(model: Any) -> tuple[jax.Array, jax.Array]:
        def step(params: Any, chosen: jax.Array) -> Any:
            batch = jax.tree.map(lambda x: x[chosen], train)
            g = jax.grad(problem.loss)(params, batch)
            u = scale.update(g, scale.init(params))[0]
            return jax.tree.map(lambda p, u: p - model["rate"] * u, params, u), None

        params, _ = jax.lax.scan(step, model["params"], model["order"])
        return problem.loss(params, chosen_by), problem.loss(params, test)

    return jax.vmap(one)(models)
