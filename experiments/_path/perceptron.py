"""A perceptron of tanh, its start, its losses, and digits as vectors."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments._harness.data import ImageData


def init(key: jax.Array, widths: tuple[int, ...]) -> list[dict[str, jax.Array]]:
    """Normal kernels over the square root of their inputs; biases of zero."""
    layers = []
    for k, a, b in zip(
        jax.random.split(key, len(widths) - 1), widths[:-1], widths[1:], strict=True
    ):
        layers.append(
            {"kernel": jax.random.normal(k, (a, b)) / a**0.5, "bias": jnp.zeros(b)}
        )
    return layers


def apply(params: Any, x: jax.Array) -> jax.Array:
    """Outputs [k] of one input."""
    for number, layer in enumerate(params):
        x = x @ layer["kernel"] + layer["bias"]
        x = x if number == len(params) - 1 else jnp.tanh(x)
    return x


def scalar(params: Any, x: jax.Array) -> jax.Array:
    """The first output."""
    return apply(params, x)[0]


def square(f: jax.Array, y: jax.Array) -> jax.Array:
    """Half the squared error."""
    return jnp.sum((f - y) ** 2) / 2


def cross_entropy(f: jax.Array, y: jax.Array) -> jax.Array:
    """Of logits and a label."""
    return -jax.nn.log_softmax(f)[y]


def vectors(images: Any) -> np.ndarray:
    """Rows of pixels over the square root of their number: of length about 1."""
    flat = np.asarray(images, np.float64).reshape(len(images), -1)
    return flat / flat.shape[1] ** 0.5


def two_digits(data: ImageData, ones: int, others: int, count: int) -> Any:
    """``count`` training rows of two digits with targets +-1."""
    labels = np.asarray(data.train_labels)
    rows = np.flatnonzero((labels == ones) | (labels == others))[:count]
    targets = np.where(labels[rows] == ones, 1.0, -1.0)
    return vectors(data.train_images[rows]), targets
