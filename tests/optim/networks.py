"""Small ReLU networks, a thousand at once, for the tests of weight scales."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax.optim import shift_scales

SIZES = (3, 5, 4, 5, 3)


@functools.cache
def random_layers(count: int):
    """Weights [count, out, in] and biases [count, out] of four layers."""
    rng = np.random.default_rng(0)
    pairs = list(zip(SIZES[1:], SIZES[:-1], strict=True))
    weights = [jnp.asarray(rng.normal(size=(count, *p))) for p in pairs]
    biases = [jnp.asarray(rng.normal(size=(count, p[0]))) for p in pairs]
    return weights, biases


def network(weights, biases, x, last=True):
    """A ReLU network of x [..., in]; the last layer is linear if ``last`` is False."""
    for place, w in enumerate(weights):
        x = x @ w.T
        if biases is not None:
            x = x + biases[place]
        if last or place < len(weights) - 1:
            x = jax.nn.relu(x)
    return x


@functools.cache
def _compiled(function):
    return jax.jit(jax.vmap(function))


def _output(weights, biases, x):
    return network(weights, biases, x)


def outputs(weights, biases, x):
    """The output of every network for one x."""
    count = weights[0].shape[0]
    many = jnp.broadcast_to(jnp.asarray(x), (count, len(x)))
    return np.asarray(_compiled(_output)(weights, biases, many))


def shifted_all(weights, biases, gammas):
    """``shift_scales`` of every network."""
    return _compiled(shift_scales)(weights, biases, jnp.asarray(gammas))
