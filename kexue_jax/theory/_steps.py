"""What a step of training must be for its path kernel: checks of arguments."""

from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax.theory.tangent_kernel import check_apply, check_inputs


def check_step(
    name: str, apply_fn: Any, params: Any, after: Any, x: Any, nodes: Any, chunk: Any
) -> None:
    check_inputs(name, "x_test", x)
    check_apply(name, apply_fn, params, x)
    check_like(name, "next_params", after, params)
    checks.count(name, "nodes", nodes, minimum=0)
    if chunk is not None:
        checks.count(name, "chunk", chunk)


def check_like(
    name: str, argument: str, tree: Any, params: Any, *, extra: int = 0
) -> None:
    """Refuse a tree that is not like ``params``, with ``extra`` equal leading axes."""
    if jax.tree.structure(tree) != jax.tree.structure(params):
        raise checks.fail(
            name, argument, jax.tree.structure(tree), "a tree like params"
        )
    lead = None
    for leaf, p in zip(jax.tree.leaves(tree), jax.tree.leaves(params), strict=True):
        checks.array(name, argument, leaf)
        lead = leaf.shape[:extra] if lead is None else lead
        if len(lead) != extra or 0 in lead or leaf.shape != (*lead, *p.shape):
            wanted = f"with a leaf of shape {(*lead, *p.shape)} there"
            raise checks.fail(name, argument, f"one of shape {leaf.shape}", wanted)


def check_samples(
    name: str, apply_fn: Any, loss: Any, params: Any, x: Any, y: Any, weights: Any
) -> None:
    check_inputs(name, "x", x)
    outs = check_apply(name, apply_fn, params, x)
    checks.array(name, "weights", weights)
    checks.shapes(name, x=(x[(..., *(0,) * (x.ndim - 1))], "b"), weights=(weights, "b"))
    check_loss(name, loss, outs, x, y)


def check_loss(name: str, loss: Any, outs: int | None, x: jax.Array, y: Any) -> None:
    """Refuse targets of other length than x and a loss that is no scalar."""
    leaves = jax.tree.leaves(y)
    if not leaves:
        raise checks.fail_type(
            name, "y", f"a {type(y).__name__}", "an array or several"
        )
    for leaf in leaves:
        checks.array(name, "y", leaf, "number")
        if jnp.iscomplexobj(leaf):
            raise checks.fail_type(name, "y", f"dtype {leaf.dtype}", "real numbers")
        if leaf.ndim == 0 or leaf.shape[0] != x.shape[0]:
            wanted = f"of shape [{x.shape[0]}, ...] as x has rows"
            raise checks.fail(name, "y", f"shape {leaf.shape}", wanted)
    checks.function(name, "loss", loss)
    out = jax.ShapeDtypeStruct(() if outs is None else (outs,), x.dtype)
    row = jax.tree.map(lambda v: jax.ShapeDtypeStruct(v.shape[1:], v.dtype), y)
    found = jax.eval_shape(loss, out, row)
    if getattr(found, "shape", None) != ():
        got = f"one that returns {found}"
        raise checks.fail(name, "loss", got, "a function to a scalar")
