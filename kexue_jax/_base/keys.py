"""Typed PRNG keys: noise in the dtype of the data."""

import jax
import jax.numpy as jnp


def normal_like(key: jax.Array, like: jax.Array) -> jax.Array:
    """Standard normal noise of the shape and dtype of ``like``.

    It is drawn in at least float32 and cast, so that a bfloat16 draw is the rounded
    float32 draw of the same key.
    """
    dtype = jnp.promote_types(like.dtype, jnp.float32)
    return jax.random.normal(key, like.shape, dtype).astype(like.dtype)
