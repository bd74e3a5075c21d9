"""Perceptrons of tanh, losses and data for the tests of tangent and path kernels."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np


def apply(params, x):
    """[k] from one input."""
    for number, layer in enumerate(params):
        x = x @ layer["kernel"] + layer["bias"]
        x = x if number == len(params) - 1 else jnp.tanh(x)
    return x


def scalar(params, x):
    return apply(params, x)[0]


def square(f, y):
    return jnp.sum((f - y) ** 2) / 2


def cross_entropy(f, y):
    return -jax.nn.log_softmax(f)[y]


def drawn(*widths, lead=(), seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    return [
        {
            "kernel": scale * rng.normal(size=(*lead, a, b)) / a**0.5,
            "bias": 0.3 * scale * rng.normal(size=(*lead, b)),
        }
        for a, b in itertools.pairwise(widths)
    ]


def data(n, d, k, seed=1):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    y = np.sin(2 * x[:, :1]) + 0.5 * x[:, 1:2] + np.arange(k)[None]
    return jnp.asarray(x), jnp.asarray(y)


def full(steps, n):
    """Every sample at every step."""
    return jnp.broadcast_to(jnp.arange(n), (steps, n))
