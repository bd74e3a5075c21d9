"""A recurrent network that reads text, and a residual one that names digits."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments._harness.data import ImageData
from experiments._harness.data_text import VOCABULARY, TextData

Params = Any
LENGTH, EMBEDDING, BLOCKS = 32, 16, 4


class Problem(NamedTuple):
    """Rows to train on and to judge by, a network and its loss."""

    name: str
    train: Any
    test: Any
    init: Any
    loss: Any

    def rows(self, chosen: jax.Array) -> Any:
        """A batch."""
        return jax.tree.map(lambda x: x[chosen], self.train)


def text(data: TextData, width: int, judged: int) -> Problem:
    """A GRU that predicts the next byte of every byte of a row."""

    def init(key: jax.Array) -> Params:
        keys = jax.random.split(key, 4)
        draw = lambda k, *s: jax.random.normal(k, s, jnp.float32)  # noqa: E731
        return {
            "embedding": draw(keys[0], VOCABULARY, EMBEDDING),
            "in": draw(keys[1], EMBEDDING, 3 * width) / EMBEDDING**0.5,
            "again": draw(keys[2], width, 3 * width) / width**0.5,
            "bias": jnp.zeros(3 * width, jnp.float32),
            "out": draw(keys[3], width, VOCABULARY) / width**0.5,
        }

    def loss(params: Params, rows: jax.Array) -> jax.Array:
        x, y = rows[:, :-1], rows[:, 1:]
        inputs = params["embedding"][x] @ params["in"] + params["bias"][None, None]

        def step(h: jax.Array, u: jax.Array) -> tuple[jax.Array, jax.Array]:
            a, b, c = jnp.split(u, 3, -1)
            d, e, f = jnp.split(h @ params["again"], 3, -1)
            reset, kept = jax.nn.sigmoid(a + d), jax.nn.sigmoid(b + e)
            h = kept * h + (1 - kept) * jnp.tanh(c + reset * f)
            return h, h

        start = jnp.zeros((len(rows), width), jnp.float32)
        hidden = jax.lax.scan(step, start, jnp.moveaxis(inputs, 1, 0))[1]
        logits = jnp.moveaxis(hidden, 0, 1) @ params["out"]
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, y))

    rows = data.rows(LENGTH + 1).astype(np.int32)
    tested = data.test_rows(LENGTH + 1, judged).astype(np.int32)
    return Problem("GRU on text", rows, tested, init, loss)


def digits(data: ImageData, width: int) -> Problem:
    """A residual network without normalization."""
    images = data.train_images.reshape(len(data.train_images), -1)
    tested = data.test_images.reshape(len(data.test_images), -1)
    classes = data.num_classes

    def init(key: jax.Array) -> Params:
        keys = jax.random.split(key, 2 * BLOCKS + 2)
        draw = lambda k, *s: jax.random.normal(k, s, jnp.float32)  # noqa: E731
        params = {"in": draw(keys[0], images.shape[1], width) / 8}
        for i in range(BLOCKS):
            params[f"up_{i}"] = draw(keys[2 * i + 1], width, width) / width**0.5
            params[f"down_{i}"] = draw(keys[2 * i + 2], width, width) / width**0.5
        params["out"] = draw(keys[-1], width, classes) / width**0.5
        return params

    def loss(params: Params, rows: Any) -> jax.Array:
        x, y = rows
        h = x @ params["in"]
        for i in range(BLOCKS):
            h = h + jax.nn.relu(h @ params[f"up_{i}"]) @ params[f"down_{i}"]
        return jnp.mean(
            optax.softmax_cross_entropy_with_integer_labels(h @ params["out"], y)
        )

    labels = [np.asarray(y, np.int32) for y in (data.train_labels, data.test_labels)]
    train, test = (images, labels[0]), (tested, labels[1])
    return Problem("residual MLP on digits", train, test, init, loss)
