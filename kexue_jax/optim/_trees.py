"""Trees of parameters or gradients, checked before anything is mapped over them."""

from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax._base import checks, trees


def check_tree(function: str, argument: str, tree: Any) -> None:
    """Raise TypeError unless every leaf is a floating or complex array."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not checks.is_array(leaf):
            got = f"a {type(leaf).__name__}"
        elif not jnp.issubdtype(leaf.dtype, jnp.inexact):
            got = f"dtype {leaf.dtype}"
        else:
            continue
        wanted = "a tree of floating or complex arrays"
        raise checks.fail_type(function, argument, got + _place(path), wanted)


def check_alike(function: str, argument: str, tree: Any, like: Any) -> None:
    """Raise ValueError unless ``tree`` has the names and shapes of ``like``."""
    wanted = "of the names and shapes of the parameters"
    mine, theirs = jax.tree.structure(tree), jax.tree.structure(like)
    if mine != theirs:
        raise checks.fail(function, argument, f"{mine} instead of {theirs}", wanted)
    pairs = zip(
        jax.tree_util.tree_leaves_with_path(tree), jax.tree.leaves(like), strict=True
    )
    for (path, leaf), other in pairs:
        if leaf.shape != other.shape:
            got = f"shape {leaf.shape} for {other.shape}{_place(path)}"
            raise checks.fail(function, argument, got, wanted)


def _place(path: tuple[Any, ...]) -> str:
    return f" at {trees.path_name(path)}" if path else ""
