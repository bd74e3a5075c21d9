"""An optimizer whose parameters stay in a set: each step ends in a projection."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from kexue_jax._base import checks
from kexue_jax.optim._trees import (
    check_alike,
    check_inner,
    check_real_tree,
    check_tree,
    check_updates,
)


def projected(
    inner: optax.GradientTransformation, projection: Callable[[Any], Any]
) -> optax.GradientTransformationExtraArgs:
    """An optax optimizer whose steps of another one are projected onto a set.

    update = projection(params + u) - params with u the update of ``inner``, so that
    ``optax.apply_updates`` ends in the set.

    Shapes: a tree of parameters of any shapes -> an optax pair (init, update) with the
    state of ``inner``; update needs the parameters.
    Article: kexue.fm/archives/9902.  Paper: Zinkevich 2003.
    Differs: optax has the projections (``optax.projections``) and leaves it to the loop
    to apply them; as a transformation it goes where optimizers go. In half precision
    the sum of parameters and update may miss the set by a rounding.
    Cost: one projection a step, no state.
    Raises: TypeError for an ``inner`` without init and update or a projection that is
    no function; ValueError from ``update`` without parameters, or where updates or what
    the projection gives have other names or shapes; TypeError for a leaf that is no
    floating or complex array.
    Example:
        >>> import jax.numpy as jnp, optax
        >>> from kexue_jax.optim import projected
        >>> opt = projected(optax.sgd(1.0), optax.projections.projection_non_negative)
        >>> params = jnp.array([1.0, 1.0])
        >>> print(opt.update(jnp.array([0.25, 5.0]), opt.init(params), params)[0])
        [-0.25 -1.  ]
    """
    check_inner("projected", inner)
    checks.function("projected", "projection", projection)
    return _projected("projected", inner, projection)


def _projected(
    name: str,
    inner: optax.GradientTransformation,
    projection: Callable[[Any], Any],
) -> optax.GradientTransformationExtraArgs:
    wrapped = optax.with_extra_args_support(inner)

    def init(params: Any) -> Any:
        check_tree(name, "params", params)
        return wrapped.init(params)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        check_updates(name, updates, params)
        updates, state = wrapped.update(updates, state, params, **extra)
        inside = projection(jax.tree.map(lambda p, u: p + u, params, updates))
        check_alike(name, "projection", inside, params)
        moved = jax.tree.map(lambda q, p: (q - p).astype(p.dtype), inside, params)
        return moved, state

    return optax.GradientTransformationExtraArgs(init, update)


def clip_weights(
    max_weight: float | jax.Array,
) -> optax.GradientTransformationExtraArgs:
    """An optax transformation after which no parameter is larger than a bound.

    update = clip(params + u, -max_weight, max_weight) - params with u the update that
    comes in: the last link of a chain, behind an optimizer.

    Shapes: a tree of parameters of any shapes -> an optax pair (init, update) without
    state; update needs the parameters.
    Article: kexue.fm/archives/4439, 6051.  Paper: arXiv 1701.07875.
    Differs: the common code clips the parameters in the loop, behind the step; it is
    the same numbers. optax.clip bounds updates, not parameters.
    Cost: one pass over the parameters.
    Raises: ValueError or TypeError unless ``max_weight`` is above 0; as
    ``projected``, and for complex leaves.
    Example:
        >>> import jax.numpy as jnp, optax
        >>> from kexue_jax.optim import clip_weights
        >>> opt = optax.chain(optax.sgd(1.0), clip_weights(0.5))
        >>> params = jnp.array([0.25, 0.5])
        >>> print(opt.update(jnp.array([-1.0, 0.25]), opt.init(params), params)[0])
        [ 0.25 -0.25]
    """
    name = "clip_weights"
    checks.number(
        name, "max_weight", max_weight, minimum=0, open_minimum=True, traced=True
    )

    def clipped(tree: Any) -> Any:
        check_real_tree(name, "params", tree)
        return jax.tree.map(
            lambda p: jnp.clip(p, -max_weight, max_weight).astype(p.dtype), tree
        )

    return _projected(name, optax.identity(), clipped)
