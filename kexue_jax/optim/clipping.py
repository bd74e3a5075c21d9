"""Clipping, hard and soft, by relaxed smoothness, and by the change of the loss."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from kexue_jax._base import checks
from kexue_jax._base.masks import safe_divide
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.optim._norms import largest_part, tree_norm
from kexue_jax.optim._trees import check_alike, check_inner, check_tree, checked
from kexue_jax.optim.smoothness import RULES, Number, check_smoothness, step_size


def global_norm(tree: Any) -> jax.Array:
    """The Euclidean norm of all entries of all tensors together.

    sqrt(sum |x|^2), each tensor's sum by rows.

    Shapes: a tree of arrays of any shapes -> [], in at least float32; 0.0 for a tree
    without arrays.
    Article: kexue.fm/archives/7469.  Paper: arXiv 1905.11881.
    Differs: ``optax.global_norm`` sums in the leaves' own dtypes and each whole tensor
    at once, which XLA's CPU compiler does not vectorize; the gradient here is 0, not
    NaN, at a tree of zeros.
    Cost: one pass over the tree.
    Raises: TypeError for a leaf that is no floating or complex array.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import global_norm
        >>> print(global_norm({"a": jnp.array([3.0]), "b": jnp.array([[4.0]])}))
        5.0
    """
    check_tree("global_norm", "tree", tree)
    return tree_norm(tree)


def clip_by_global_norm(max_norm: Number) -> optax.GradientTransformation:
    """An optax transformation: hard clipping, by the norm of the whole tree.

    updates * min(1, max_norm / n), n the norm of all updates together.

    Shapes: a tree of arrays of any shapes -> an optax pair (init, update), no state.
    Article: kexue.fm/archives/7469, 10657.  Paper: arXiv 1905.11881.
    Differs: from ``optax.clip_by_global_norm``, the norm is summed in at least float32
    and by rows, zero gradients stay zero for max_norm = 0 (NaN there), and one product
    is taken where that takes a branch an entry. A gradient that is not finite makes
    every update NaN: ``optax.apply_if_finite`` around it refuses its step; PyTorch
    zeroes it silently. A finite one whose square overflows is clipped as any other.
    Clipping by leaf, by entry or by example are other maps; so is clipping each shard
    of a batch: clip the mean over all (after ``psum``), as jit over a mesh does.
    Cost: two passes over the updates. Faster than optax's in one donated step with an
    optimizer, where it is fused, and not by itself.
    Raises: TypeError or ValueError unless max_norm >= 0; TypeError for a leaf that is
    no floating or complex array.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import clip_by_global_norm
        >>> clip, grads = clip_by_global_norm(1.0), {"w": jnp.array([3.0, 4.0])}
        >>> print(clip.update(grads, clip.init(grads))[0]["w"])
        [0.6 0.8]
    """
    name = "clip_by_global_norm"
    checks.number(name, "max_norm", max_norm, minimum=0, traced=True)

    def factor(norm: jax.Array) -> jax.Array:
        limit = jnp.asarray(max_norm, norm.dtype)
        over = norm > limit
        return jnp.where(over, limit / jnp.where(over, norm, 1), 1)

    return _scaled_by_norm(name, factor)


def soft_clip_by_global_norm(gamma: Number) -> optax.GradientTransformation:
    """An optax transformation: soft clipping, by the norm of the whole tree.

    updates * gamma / (n + gamma), n the norm of all updates together: between half the
    hard clip at ``gamma`` (n = gamma) and all of it (n far from gamma).

    Shapes: a tree of arrays of any shapes -> an optax pair (init, update), no state.
    Article: kexue.fm/archives/7469.  Paper: arXiv 1905.11881.
    Differs: no. The paper's normalized descent eta / (n + beta) is this with
    gamma = beta and the rate eta / beta. NaN as for ``clip_by_global_norm``.
    Cost: two passes over the updates.
    Raises: TypeError or ValueError unless gamma > 0; TypeError for a leaf that is no
    floating or complex array.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import soft_clip_by_global_norm
        >>> clip, grads = soft_clip_by_global_norm(5.0), {"w": jnp.array([3.0, 4.0])}
        >>> print(clip.update(grads, clip.init(grads))[0]["w"])
        [1.5 2. ]
    """
    name = "soft_clip_by_global_norm"
    checks.number(name, "gamma", gamma, minimum=0, open_minimum=True, traced=True)

    def factor(norm: jax.Array) -> jax.Array:
        limit = jnp.asarray(gamma, norm.dtype)
        return limit / (norm + limit)

    return _scaled_by_norm(name, factor)


def scale_by_relaxed_smoothness(
    l0: Number, l1: Number, *, rule: str = "inverse"
) -> optax.GradientTransformation:
    """An optax transformation: gradients times the step that relaxed smoothness allows.

    updates * ``relaxed_step_size(n, l0=l0, l1=l1, rule=rule)``, n the norm of all
    updates together. "inverse" is soft clipping at l0 / l1 with the rate 1 / l0.

    Shapes: a tree of arrays of any shapes -> an optax pair (init, update), no state.
    Article: kexue.fm/archives/7469.  Paper: arXiv 1905.11881.
    Differs: as ``relaxed_step_size``. The theory is for the true gradient: under
    minibatch noise the clipped mean is not the mean of the clipped. NaN as for
    ``clip_by_global_norm``.
    Cost: two passes over the updates.
    Raises: TypeError or ValueError unless l0 > 0, l1 >= 0 and ``rule`` is "inverse" or
    "log"; TypeError for a leaf that is no floating or complex array.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import scale_by_relaxed_smoothness
        >>> scale, g = scale_by_relaxed_smoothness(5.0, 1.0), {"w": jnp.array([3.0, 4])}
        >>> print(scale.update(g, scale.init(g))[0]["w"])
        [0.3 0.4]
    """
    name = "scale_by_relaxed_smoothness"
    check_smoothness(name, l0, l1)
    checks.choice(name, "rule", rule, RULES)
    return _scaled_by_norm(name, lambda norm: step_size(norm, l0, l1, rule))


def relaxed_gd(
    l0: Number, l1: Number, *, scale: Number = 1.0, rule: str = "inverse"
) -> optax.GradientTransformation:
    """An optax optimizer: gradient descent with the steps of relaxed smoothness.

    params -= scale * ``relaxed_step_size(n, l0=l0, l1=l1, rule=rule)`` * g.

    Shapes: a tree of arrays of any shapes -> an optax pair (init, update).
    Article: kexue.fm/archives/7469.  Paper: arXiv 1905.11881.
    Differs: as ``scale_by_relaxed_smoothness``; there is no other learning rate, and a
    ``scale`` up to 1 keeps the guarantee.
    Cost: two passes over the updates.
    Raises: as ``scale_by_relaxed_smoothness``; TypeError or ValueError unless
    scale >= 0.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import relaxed_gd
        >>> opt, grads = relaxed_gd(5.0, 1.0), {"w": jnp.array([3.0, 4.0])}
        >>> print(opt.update(grads, opt.init(grads))[0]["w"])
        [-0.3 -0.4]
    """
    name = "relaxed_gd"
    check_smoothness(name, l0, l1)
    checks.choice(name, "rule", rule, RULES)
    checks.number(name, "scale", scale, minimum=0, traced=True)
    return _scaled_by_norm(
        name,
        lambda norm: -jnp.asarray(scale, norm.dtype) * step_size(norm, l0, l1, rule),
    )


def clip_by_loss_change(
    inner: optax.GradientTransformation, threshold: Number
) -> optax.GradientTransformationExtraArgs:
    """An optax wrapper: the update of any optimizer, held to a change of the loss.

    u * min(1, threshold / |<u, g>|), with u the inner update and g the gradient:
    <u, g> is the first-order change of the loss, whatever the optimizer is.

    Shapes: ``inner``, an optax pair -> an optax pair with the state of ``inner``.
    Article: kexue.fm/archives/10657.  Paper: none.
    Differs: the article divides by <u, g> of an update before the learning rate, and a
    step uphill (<u, g> of the other sign) would be turned around: here the size alone
    counts. Around an optimizer with its rate the threshold is a change of the loss,
    around one without it a change over the rate. NaN as for ``clip_by_global_norm``.
    For SGD <u, g> = -rate |g|^2; for signs of N entries it is -rate sqrt(N) |g| cos,
    which is why their rate falls as 1 / sqrt(N).
    Cost: one product and one pass more over the updates; a product that overflows is
    taken again of entries over the largest.
    Raises: TypeError unless ``inner`` is an optax pair; TypeError or ValueError unless
    threshold > 0; from ``update`` TypeError for a leaf that is no floating or complex
    array.
    Example:
        >>> import jax.numpy as jnp, optax
        >>> from kexue_jax.optim import clip_by_loss_change
        >>> opt = clip_by_loss_change(optax.sgd(1.0), 5.0)
        >>> grads = {"w": jnp.array([3.0, 4.0])}
        >>> print(opt.update(grads, opt.init(grads))[0]["w"])
        [-0.6 -0.8]
    """
    name = "clip_by_loss_change"
    check_inner(name, inner)
    bounds: Any = {"minimum": 0, "open_minimum": True}
    checks.number(name, "threshold", threshold, traced=True, **bounds)
    wrapped = optax.with_extra_args_support(inner)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        found, state = wrapped.update(updates, state, params, **extra)
        check_alike(name, "updates", updates, found)
        change = jnp.abs(_inner_product(found, updates))
        limit = jnp.asarray(threshold, change.dtype)
        first, second = jax.lax.cond(
            jnp.isfinite(change),
            lambda: _near(change, limit),
            lambda: _far(found, updates, limit),
        )
        return _scaled(_scaled(found, first), second), state

    return checked(name, optax.GradientTransformationExtraArgs(wrapped.init, update))


def _scaled_by_norm(name: str, factor: Any) -> optax.GradientTransformation:
    def init(params: Any) -> Any:
        check_tree(name, "params", params)
        return optax.EmptyState()

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        check_tree(name, "updates", updates)
        norm = tree_norm(updates)
        return _scaled(updates, _loud(factor(norm), norm)), state

    return optax.GradientTransformation(init, update)


def _near(change: jax.Array, limit: jax.Array) -> tuple[jax.Array, jax.Array]:
    """min(1, limit / change), and 1."""
    over = change > limit
    factor = jnp.where(over, safe_divide(limit, jnp.where(over, change, 1)), 1)
    return factor, jnp.ones_like(factor)


def _far(u: Any, g: Any, limit: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Two factors, 1 / a and limit / (b |<u / a, g / b>|), with a and b the largest
    parts of u and g: for a product <u, g> that is beyond the largest float."""
    a, b = largest_part(u, limit.dtype), largest_part(g, limit.dtype)
    change = jnp.abs(_inner_product(_scaled(u, 1 / a), _scaled(g, 1 / b)))
    second = limit / change / b
    return 1 / a, _loud(second, a + b)


def _loud(factor: jax.Array, size: jax.Array) -> jax.Array:
    """``factor``, but NaN where the size that it comes from is not finite."""
    return jnp.where(jnp.isfinite(size), factor, jnp.nan)


def _scaled(tree: Any, factor: jax.Array) -> Any:
    def scale(x: jax.Array) -> jax.Array:
        dtype = accumulation_dtype(x)
        real = jnp.finfo(dtype).dtype
        return (x.astype(dtype) * factor.astype(real)).astype(x.dtype)

    return jax.tree.map(scale, tree)


def _inner_product(a: Any, b: Any) -> jax.Array:
    def one(x: jax.Array, y: jax.Array) -> jax.Array:
        wide = (v.astype(accumulation_dtype(x, y)) for v in (x, y))
        first, second = wide
        return jnp.sum(jnp.real(first * jnp.conj(second)))

    parts = jax.tree.leaves(jax.tree.map(one, a, b))
    return sum(parts, start=jnp.zeros((), jnp.float32))
