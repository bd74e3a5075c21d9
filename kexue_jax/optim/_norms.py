"""Sums over trees of tensors in the forms that XLA's CPU compiler vectorizes."""

from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax._base.masks import safe_root
from kexue_jax._base.numerics import accumulation_dtype


def square_sum(x: jax.Array) -> jax.Array:
    """The sum of |x|^2 over all entries, in at least float32: first within rows."""
    x = x.astype(accumulation_dtype(x))
    squares = jnp.real(x * jnp.conj(x))
    rows = jnp.sum(squares, axis=-1) if x.ndim > 1 else squares
    return jnp.sum(rows)


def tree_norm(tree: Any) -> jax.Array:
    """The norm of all entries of a tree, float32 0 if there are none; NaN stays NaN."""
    parts = [square_sum(leaf) for leaf in jax.tree.leaves(tree)]
    total = sum(parts, start=jnp.zeros((), jnp.float32))
    return jnp.where(jnp.isnan(total), total, safe_root(total))
