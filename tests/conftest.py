"""Every test runs with 64-bit types on, rank promotion refused, warnings as errors."""

import jax

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
