"""Parameters of equal layers as one tree with a leading axis, and back."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax._base import checks, trees
from kexue_jax.training.recompute import _layers


def stack_params(layers: Sequence[Any]) -> Any:
    """The parameters of L equal layers as one tree whose leaves have a leading axis L.

    stack_params([p_0, ..., p_{L-1}])[name][l] = p_l[name], what ``scan_layers`` takes.

    Shapes: L trees with leaves [...] -> one tree with leaves [L, ...].
    Article: kexue.fm/archives/7367.  Paper: none (what a loop over layers needs).
    Differs: no.
    Cost: a copy of the parameters.
    Raises: TypeError or ValueError for no layers, leaves that are no arrays, layers
    that differ in names, shapes or dtypes.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.training import stack_params
        >>> stack_params([{"w": jnp.zeros((2, 3))}] * 4)["w"].shape
        (4, 2, 3)
    """
    name = "stack_params"
    if not isinstance(layers, (list, tuple)):
        got = f"a {type(layers).__name__}"
        raise checks.fail_type(name, "layers", got, "a list of trees")
    if not layers:
        raise checks.fail(name, "layers", "none", "at least one")
    first = _described(layers[0])
    for number, layer in enumerate(layers):
        found = _described(layer)
        if found != first or jax.tree.structure(layer) != jax.tree.structure(layers[0]):
            differing = sorted(set(found.items()) ^ set(first.items()))[:1]
            got = f"layer {number} with {differing or jax.tree.structure(layer)}"
            raise checks.fail(name, "layers", got, "alike in names, shapes, dtypes")
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)


def unstack_params(stacked: Any) -> list[Any]:
    """The parameters of each layer, of one tree whose leaves have a leading axis.

    unstack_params(stacked)[l][name] = stacked[name][l]; it undoes ``stack_params``.

    Shapes: a tree with leaves [L, ...] -> L trees with leaves [...].
    Article: kexue.fm/archives/7367.  Paper: none (what a loop over layers needs).
    Differs: no.
    Cost: a copy of the parameters.
    Raises: TypeError or ValueError for leaves that are no arrays or differ in L.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.training import unstack_params
        >>> [layer["w"].shape for layer in unstack_params({"w": jnp.zeros((2, 3))})]
        [(3,), (3,)]
    """
    count = _layers("unstack_params", "stacked", stacked)
    return [jax.tree.map(lambda leaf, n=n: leaf[n], stacked) for n in range(count)]


def _described(layer: Any) -> dict[str, Any]:
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(layer):
        if not checks.is_array(leaf):
            got = f"one with a {type(leaf).__name__}"
            raise checks.fail_type("stack_params", "layers", got, "trees of arrays")
        found[trees.path_name(path)] = (leaf.shape, str(leaf.dtype))
    if not found:
        raise checks.fail("stack_params", "layers", "an empty tree", "trees of arrays")
    return found
