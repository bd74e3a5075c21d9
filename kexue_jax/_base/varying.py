"""Arrays inside ``jax.shard_map``, where a type says along which axes values vary."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def all_varying(*arrays: Any) -> list[jax.Array]:
    """The arrays, each varying along every mesh axis that any of them varies along.

    The state that a loop carries must be as varying as what goes into it, and so must
    the arguments of a function with a custom gradient. Outside ``jax.shard_map`` the
    arrays come back as they are.
    """
    every = frozenset().union(*(_axes(x) for x in arrays))
    missing = [tuple(sorted(every - _axes(x))) for x in arrays]
    pairs = zip(arrays, missing, strict=True)
    return [lax.pcast(x, axes, to="varying") if axes else x for x, axes in pairs]


def varying_alike(*trees: Any) -> Any:
    """The trees with their arrays as ``all_varying`` gives them; None stays None."""
    arrays, form = jax.tree.flatten(trees)
    return jax.tree.unflatten(form, all_varying(*arrays))


def zero_like(*arrays: jax.Array | None) -> jax.Array:
    """A scalar 0 of the first one's dtype, to begin the carry of a loop over them.

    Under ``jax.shard_map`` it varies over the mesh as the arrays do.
    """
    dtype = next(x.dtype for x in arrays if x is not None)
    zeros = [jnp.zeros_like(x, dtype, shape=()) for x in arrays if x is not None]
    return sum(zeros[1:], zeros[0])


def _axes(x: Any) -> frozenset[str]:
    kind: Any = jax.typeof(x)
    return kind.mat.varying
