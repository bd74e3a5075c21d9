"""The dtype in which sums, normalizers and recurrent states run."""

import jax
import jax.numpy as jnp


def accumulation_dtype(*arrays: jax.Array) -> jnp.dtype:
    """The dtype of sums over ``arrays``: their common dtype, at least float32."""
    return jnp.promote_types(jnp.result_type(*arrays), jnp.float32)


def expand_trailing(values: jax.Array, like: jax.Array) -> jax.Array:
    """``values [...]`` with trailing axes of size 1 until its rank is that of ``like``.

    Time steps, weights and schedule entries of shape ``[...]`` meet arrays of shape
    ``[..., *d]`` this way, without rank promotion.
    """
    return values.reshape(values.shape + (1,) * (like.ndim - values.ndim))


def signed(values: jax.typing.ArrayLike) -> jax.Array:
    """Integers as signed ones of at least 32 bits, whose differences do not wrap.

    Other dtypes stay as they are.
    """
    values = jnp.asarray(values)
    if not jnp.issubdtype(values.dtype, jnp.integer):
        return values
    return values.astype(jnp.int64 if values.dtype.itemsize == 8 else jnp.int32)
