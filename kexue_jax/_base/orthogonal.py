"""Rows made orthonormal without LAPACK (see ``elimination`` for why without)."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def orthonormal(rows: jax.Array) -> jax.Array:
    """The rows [..., n, d], n <= d, made orthonormal one after the other.

    Each is cleared of those before it twice (Gram and Schmidt), after which rounding
    alone is left. They are Q^T of the QR factorization with R_jj > 0.
    """

    def turn(j: Any, done: jax.Array) -> jax.Array:
        row = lax.dynamic_slice_in_dim(rows, j, 1, -2)
        for _ in range(2):
            row = _cleared(row, done)
        row = row * lax.rsqrt(jnp.square(row).sum(-1, keepdims=True))
        return lax.dynamic_update_slice_in_dim(done, row, j, rows.ndim - 2)

    return lax.fori_loop(0, rows.shape[-2], turn, jnp.zeros_like(rows))


def orthonormal_blocks(rows: jax.Array, *, size: int = 64) -> jax.Array:
    """``orthonormal`` of many rows, ``size`` of them at a time, mostly by products."""
    n = rows.shape[-2]
    if n <= size:
        return orthonormal(rows)
    blocks: list[jax.Array] = []
    for start in range(0, n, size):
        block = rows[..., start : start + size, :]
        for _ in range(2):
            for done in blocks:
                block = _cleared(block, done)
            block = orthonormal(block)
        blocks.append(block)
    return jnp.concatenate(blocks, -2)


def _cleared(rows: jax.Array, done: jax.Array) -> jax.Array:
    """The rows less their part along the orthonormal rows ``done``."""
    along = jnp.matmul(rows, done.mT, precision=lax.Precision.HIGHEST)
    return rows - jnp.matmul(along, done, precision=lax.Precision.HIGHEST)
