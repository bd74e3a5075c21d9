"""How far descent is from its gradient flow, and from the flow of the modified loss."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments._penalty import networks
from experiments._penalty.networks import Rows
from kexue_jax import training

KINDS = ("the flow of the loss", "the flow of the modified loss")
ROWS, WIDTH = 100, 16  # a small problem: the flows are integrated in float64


def distances(
    data: Rows, seed: int, rates: Sequence[float], time: float
) -> dict[str, np.ndarray]:
    """|descent - flow| over |way of the flow| after ``time``, by rate, of each."""
    with jax.enable_x64(True):
        sizes = networks.sizes_of(data, WIDTH, 2)
        x = jnp.asarray(data.x[:ROWS], jnp.float64)
        y = jnp.asarray(data.y[:ROWS])
        start = jax.tree.map(
            lambda p: p.astype(jnp.float64), networks.init(jax.random.key(seed), sizes)
        )

        found: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for rate in rates:
            steps = round(time / rate)
            apart = _apart(start, x, y, rate, steps)
            for kind, value in zip(KINDS, apart, strict=True):
                found[kind].append(float(value))
    return {kind: np.array(values) for kind, values in found.items()}


@jax.jit
def _apart(start: Any, x: Any, y: Any, rate: Any, steps: Any) -> list[jax.Array]:
    """Descent against both flows, each in steps of ``rate`` by Runge-Kutta."""

    def loss(params: Any) -> jax.Array:
        return networks.mean_loss(params, x, y, "tanh")

    modified = training.implicit_gradient_loss(loss, learning_rate=rate)

    def descend(_: Any, p: Any) -> Any:
        return moved(p, jax.grad(loss)(p), -rate)

    def along(f: Any) -> Any:
        return lambda _, p: runge_kutta(jax.grad(f), p, rate)

    turns = (descend, along(loss), along(modified))
    ends = [jax.lax.fori_loop(0, steps, turn, start) for turn in turns]
    descent, *flows = ends
    way = length(moved(flows[0], start, -1.0))
    return [length(moved(descent, flow, -1.0)) / way for flow in flows]


def moved(tree: Any, by: Any, times: Any) -> Any:
    """``tree + times * by``."""
    return jax.tree.map(lambda a, b: a + times * b, tree, by)


def runge_kutta(slope: Any, p: Any, step: Any) -> Any:
    """One step of the classical method down the slope."""
    first = slope(p)
    second = slope(moved(p, first, -step / 2))
    third = slope(moved(p, second, -step / 2))
    fourth = slope(moved(p, third, -step))
    for part, weight in ((first, 1), (second, 2), (third, 2), (fourth, 1)):
        p = moved(p, part, -step * weight / 6)
    return p


def length(tree: Any) -> jax.Array:
    """The Euclidean norm of all entries."""
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)))


def slope(rates: Sequence[float], errors: np.ndarray) -> float:
    """The exponent of the rate, log-log fit."""
    return float(np.polyfit(np.log(rates), np.log(errors), 1)[0])
