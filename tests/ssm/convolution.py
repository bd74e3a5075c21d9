"""The causal convolution as the matrix that it is."""

import jax
import jax.numpy as jnp
import numpy as np


def convolved(u: jax.Array, kernel: jax.Array) -> jax.Array:
    """y_t = sum_{s <= t} kernel[h, t - s] u_s, for u [..., n, h], kernel [h, n]."""
    n = u.shape[-2]
    lag = jnp.asarray(np.subtract.outer(np.arange(n), np.arange(n)))
    matrix = kernel[:, jnp.maximum(lag, 0)]
    matrix = jnp.where((lag >= 0)[None], matrix, 0)
    return jnp.einsum("hts,...sh->...th", matrix, u)
