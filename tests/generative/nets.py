"""A thousand random critics at once, and what is known of them in one program."""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax.generative import gradient_normalize

COUNT, BATCH, SIZES = 1000, 2, (3, 6, 5, 1)
KINDS = ("raw", "gn", "gran", "gran_simple", "inner")
EPS = 0.1


def leaky(h: jax.Array) -> jax.Array:
    return jnp.where(h > 0, h, 0.2 * h)


def relu(h: jax.Array) -> jax.Array:
    return jnp.where(h > 0, h, 0 * h)


def drawn(seed: int, *, bias: bool = True, sizes: Any = SIZES) -> Any:
    """Layers (w, b) of all critics, stacked, and points [count, batch, 3]."""
    rng = np.random.default_rng(seed)
    layers = [
        (
            rng.normal(size=(COUNT, i, o)) * (2 / i) ** 0.5,
            float(bias) * rng.normal(size=(COUNT, o)) / 2,
        )
        for i, o in itertools.pairwise(sizes)
    ]
    return layers, rng.normal(size=(COUNT, BATCH, sizes[0]))


def value(params: Any, x: jax.Array, activation: Callable = leaky) -> jax.Array:
    """The critic, [B, 3] -> [B]."""
    *hidden, (w, b) = params
    for v, a in hidden:
        x = activation(x @ v + a[None])
    return (x @ w + b[None])[:, 0]


def normalized(params: Any, x: jax.Array, kind: str, activation: Callable, **options):
    def critic(x: jax.Array) -> jax.Array:
        return value(params, x, activation)

    return gradient_normalize(critic, x, kind=kind, eps=EPS, **options)


def by_input(params: Any, x: jax.Array, kind: str, activation: Callable, **options):
    """The output and the gradient of each d_hat by its example, by autodiff."""

    def total(x: jax.Array) -> Any:
        out = normalized(params, x, kind, activation, **options)
        return out.d_hat.sum(), out

    (_, out), slope = jax.value_and_grad(total, has_aux=True)(x)
    return out, slope


@functools.cache
def facts(activation: Callable = leaky) -> dict[str, Any]:
    """By kind: outputs and gradients by x, whole and piecewise linear."""

    def one(params: Any, x: jax.Array) -> Any:
        return {
            kind: (
                by_input(params, x, kind, activation),
                by_input(params, x, kind, activation, piecewise_linear=True),
            )
            for kind in KINDS
        }

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(*drawn(0)))


@functools.cache
def parameter_facts() -> dict[str, Any]:
    """By kind: gradients of a loss by all parameters, whole, by pieces, detached."""

    def loss(params: Any, x: jax.Array, kind: str, options: Any) -> jax.Array:
        return jnp.sum(jnp.cos(normalized(params, x, kind, leaky, **options).d_hat))

    ways = {
        "whole": {},
        "pieces": {"piecewise_linear": True},
        "detached": {"detach_norm": True},
    }

    def one(params: Any, x: jax.Array) -> Any:
        return {
            kind: {
                way: jax.grad(loss)(params, x, kind, options)
                for way, options in ways.items()
            }
            for kind in ("gn", "gran", "inner")
        }

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(*drawn(1)))


def lengths(slopes: np.ndarray) -> np.ndarray:
    return np.sqrt((slopes**2).sum(-1))
