"""DDIM: the family of samplers on any sub-sequence of steps, and its inverse."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks, numerics
from kexue_jax.diffusion._network import EpsFn, predict
from kexue_jax.diffusion.chain import (
    Sample,
    check_frames,
    check_start,
    run_chain,
    step_noise,
)
from kexue_jax.diffusion.moves import (
    apply_move,
    ddim_coefficients,
    sub_chain_move,
    variance_at,
)
from kexue_jax.diffusion.schedules import Schedule, check_schedule
from kexue_jax.diffusion.steps import check_ddim_options
from kexue_jax.diffusion.strides import check_taus


def ddim_sample(
    key: jax.Array | None,
    eps_fn: EpsFn,
    schedule: Schedule,
    x_T: jax.Array,
    taus: Any,
    *,
    eta: float | jax.Array = 0.0,
    sigma_hat: bool = False,
    variance: jax.Array | None = None,
    clip_x0: bool = False,
    last_noise: bool = False,
    frames: int = 0,
    frames_of: str = "x",
) -> Sample:
    """A sample of the chain over t = taus[-1], ..., taus[0], 0, begun at x_T.

    x <- (x - (beta_bar_t - a sqrt(beta_bar_s^2 - sigma^2)) eps_fn(x, t)) / a + sigma
    z_t, with s the tau before t (0 before the first), a = alpha_bar_t / alpha_bar_s,
    sigma = eta (beta_bar_s / beta_bar_t) sqrt(1 - a^2), and z_t normal of
    ``fold_in(key, t)``.

    Shapes: x_T [B, *d], x at level taus[-1]; taus integers [S], increasing in 1..T;
    eps_fn([B, *d], int32 [B]) -> [B, *d]; variance [T + 1] -> Sample(x [B, *d], frames
    [frames, B, *d]).
    Article: kexue.fm/archives/9181 (9245).  Paper: arXiv 2010.02502, eq. 12, and
    2201.06503.
    Differs: ``sigma_hat``, ``variance``, ``clip_x0``, ``last_noise`` and the cut of a
    too large eta as in ``ddim_step``. alpha_t and beta_t of the full chain are never
    used on the sub-chain. The key may be None where nothing is drawn: eta the number
    0, no sigma_hat, no variance. taus may be traced, and is then not validated.
    Cost: S calls of eps_fn in one scan; memory of one x and of the frames, which are
    spread evenly and show x_t or, with frames_of="x0", the estimate of x_0.
    Raises: TypeError or ValueError for bad arguments, a key that is missing where noise
    is drawn, or an eps_fn that changes the shape.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.diffusion import ddim_sample, ddim_taus, kexue_schedule
        >>> taus = ddim_taus(T=1000, S=10)
        >>> eps_fn = lambda x, t: jnp.zeros_like(x)
        >>> sample = ddim_sample(None, eps_fn, kexue_schedule(), jnp.ones((2, 3)), taus)
        >>> print(f"{sample.x[0, 0]:.2f}")
        154.27
    """
    name = "ddim_sample"
    checks.function(name, "eps_fn", eps_fn)
    check_schedule(name, schedule)
    check_start(name, "x_T", x_T)
    taus = check_taus(name, taus, schedule.T)
    checks.number(name, "eta", eta, minimum=0, traced=True)
    check_ddim_options(name, schedule, sigma_hat, variance, clip_x0, last_noise)
    check_frames(name, frames, frames_of, taus.shape[0])
    random = _is_random(eta, sigma_hat, variance)
    if random or key is not None:
        checks.key(name, "key", key)
    noise_key = key if random else None

    def move(
        x: jax.Array, eps: jax.Array, t: jax.Array, s: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        step = sub_chain_move(schedule, t, s, x)
        known = variance_at(variance, t, x)
        rates = ddim_coefficients(step, eta, sigma_hat, known, last_noise)
        noise = None if noise_key is None else step_noise(noise_key, t, x)
        return apply_move(step, rates, x, eps, noise, clip_x0)

    levels = tuple(level[::-1] for level in (taus, levels_below(taus)))
    return run_chain(
        name, eps_fn, jnp.asarray(x_T), levels, move, frames=frames, frames_of=frames_of
    )


def ddim_encode(
    eps_fn: EpsFn, schedule: Schedule, x0: jax.Array, taus: Any
) -> jax.Array:
    """The latent at level taus[-1] from which ``ddim_sample`` returns near x0.

    With s the tau before t: x_t = alpha_bar_t x0_hat + beta_bar_t eps, eps =
    eps_fn(x_s, s), x0_hat = (x_s - beta_bar_s eps) / alpha_bar_s, for t = taus[0],
    ..., taus[-1].

    Shapes: x0 [B, *d]; taus integers [S], increasing in 1..T; eps_fn([B, *d], int32
    [B]) -> [B, *d] -> [B, *d].
    Article: kexue.fm/archives/9181.  Paper: arXiv 2010.02502, section 4.3.
    Differs: the first step asks eps_fn at t = 1, where the formula says 0, a step that
    no network was trained on. To reconstruct, sample with eta 0 over the same taus.
    Cost: S calls of eps_fn in one scan; memory of one x.
    Raises: TypeError or ValueError for bad arguments or an eps_fn that changes the
    shape.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.diffusion import ddim_encode, ddim_taus, kexue_schedule
        >>> taus = ddim_taus(T=1000, S=10)
        >>> eps_fn = lambda x, t: jnp.ones_like(x)
        >>> z = ddim_encode(eps_fn, kexue_schedule(), jnp.ones((2, 3)), taus)
        >>> print(f"{z[0, 0]:.3f}")
        1.006
    """
    name = "ddim_encode"
    checks.function(name, "eps_fn", eps_fn)
    check_schedule(name, schedule)
    check_start(name, "x0", x0)
    taus = check_taus(name, taus, schedule.T)
    dtype = numerics.accumulation_dtype(x0)
    result = jnp.result_type(x0)

    def body(x: jax.Array, level: Any) -> tuple[jax.Array, None]:
        t, s = level
        eps = predict(name, eps_fn, x.astype(result), jnp.maximum(s, 1))
        step = sub_chain_move(schedule, t, s, x)
        # The move of eta = 0 from t to s, solved for x_t.
        eps_rate = step.b**2 / (step.beta_bar + step.a * step.beta_bar_s)
        return (step.a * x + eps_rate * eps.astype(dtype)).astype(dtype), None

    levels = tuple(jnp.asarray(v, jnp.int32) for v in (taus, levels_below(taus)))
    latent, _ = jax.lax.scan(body, jnp.asarray(x0, dtype), levels)
    return latent.astype(result)


def levels_below(taus: Any) -> Any:
    """The level that each tau moves down to: the one before it, 0 before the first."""
    if isinstance(taus, np.ndarray):
        return np.concatenate([[0], taus[:-1]])
    return jnp.concatenate([jnp.zeros(1, taus.dtype), taus[:-1]])


def _is_random(eta: Any, sigma_hat: bool, variance: Any) -> bool:
    """Whether anything is drawn; an eta that is an array may be anything."""
    drawn = isinstance(eta, jax.Array) or eta != 0
    return drawn or sigma_hat or variance is not None
