"""Shifting the scale of weights between layers without changing the network."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.masks import safe_divide
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.optim._norms import square_sum
from kexue_jax.optim._trees import chosen_weights


class ScaledLayers(NamedTuple):
    """Weights and biases of the layers of a network, in order; a bias may be None."""

    weights: list[jax.Array]
    biases: list[jax.Array | None]


def shift_scales(
    weights: Sequence[jax.Array],
    biases: Sequence[jax.Array | None],
    gammas: jax.Array,
) -> ScaledLayers:
    """The layers with their scales shifted: the outputs times the product of gammas.

    W_l -> gamma_l W_l and b_l -> (gamma_1 ... gamma_l) b_l, for positive gammas and
    layers h -> phi(W_l h + b_l) with phi(c x) = c phi(x): the same network if the
    product of the gammas is 1.

    Shapes: L weights and L biases of any shapes, gammas [L] -> the same shapes.
    Article: kexue.fm/archives/7681.  Paper: arXiv 2008.02965.
    Differs: the article multiplies each bias by its own gamma_l, which changes the
    network. gammas must be positive; values are not looked at.
    Cost: one product over the weights.
    Raises: TypeError for leaves that are no real floating arrays; ValueError unless
    there are as many weights, biases (None where a layer has none) and gammas.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import shift_scales
        >>> one = [jnp.array([[1.0]]), jnp.array([[1.0]])]
        >>> _, biases = shift_scales(one, one, jnp.array([2.0, 0.5]))
        >>> print([float(b[0, 0]) for b in biases])
        [2.0, 1.0]
    """
    name = "shift_scales"
    _check_layers(name, weights, biases)
    checks.array(name, "gammas", gammas)
    checks.shapes(name, gammas=(gammas, str(len(weights))))
    wide = gammas.astype(accumulation_dtype(gammas))
    products, product = [], jnp.ones((), wide.dtype)
    for place in range(len(weights)):
        product = product * wide[place]
        products.append(product)
    return ScaledLayers(
        [_times(w, wide[place]) for place, w in enumerate(weights)],
        [
            None if b is None else _times(b, gamma)
            for b, gamma in zip(biases, products, strict=True)
        ],
    )


def balance_scales(
    weights: Sequence[jax.Array], biases: Sequence[jax.Array | None]
) -> ScaledLayers:
    """The layers of the same network with the least sum of squared weights.

    ``shift_scales`` by gamma_l = (prod_k ||W_k||)^(1/L) / ||W_l||: all norms are the
    geometric mean, and the sum of squares is L (prod_k ||W_k||)^(2/L).

    Shapes: as ``shift_scales``.
    Article: kexue.fm/archives/7681.  Paper: arXiv 2008.02965.
    Differs: the article shows that L2 decay can do this; here it is done.
    Cost: one sum and one product over the weights.
    Raises: as ``shift_scales``. A weight of zeros makes all weights zero.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import balance_scales
        >>> w = [jnp.array([[8.0]]), jnp.array([[2.0]])]
        >>> weights, _ = balance_scales(w, [None, None])
        >>> print([round(float(w[0, 0]), 4) for w in weights])
        [4.0, 4.0]
    """
    name = "balance_scales"
    _check_layers(name, weights, biases)
    squares = [square_sum(w) for w in weights]
    dtype = jnp.result_type(*squares)
    every = jnp.stack([square.astype(dtype) for square in squares])
    some = jnp.all(every > 0)
    # The inner where keeps gradients finite where a weight is zero.
    logs = jnp.log(jnp.where(some, every, 1)) / 2
    gammas = jnp.where(some, jnp.exp(jnp.mean(logs) - logs), 0)
    return shift_scales(weights, biases, gammas)


def excess_l2(params: Any, *, mask: Any = None) -> jax.Array:
    """The share of the squared norm that shifting scales between layers removes.

    1 - L (prod_l ||W_l||)^(2/L) / sum_l ||W_l||^2, between 0 (all norms equal) and 1.

    Shapes: params, a tree of real floating arrays -> [], in at least float32. ``mask``:
    a tree of bools, or a function of the parameters that gives one, chooses the weights
    (default: those of two axes or more).
    Article: kexue.fm/archives/7681.  Paper: arXiv 2008.02965.
    Differs: the article names the effect; this is its size.
    Cost: one sum over the weights.
    Raises: TypeError for a leaf that is no real floating array or a ``mask`` of the
    wrong kind.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import excess_l2
        >>> params = {"a": jnp.array([[2.0]]), "b": jnp.array([[8.0]])}
        >>> print(excess_l2(params).round(4))
        0.5294
    """
    name = "excess_l2"
    squares = [square_sum(w) for w in chosen_weights(name, params, mask)]
    if not squares:
        return jnp.zeros((), jnp.float32)
    every = jnp.stack(squares)
    # Relative to the largest, so that neither product nor quotient overflows.
    shares = safe_divide(every, jnp.max(every))
    some = shares > 0
    logs = jnp.log(jnp.where(some, shares, 1))
    product = jnp.where(jnp.all(some), jnp.exp(jnp.mean(logs)), 0)
    return 1 - safe_divide(len(squares) * product, jnp.sum(shares))


def _times(x: jax.Array, factor: jax.Array) -> jax.Array:
    return (x.astype(accumulation_dtype(x)) * factor).astype(x.dtype)


def _check_layers(name: str, weights: Any, biases: Any) -> None:
    for argument, layers in (("weights", weights), ("biases", biases)):
        if not isinstance(layers, (list, tuple)):
            got = f"a {type(layers).__name__}"
            raise checks.fail_type(name, argument, got, "a list of arrays")
        for layer in layers:
            if layer is not None or argument == "weights":
                checks.array(name, argument, layer)
    if not weights:
        raise checks.fail(name, "weights", "an empty list", "of one layer or more")
    if len(biases) != len(weights):
        got = f"{len(biases)} for {len(weights)} weights"
        raise checks.fail(name, "biases", got, "one a weight (or None)")
