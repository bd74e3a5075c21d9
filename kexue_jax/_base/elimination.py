"""Linear systems without LAPACK.

jaxlib's LAPACK calls on a CPU share a batch of matrices out to the thread pool that
they themselves run on, and wait: where two such calls of a program, or of two programs,
run at once, they may wait forever (jaxlib 0.10.2: ``solve``, ``inv`` and ``qr``). A
vmap makes a batch of any one matrix. What is here is loops and products everywhere.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax._base.varying import all_varying


def solved(a: jax.Array, b: jax.Array) -> jax.Array:
    """The solution x ``[..., n, m]`` of a x = b, a ``[..., n, n]``, real or complex.

    Gauss and Jordan with the largest pivot of a column, n steps of O(n (n + m)); the
    gradient is another such solution. Both arrays of one dtype and one leading shape.
    """
    a, b = all_varying(a, b)

    def product(x: jax.Array) -> jax.Array:
        return jnp.matmul(a, x, precision=lax.Precision.HIGHEST)

    def back(_: Any, b: jax.Array) -> jax.Array:
        return _eliminated(a.mT, b)

    def solve(_: Any, b: jax.Array) -> jax.Array:
        return _eliminated(a, b)

    return lax.custom_linear_solve(product, b, solve, back)


def _eliminated(a: jax.Array, b: jax.Array) -> jax.Array:
    n = a.shape[-1]
    both = jnp.concatenate([a, b], -1)

    def step(carry: Any, j: jax.Array) -> Any:
        both, free = carry
        column = lax.dynamic_index_in_dim(both, j, both.ndim - 1, keepdims=False)
        best = jnp.argmax(jnp.where(free, jnp.abs(column), -1), -1)
        here = jax.nn.one_hot(best, n, dtype=bool)
        row = jnp.where(here[..., None], both, 0).sum(-2, keepdims=True)
        row = row / jnp.where(here, column, 0).sum(-1)[..., None, None]
        left = both - column[..., None] * row
        both = jnp.where(here[..., None], row, left)
        return (both, free & ~here), here

    free = jnp.ones(a.shape[:-1], bool)
    start = all_varying(both, free)
    (both, _), places = lax.scan(step, tuple(start), jnp.arange(n))
    # Row i of the answer is where the pivot of column i was.
    order = jnp.moveaxis(jnp.argmax(places, -1), 0, -1)
    return jnp.take_along_axis(both[..., n:], order[..., None], -2)
