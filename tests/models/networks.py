"""Tiny networks of every kind, and inputs for them, for the tests of this folder."""

import collections
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax.models import unet_paper, unet_small

KEY = jax.random.key(0)
SMALL = {"channels": 1, "width": 4, "multipliers": (1, 2), "T": 10, "groups": 2}
PAPER = {"channels": 1, "width": 4, "multipliers": (1, 2), "groups": 2}
FULL = {
    "middle_blocks": 2,
    "attention_stages": (1,),
    "middle_attention": True,
    "downsample": "conv",
    "upsample": "conv",
    "bias": True,
    "zero_init": False,
}
NETWORKS = {
    "small": unet_small(**{**SMALL, "multipliers": (1, 2, 1)}, blocks=1),
    "small_classes": unet_small(**SMALL, num_classes=3),
    "paper": unet_paper(**PAPER),
    "paper_classes": unet_paper(**PAPER, **FULL, blocks=1, num_classes=3),
}
TRACES: collections.Counter[str] = collections.Counter()


@functools.cache
def apply_of(name):
    """The forward pass of a network, compiled; it counts its traces in ``TRACES``."""

    def forward(params, *given):
        TRACES[name] += 1
        return NETWORKS[name].apply(params, *given)

    return jax.jit(forward)


@functools.cache
def params_of(name):
    """The parameters of a network in float64, off their special starting values."""
    return random_params(NETWORKS[name])


def random_params(model, dtype=np.float64):
    """Parameters of the model's shapes, drawn by NumPy without compiling its init."""
    random = np.random.default_rng(0)

    def draw(leaf):
        fan = max(1, math.prod(leaf.shape[:-1]))
        return (random.normal(size=leaf.shape) / fan**0.5).astype(dtype)

    return jax.tree.map(draw, jax.eval_shape(model.init, KEY))


def check_gradients(function, arguments, step=1e-6, tolerance=1e-6):
    """Both modes in a random direction: jvp by central differences, vjp by jvp.

    What ``check_grads`` does at order 1, in two compiled programs.
    """
    random = np.random.default_rng(2)

    def normal_like(leaf):
        return random.normal(size=np.shape(leaf))

    direction = jax.tree.map(normal_like, arguments)
    run = jax.jit(function)
    ahead, behind = (
        run(*jax.tree.map(lambda a, d, h=h: a + h * d, arguments, direction))
        for h in (step, -step)
    )
    slope = jax.tree.map(lambda a, b: (a - b) / (2 * step), ahead, behind)
    weights = jax.tree.map(normal_like, slope)

    @jax.jit
    def both_modes(arguments, direction, weights):
        _, forward = jax.jvp(function, arguments, direction)
        return forward, jax.vjp(function, *arguments)[1](weights)

    forward, reverse = both_modes(arguments, direction, weights)
    for a, b in zip(jax.tree.leaves(forward), jax.tree.leaves(slope), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)

    def inner(a, b):
        products = jax.tree.map(lambda a, b: np.sum(a * b), a, b)
        return sum(jax.tree.leaves(products))

    np.testing.assert_allclose(
        inner(reverse, direction), inner(weights, forward), rtol=1e-9
    )


def inputs(name, side=8, batch=3, dtype=jnp.float64):
    """Images, steps and, where the network takes them, labels."""
    random = np.random.default_rng(1)
    x = jnp.asarray(random.normal(size=(batch, side, side, 1)), dtype)
    t = jnp.asarray(random.integers(1, 11, batch), jnp.int32)
    if not name.endswith("classes"):
        return x, t
    return x, t, jnp.asarray(random.integers(0, 4, batch), jnp.int32)
