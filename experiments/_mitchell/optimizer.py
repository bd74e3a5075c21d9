"""Adam, its arithmetic exact or Mitchell's."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from kexue_jax import numerics


class AdamState(NamedTuple):
    """Step number and both moments."""

    count: jax.Array
    mean: Any
    square: Any


def mitchell_adam(
    rate: Callable[[Any], Any], b1: float = 0.9, b2: float = 0.999
) -> optax.GradientTransformation:
    """``optax.adam`` whose products, quotients and roots are all additions.

    Only the powers of b1 and b2, the rate and a sum remain, none an entry.
    """
    eps = 1e-8

    def mul(a: Any, b: jax.Array) -> jax.Array:
        a = jnp.broadcast_to(jnp.asarray(a, b.dtype), b.shape)
        return numerics.mitchell_mul(a, b, overflow="clamp")

    def div(a: jax.Array, b: Any) -> jax.Array:
        return numerics.mitchell_div(a, jnp.broadcast_to(jnp.asarray(b), a.shape))

    def init(params: Any) -> AdamState:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return AdamState(jnp.zeros((), jnp.int32), zeros, zeros)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        g = updates
        count = state.count + 1
        mean = jax.tree.map(lambda m, g: mul(b1, m) + mul(1 - b1, g), state.mean, g)
        square = jax.tree.map(
            lambda v, g: mul(b2, v) + mul(1 - b2, mul(g, g)), state.square, g
        )
        first, second = (1 - b**count for b in (b1, b2))

        def step(m: jax.Array, v: jax.Array) -> jax.Array:
            root = numerics.mitchell_sqrt(div(v, second.astype(v.dtype)))
            ratio = div(div(m, first.astype(m.dtype)), root + eps)
            return -mul(rate(state.count), ratio)

        return jax.tree.map(step, mean, square), AdamState(count, mean, square)

    return optax.GradientTransformation(init, update)
