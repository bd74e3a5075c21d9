"""Arrays inside ``jax.shard_map``, where a type says along which axes values vary."""

from typing import Any

import jax
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


def _axes(x: Any) -> frozenset[str]:
    kind: Any = jax.typeof(x)
    return kind.mat.varying
