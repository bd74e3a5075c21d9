"""The random words of ``keep_mask``, as its docstring names them."""

import jax
import jax.numpy as jnp


def words_of(key, shape):
    """Both words of each hash of a Threefry key, [2, ..., q]."""
    *lead, size = shape or (1,)
    keys = jax.random.split(key, (*lead, -(-size // 8)))
    return jnp.moveaxis(jax.random.key_data(keys), -1, 0)
