"""Diffusion without a network: noising, loss, samplers; the loops, not the layers."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments._harness.devices import data_mesh, replicate, shard_batch
from experiments.benchmark import peers_diffusers
from experiments.benchmark.case import Case, Form, Peer, Prepared
from experiments.benchmark.forms import jitted
from kexue_jax import diffusion

T = 1000


def images(batch: int, side: int) -> Callable[[int], tuple[Any, ...]]:
    """Inputs (schedule, x0, t, noise) of standard normal images."""

    def inputs(seed: int) -> tuple[Any, ...]:
        draw = np.random.default_rng(seed)
        shape = (batch, side, side, 3)
        x0, noise = (
            jnp.asarray(draw.standard_normal(shape), jnp.float32) for _ in range(2)
        )
        t = jnp.asarray(draw.integers(1, T + 1, batch), jnp.int32)
        return diffusion.kexue_schedule(T=T), x0, t, noise

    return inputs


def plain_q_sample(schedule: Any, x0: Any, t: Any, noise: Any) -> jax.Array:
    """The formula with NumPy's broadcasting and nothing else."""
    t = t[:, None, None, None]
    return schedule.alpha_bar[t] * x0 + schedule.beta_bar[t] * noise


def loss(schedule: Any, x0: Any, t: Any, noise: Any) -> jax.Array:
    """The loss of a network that returns half its input."""
    return diffusion.ddpm_loss_at(
        lambda x, t: 0.5 * x, schedule, x0, t, noise, weight="simple"
    ).loss


def plain_loss(schedule: Any, x0: Any, t: Any, noise: Any) -> jax.Array:
    """The same, written out."""
    error = noise - 0.5 * plain_q_sample(schedule, x0, t, noise)
    return jnp.square(error).sum((1, 2, 3)).mean()


def gaussian_eps(schedule: Any) -> Callable[[Any, Any], jax.Array]:
    """The exact eps of data from N(0, I): beta_bar_t x."""
    return lambda x, t: schedule.beta_bar[t].reshape(-1, 1, 1, 1) * x


def ddim(schedule: Any, x: Any, *_: Any) -> jax.Array:
    """Fifty steps of DDIM, one scan."""
    taus = diffusion.ddim_taus(T=T, S=50)
    return diffusion.ddim_sample(None, gaussian_eps(schedule), schedule, x, taus).x


def ddim_loop(schedule: Any, x: Any, *_: Any) -> Form:
    """The same as a Python loop over a compiled step."""
    taus = [0, *map(int, diffusion.ddim_taus(T=T, S=50))]
    eps_fn = gaussian_eps(schedule)

    @jax.jit
    def step(x: Any, t: Any, s: Any) -> jax.Array:
        a, b = schedule.alpha_bar, schedule.beta_bar
        eps = eps_fn(x, jnp.full(x.shape[:1], t))
        return a[s] * (x - b[t] * eps) / a[t] + b[s] * eps

    def run() -> jax.Array:
        y = x
        for i in range(len(taus) - 1, 0, -1):
            y = step(y, taus[i], taus[i - 1])
        return y.block_until_ready()

    return Form(run, run())


def ancestral(schedule: Any, x: Any, *_: Any) -> Form:
    """A thousand updates of DDPM in one scan, the batch spread over the devices.

    Its value is the standard deviation of the result.
    """
    mesh = data_mesh(len(x))

    def sample(key: Any, x: Any) -> jax.Array:
        return diffusion.ddpm_sample(key, gaussian_eps(schedule), schedule, x).x

    form = jitted(sample, replicate(mesh, jax.random.key(0)), shard_batch(mesh, x))
    return form._replace(value=np.std(form.value))


def ancestral_loop(schedule: Any, x: Any, *_: Any) -> Form:
    """The same as a Python loop over a compiled step."""
    eps_fn = gaussian_eps(schedule)

    @jax.jit
    def step(key: Any, x: Any, t: Any) -> jax.Array:
        eps = eps_fn(x, jnp.full(x.shape[:1], t))
        alpha, beta = schedule.alpha[t], schedule.beta[t]
        noise = jax.random.normal(jax.random.fold_in(key, t), x.shape, x.dtype)
        mean = (x - beta**2 / schedule.beta_bar[t] * eps) / alpha
        return mean + jnp.where(t > 1, beta, 0) * noise

    def run() -> jax.Array:
        y, key = x, jax.random.key(0)
        for t in range(T, 0, -1):
            y = step(key, y, t)
        return y.block_until_ready()

    return Form(run, np.std(run()))


CASES = (
    Case(
        "diffusion.q_sample",
        images(64, 32),
        diffusion.q_sample,
        plain_q_sample,
        (Peer("diffusers", peers_diffusers.add_noise),),
        gradient=(1, 3),
        about="noising of a batch of 64 images of 32x32x3",
    ),
    Case(
        "diffusion.ddpm_loss",
        images(64, 32),
        loss,
        plain_loss,
        gradient=(1,),
        about="loss of such a batch without a network",
    ),
    Case(
        "diffusion.ddim_sample",
        images(4, 32),
        ddim,
        Prepared(ddim_loop),
        (Peer("diffusers", peers_diffusers.ddim, tolerance=1e-4),),
        about="50 steps of DDIM without a network, batch 4 of 32x32x3",
    ),
    Case(
        "diffusion.ddpm_sample",
        images(4, 32),
        Prepared(ancestral),
        Prepared(ancestral_loop),
        (Peer("diffusers", peers_diffusers.ancestral),),
        tolerance=0.05,
        goal=0.5,
        about="1000 updates of DDPM without a network, batch 4 of 32x32x3; the forms "
        "draw other noise, so the standard deviation of the result is compared",
    ),
)
