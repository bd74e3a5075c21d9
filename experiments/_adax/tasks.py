"""Two small tasks: to name digits, and to predict the next byte of a text."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments._harness.data import ImageData
from experiments._harness.data_text import VOCABULARY, TextData
from experiments._taylor.training import apply as classify
from experiments._taylor.training import init as init_classifier
from experiments._taylor.training import split

Params = Any
CONTEXT, EMBEDDING = 6, 16


class Task(NamedTuple):
    """Rows to train on, to choose a rate by and to judge by, and a network.

    ``apply(params, x)`` gives logits of rows; scores are shares of right answers, or
    with ``bits`` minus the bits a byte.
    """

    name: str
    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    init: Callable[[jax.Array], Params]
    apply: Callable[[Params, jax.Array], jax.Array]
    bits: bool = False

    def loss(self, params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
        """The mean cross entropy of rows."""
        logits = self.apply(params, x)
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, y))

    def score(self, params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
        """What is to be large."""
        if self.bits:
            return -self.loss(params, x, y) / np.log(2)
        return jnp.mean(jnp.argmax(self.apply(params, x), -1) == y)


def digits(data: ImageData, width: int, train: int, validation: int) -> Task:
    """Two hidden layers on the pixels."""
    parts = split(data, train, validation)
    inputs = parts.train[0].shape[1]

    def init(key: jax.Array) -> Params:
        return init_classifier(key, inputs, width, parts.classes, 1.0)

    return Task("digits", parts.train, parts.validation, parts.test, init, classify)


def text(data: TextData, width: int, judged: int) -> Task:
    """One hidden layer on the embeddings of the last bytes."""

    def windows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return rows[:, :-1].astype(np.int32), rows[:, -1].astype(np.int32)

    rows = data.test_rows(CONTEXT + 1, 2 * judged)
    parts = windows(data.rows(CONTEXT + 1)), windows(rows[::2]), windows(rows[1::2])

    def init(key: jax.Array) -> Params:
        one, two, three = jax.random.split(key, 3)
        inputs = CONTEXT * EMBEDDING
        draw = jax.random.normal
        return {
            "embedding": draw(one, (VOCABULARY, EMBEDDING), jnp.float32),
            "hidden": {
                "w": draw(two, (inputs, width), jnp.float32) * np.sqrt(2 / inputs),
                "b": jnp.zeros(width, jnp.float32),
            },
            "out": {
                "w": draw(three, (width, VOCABULARY), jnp.float32) / np.sqrt(width),
                "b": jnp.zeros(VOCABULARY, jnp.float32),
            },
        }

    def apply(params: Params, x: jax.Array) -> jax.Array:
        h = params["embedding"][x].reshape(len(x), -1)
        h = jax.nn.relu(h @ params["hidden"]["w"] + params["hidden"]["b"][None])
        return h @ params["out"]["w"] + params["out"]["b"][None]

    return Task("text", *parts, init, apply, bits=True)
