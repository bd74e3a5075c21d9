"""Densities of an autoencoder by chunks, and a gradient in one backward pass."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.benchmark.case import Case
from kexue_jax.generative import (
    bernoulli_log_prob,
    estimate_log_prob,
    iwae_bound,
    iwae_loss,
    log_weights,
)
from kexue_jax.models import vae

PIXELS, LATENT, WIDTH = 64, 16, 64
MODEL = vae(features=PIXELS, latent=LATENT, hidden=(WIDTH, WIDTH))


def arrays(seed: int, *, images: int) -> tuple[Any, jax.Array]:
    """Parameters of an ordinary start, and bits."""
    draw = np.random.default_rng(seed)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(
            draw.standard_normal(leaf.shape) / max(leaf.shape) ** 0.5, jnp.float32
        ),
        jax.eval_shape(MODEL.init, jax.random.key(0)),
    )
    x = draw.integers(0, 2, (images, PIXELS))
    return params, jnp.asarray(x, jnp.float32)


def likelihood(params: Any, x: jax.Array, z: jax.Array) -> jax.Array:
    """log q(x | z) of bits."""
    return bernoulli_log_prob(x, MODEL.decode(params, z))


def parts(params: Any) -> tuple[Any, Any]:
    """encode(x) and log_lik(x, z)."""
    return (
        functools.partial(MODEL.encode, params),
        functools.partial(likelihood, params),
    )


def by_chunks(params: Any, x: jax.Array, *, samples: int, chunk: int) -> jax.Array:
    """The log-density of every image."""
    sizes = {"num_samples": samples, "chunk": chunk}
    return estimate_log_prob(jax.random.key(0), x, *parts(params), **sizes).log_prob


def at_once(params: Any, x: jax.Array, *, samples: int, chunk: int) -> jax.Array:
    """The same of the same noise, all weights in memory."""
    keys = jax.vmap(lambda c: jax.random.fold_in(jax.random.key(0), c))
    draw = functools.partial(log_weights, num_samples=chunk)
    log_w = jax.vmap(lambda key: draw(key, x, *parts(params)))(
        keys(jnp.arange(samples // chunk, dtype=jnp.uint32))
    )
    return iwae_bound(log_w.reshape(samples, -1))


def densities(images: int, samples: int, chunk: int) -> Case:
    """So many images with so many samples each."""
    sizes = {"samples": samples, "chunk": chunk}
    return Case(
        f"generative.log_prob_{images}",
        functools.partial(arrays, images=images),
        functools.partial(by_chunks, **sizes),
        functools.partial(at_once, **sizes),
        tolerance=1e-4,
        about=f"density of {images} images of {PIXELS} bits by {samples} samples, "
        f"{chunk} at a time; twin: all at once",
    )


def loss(params: Any, x: jax.Array, *, samples: int) -> jax.Array:
    """The importance-weighted loss with doubly reparametrized gradients."""
    args = jax.random.key(0), params, x, MODEL.encode, likelihood
    return iwae_loss(*args, num_samples=samples).loss


def surrogate(params: Any, x: jax.Array, *, samples: int) -> jax.Array:
    """The same by two surrogates, as other libraries write it."""
    stop = lax.stop_gradient

    def log_w(of_encoder: Any, of_model: Any) -> jax.Array:
        encode = functools.partial(MODEL.encode, of_encoder)
        likely = functools.partial(likelihood, of_model)
        sizes = {"num_samples": samples, "estimator": "stl"}
        return log_weights(jax.random.key(0), x, encode, likely, **sizes)

    value = stop(log_w(params, params))
    share = jax.nn.softmax(value, 0)
    total = share**2 * log_w(params, stop(params)) + share * log_w(stop(params), params)
    total = jnp.sum(total, 0)
    return -jnp.mean(iwae_bound(value) + total - stop(total))


SAMPLES = 50
CASES = (
    densities(256, 100, 4),
    densities(8192, 128, 1),
    Case(
        "generative.dreg_gradient",
        functools.partial(arrays, images=50),
        jax.value_and_grad(functools.partial(loss, samples=SAMPLES)),
        jax.value_and_grad(functools.partial(surrogate, samples=SAMPLES)),
        tolerance=1e-4,
        about=f"loss and DReG gradient, 50 images, {SAMPLES} samples; twin: two "
        "surrogates",
    ),
)
