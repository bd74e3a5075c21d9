"""Trees of parameters or gradients, checked before anything is mapped over them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from kexue_jax._base import checks, trees
from kexue_jax._base.numerics import accumulation_dtype


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


def check_real_tree(function: str, argument: str, tree: Any) -> None:
    """Raise TypeError unless every leaf is a real floating array."""
    check_tree(function, argument, tree)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            got, wanted = f"dtype {leaf.dtype}{_place(path)}", "a tree of real arrays"
            raise checks.fail_type(function, argument, got, wanted)


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


def check_updates(name: str, updates: Any, params: Any) -> None:
    """Raise unless parameters were given and the updates are alike."""
    if params is None:
        raise checks.fail(name, "params", None, "given to update")
    check_tree(name, "params", params)
    check_tree(name, "updates", updates)
    check_alike(name, "updates", updates, params)


def check_mask(function: str, mask: Any, argument: str = "mask") -> None:
    """Raise TypeError unless ``mask`` is None, a callable or a tree of bools."""
    if mask is None or callable(mask):
        return
    for path, leaf in jax.tree_util.tree_leaves_with_path(mask):
        if not isinstance(leaf, (bool, np.bool_)):
            got = f"a {type(leaf).__name__}{_place(path)}"
            wanted = "None, a tree of bools, or a function of the parameters"
            raise checks.fail_type(function, argument, got, wanted)


def leaf_mask(
    function: str,
    mask: Any,
    tree: Any,
    default: Callable[[jax.Array], bool] = lambda leaf: True,
    argument: str = "mask",
) -> Any:
    """A bool a leaf of ``tree``: by ``mask`` (or a prefix of it), else by default."""
    if mask is None:
        return jax.tree.map(default, tree)
    found = mask(tree) if callable(mask) else mask
    check_mask(function, found, argument)
    try:
        return jax.tree.broadcast(found, tree)
    except ValueError:
        got = str(jax.tree.structure(found))
        wanted = "a tree of bools, like the parameters or a prefix"
        raise checks.fail(function, argument, got, wanted) from None


def chosen_weights(function: str, params: Any, mask: Any) -> list[jax.Array]:
    """The leaves that ``mask`` chooses, by default those of two axes or more."""
    check_real_tree(function, "params", params)
    check_mask(function, mask)
    chosen = leaf_mask(function, mask, params, is_matrix)
    pairs = zip(jax.tree.leaves(params), jax.tree.leaves(chosen), strict=True)
    return [w for w, keep in pairs if keep]


def is_matrix(w: jax.Array) -> bool:
    """Whether a parameter has two axes or more."""
    return w.ndim >= 2


def check_inner(name: str, inner: Any) -> None:
    """Raise TypeError unless ``inner`` is a pair of functions init and update."""
    pair = getattr(inner, "init", None), getattr(inner, "update", None)
    if not all(map(callable, pair)):
        got = f"a {type(inner).__name__}"
        raise checks.fail_type(name, "inner", got, "an optax pair (init, update)")


def widen(tree: Any) -> Any:
    """The leaves in the dtype of sums over them, at least float32."""
    return jax.tree.map(lambda x: jnp.asarray(x, accumulation_dtype(x)), tree)


def checked(
    name: str, transformation: optax.GradientTransformationExtraArgs
) -> optax.GradientTransformationExtraArgs:
    """The same, which refuses trees of anything but floating or complex arrays."""

    def init(params: Any) -> Any:
        check_tree(name, "params", params)
        return transformation.init(params)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        check_tree(name, "updates", updates)
        return transformation.update(updates, state, params, **extra)

    return optax.GradientTransformationExtraArgs(init, update)


def in_accumulation_dtype(
    name: str, transformation: optax.GradientTransformation, *, params_needed: bool
) -> optax.GradientTransformationExtraArgs:
    """The same in at least float32, with updates cast to the gradients' dtypes."""
    inner = optax.with_extra_args_support(transformation)

    def init(params: Any) -> Any:
        check_tree(name, "params", params)
        return inner.init(widen(params))

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        if params_needed or params is not None:
            check_updates(name, updates, params)
        check_tree(name, "updates", updates)
        wide = None if params is None else widen(params)
        found, state = inner.update(widen(updates), state, wide, **extra)
        return jax.tree.map(lambda w, u: w.astype(u.dtype), found, updates), state

    return optax.GradientTransformationExtraArgs(init, update)


def _place(path: tuple[Any, ...]) -> str:
    return f" at {trees.path_name(path)}" if path else ""
