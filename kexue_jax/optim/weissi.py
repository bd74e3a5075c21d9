"""WEISSI: decay of what shifting the scale between layers leaves as it is."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.optim._norms import square_sum
from kexue_jax.optim._trees import (
    check_mask,
    check_real_tree,
    check_updates,
    chosen_weights,
    is_matrix,
    leaf_mask,
)

Number = float | jax.Array


def weissi_penalty(
    params: Any,
    *,
    log_coef: Number,
    direction_coef: Number,
    mask: Any = None,
    delta: Number = 1e-8,
) -> jax.Array:
    """The WEISSI regularizer of the chosen weights, a term of the loss.

    log_coef sum_l log n_l + direction_coef sum_l ||W_l||_1 / n_l, with the Frobenius
    norms n_l = sqrt(||W_l||^2 + delta^2). The first sum is the same for all scales of
    the layers whose product is one, the second for all positive scales.

    Shapes: params, a tree of real floating arrays -> [], in at least float32. ``mask``:
    a tree of bools, or a function of the parameters that gives one, chooses the weights
    (default: those of two axes or more; leave embeddings out by it, and biases that are
    stacked [layers, d]). A stacked kernel counts as one weight.
    Article: kexue.fm/archives/7681.  Paper: arXiv 2008.02965.
    Differs: the article has delta = 0, where the value has no lower bound and its
    gradient none above. The value may be negative: log the loss without it.
    Cost: two sums over the weights.
    Raises: TypeError for a leaf that is no real floating array or a ``mask`` of the
    wrong kind; TypeError or ValueError for coefficients that are no numbers or unless
    delta > 0.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import weissi_penalty
        >>> params = {"w": jnp.array([[3.0, 4.0]]), "b": jnp.ones(2)}
        >>> found = weissi_penalty(params, log_coef=0.0, direction_coef=1.0)
        >>> print(round(float(found), 4))
        1.4
    """
    name = "weissi_penalty"
    _check_coefficients(name, log_coef, direction_coef, mask, delta)

    def one(w: jax.Array) -> jax.Array:
        w = w.astype(accumulation_dtype(w))
        logs, directions, small = (
            jnp.asarray(x, w.dtype) for x in (log_coef, direction_coef, delta)
        )
        square = square_sum(w) + small * small
        length = jnp.sqrt(square)
        return logs * jnp.log(square) / 2 + directions * _l1(w) / length

    return _sum([one(w) for w in chosen_weights(name, params, mask)])


def l2_penalty(params: Any, *, coef: Number, mask: Any = None) -> jax.Array:
    """The squared norm of the chosen weights, a term of the loss.

    coef sum_l ||W_l||^2, whose gradient is 2 coef W: the decay of a rate eps is
    1 - 2 eps coef.

    Shapes: as ``weissi_penalty``.
    Article: kexue.fm/archives/7681.  Paper: arXiv 2008.02965, 1711.05101.
    Differs: the article writes the decay of this penalty as 1 - eps coef, which
    belongs to coef / 2.
    Cost: one sum over the weights.
    Raises: TypeError for a leaf that is no real floating array or a ``mask`` of the
    wrong kind; TypeError or ValueError for a ``coef`` that is no number.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import l2_penalty
        >>> print(l2_penalty({"w": jnp.array([[3.0, 4.0]])}, coef=0.1))
        2.5
    """
    name = "l2_penalty"
    checks.number(name, "coef", coef, traced=True)
    squares = [square_sum(w) for w in chosen_weights(name, params, mask)]
    return _sum([jnp.asarray(coef, s.dtype) * s for s in squares])


def add_weissi_decay(
    log_coef: Number,
    direction_coef: Number,
    *,
    mask: Any = None,
    delta: Number = 1e-8,
) -> optax.GradientTransformation:
    """An optax transformation: the gradient of the WEISSI penalty added to the updates.

    u + log_coef W / n^2 + direction_coef (sign(W) / n - ||W||_1 W / n^3), with
    n = sqrt(||W||^2 + delta^2), for the chosen weights. Put it where
    ``optax.add_decayed_weights`` stands: after the moments, before the learning rate.

    Shapes: a tree of parameters of any shapes -> an optax pair (init, update) without
    state; update needs the parameters. ``mask`` as for ``weissi_penalty``.
    Article: kexue.fm/archives/7681.  Paper: arXiv 2008.02965.
    Differs: article and paper have the penalty alone (``weissi_penalty``), whose pull
    Adam normalizes away. Behind a normalization ||W||^2 falls by 2 rate log_coef a step
    until noise holds it at rate ||g||^2 / (2 log_coef), g the gradient at norm 1.
    Without noise it falls below rate * log_coef, where a step turns the weight around
    and throws it anywhere: mask such layers, or take delta >= sqrt(rate * log_coef).
    Every tensor is pulled alike, whatever its size; an L2 coefficient c pulls a weight
    as log_coef = 2 c ||W||^2 does.
    Cost: two sums and one pass over the weights.
    Raises: as ``weissi_penalty``; ValueError from ``update`` without parameters, or
    where the updates have other names or shapes.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import add_weissi_decay
        >>> params = {"w": jnp.array([[3.0, 4.0]])}
        >>> decay, zero = add_weissi_decay(1.0, 0.0), {"w": jnp.zeros((1, 2))}
        >>> print(decay.update(zero, decay.init(params), params)[0]["w"])
        [[0.12 0.16]]
    """
    name = "add_weissi_decay"
    _check_coefficients(name, log_coef, direction_coef, mask, delta)

    def init(params: Any) -> Any:
        check_real_tree(name, "params", params)
        return optax.EmptyState()

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        check_updates(name, updates, params)
        check_real_tree(name, "params", params)
        chosen = leaf_mask(name, mask, params, is_matrix)

        def add(u: jax.Array, w: jax.Array, decays: bool) -> jax.Array:
            if not decays:
                return u
            pull = _pull(w, log_coef, direction_coef, delta)
            return (u.astype(accumulation_dtype(u)) + pull).astype(u.dtype)

        return jax.tree.map(add, updates, params, chosen), state

    return optax.GradientTransformation(init, update)


def log_norm_product(params: Any, *, mask: Any = None) -> jax.Array:
    """The logarithm of the product of the norms of the chosen weights.

    sum_l log ||W_l||: for homogeneous networks a bound on the log of the gradient in
    the input, and the same for all scales of the layers whose product is one.

    Shapes: as ``weissi_penalty``; -inf if a weight is zero.
    Article: kexue.fm/archives/7681.  Paper: arXiv 2008.02965.
    Differs: no.
    Cost: one sum over the weights.
    Raises: TypeError for a leaf that is no real floating array or a ``mask`` of the
    wrong kind.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import log_norm_product
        >>> params = {"a": jnp.array([[2.0]]), "b": jnp.array([[0.5]])}
        >>> print(log_norm_product(params))
        0.0
    """
    name = "log_norm_product"
    chosen = chosen_weights(name, params, mask)
    return _sum([jnp.log(square_sum(w)) / 2 for w in chosen])


def log_spectral_product(params: Any, *, mask: Any = None) -> jax.Array:
    """The logarithm of the product of the spectral norms of the chosen weights.

    sum_l log ||W_l||_2, each weight as a matrix with its last axis as columns: the
    tighter bound, between the input gradient and ``log_norm_product``.

    Shapes: as ``log_norm_product``.
    Article: kexue.fm/archives/7681.  Paper: arXiv 2008.02965.
    Differs: a convolution kernel is taken as the matrix of its flattened patches,
    whose norm is not that of the convolution.
    Cost: a singular value decomposition of each weight.
    Raises: as ``log_norm_product``.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import log_spectral_product
        >>> params = {"a": jnp.diag(jnp.array([4.0, 3.0])), "b": jnp.array([[0.25]])}
        >>> print(log_spectral_product(params).round(4))
        0.0
    """
    name = "log_spectral_product"

    def one(w: jax.Array) -> jax.Array:
        matrix = w.astype(accumulation_dtype(w)).reshape(-1, w.shape[-1])
        return jnp.log(jnp.linalg.svd(matrix, compute_uv=False)[0])

    return _sum([one(w) for w in chosen_weights(name, params, mask)])


def log_residual_product(blocks: list[Any], *, mask: Any = None) -> jax.Array:
    """The same for a residual network: a bound on its gradient in the input.

    sum over blocks x + F(x) of log(1 + prod_l ||W_l||), l over the weights of F.

    Shapes: blocks, a list of trees of real floating arrays -> [], in at least float32.
    ``mask`` chooses in every block: None (weights of two axes or more), or a function.
    Article: kexue.fm/archives/7681.  Paper: arXiv 2008.02965.
    Differs: the paper's abstract has residual blocks too; this form is derived from
    the triangle inequality, and may not be the paper's.
    Cost: one sum over the weights.
    Raises: TypeError for ``blocks`` that are no list of trees of real floating arrays,
    or a ``mask`` of the wrong kind.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import log_residual_product
        >>> print(log_residual_product([{"w": jnp.array([[1.0]])}]).round(4))
        0.6931
    """
    name = "log_residual_product"
    if not isinstance(blocks, (list, tuple)):
        got = f"a {type(blocks).__name__}"
        raise checks.fail_type(name, "blocks", got, "a list of trees")
    check_real_tree(name, "blocks", blocks)
    check_mask(name, mask)
    sums = [chosen_weights(name, block, mask) for block in blocks]
    logs = [_sum([jnp.log(square_sum(w)) / 2 for w in block]) for block in sums]
    return _sum([jnp.logaddexp(log, 0) for log in logs])


def _pull(w: jax.Array, log_coef: Any, direction_coef: Any, delta: Any) -> jax.Array:
    """The gradient of the penalty of one weight."""
    w = w.astype(accumulation_dtype(w))
    logs, directions, small = (
        jnp.asarray(x, w.dtype) for x in (log_coef, direction_coef, delta)
    )
    square = square_sum(w) + small * small
    length = jnp.sqrt(square)
    along = (logs - directions * _l1(w) / length) / square
    return along * w + directions / length * jnp.sign(w)


def _l1(w: jax.Array) -> jax.Array:
    rows = jnp.sum(jnp.abs(w), axis=-1) if w.ndim > 1 else jnp.abs(w)
    return jnp.sum(rows)


def _sum(parts: list[jax.Array]) -> jax.Array:
    return sum(parts, start=jnp.zeros((), jnp.float32))


def _check_coefficients(
    name: str, log_coef: Any, direction_coef: Any, mask: Any, delta: Any
) -> None:
    checks.number(name, "log_coef", log_coef, traced=True)
    checks.number(name, "direction_coef", direction_coef, traced=True)
    check_mask(name, mask)
    checks.number(name, "delta", delta, minimum=0, open_minimum=True, traced=True)
