"""Row by row over two sets of feature vectors, a block of rows at a time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype

# Rounding of |q|^2 + |x|^2 - 2 q.x, in units of (|q|^2 + |x|^2) times the machine's.
ROUNDING = 8.0


def check_sets(name: str, *, minimum: int, **sets: tuple[Any, str]) -> None:
    """Raise unless every set is a floating array of its pattern with enough rows."""
    for argument, (value, _) in sets.items():
        checks.array(name, argument, value)
    checks.shapes(name, **sets)
    for argument, (value, _) in sets.items():
        if value.shape[0] < minimum or value.shape[1] < 1:
            wanted = f"at least {minimum} vectors of at least one number"
            raise checks.fail(name, argument, f"shape {value.shape}", wanted)
    first, *others = sets.items()
    for argument, (value, _) in others:
        checks.same_dtype(name, **{first[0]: first[1][0], argument: value})


def widen(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    """The arrays in the dtype in which sums over them run."""
    dtype = accumulation_dtype(*arrays)
    return tuple(jnp.asarray(a, dtype) for a in arrays)


def product(a: jax.Array, b: jax.Array) -> jax.Array:
    """``a @ b`` without the reduced precision that accelerators take by default."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def map_rows(function: Callable[[Any], Any], rows: Any, block_size: int) -> Any:
    """``function`` of every row, at most ``block_size`` rows at a time.

    rows: a tree of arrays [n, ...]; the result is a tree of arrays [n, ...]. Blocks are
    of one size, filled up with copies of the last row, so that there is one program.
    """
    count = jax.tree.leaves(rows)[0].shape[0]
    if count <= block_size:
        return jax.vmap(function)(rows)
    blocks = -(-count // block_size)
    size = -(-count // blocks)

    def divide(leaf: jax.Array) -> jax.Array:
        filler = [(0, blocks * size - count)] + [(0, 0)] * (leaf.ndim - 1)
        return jnp.pad(leaf, filler, mode="edge").reshape(blocks, size, *leaf.shape[1:])

    found = jax.lax.map(jax.vmap(function), jax.tree.map(divide, rows))
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count], found)


def squared_distances(
    query: jax.Array, data: jax.Array, squares: jax.Array
) -> jax.Array:
    """|query - data_i|^2 by one product; ``squares`` holds |data_i|^2.

    Its error is at most ``slack(query, squares)``: subtract the mean of the data from
    both sides first, and evaluate again what must be exact.
    """
    return jnp.sum(query * query) + squares - 2 * product(data, query)


def slack(query: jax.Array, squares: jax.Array) -> jax.Array:
    """A bound of the rounding error of ``squared_distances``."""
    unit = float(jnp.finfo(query.dtype).eps)
    return ROUNDING * unit * (jnp.sum(query * query) + squares)
