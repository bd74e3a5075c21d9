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
    """The norm of all entries of a tree, float32 0 if there are none; NaN stays NaN.

    Where the sum of squares overflows it is taken again of entries over the largest.
    """
    leaves = jax.tree.leaves(tree)
    zero = jnp.zeros((), jnp.float32)
    total = sum((square_sum(leaf) for leaf in leaves), start=zero)
    plain = safe_root(total)
    if not leaves:
        return plain
    over = jnp.isinf(total)
    return jax.lax.cond(over, lambda: _scaled_norm(leaves, plain), lambda: plain)


def _scaled_norm(leaves: list[jax.Array], plain: jax.Array) -> jax.Array:
    """top * ||x / top||, with top the largest part of an entry."""
    parts = [part for x in leaves for part in _parts(x) if part.size]
    top = largest_part(leaves, plain.dtype)
    fits = jnp.isfinite(top)
    scale = jnp.where(fits, top, 1)
    squares = [square_sum(part / scale.astype(part.dtype)) for part in parts]
    zero = jnp.zeros((), plain.dtype)
    return jnp.where(fits, scale * safe_root(sum(squares, start=zero)), plain)


def largest_part(tree: Any, dtype: Any) -> jax.Array:
    """The largest |real| or |imaginary| part in a tree, a constant; 0 without any."""
    parts = [part for x in jax.tree.leaves(tree) for part in _parts(x) if part.size]
    tops = [jnp.max(jnp.abs(jax.lax.stop_gradient(part))) for part in parts]
    return jnp.max(jnp.stack([jnp.zeros((), dtype), *(t.astype(dtype) for t in tops)]))


def _parts(x: jax.Array) -> tuple[jax.Array, ...]:
    x = x.astype(accumulation_dtype(x))
    return (x.real, x.imag) if jnp.iscomplexobj(x) else (x,)
