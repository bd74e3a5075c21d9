"""Images as bits, and an autoencoder of them with a Bernoulli likelihood."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._harness.data_types import ImageData
from experiments._harness.errors import UserError
from kexue_jax.generative import bernoulli_log_prob, estimate_log_prob, log_weights
from kexue_jax.models import Vae, vae

EVALUATION_SEED = 20211209  # of the bits of test images, the same for every run
WORK = 1.8e4  # decoded images that a chunk of an evaluation may hold


class Bits(NamedTuple):
    """Probabilities of training pixels, fixed bits of test images, labels of both."""

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    shape: tuple[int, int, int]


def bits(data: ImageData, most: int) -> Bits:
    """Grey levels as probabilities; test images drawn once."""
    if data.train_labels is None or data.test_labels is None:
        raise UserError(f"--dataset={data.name} has no labels")
    if data.shape[-1] != 1:
        raise UserError(f"--dataset={data.name} has colors; wanted grey images")
    train, test = (
        (images.reshape(len(images), -1) + 1) / 2
        for images in (data.train_images, data.test_images[:most])
    )
    draw = np.random.Generator(np.random.Philox(EVALUATION_SEED))
    fixed = (draw.random(test.shape) < test).astype(np.float32)
    labels = data.train_labels, data.test_labels[:most]
    return Bits(train, labels[0], fixed, labels[1], data.shape)


@functools.cache
def network(features: int, latent: int, width: int) -> Vae:
    """The autoencoder of the run."""
    return vae(features=features, latent=latent, hidden=(width, width))


def log_lik(model: Vae, params: Any, x: jax.Array, z: jax.Array) -> jax.Array:
    """log q(x | z) of bits."""
    return bernoulli_log_prob(x, model.decode(params, z))


def of_model(model: Vae, params: Any) -> tuple[Any, Any]:
    """encode(x) and log_lik(x, z) with these parameters."""
    return (
        functools.partial(model.encode, params),
        functools.partial(log_lik, model, params),
    )


def chunk_of(m: int, rows: int) -> int:
    """Samples at a time of an evaluation of so many rows."""
    return int(min(m, max(1, WORK // rows)))


@functools.partial(jax.jit, static_argnames=("model", "m"))
def estimates(model: Vae, params: Any, x: Any, key: jax.Array, m: int) -> Any:
    """The LogProbEstimate of every row, of every seed's network."""
    chunk = chunk_of(m, len(x))

    def one(params: Any) -> Any:
        parts = of_model(model, params)
        return estimate_log_prob(key, x, *parts, num_samples=m, chunk=chunk)

    return jax.lax.map(one, params)


@functools.partial(jax.jit, static_argnames=("model", "m"))
def all_weights(model: Vae, params: Any, x: Any, key: jax.Array, m: int) -> Any:
    """log w [seeds, m, rows], every seed's by noise of its own."""

    def one(pair: Any) -> Any:
        params, key = pair
        return log_weights(key, x, *of_model(model, params), num_samples=m)

    keys = jax.random.split(key, len(jax.tree.leaves(params)[0]))
    return jax.lax.map(one, (params, keys))


@functools.partial(jax.jit, static_argnames=("model", "count"))
def drawn(model: Vae, params: Any, key: jax.Array, count: int) -> jax.Array:
    """Probabilities of pixels of images from the prior."""
    latent = params["decoder"]["layers"]["0"]["kernel"].shape[0]
    z = jax.random.normal(key, (count, latent))
    return jax.nn.sigmoid(model.decode(params, z))


@functools.partial(jax.jit, static_argnames=("model",))
def means(model: Vae, params: Any, x: Any) -> jax.Array:
    """The encoder's means of every row, of every seed's network."""
    return jax.lax.map(lambda p: model.encode(p, jnp.asarray(x)).mean, params)
