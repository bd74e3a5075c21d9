"""The arithmetic of one reverse move, from level t down to level s, of any sampler."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import numerics
from kexue_jax._base.masks import safe_root
from kexue_jax.diffusion.indexing import entries
from kexue_jax.diffusion.schedules import Schedule


class Move(NamedTuple):
    """What a move from level t down to level s needs, ready to multiply x.

    ``x_t = a x_s + b z`` in law: (a, b) is the one-step (alpha, beta) of the
    sub-chain. ``last`` says whether s is the data.
    """

    a: jax.Array
    b: jax.Array
    alpha_bar: jax.Array
    beta_bar: jax.Array
    beta_bar_s: jax.Array
    last: jax.Array


class Coefficients(NamedTuple):
    """``x_s = x_t / a - eps_rate eps + noise_rate z``."""

    eps_rate: jax.Array
    noise_rate: jax.Array


def adjacent_move(schedule: Schedule, t: Any, like: Any) -> Move:
    """The move from t to t - 1, by the schedule's own alpha and beta."""
    alpha, beta, alpha_bar, beta_bar = entries(schedule, t, like)
    before = entries(schedule, t - 1, like).beta_bar
    last = numerics.expand_trailing(t == 1, like)
    return Move(alpha, beta, alpha_bar, beta_bar, before, last)


def sub_chain_move(schedule: Schedule, t: Any, s: Any, like: Any) -> Move:
    """The move from t to any s < t; alpha_t and beta_t themselves play no part."""
    here, there = entries(schedule, t, like), entries(schedule, s, like)
    a = here.alpha_bar / there.alpha_bar
    b = safe_root(here.beta_bar**2 - (a * there.beta_bar) ** 2)
    last = numerics.expand_trailing(s == 0, like)
    return Move(a, b, here.alpha_bar, here.beta_bar, there.beta_bar, last)


def coefficients(
    move: Move,
    *,
    eta: Any,
    sigma: str,
    variance: jax.Array | None = None,
    last_noise: bool,
) -> Coefficients:
    """The coefficients of one move.

    ``eta=None`` is the mean of the posterior (eta = 1, in closed form). ``sigma``
    names the noise: "eta" what belongs to the mean, with ``variance`` raised to
    sqrt(sigma^2 + gamma^2 variance); "beta" the sub-chain's b; "zero" none.
    """
    a, b, alpha_bar, beta_bar, beta_bar_s, last = move
    # sigma <= beta_bar_s keeps the family real; beyond it eta is cut.
    share = jnp.minimum((1 if eta is None else eta) * b / beta_bar, 1)
    std = beta_bar_s * share
    if eta is None:
        eps_rate = b**2 / (a * beta_bar)
    else:
        rest = beta_bar_s * safe_root(1 - share**2)
        eps_rate = (b**2 + (a * std) ** 2) / (a * (beta_bar + a * rest))
    if sigma == "beta":
        noise_rate = b
    elif sigma == "zero":
        noise_rate = jnp.zeros_like(b)
    elif variance is not None:
        gamma = alpha_bar * eps_rate / beta_bar
        noise_rate = safe_root(std**2 + gamma**2 * variance)
    else:
        noise_rate = std
    if not last_noise:
        noise_rate = jnp.where(last, 0, noise_rate)
    return Coefficients(eps_rate, noise_rate)


def ddpm_coefficients(
    move: Move, sigma: str, variance: jax.Array | None, last_noise: bool
) -> Coefficients:
    """The coefficients of an ancestral move under the options of ``ddpm_step``."""
    kind = sigma if sigma in ("beta", "zero") else "eta"
    return coefficients(
        move, eta=None, sigma=kind, variance=variance, last_noise=last_noise
    )


def ddim_coefficients(
    move: Move,
    eta: Any,
    sigma_hat: bool,
    variance: jax.Array | None,
    last_noise: bool,
) -> Coefficients:
    """The coefficients of a DDIM move under the options of ``ddim_step``."""
    if sigma_hat:
        return coefficients(move, eta=None, sigma="beta", last_noise=last_noise)
    eta = jnp.asarray(eta, move.a.dtype)
    return coefficients(
        move, eta=eta, sigma="eta", variance=variance, last_noise=last_noise
    )


def apply_move(
    move: Move,
    rates: Coefficients,
    x: jax.Array,
    eps: jax.Array,
    noise: jax.Array | None,
    clip_x0: bool,
) -> tuple[jax.Array, jax.Array]:
    """x_s and the estimate of x_0, in the dtype of x, computed in at least float32."""
    dtype = numerics.accumulation_dtype(x)
    wide, eps_wide = jnp.asarray(x, dtype), jnp.asarray(eps, dtype)
    x0 = (wide - move.beta_bar * eps_wide) / move.alpha_bar
    if clip_x0:
        x0 = jnp.clip(x0, -1, 1)
        eps_wide = (wide - move.alpha_bar * x0) / move.beta_bar
    result = wide / move.a - rates.eps_rate * eps_wide
    if noise is not None:
        result += rates.noise_rate * jnp.asarray(noise, dtype)
    return result.astype(x.dtype), x0.astype(x.dtype)


def variance_at(variance: Any, t: Any, like: Any) -> jax.Array | None:
    """Entry t of an analytic variance [T + 1], ready to multiply x."""
    if variance is None:
        return None
    values = jnp.asarray(variance, numerics.accumulation_dtype(like))
    return numerics.expand_trailing(values[t], like)
