"""A state as plain named arrays, and back: the form in which orbax saves it.

The state of a run is any tree of arrays and typed PRNG keys. Saved it is a nested dict
of plain arrays under their paths ("params/conv/kernel"), keys as their integers, so
that a checkpoint can be read without any class of this project or of optax.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

State = TypeVar("State")


def named(tree: Any) -> dict[str, Any]:
    """The leaves by their paths, in the order of the tree."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in leaves
    }


def described(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Dtype and shape of each leaf, in JSON's types."""
    return {name: [str(leaf.dtype), list(leaf.shape)] for name, leaf in leaves.items()}


def key_kinds(leaves: Mapping[str, Any]) -> dict[str, str]:
    """The generator of each leaf that is a typed key: "threefry2x32"."""
    return {
        name: str(jax.random.key_impl(leaf))
        for name, leaf in leaves.items()
        if is_key(leaf)
    }


def is_key(leaf: Any) -> bool:
    """Whether ``leaf`` is a typed key (or an array of them)."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """The nested dict that orbax gets: keys as integers, no array of size 0.

    Orbax refuses arrays of size 0; their shapes stand in ``described``.
    """
    tree: dict[str, Any] = {}
    for name, leaf in leaves.items():
        if not leaf.size:
            continue
        *folders, last = name.split("/")
        inner = tree
        for folder in folders:
            inner = inner.setdefault(folder, {})
        inner[last] = jax.random.key_data(leaf) if is_key(leaf) else leaf
    return tree


def wanted(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """What orbax is to load for ``leaves``: shapes, dtypes and places."""

    def abstract(leaf: Any) -> jax.ShapeDtypeStruct:
        if is_key(leaf):
            data = jax.eval_shape(jax.random.key_data, leaf)
            return jax.ShapeDtypeStruct(data.shape, data.dtype, sharding=place(leaf))
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place(leaf))

    sized = {name: leaf for name, leaf in leaves.items() if leaf.size}
    return nested({name: abstract(leaf) for name, leaf in sized.items()})


def rebuilt(like: State, loaded: Mapping[str, Any], kinds: Mapping[str, str]) -> State:
    """The tree ``like`` with the arrays that orbax has ``loaded``."""

    def leaf_of(name: str, leaf: Any) -> Any:
        if not leaf.size:
            return jnp.zeros(leaf.shape, leaf.dtype)
        if not is_key(leaf):
            return loaded[name]
        key = jax.random.wrap_key_data(loaded[name], impl=kinds[name])
        return jax.device_put(key, place(leaf))

    leaves = [leaf_of(name, leaf) for name, leaf in named(like).items()]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def place(leaf: Any) -> jax.sharding.Sharding:
    """Where ``leaf`` lies, or is to lie: the first device if it does not say."""
    given = getattr(leaf, "sharding", None)
    return given or jax.sharding.SingleDeviceSharding(jax.devices()[0])
