"""Child-Tuning: training a random (F) or a chosen (D) part of all components."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.optim._trees import check_inner, check_tree, checked
from kexue_jax.optim.gradient_dropout import check_dropout, gradient_dropout

Number = float | jax.Array
PLACES = ("gradient", "update")


def mask_updates(
    mask: Any, *, keep_prob: Number | None = None
) -> optax.GradientTransformation:
    """An optax transformation: the components outside of a fixed mask zeroed.

    updates * mask, and / keep_prob too where that is given.

    Shapes: ``mask``, a tree of boolean arrays of the shapes of the updates, True =
    keep -> an optax pair (init, update) without state. A single True (a bool or an
    array []) for a tensor that has axes, or for a branch of the tree, lets it pass as
    it is, not rescaled; a single False stops it.
    Article: kexue.fm/archives/8764.  Paper: arXiv 2109.05687.
    Differs: ``optax.masked`` and ``optax.freeze`` know whole tensors only. The article
    divides by keep_prob, the paper's code does not; under Adam it changes nothing
    beyond eps, under SGD it is a rate 1 / keep_prob times as large.
    Cost: one byte a component for the mask, one pass over the updates.
    Raises: TypeError for a mask with other leaves than boolean arrays; TypeError or
    ValueError unless keep_prob is None or in (0, 1]; from ``update`` ValueError where
    the mask has other names or shapes than the updates, TypeError for a leaf that is
    no floating or complex array.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import mask_updates
        >>> child = mask_updates({"w": jnp.array([True, False])}, keep_prob=0.5)
        >>> grads = {"w": jnp.array([1.0, 2.0])}
        >>> print(child.update(grads, child.init(grads))[0]["w"])
        [2. 0.]
    """
    name = "mask_updates"
    _check_components(name, mask)
    _check_fraction(name, keep_prob)

    def init(params: Any) -> Any:
        check_tree(name, "params", params)
        return optax.EmptyState()

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        check_tree(name, "updates", updates)
        return _masked(name, mask, updates, keep_prob), state

    return optax.GradientTransformation(init, update)


def child_tuning_f(
    key: jax.Array,
    inner: optax.GradientTransformation,
    *,
    keep_prob: Number,
    where: str = "gradient",
    rescale: bool = True,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """An optax wrapper: Child-Tuning F, dropout around any optimizer.

    where="gradient": inner(``gradient_dropout``(g)), the paper's;
    where="update": ``gradient_dropout``(inner(g)), the article's own proposal.

    Shapes: ``inner``, an optax pair -> an optax pair; ``mask`` as for
    ``gradient_dropout``.
    Article: kexue.fm/archives/8764.  Paper: arXiv 2109.05687.
    Differs: as ``gradient_dropout``. With "update" the decay of ``inner`` is dropped
    too, as the article's words have it; for dense decay, chain the parts by hand. Put
    clipping outside, before: after it the norm may grow to 1 / keep_prob of the limit.
    Cost: as ``gradient_dropout``, and ``inner``.
    Raises: as ``gradient_dropout``; TypeError unless ``inner`` is an optax pair;
    TypeError or ValueError unless ``where`` is one of the two.
    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> from kexue_jax.optim import child_tuning_f
        >>> opt = child_tuning_f(jax.random.key(0), optax.sgd(0.1), keep_prob=1.0)
        >>> grads = {"w": jnp.array([1.0, 2.0])}
        >>> print(opt.update(grads, opt.init(grads))[0]["w"])
        [-0.1 -0.2]
    """
    name = "child_tuning_f"
    check_dropout(name, key, keep_prob, rescale, mask)
    check_inner(name, inner)
    checks.choice(name, "where", where, PLACES)
    drop = gradient_dropout(key, keep_prob=keep_prob, rescale=rescale, mask=mask)
    parts = [drop, inner] if where == "gradient" else [inner, drop]
    return checked(name, optax.chain(*parts))


def child_tuning_d(
    inner: optax.GradientTransformation,
    mask: Any,
    *,
    mask_decay: bool = True,
    keep_prob: Number | None = None,
) -> optax.GradientTransformationExtraArgs:
    """An optax wrapper: Child-Tuning D, an optimizer on the chosen components alone.

    inner(g * mask), times mask again if ``mask_decay``: then components outside of the
    mask stay exactly where they are, whatever ``inner`` adds.

    Shapes: ``inner``, an optax pair, and ``mask`` as for ``mask_updates``
    (``top_fraction_mask`` makes one) -> an optax pair with the state of ``inner``.
    Article: kexue.fm/archives/8764.  Paper: arXiv 2109.05687.
    Differs: in the paper's code decay pulls the masked components to 0
    (``mask_decay=False``); its mask is of encoder layers only, others pass (a single
    True here). Division by keep_prob as in ``mask_updates``: the paper's code has none.
    Cost: two passes over the updates, and ``inner``.
    Raises: as ``mask_updates``; TypeError unless ``inner`` is an optax pair and
    ``mask_decay`` a bool.
    Example:
        >>> import jax.numpy as jnp, optax
        >>> from kexue_jax.optim import child_tuning_d
        >>> params = {"w": jnp.array([1.0, 1.0])}
        >>> opt = child_tuning_d(optax.adamw(0.1), {"w": jnp.array([True, False])})
        >>> updates, _ = opt.update(params, opt.init(params), params)
        >>> print([round(float(x), 3) for x in updates["w"]])
        [-0.1, 0.0]
    """
    name = "child_tuning_d"
    check_inner(name, inner)
    _check_components(name, mask)
    checks.flag(name, "mask_decay", mask_decay)
    _check_fraction(name, keep_prob)
    wrapped = optax.with_extra_args_support(inner)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        kept = _masked(name, mask, updates, keep_prob)
        found, state = wrapped.update(kept, state, params, **extra)
        return (_masked(name, mask, found, None) if mask_decay else found), state

    return checked(name, optax.GradientTransformationExtraArgs(wrapped.init, update))


def _masked(name: str, mask: Any, updates: Any, keep_prob: Number | None) -> Any:
    try:
        full = jax.tree.broadcast(mask, updates)
    except ValueError:
        got = f"{jax.tree.structure(mask)} for {jax.tree.structure(updates)}"
        wanted = "of the names of the updates, or a prefix"
        raise checks.fail(name, "mask", got, wanted) from None

    def keep(leaf: jax.Array, chosen: Any) -> jax.Array:
        chosen = jnp.asarray(chosen)
        whole = chosen.ndim == 0 and leaf.ndim > 0
        if not whole and chosen.shape != leaf.shape:
            got = f"shape {chosen.shape} for {leaf.shape}"
            raise checks.fail(name, "mask", got, "of the shapes of the updates")
        wide = leaf.astype(accumulation_dtype(leaf))
        if keep_prob is not None and not whole:
            wide = wide / jnp.asarray(keep_prob, jnp.finfo(wide.dtype).dtype)
        return jnp.where(chosen, wide, 0).astype(leaf.dtype)

    return jax.tree.map(keep, updates, full)


def _check_components(name: str, mask: Any) -> None:
    leaves: list[Any] = [mask] if mask is None else jax.tree.leaves(mask)
    for leaf in leaves:
        whole = isinstance(leaf, bool)
        if not whole and not (checks.is_array(leaf) and leaf.dtype == jnp.bool_):
            got = f"dtype {leaf.dtype}" if checks.is_array(leaf) else repr(leaf)
            raise checks.fail_type(name, "mask", got, "a tree of boolean arrays")


def _check_fraction(name: str, keep_prob: Number | None) -> None:
    if keep_prob is not None:
        bounds: Any = {"minimum": 0, "maximum": 1, "open_minimum": True}
        checks.number(name, "keep_prob", keep_prob, traced=True, **bounds)
