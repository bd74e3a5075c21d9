"""Training by every bound and estimator, all seeds in one program; gradient noise."""

import functools
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments._harness.data_types import batches_of
from experiments._vae.networks import log_lik
from kexue_jax.generative import iwae_loss
from kexue_jax.models import Vae

ESTIMATORS = ("plain", "stl", "dreg")


class Way(NamedTuple):
    """How a network is trained: samples a bound, and the estimator of its gradient."""

    m: int
    estimator: str

    @property
    def name(self) -> str:
        """The row of a table."""
        return f"M = {self.m}, {self.estimator}"


class Trained(NamedTuple):
    """Networks of all seeds, and the CPU seconds of all without compilation."""

    params: Any
    seconds: float


def loss(model: Vae, way: Way, params: Any, x: jax.Array, key: jax.Array) -> jax.Array:
    """The negative bound of a batch."""
    likelihood = functools.partial(log_lik, model)
    ways = {"num_samples": way.m, "estimator": way.estimator}
    return iwae_loss(key, params, x, model.encode, likelihood, **ways).loss


def train(
    model: Vae,
    way: Way,
    pixels: np.ndarray,
    seeds: Sequence[int],
    steps: int,
    batch: int,
    rate: float,
) -> Trained:
    """Adam on fresh bits of every batch, its rate falling by a cosine to a tenth."""
    rows = np.stack([batches_of(len(pixels), s, steps, batch) for s in seeds])
    keys = jax.vmap(jax.random.key)(jnp.asarray(seeds))
    arguments = keys, jnp.asarray(rows), jnp.asarray(pixels), jnp.float32(rate)
    program = _all_seeds.lower(model, way, *arguments).compile()
    began = time.process_time()
    params = jax.block_until_ready(program(*arguments))
    return Trained(params, time.process_time() - began)


@functools.partial(jax.jit, static_argnames=("model", "way"))
def _all_seeds(
    model: Vae, way: Way, keys: Any, rows: Any, pixels: Any, rate: Any
) -> Any:
    steps = rows.shape[1]
    adam = optax.scale_by_adam(eps=1e-4)

    def run(key: jax.Array, rows: jax.Array) -> Any:
        start, drawn, noise = jax.random.split(key, 3)
        params = model.init(start)

        def step(state: Any, now: Any) -> Any:
            params, moments = state
            t, places = now
            p = pixels[places]
            own = jax.random.fold_in(drawn, t)
            x = (jax.random.uniform(own, p.shape) < p).astype(jnp.float32)
            slope = jax.grad(loss, 2)
            grads = slope(model, way, params, x, jax.random.fold_in(noise, t))
            updates, moments = adam.update(grads, moments)
            fall = 0.55 + 0.45 * jnp.cos(jnp.pi * t / steps)
            new = jax.tree.map(lambda q, u: q - rate * fall * u, params, updates)
            return (new, moments), None

        state = params, adam.init(params)
        return jax.lax.scan(step, state, (jnp.arange(steps), rows))[0][0]

    # One seed after the other: one program, and products of whole matrices.
    return jax.lax.map(lambda a: run(*a), (keys, rows))


@functools.partial(jax.jit, static_argnames=("model", "way", "draws"))
def signal(
    model: Vae, way: Way, params: Any, x: Any, key: jax.Array, draws: int
) -> dict[str, jax.Array]:
    """Median over parameters of |mean| / std of the gradient over draws, by seed.

    Parameters whose gradient is always 0 (those of pixels that are never set) say
    nothing and are left out.
    """

    def one(params: Any) -> dict[str, jax.Array]:
        def add(sums: Any, key: jax.Array) -> Any:
            grads = jax.grad(loss, 2)(model, way, params, x, key)
            first = jax.tree.map(jnp.add, sums[0], grads)
            second = jax.tree.map(lambda s, g: s + g * g, sums[1], grads)
            return (first, second), None

        zeros = jax.tree.map(jnp.zeros_like, params)
        keys = jax.random.split(key, draws)
        (first, second), _ = jax.lax.scan(add, (zeros, zeros), keys)

        def ratio(first: jax.Array, second: jax.Array) -> jax.Array:
            mean = first / draws
            variance = jnp.maximum(second / draws - mean**2, 1e-30)
            found = jnp.abs(mean) / jnp.sqrt(variance)
            return jnp.where(second > 0, found, jnp.nan).ravel()

        found = jax.tree.map(ratio, first, second)
        return {
            part: jnp.nanmedian(jnp.concatenate(jax.tree.leaves(found[part])))
            for part in ("encoder", "decoder")
        }

    return jax.lax.map(one, params)
