"""Reversible residual layers (Reformer): the backward pass remakes the activations."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax._base import checks

# f(params, x [...]) -> [...], of the shape and dtype of x.
Branch = Callable[[Any, jax.Array], jax.Array]


class ReversiblePair(NamedTuple):
    """The two streams of a reversible network, x1 and x2, of one shape and dtype."""

    x1: jax.Array
    x2: jax.Array


def reversible_layers(
    f: Branch, g: Branch, params: Any, x1: jax.Array, x2: jax.Array
) -> ReversiblePair:
    """The streams after a stack of reversible residual layers.

    In each layer y1 = x1 + f(params_f, x2), y2 = x2 + g(params_g, y1), where params =
    (params_f, params_g); f is attention and g the feed-forward network in the paper.
    The gradient keeps the last y1, y2 alone and remakes the others by x2 = y2 - g(y1),
    x1 = y1 - f(x2).

    Shapes: params a pair of trees of arrays [layers, ...]; x1, x2 [...] ->
    ReversiblePair of the like.
    Article: kexue.fm/archives/7546.  Paper: arXiv 2001.04451, 1707.04585.
    Differs: the article says that the feed-forward part is made reversible; it is the
    pair. f and g may not draw on traced values that are not in params. Reverse mode
    only.
    Cost: one pass of all f and g, and about three in the gradient; memory of one layer,
    whatever their number. Remaking adds rounding errors, which grow with depth.
    Raises: TypeError or ValueError for streams that differ, params that are not a pair
    of trees with one leading axis, an f or g that changes shape or dtype.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import reversible_layers
        >>> f = lambda scale, x: scale * x
        >>> params = (jnp.ones(3), jnp.zeros(3))
        >>> print(reversible_layers(f, f, params, jnp.ones(2), jnp.ones(2)).x1)
        [4. 4.]
    """
    name = "reversible_layers"
    _check(name, f, g, params, x1, x2)
    return ReversiblePair(*_stack(f, g, params, jnp.asarray(x1), jnp.asarray(x2)))


def reversible_inverse(
    f: Branch, g: Branch, params: Any, y1: jax.Array, y2: jax.Array
) -> ReversiblePair:
    """The streams before a stack of reversible layers, from those after it.

    From the last layer to the first x2 = y2 - g(params_g, y1), x1 = y1 - f(params_f,
    x2): the inverse of reversible_layers.

    Shapes: params a pair of trees of arrays [layers, ...]; y1, y2 [...] ->
    ReversiblePair of the like.
    Article: kexue.fm/archives/7546.  Paper: arXiv 2001.04451.
    Differs: no. Exact but for rounding.
    Cost: one pass of all f and g.
    Raises: TypeError or ValueError as reversible_layers.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import reversible_inverse
        >>> f = lambda scale, x: scale * x
        >>> params = (jnp.ones(3), jnp.zeros(3))
        >>> print(reversible_inverse(f, f, params, 4 * jnp.ones(2), jnp.ones(2)).x1)
        [1. 1.]
    """
    name = "reversible_inverse"
    _check(name, f, g, params, y1, y2, ("y1", "y2"))

    def layer(carry: Any, own: Any) -> tuple[Any, None]:
        return _back(f, g, own, *carry), None

    pair = (jnp.asarray(y1), jnp.asarray(y2))
    return ReversiblePair(*lax.scan(layer, pair, params, reverse=True)[0])


def _back(
    f: Branch, g: Branch, own: Any, y1: jax.Array, y2: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x2 = y2 - g(own[1], y1)
    return y1 - f(own[0], x2), x2


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _stack(
    f: Branch, g: Branch, params: Any, x1: jax.Array, x2: jax.Array
) -> tuple[jax.Array, jax.Array]:
    def layer(carry: Any, own: Any) -> tuple[Any, None]:
        x1, x2 = carry
        y1 = x1 + f(own[0], x2)
        return (y1, x2 + g(own[1], y1)), None

    return lax.scan(layer, (x1, x2), params)[0]


def _stack_forward(
    f: Branch, g: Branch, params: Any, x1: jax.Array, x2: jax.Array
) -> tuple[tuple[jax.Array, jax.Array], tuple[Any, ...]]:
    pair = _stack(f, g, params, x1, x2)
    return pair, (params, *pair)


def _stack_backward(
    f: Branch,
    g: Branch,
    saved: tuple[Any, ...],
    slopes: tuple[jax.Array, jax.Array],
) -> tuple[Any, jax.Array, jax.Array]:
    params, y1, y2 = saved

    def layer(carry: Any, own: Any) -> tuple[Any, Any]:
        y1, y2, d1, d2 = carry
        moved, pull_g = jax.vjp(g, own[1], y1)
        x2 = y2 - moved
        of_g, more = pull_g(d2)
        d1 = d1 + more
        moved, pull_f = jax.vjp(f, own[0], x2)
        of_f, more = pull_f(d1)
        return (y1 - moved, x2, d1, d2 + more), (of_f, of_g)

    carry, of_params = lax.scan(layer, (y1, y2, *slopes), params, reverse=True)
    return of_params, carry[2], carry[3]


_stack.defvjp(_stack_forward, _stack_backward)


def _check(
    name: str,
    f: Any,
    g: Any,
    params: Any,
    x1: Any,
    x2: Any,
    names: tuple[str, str] = ("x1", "x2"),
) -> None:
    checks.function(name, "f", f)
    checks.function(name, "g", g)
    for argument, value in zip(names, (x1, x2), strict=True):
        checks.array(name, argument, value)
    checks.shapes(name, **{names[0]: (x1, "*d"), names[1]: (x2, "*d")})
    checks.same_dtype(name, **{names[0]: x1, names[1]: x2})
    if not isinstance(params, (tuple, list)) or len(params) != 2:
        got = f"a {type(params).__name__}"
        raise checks.fail_type(name, "params", got, "a pair of trees of arrays")
    leaves = jax.tree.leaves(params)
    for leaf in leaves:
        checks.array(name, "params", leaf, "number")
    lengths = {leaf.shape[:1] for leaf in leaves}
    if len(lengths) != 1 or () in lengths:
        wanted = "arrays with one leading axis of layers"
        raise checks.fail(name, "params", f"leading axes {sorted(lengths)}", wanted)
    for argument, branch, own in (("f", f, params[0]), ("g", g, params[1])):
        one = jax.tree.map(lambda leaf: leaf[0], own)
        out = jax.eval_shape(branch, one, x1)
        if not hasattr(out, "shape") or out.shape != x1.shape or out.dtype != x1.dtype:
            wanted = f"a function that keeps shape {x1.shape} and dtype {x1.dtype}"
            raise checks.fail(name, argument, f"one that returns {out}", wanted)
