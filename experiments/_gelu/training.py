"""A network of each activation, all rates and seeds in one program."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments._harness.data_types import batches_of
from experiments._harness.devices import data_mesh, replicate, shard_batch
from experiments._taylor.training import Split
from kexue_jax import numerics

Activation = Callable[[jax.Array], jax.Array]
ACTIVATIONS: dict[str, Activation] = {
    "exact": numerics.gelu,
    "tanh": numerics.gelu_tanh,
    "sigmoid, 1.702": numerics.gelu_sigmoid,
    "sigmoid, 1.773": lambda x: numerics.gelu_sigmoid(x, scale=1.772934),
    "SiLU": numerics.silu,
}
LAYERS = 3


class Cell(NamedTuple):
    """One training of an activation."""

    rate: float
    seed: int


class Answer(NamedTuple):
    """Accuracies of a trained network, and with other activations put in (test)."""

    validation: float
    test: float
    swapped: tuple[float, ...]


def init(key: jax.Array, sizes: Sequence[int]) -> Any:
    """Normal weights of variance 2 / fan-in, biases 0."""
    keys = jax.random.split(key, len(sizes) - 1)
    return [
        (
            jax.random.normal(k, (a, b), jnp.float32) * (2 / a) ** 0.5,
            jnp.zeros(b, jnp.float32),
        )
        for k, a, b in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]


def apply(params: Any, x: jax.Array, activation: Activation) -> jax.Array:
    """Logits."""
    for place, (w, b) in enumerate(params):
        x = x @ w + b[None]
        x = activation(x) if place < len(params) - 1 else x
    return x


def train(
    name: str, parts: Split, cells: Sequence[Cell], width: int, steps: int, size: int
) -> dict[Cell, Answer]:
    """One model for each cell, divided over the devices."""
    images = parts.train[0]
    sizes = (images.shape[1], *[width] * LAYERS, parts.classes)
    orders = {c.seed: batches_of(len(images), c.seed, steps, size) for c in cells}
    starts = {c.seed: init(jax.random.key(c.seed), sizes) for c in cells}
    models = {
        "params": jax.tree.map(
            lambda *leaves: np.stack(leaves), *(starts[c.seed] for c in cells)
        ),
        "order": np.stack([orders[c.seed] for c in cells]),
        "rate": np.array([c.rate for c in cells], np.float32),
    }
    mesh = data_mesh(len(cells))
    program = jax.jit(functools.partial(_program, ACTIVATIONS[name]))
    data = replicate(mesh, (parts.train, parts.validation, parts.test))
    found = program(shard_batch(mesh, models), *data)
    validation, test, swapped = (np.asarray(x, np.float64) for x in found)
    return {
        cell: Answer(
            float(validation[i]), float(test[i]), tuple(map(float, swapped[i]))
        )
        for i, cell in enumerate(cells)
    }


def _program(
    activation: Activation, models: Any, train: Any, chosen: Any, test: Any
) -> tuple[jax.Array, ...]:
    adam = optax.scale_by_adam()

    def loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        logits = apply(params, x, activation)
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, y))

    def accuracy(params: Any, rows: Any, activation: Activation) -> jax.Array:
        return jnp.mean(jnp.argmax(apply(params, rows[0], activation), -1) == rows[1])

    def one(model: Any) -> tuple[jax.Array, ...]:
        steps = len(model["order"])

        def step(carry: Any, item: Any) -> Any:
            params, state = carry
            rows, number = item
            g = jax.grad(loss)(params, train[0][rows], train[1][rows])
            u, state = adam.update(g, state)
            eta = model["rate"] * (1 - number / steps)
            return (jax.tree.map(lambda p, u: p - eta * u, params, u), state), None

        start = model["params"], adam.init(model["params"])
        numbers = jnp.arange(steps, dtype=jnp.float32)
        (params, _), _ = jax.lax.scan(step, start, (model["order"], numbers))
        return (
            accuracy(params, chosen, activation),
            accuracy(params, test, activation),
            jnp.stack([accuracy(params, test, f) for f in ACTIVATIONS.values()]),
        )

    return jax.vmap(one)(models)
