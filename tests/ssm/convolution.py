"""The causal convolution as the matrix that it is."""

import jax
import jax.numpy as jnp


def convolved(u: jax.Array, kernel: jax.Array) -> jax.Array:
    """y_t = sum_{s <= t} kernel[h, t - s] u_s, for u [..., n, h], kernel [h, n]."""
    n = u.shape[-2]
    lag = jnp.arange(n)[:, None] - jnp.arange(n)
    matrix = jnp.where(lag >= 0, kernel[:, jnp.maximum(lag, 0)], 0)
    return jnp.einsum("hts,...sh->...th", matrix, u)
