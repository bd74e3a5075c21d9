"""Sums over trees of tensors in the forms that XLA's CPU compiler vectorizes."""

from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax._base.numerics import accumulation_dtype


def square_sum(x: jax.Array) -> jax.Array:
    """The sum of |x|^2 over all entries, in at least float32: first within rows."""
    x = x.astype(accumulation_dtype(x))
    squares = jnp.real(x * jnp.conj(x))
    rows = jnp.sum(squares, axis=-1) if x.ndim > 1 else squares
    return jnp.sum(rows)


def safe_root(total: jax.Array) -> jax.Array:
    """The square root, whose gradient is 0 at 0."""
    some = total > 0
    # The inner where keeps the gradient of the root finite at 0.
    root = jnp.sqrt(jnp.where(some, total, 1))
    return jnp.where(some, root, jnp.where(jnp.isnan(total), total, 0))


def tree_norm(tree: Any) -> jax.Array:
    """The norm of all entries of a tree, float32 0 if there are none."""
    parts = [square_sum(leaf) for leaf in jax.tree.leaves(tree)]
    return safe_root(sum(parts, start=jnp.zeros((), jnp.float32)))
