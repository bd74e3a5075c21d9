"""Densities by samples beside what annealing says of them, from below and above."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._vae import networks
from experiments._vae.training import Trained
from kexue_jax.generative import (
    annealed_log_weights,
    estimate_log_prob,
    gaussian_log_prob,
    iwae_bound,
)
from kexue_jax.models import Vae

STEP, LEAPS = 0.2, 8  # of a Hamiltonian move, in units of the proposal's scale


class Checked(NamedTuple):
    """Of images that a network drew, a number a seed, nats an image.

    ``sampled`` is L_K by samples, ``low`` and ``high`` the bounds by annealing from the
    proposal and from the exact sample of the posterior that drew the image;
    ``accepted`` the share of moves that were taken on both ways.
    """

    sampled: np.ndarray
    low: np.ndarray
    high: np.ndarray
    accepted: np.ndarray


def checked(
    model: Vae, trained: Trained, samples: int, images: int, turns: int
) -> Checked:
    """The Checked of a way, by so many images and temperatures."""
    key = jax.random.key(networks.EVALUATION_SEED + 4)
    sizes = samples, images, turns
    found = _all_seeds(model, trained.params, key, *sizes)
    return Checked(*(np.asarray(part, float) for part in found))


@functools.partial(jax.jit, static_argnames=("model", "samples", "images", "turns"))
def _all_seeds(
    model: Vae, params: Any, key: jax.Array, samples: int, images: int, turns: int
) -> Any:
    def one(params: Any) -> tuple[jax.Array, ...]:
        drawn, bits, by_samples, start, up, down = jax.random.split(key, 6)
        latent = params["decoder"]["layers"]["0"]["kernel"].shape[0]
        z = jax.random.normal(drawn, (images, latent))
        chance = jax.nn.sigmoid(model.decode(params, z))
        x = (jax.random.uniform(bits, chance.shape) < chance).astype(jnp.float32)
        encode, log_lik = networks.of_model(model, params)
        sizes = {"num_samples": samples, "chunk": networks.chunk_of(samples, images)}
        found = estimate_log_prob(by_samples, x, encode, log_lik, **sizes)
        mean, log_scale = encode(x)

        def standard(e: jax.Array) -> jax.Array:
            return gaussian_log_prob(e, jnp.zeros_like(e), jnp.zeros_like(e))

        def joint(e: jax.Array) -> jax.Array:
            """log q(x, z) of z = mean + exp(log_scale) e, as a density of e."""
            z = mean + jnp.exp(log_scale) * e
            return log_lik(x, z) + standard(z) + jnp.sum(log_scale, -1)

        betas = np.linspace(0, 1, turns + 1)
        ways = {"betas": betas, "step_size": STEP, "leapfrog_steps": LEAPS}
        e = jax.random.normal(start, mean.shape)
        rising = annealed_log_weights(up, e, standard, joint, **ways)
        exact = (z - mean) * jnp.exp(-log_scale)
        falling = annealed_log_weights(down, exact, joint, standard, **ways)
        parts = found.log_prob, iwae_bound(rising.log_w[None]), -falling.log_w
        taken = (rising.accepted + falling.accepted) / 2
        return *(jnp.mean(part) for part in parts), jnp.mean(taken)

    return jax.lax.map(one, params)
