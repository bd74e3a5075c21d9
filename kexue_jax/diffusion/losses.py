"""Training losses of a diffusion model, with the weight that each derivation gives.

All are ``weight_t ||eps - eps_hat||^2``, whatever the network predicts. Squares and
sums run in at least float32, also for bfloat16 data, and the loss comes back in that
dtype. ``reduction="sum"`` (the default, as in the blog) sums over the entries of one
example, ``"mean"`` averages over them; both average over the batch. The two differ by
the number d of entries: under Adam that factor acts through its epsilon alone, so with
``"mean"`` an epsilon should be smaller by d, and float16 gradients may flush to zero.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.keys import normal_like
from kexue_jax._base.masks import safe_divide
from kexue_jax.diffusion._network import EpsFn, predict
from kexue_jax.diffusion.indexing import Entries, check_inputs, check_steps, entries
from kexue_jax.diffusion.parametrizations import PARAMS
from kexue_jax.diffusion.schedules import Schedule, check_schedule

WEIGHTS = ("simple", "regression", "vae", "x0", "score", "min_snr")
VAE_SIGMAS = ("posterior", "beta")
REDUCTIONS = ("sum", "mean")


class DDPMLoss(NamedTuple):
    """A loss (a scalar), and by example: its terms, their plain errors, their steps.

    ``loss`` is the mean of ``per_example`` [B]; ``squared_error`` [B] is the squared
    error of the noise before weights and constants, reduced as the loss is; ``t`` [B].
    """

    loss: jax.Array
    per_example: jax.Array
    squared_error: jax.Array
    t: jax.Array


def loss_weight(
    schedule: Schedule,
    t: jax.Array,
    *,
    kind: str,
    sigma: str = "posterior",
    gamma: float = 5.0,
) -> jax.Array:
    """The weight of ||eps - eps_hat||^2 at step t, by the derivation named.

    simple: 1; regression (of x_{t-1}): beta_t^4 / (alpha_t^2 beta_bar_t^2); vae:
    beta_t^4 / (2 beta_bar_t^2 alpha_t^2 sigma_t^2); x0: beta_bar_t^2 / alpha_bar_t^2;
    score: 1 / beta_bar_t^2; min_snr: min(1, gamma beta_bar_t^2 / alpha_bar_t^2).

    Shapes: t [...] integer -> [...], in the dtype of the schedule.
    Article: kexue.fm/archives/9152 (vae), 9119 (simple, regression), 9164 (x0), 9209
    (score).  Paper: arXiv 2006.11239; min_snr: arXiv 2303.09556.
    Differs: the factor 1/2 of vae stands, which 9152 drops at the end. With sigma
    "posterior" vae is beta_t^2 / (2 alpha_t^2 beta_bar_{t-1}^2), infinite at t = 1;
    with "beta" it is beta_t^2 / (2 alpha_t^2 beta_bar_t^2).
    Cost: a gather.
    Raises: TypeError or ValueError for a wrong dtype, kind, sigma or gamma, and for a
    concrete t outside of 1..T.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.diffusion import kexue_schedule, loss_weight
        >>> print(f"{loss_weight(kexue_schedule(), jnp.array(2), kind='vae'):.5f}")
        1.00004
    """
    name = "loss_weight"
    check_weight(name, "kind", kind, sigma, gamma)
    t = check_steps(name, schedule, t, minimum=1)
    return _weight(schedule, t, kind, sigma, gamma)


def ddpm_loss(
    key: jax.Array,
    eps_fn: EpsFn,
    schedule: Schedule,
    x0: jax.Array,
    *,
    param: str = "eps",
    weight: str = "simple",
    sigma: str = "posterior",
    gamma: float = 5.0,
    reduction: str = "sum",
) -> DDPMLoss:
    """The training loss of a diffusion model at one random step per example.

    ``ddpm_loss_at`` with ``key_t, key_noise = split(key)``, t ~ U{1..T} by
    int32 ``randint(key_t, [B], 1, T + 1)`` and normal noise of ``key_noise``.

    Shapes: x0 [B, *d], eps_fn([B, *d], int32 [B]) -> [B, *d]; DDPMLoss of a scalar and
    three [B].
    Article: kexue.fm/archives/9119.  Paper: arXiv 2006.11239, eq. 14.
    Differs: no; see ``ddpm_loss_at``.
    Cost: one call of eps_fn.
    Raises: TypeError or ValueError for a wrong key, dtype, shape or choice.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.diffusion import ddpm_loss, linear_schedule
        >>> key, schedule = jax.random.key(0), linear_schedule(T=100)
        >>> ddpm_loss(key, lambda x, t: x, schedule, jnp.zeros((4, 8))).loss.shape
        ()
    """
    name = "ddpm_loss"
    checks.key(name, "key", key)
    check_data(name, schedule, x0)
    key_t, key_noise = jax.random.split(key)
    t, noise = draw_steps(key_t, schedule, x0), normal_like(key_noise, x0)
    options = _Options(param, weight, sigma, gamma, reduction)
    return _loss_at(name, eps_fn, schedule, x0, t, noise, options)


def ddpm_loss_at(
    eps_fn: EpsFn,
    schedule: Schedule,
    x0: jax.Array,
    t: jax.Array,
    noise: jax.Array,
    *,
    param: str = "eps",
    weight: str = "simple",
    sigma: str = "posterior",
    gamma: float = 5.0,
    reduction: str = "sum",
) -> DDPMLoss:
    """The training loss of a diffusion model at given steps and noise.

    per_example = loss_weight_t ||noise - eps_hat||^2, eps_hat the eps of the output
    eps_fn(alpha_bar_t x0 + beta_bar_t noise, t) in parametrization ``param``.

    Shapes: x0 and noise [B, *d], t [B], eps_fn([B, *d], int32 [B]) -> [B, *d]; DDPMLoss
    of a scalar and three [B].
    Article: kexue.fm/archives/9119.  Paper: arXiv 2006.11239, eq. 14.
    Differs: for every ``param`` the error is measured in eps, from the output's own
    error (||v - v_hat|| = ||eps - eps_hat|| / alpha_bar_t, for one) and without a
    conversion. weight="vae" with sigma="posterior" takes sigma_1 = beta_1 at t = 1,
    where its weight is infinite.
    Cost: one call of eps_fn.
    Raises: TypeError or ValueError for a wrong dtype, shape or choice, for a concrete t
    outside of 1..T, and for an eps_fn that changes the shape.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.diffusion import ddpm_loss_at, linear_schedule
        >>> x0, noise, t = jnp.zeros((2, 3)), jnp.ones((2, 3)), jnp.array([1, 1000])
        >>> blind = lambda x, t: jnp.zeros_like(x)
        >>> ddpm_loss_at(blind, linear_schedule(), x0, t, noise).per_example.tolist()
        [3.0, 3.0]
    """
    options = _Options(param, weight, sigma, gamma, reduction)
    return _loss_at("ddpm_loss_at", eps_fn, schedule, x0, t, noise, options)


class _Options(NamedTuple):
    param: str
    weight: str
    sigma: str
    gamma: float
    reduction: str


def _loss_at(
    name: str,
    eps_fn: EpsFn,
    schedule: Schedule,
    x0: jax.Array,
    t: jax.Array,
    noise: jax.Array,
    options: _Options,
) -> DDPMLoss:
    param, weight, sigma, gamma, reduction = options
    checks.function(name, "eps_fn", eps_fn)
    checks.choice(name, "param", param, PARAMS)
    check_weight(name, "weight", weight, sigma, gamma)
    checks.choice(name, "reduction", reduction, REDUCTIONS)
    t = check_batch(name, schedule, t, x0=x0, noise=noise)
    errors = squared_error(name, eps_fn, schedule, x0, t, noise, param)
    errors = reduce_example(errors, reduction)
    if weight == "vae" and sigma == "posterior":
        first = _weight(schedule, t, weight, "beta", gamma)
        later = _weight(schedule, jnp.maximum(t, 2), weight, sigma, gamma)
        w = jnp.where(t == 1, first, later)
    else:
        w = _weight(schedule, t, weight, sigma, gamma)
    per_example = w.astype(errors.dtype) * errors
    return DDPMLoss(jnp.mean(per_example), per_example, errors, t)


def _weight(
    schedule: Schedule, t: jax.Array, kind: str, sigma: str, gamma: float
) -> jax.Array:
    at = entries(schedule, t, t)
    if kind == "simple":
        return jnp.ones_like(at.beta)
    if kind == "score":
        return safe_divide(jnp.ones_like(at.beta), at.beta_bar**2)
    if kind == "x0":
        return (at.beta_bar / at.alpha_bar) ** 2
    if kind == "min_snr":
        return jnp.minimum(1, gamma * (at.beta_bar / at.alpha_bar) ** 2)
    relative = safe_divide(at.beta, at.alpha * at.beta_bar)
    if kind == "regression":
        return (at.beta * relative) ** 2
    if sigma == "beta":
        return relative**2 / 2
    before = entries(schedule, t - 1, t)
    return (at.beta / (at.alpha * before.beta_bar)) ** 2 / 2


def squared_error(
    name: str,
    eps_fn: EpsFn,
    schedule: Schedule,
    x0: jax.Array,
    t: jax.Array,
    noise: jax.Array,
    param: str,
) -> jax.Array:
    """(noise - eps_hat)^2 [B, *d] of a network, in at least float32."""
    at = entries(schedule, t, x0, noise)
    x0_wide, noise_wide = x0.astype(at.dtype), noise.astype(at.dtype)
    x_t = at.alpha_bar * x0_wide + at.beta_bar * noise_wide
    out = predict(name, eps_fn, x_t.astype(x0.dtype), t)
    target, scale = _target(param, x0_wide, noise_wide, at)
    return (scale * (target - out.astype(at.dtype))) ** 2


def _target(
    param: str, x0: jax.Array, eps: jax.Array, at: Entries
) -> tuple[jax.Array, jax.Array]:
    """What the network should say, and |eps's error / its error|."""
    if param == "eps1":
        target = safe_divide(at.beta, at.beta_bar) * eps
        return target, safe_divide(at.beta_bar, at.beta)
    if param == "x0":
        return x0, safe_divide(at.alpha_bar, at.beta_bar)
    if param == "v":
        return at.alpha_bar * eps - at.beta_bar * x0, at.alpha_bar
    if param == "score":
        return -safe_divide(eps, at.beta_bar), at.beta_bar
    return eps, jnp.ones_like(at.beta)


def reduce_example(values: jax.Array, reduction: str) -> jax.Array:
    """[B, *d] -> [B], the sum or the mean over d."""
    axes = tuple(range(1, values.ndim))
    return jnp.sum(values, axes) if reduction == "sum" else jnp.mean(values, axes)


def check_batch(name: str, schedule: Schedule, t: Any, **arrays: Any) -> jax.Array:
    """Check ``arrays [B, *d]`` and ``t [B]``; t as int32."""
    t = check_inputs(name, schedule, t, 1, **arrays)
    checks.shapes(name, t=(t, "B"))
    return t


def check_data(name: str, schedule: Schedule, x0: Any, argument: str = "x0") -> None:
    """Check ``x0 [B, *d]`` before noise is drawn for it."""
    check_schedule(name, schedule)
    checks.array(name, argument, x0)
    checks.shapes(name, **{argument: (x0, "B *d")})


def check_weight(name: str, argument: str, kind: Any, sigma: Any, gamma: Any) -> None:
    """Raise unless the three say a weight of ``loss_weight``."""
    checks.choice(name, argument, kind, WEIGHTS)
    checks.choice(name, "sigma", sigma, VAE_SIGMAS)
    checks.number(name, "gamma", gamma, minimum=0, open_minimum=True)


def draw_steps(key: jax.Array, schedule: Schedule, x0: jax.Array) -> jax.Array:
    """t ~ U{1..T} for every example, int32 [B]."""
    return jax.random.randint(key, x0.shape[:1], 1, schedule.T + 1, jnp.int32)
