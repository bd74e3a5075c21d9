"""Arrays of one kind under ``jax.shard_map``: what a loop carries must vary alike."""

from typing import Any

import jax
import jax.numpy as jnp


def zero_like(*arrays: jax.Array | None) -> jax.Array:
    """A scalar 0 of the first one's dtype, to begin the carry of a loop over them.

    Under ``jax.shard_map`` it varies over the mesh as the arrays do, as a carry must.
    """
    dtype = next(x.dtype for x in arrays if x is not None)
    zeros = [jnp.zeros_like(x, dtype, shape=()) for x in arrays if x is not None]
    return sum(zeros[1:], zeros[0])


def varying_alike(*trees: Any) -> Any:
    """The trees, each array of which varies over the mesh wherever any of them does.

    It adds a 0, which the compiler drops; gradients of arrays that are the same on all
    devices are summed over them.
    """
    arrays = jax.tree.leaves(trees)
    zeros = [jnp.zeros_like(x, jnp.float32, shape=()) for x in arrays]
    zero = sum(zeros[1:], zeros[0])
    return jax.tree.map(lambda x: x + zero.astype(x.dtype), trees)
