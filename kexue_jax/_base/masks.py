"""Boolean masks, True = keep, and arithmetic that stays finite where they are False."""

import jax
import jax.numpy as jnp


def safe_divide(numerator: jax.Array, denominator: jax.Array) -> jax.Array:
    """``numerator / denominator``, and 0 where the denominator is 0.

    The double ``where`` keeps the gradient finite there too.
    """
    kept = denominator != 0
    quotient = numerator / jnp.where(kept, denominator, 1)
    return jnp.where(kept, quotient, jnp.zeros_like(quotient))


def safe_root(x: jax.Array) -> jax.Array:
    """``sqrt(x)``, 0 where x is 0 or below, with a gradient of 0 there; NaN of NaN."""
    kept = ~(x <= 0)
    # The inner where keeps the gradient of the root finite.
    return jnp.where(kept, jnp.sqrt(jnp.where(kept, x, 1)), 0)
