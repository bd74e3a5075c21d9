"""Exact mean and variance of what a sampler returns on Gaussian data."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks, numerics
from kexue_jax.diffusion.ddim import levels_below
from kexue_jax.diffusion.moves import Move, coefficients, sub_chain_move
from kexue_jax.diffusion.schedules import Schedule, check_schedule
from kexue_jax.diffusion.strides import check_taus

SIGMAS = ("eta", "beta", "posterior", "zero", "analytic")


class Moments(NamedTuple):
    """Mean and variance of one coordinate.

    Article: kexue.fm/archives/9245.
    """

    mean: jax.Array
    variance: jax.Array


def gaussian_moments(
    schedule: Schedule,
    taus: Any,
    *,
    mean: float | jax.Array = 0.0,
    variance: float | jax.Array = 1.0,
    sigma: str = "eta",
    eta: float | jax.Array = 0.0,
    last_noise: bool = False,
    start: str = "noise",
) -> Moments:
    """The mean and variance of a sampler's output if data ~ N(mean, variance).

    With the perfect eps = beta_bar_t (x - alpha_bar_t mean) / V_t, V_t = alpha_bar_t^2
    variance + beta_bar_t^2, each step is x <- x / a - c eps + sigma z, so that its two
    moments follow m <- k m + c beta_bar_t alpha_bar_t mean / V_t and v <- k^2 v +
    sigma^2, k = 1 / a - c beta_bar_t / V_t.

    Shapes: taus integers [S], increasing in 1..T; mean, variance, eta numbers or
    scalars -> Moments of scalars.
    Article: kexue.fm/archives/9245 (9181).  Paper: arXiv 2201.06503.
    Differs: sigma="eta" is ``ddim_sample`` at eta; "analytic" the same with the exact
    analytic variance of this data; "beta" its sigma_hat; "posterior" eta = 1; "zero"
    the mean of eta = 1 without noise. With taus = 1..T the last three, and "analytic"
    at eta = 1, are ``ddpm_sample``. start="noise" begins at N(0, 1), as samplers do,
    "marginal" at the true law of x_T. The result has the dtype of the schedule.
    Cost: O(S).
    Raises: TypeError or ValueError for bad arguments.
    Example:
        >>> from kexue_jax.diffusion import ddim_taus, gaussian_moments, kexue_schedule
        >>> schedule, taus = kexue_schedule(), ddim_taus(T=1000, S=10)
        >>> print(f"{gaussian_moments(schedule, taus, eta=1.0).variance:.4f}")
        0.5487
    """
    name = "gaussian_moments"
    check_schedule(name, schedule)
    taus = check_taus(name, taus, schedule.T)
    checks.number(name, "mean", mean, traced=True)
    checks.number(name, "variance", variance, minimum=0, traced=True)
    checks.choice(name, "sigma", sigma, SIGMAS)
    checks.number(name, "eta", eta, minimum=0, traced=True)
    checks.flag(name, "last_noise", last_noise)
    checks.choice(name, "start", start, ("noise", "marginal"))
    result = schedule.alpha_bar.dtype
    dtype = numerics.accumulation_dtype(schedule.alpha_bar)
    like = jax.ShapeDtypeStruct((), dtype)
    data = Moments(jnp.asarray(mean, dtype), jnp.asarray(variance, dtype))
    rule = jnp.asarray(eta, dtype) if sigma in ("eta", "analytic") else None

    def body(now: Moments, level: Any) -> tuple[Moments, None]:
        t, s = level
        move = sub_chain_move(schedule, t, s, like)
        total = marginal(move, data).variance
        known = move.beta_bar**2 * data.variance / total
        rates = coefficients(
            move,
            eta=rule,
            sigma=sigma if sigma in ("beta", "zero") else "eta",
            variance=known if sigma == "analytic" else None,
            last_noise=last_noise,
        )
        pull = rates.eps_rate * move.beta_bar / total
        kept = 1 / move.a - pull
        center = kept * now.mean + pull * move.alpha_bar * data.mean
        return Moments(center, kept**2 * now.variance + rates.noise_rate**2), None

    levels = tuple(jnp.asarray(v, jnp.int32) for v in (taus, levels_below(taus)))
    first = Moments(jnp.zeros((), dtype), jnp.ones((), dtype))
    if start == "marginal":
        top, below = (level[-1] for level in levels)
        first = marginal(sub_chain_move(schedule, top, below, like), data)
    end, _ = jax.lax.scan(body, first, levels, reverse=True)
    return Moments(end.mean.astype(result), end.variance.astype(result))


def marginal(move: Move, data: Moments) -> Moments:
    """The true law of x_t."""
    alpha_bar, beta_bar = move.alpha_bar, move.beta_bar
    total = alpha_bar**2 * data.variance + beta_bar**2
    return Moments(alpha_bar * data.mean, total)
