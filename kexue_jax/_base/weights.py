"""What weights are worth in rows, for weights and for their logarithms alike."""

import jax
import jax.numpy as jnp

from kexue_jax._base.masks import safe_divide


def effective_size(weights: jax.Array, axis: int = -1) -> jax.Array:
    """(sum w)^2 / sum w^2 along an axis, 0 where all weights are 0."""
    w = over_largest(weights, axis)
    return safe_divide(jnp.sum(w, axis) ** 2, jnp.sum(w * w, axis))


def over_largest(weights: jax.Array, axis: int = -1) -> jax.Array:
    """Weights, none below 0, over the largest: no sum of theirs can overflow.

    For what hangs on the shares of weights alone: the largest counts as a constant.
    """
    top = jax.lax.stop_gradient(jnp.max(weights, axis, keepdims=True))
    return safe_divide(weights, jnp.broadcast_to(top, weights.shape))


def exp_over_largest(logs: jax.Array, axis: int = -1) -> jax.Array:
    """``over_largest`` of exp(logs), which need not be finite themselves."""
    top = jax.lax.stop_gradient(jnp.max(logs, axis, keepdims=True))
    return jnp.exp(logs - jnp.where(jnp.isneginf(top), 0, top))
