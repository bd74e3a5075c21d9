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


def inputs(name, side=8, batch=3, dtype=jnp.float64):
    """Images, steps and, where the network takes them, labels."""
    random = np.random.default_rng(1)
    x = jnp.asarray(random.normal(size=(batch, side, side, 1)), dtype)
    t = jnp.asarray(random.integers(1, 11, batch), jnp.int32)
    if not name.endswith("classes"):
        return x, t
    return x, t, jnp.asarray(random.integers(0, 4, batch), jnp.int32)
