"""Online descent on labelled images by several schedules and horizons, in float64."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments._harness.data import ImageData
from experiments._harness.errors import UserError
from kexue_jax import theory

Rates = Callable[[np.ndarray, int, float, float], np.ndarray]

# Rates eta_t of t = 1..T, by the horizon, the diameter D and the bound G.
SCHEDULES: dict[str, Rates] = {
    "const": lambda t, T, D, G: np.full(T, D / (G * math.sqrt(T))),
    "sqrt": lambda t, T, D, G: D / (math.sqrt(2) * G) / np.sqrt(t),
    "inv_sqrt": lambda t, T, D, G: 1 / np.sqrt(t),
    "linear": lambda t, T, D, G: 2 * D / (G * math.sqrt(T)) * (1 - (t - 1) / T),
    "warmup": lambda t, T, D, G: (
        np.minimum(1, 10 * t / T) * D / (math.sqrt(2) * G) / np.sqrt(t)
    ),
}


class Problem(NamedTuple):
    """Rows of length 1 with labels, the diameter D of the set and the bound G."""

    x: np.ndarray
    y: np.ndarray
    classes: int
    diameter: float
    steepness: float


class Ran(NamedTuple):
    """Of one schedule and horizon, by seed: curves [seeds, T], and gaps [seeds].

    Gaps are the mean loss of all rows less that of the best point of the set.
    """

    regret: np.ndarray
    trajectory: np.ndarray
    theorem: np.ndarray
    gap_mean: np.ndarray
    gap_weighted: np.ndarray
    gap_last: np.ndarray


def problem(data: ImageData, radius: float) -> Problem:
    """Softmax regression on the rows of ``data``; its gradients are at most sqrt(2)."""
    if data.train_labels is None:
        raise UserError(f"--dataset={data.name} has no labels")
    images = data.train_images.astype(np.float64)
    rows = (images.reshape(len(images), -1) + 1) / 2
    x = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return Problem(
        x,
        data.train_labels,
        data.num_classes,
        2 * radius,
        math.sqrt(2),
    )


def loss(w: jax.Array, row: Any) -> jax.Array:
    """The cross entropy of a row under the weights [classes, d]."""
    return -jax.nn.log_softmax(w @ row["x"])[row["y"]]


def ball(w: jax.Array, diameter: float) -> jax.Array:
    """The projection onto the ball of weights."""
    return optax.projections.projection_l2_ball(w, diameter / 2)


@functools.partial(jax.jit, static_argnames=("diameter", "classes"))
def best(
    x: jax.Array, y: jax.Array, weights: jax.Array, diameter: float, classes: int
) -> jax.Array:
    """The point of the ball with the least weighted loss, by accelerated descent."""

    def total(w: jax.Array) -> jax.Array:
        losses = -jax.nn.log_softmax(x @ w.T)[jnp.arange(len(y)), y]
        return jnp.vdot(weights, losses)

    def step(carry: Any, k: jax.Array) -> Any:
        w, ahead = carry
        # The curvature of the mean of softmax losses of unit rows is at most 1/2.
        new = ball(ahead - 2 * jax.grad(total)(ahead), diameter)
        return (new, new + k / (k + 3) * (new - w)), None

    start = jnp.zeros((classes, x.shape[1]))
    return jax.lax.scan(step, (start, start), jnp.arange(1500.0))[0][0]


def run(
    task: Problem, names: Sequence[str], horizon: int, seeds: Sequence[int]
) -> dict[str, Ran]:
    """All schedules and seeds over a horizon, in one program."""
    with jax.enable_x64(True):
        return _run(task, names, horizon, seeds)


def _run(
    task: Problem, names: Sequence[str], horizon: int, seeds: Sequence[int]
) -> dict[str, Ran]:
    t = np.arange(1, horizon + 1)
    sizes = (task.diameter, task.steepness)
    etas = np.stack([SCHEDULES[n](t, horizon, *sizes) for n in names])
    draws = [np.random.default_rng([s, horizon]) for s in seeds]
    rows = np.stack([d.integers(0, len(task.x), horizon) for d in draws])
    x, y = jnp.asarray(task.x), jnp.asarray(task.y)
    even = jnp.full(len(y), 1 / len(y))
    options = {"diameter": task.diameter, "classes": task.classes}
    center = best(x, y, even, **options)

    def mean_loss(w: jax.Array) -> jax.Array:
        return -jax.nn.log_softmax(x @ w.T)[jnp.arange(len(y)), y].mean()

    def one(etas: jax.Array, rows: jax.Array, comparator: jax.Array) -> Any:
        trace: Any = theory.online_sgd(
            lambda w, row: loss(w, {"x": x[row], "y": y[row]}),
            jnp.zeros_like(comparator),
            rows,
            schedule=lambda count: etas[count],
            projection=lambda w: ball(w, task.diameter),
            comparator=comparator,
        )
        average = jnp.cumsum(trace.excess) / jnp.arange(1, horizon + 1)
        measured = trace.rates, trace.distances, trace.gradient_norms
        gaps = [
            mean_loss(w) - mean_loss(center)
            for w in (trace.mean, trace.weighted_mean, trace.params)
        ]
        curve = theory.trajectory_bound_curve(*measured)
        return average, curve, theory.regret_bound_curve(etas, *sizes), *gaps

    counts = [np.bincount(r, minlength=len(y)) / horizon for r in rows]
    others = [best(x, y, jnp.asarray(c), **options) for c in counts]
    by_seed = jax.vmap(one, (None, 0, 0))
    program = jax.jit(jax.vmap(by_seed, (0, None, None)))
    found = program(jnp.asarray(etas), jnp.asarray(rows), jnp.stack(others))
    parts = [np.asarray(part, np.float64) for part in found]
    return {n: Ran(*(part[i] for part in parts)) for i, n in enumerate(names)}


class Beyond(NamedTuple):
    """A network with a hidden layer: curves [T] of the mean loss, regret, bound."""

    losses: np.ndarray
    regret: np.ndarray
    trajectory: np.ndarray


def network(task: Problem, name: str, horizon: int, seed: int) -> Beyond:
    """The same for two layers, outside the assumptions: no loss there is convex."""
    with jax.enable_x64(True):
        return _network(task, name, horizon, seed)


def _network(task: Problem, name: str, horizon: int, seed: int) -> Beyond:
    draw = np.random.default_rng([seed, horizon, 1])
    rows = draw.integers(0, len(task.x), horizon)
    width, d = 32, task.x.shape[1]
    start = {
        "in": 2 * draw.standard_normal((width, d)) / d**0.5,
        "out": draw.standard_normal((task.classes, width)) / width**0.5,
    }
    etas = SCHEDULES[name](np.arange(1, horizon + 1), horizon, 4.0, 2.0)
    start, rows, etas, x, y = jax.tree.map(
        jnp.asarray, (start, rows, etas, task.x, task.y)
    )
    found = _network_curves(start, rows, etas, x, y)
    return Beyond(*(np.asarray(part, np.float64) for part in found))


@jax.jit
def _network_curves(start: Any, rows: Any, etas: Any, x: Any, y: Any) -> Any:
    """Curves of the mean loss, of the regret against the last iterate, of its bound."""

    def f(params: Any, row: jax.Array) -> jax.Array:
        h = jnp.tanh(params["in"] @ x[row])
        return -jax.nn.log_softmax(params["out"] @ h)[y[row]]

    def trace(other: Any) -> Any:
        return theory.online_sgd(
            f, start, rows, schedule=lambda k: etas[k], comparator=other
        )

    seen = trace(trace(None).params)
    counts = jnp.arange(1, len(etas) + 1)
    bound = theory.trajectory_bound_curve(
        seen.rates, seen.distances, seen.gradient_norms
    )
    return jnp.cumsum(seen.losses) / counts, jnp.cumsum(seen.excess) / counts, bound
