"""Flooding: a loss that is kept at a level, and the steps down and up that it makes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax._base import checks, trees


def flooding(loss: jax.Array, *, level: float | jax.Array) -> jax.Array:
    """The loss folded up at a level, below which it is climbed instead of descended.

    |loss - level| + level; its gradient is grad loss above the level, -grad loss below
    and 0 on it.

    Shapes: loss [...] -> [...].
    Article: kexue.fm/archives/7643.  Paper: arXiv 2002.08709.
    Differs: no. Fold the mean over the batch, as the article does: folding each
    example's loss is another method.
    Cost: none worth the name.
    Raises: TypeError for a ``loss`` that is no floating array; TypeError or ValueError
    for a ``level`` that is neither a finite number nor a floating scalar array.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.training import flooding
        >>> fold = lambda x: flooding(x, level=0.5)
        >>> print(fold(jnp.array([0.2, 2.0])), jax.grad(fold)(jnp.array(0.2)))
        [0.8 2. ] -1.0
    """
    checks.array("flooding", "loss", loss)
    checks.number("flooding", "level", level, traced=True)
    flood = jnp.asarray(level, loss.dtype)
    return jnp.abs(loss - flood) + flood


def descent_ascent_step(
    f: Callable[[Any], jax.Array],
    params: Any,
    *,
    down: float | jax.Array,
    up: float | jax.Array,
) -> Any:
    """The parameters after one step down the gradient and one back up it.

    p' = params - down grad f(params); p' + up grad f(p').

    With down = up = e this is params - (e^2 / 2) grad |grad f|^2 up to e^3: flooding
    at its level descends the squared gradient. With down > up it is a step of rate
    down - up on f + down up / (2 (down - up)) |grad f|^2.

    Shapes: f a function of params (a tree of floating arrays) to a scalar -> params.
    Article: kexue.fm/archives/7643.  Paper: arXiv 2002.08709.
    Differs: no. A negative ``down`` and ``up`` give the other order, the same to e^3.
    Cost: two gradients.
    Raises: TypeError or ValueError for an ``f`` that is no function to a scalar,
    parameters that are no floating arrays, rates that are not finite.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.training import descent_ascent_step
        >>> p = descent_ascent_step(lambda p: p**2, jnp.array(1.0), down=0.25, up=0.25)
        >>> print(p)
        0.75
    """
    name = "descent_ascent_step"
    checks.function(name, "f", f)
    checks.number(name, "down", down, traced=True)
    checks.number(name, "up", up, traced=True)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        floating = checks.is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating)
        if not floating:
            got = f"a {type(leaf).__name__} at {trees.path_name(path) or 'the root'}"
            raise checks.fail_type(name, "params", got, "a tree of floating arrays")
    result = jax.eval_shape(f, params)
    if getattr(result, "shape", None) != ():
        raise checks.fail(name, "f", f"a result {result}", "a function to a scalar")

    def moved(params: Any, rate: Any) -> Any:
        return jax.tree.map(
            lambda p, g: p - (rate * g).astype(p.dtype), params, jax.grad(f)(params)
        )

    return moved(moved(params, down), -up)
