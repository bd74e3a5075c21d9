"""A small variational autoencoder of perceptrons as pure functions."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from kexue_jax._base import checks
from kexue_jax.generative import Proposal
from kexue_jax.models.functional import Params, functional
from kexue_jax.models.layers import Dense


class Vae(NamedTuple):
    """An autoencoder as pure functions.

    ``init(key) -> params``; ``encode(params, x)`` is the Proposal of z, mean and
    log_scale; ``decode(params, z)`` are numbers [..., d], logits of bits or means.

    Article: kexue.fm/archives/8791.
    """

    init: Callable[[jax.Array], Params]
    encode: Callable[[Params, jax.Array], Proposal]
    decode: Callable[[Params, jax.Array], jax.Array]


def vae(*, features: int, latent: int, hidden: tuple[int, ...] = (200, 200)) -> Vae:
    """An encoder and its mirror image, perceptrons with tanh.

    mean, log_scale = the halves of W h + b, h of hidden layers tanh(W h + b) of the
    given widths on x; decode(z) = W h + b on hidden layers of those widths in reverse.

    Shapes: encode: x [..., features] -> mean and log_scale [..., latent]; decode: z
    [..., latent] -> [..., features].
    Article: kexue.fm/archives/8791, 5383.  Paper: arXiv 1509.00519, section 5 (784,
    200, 200, 50).
    Differs: no. Kernels start as Glorot has them, biases at 0.
    Cost: O(features hidden + hidden^2 + hidden latent) an example.
    Raises: TypeError or ValueError for a bad argument or shape, when built or traced.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.models import vae
        >>> model = vae(features=64, latent=2, hidden=(8,))
        >>> params = model.init(jax.random.key(0))
        >>> mean, log_scale = model.encode(params, jnp.zeros((3, 64)))
        >>> mean.shape, model.decode(params, mean).shape
        ((3, 2), (3, 64))
    """
    checks.count("vae", "features", features)
    checks.count("vae", "latent", latent)
    if not isinstance(hidden, (tuple, list)) or not hidden:
        got = f"a {type(hidden).__name__}"
        raise checks.fail_type("vae", "hidden", got, "a tuple of widths")
    for width in hidden:
        checks.count("vae", "hidden", width)
    there = (features, *hidden, 2 * latent)
    back = (latent, *hidden[::-1], features)
    encoder = functional(lambda rngs: _Perceptron(there))
    decoder = functional(lambda rngs: _Perceptron(back))

    def init(key: jax.Array) -> Params:
        checks.key("init", "key", key)
        first, second = jax.random.split(key)
        return {"encoder": encoder.init(first), "decoder": decoder.init(second)}

    def encode(params: Params, x: jax.Array) -> Proposal:
        _check("encode", params, "x", x, features)
        halves = jnp.split(encoder.apply(params["encoder"], x), 2, -1)
        return Proposal(*halves)

    def decode(params: Params, z: jax.Array) -> jax.Array:
        _check("decode", params, "z", z, latent)
        return decoder.apply(params["decoder"], z)

    return Vae(init, encode, decode)


def _check(name: str, params: Any, argument: str, value: Any, width: int) -> None:
    if not isinstance(params, dict) or set(params) != {"encoder", "decoder"}:
        got = f"a {type(params).__name__}"
        wanted = "a dict of an encoder and a decoder"
        raise checks.fail_type(name, "params", got, wanted)
    checks.array(name, argument, value)
    checks.shapes(name, **{argument: (value, f"... {width}")})


class _Perceptron(nnx.Module):
    """Dense layers of these widths, tanh between them."""

    def __init__(self, widths: tuple[int, ...]):
        pairs = itertools.pairwise(widths)
        self.layers = nnx.List([Dense(m, n, bias=True) for m, n in pairs])

    def __call__(self, x: jax.Array) -> jax.Array:
        *inner, last = self.layers
        for layer in inner:
            x = jnp.tanh(layer(x))
        return last(x)
