"""One reverse step, ancestral (DDPM) or of the DDIM family, from level t to level s."""

from typing import Any

import jax

from kexue_jax._base import checks
from kexue_jax.diffusion.indexing import check_steps
from kexue_jax.diffusion.moves import (
    adjacent_move,
    apply_move,
    ddim_coefficients,
    ddpm_coefficients,
    sub_chain_move,
    variance_at,
)
from kexue_jax.diffusion.schedules import Schedule

SIGMAS = ("beta", "posterior", "zero", "analytic")


def ddpm_step(
    schedule: Schedule,
    x: jax.Array,
    eps: jax.Array,
    t: jax.Array,
    noise: jax.Array | None,
    *,
    sigma: str = "beta",
    variance: jax.Array | None = None,
    clip_x0: bool = False,
    last_noise: bool = False,
) -> jax.Array:
    """One ancestral step, x_{t-1} from x_t.

    x_{t-1} = (x - beta_t^2 / beta_bar_t eps) / alpha_t + sigma_t noise, with sigma_t:
    "beta" beta_t; "posterior" beta_bar_{t-1} beta_t / beta_bar_t; "zero" 0; "analytic"
    sqrt(posterior^2 + gamma_t^2 variance_t), gamma_t = alpha_bar_{t-1} beta_t^2 /
    beta_bar_t^2.

    Shapes: x, eps, noise [..., *d]; t [...] integers in 1..T; variance [T + 1] ->
    [..., *d]. ``noise`` None adds none.
    Article: kexue.fm/archives/9164 (9119, 9245).  Paper: arXiv 2006.11239, algorithm 2.
    Differs: the noise of the last step (t = 1) is left out as in the paper unless
    ``last_noise``, which the author's code has. ``clip_x0`` cuts the estimate of x_0 to
    [-1, 1] before the mean is formed, as the paper's code does and the author's not.
    Cost: O(size of x).
    Raises: TypeError or ValueError for shapes or dtypes that do not fit, a concrete t
    outside 1..T, an unknown sigma, or a variance given without (or missing with)
    sigma="analytic".
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.diffusion import ddpm_step, kexue_schedule
        >>> x, t = jnp.ones((2, 3)), jnp.array([1, 1000])
        >>> y = ddpm_step(kexue_schedule(), x, 0 * x, t, None)
        >>> print(f"{y[0, 0]:.5f} {y[1, 0]:.5f}")
        1.00001 1.01015
    """
    name = "ddpm_step"
    t = check_steps(name, schedule, t, minimum=1)
    _check_step_arrays(name, x, eps, noise, t=t)
    check_sigma(name, sigma, variance, schedule)
    checks.flag(name, "clip_x0", clip_x0)
    checks.flag(name, "last_noise", last_noise)
    move = adjacent_move(schedule, t, x)
    rates = ddpm_coefficients(move, sigma, variance_at(variance, t, x), last_noise)
    return apply_move(move, rates, x, eps, noise, clip_x0)[0]


def ddim_step(
    schedule: Schedule,
    x: jax.Array,
    eps: jax.Array,
    t: jax.Array,
    s: jax.Array,
    eta: float | jax.Array,
    noise: jax.Array | None,
    *,
    sigma_hat: bool = False,
    variance: jax.Array | None = None,
    clip_x0: bool = False,
    last_noise: bool = False,
) -> jax.Array:
    """One step of the DDIM family, x_s from x_t for any s < t.

    With a = alpha_bar_t / alpha_bar_s, b^2 = beta_bar_t^2 - a^2 beta_bar_s^2 (= 1 -
    a^2) and sigma = eta (beta_bar_s / beta_bar_t) b:
    x_s = (x - (beta_bar_t - a sqrt(beta_bar_s^2 - sigma^2)) eps) / a + sigma noise.

    Shapes: x, eps, noise [..., *d]; t, s [...] integers, 0 <= s < t <= T (0 is the
    data); eta a number or scalar; variance [T + 1] -> [..., *d]. ``noise`` None adds
    none.
    Article: kexue.fm/archives/9181 (9245).  Paper: arXiv 2010.02502, eq. 12.
    Differs: sigma above beta_bar_s (eta too large for the step) is cut there, where
    the formula gives NaN. ``sigma_hat`` is the paper's large variance: noise b with
    the eps coefficient of eta = 1, whatever ``eta`` says. ``variance`` (analytic)
    makes the noise sqrt(sigma^2 + gamma^2 variance_t), gamma = alpha_bar_s -
    alpha_bar_t sqrt(beta_bar_s^2 - sigma^2) / beta_bar_t. These two leave noise at
    s = 0; it is left out unless ``last_noise``.
    Cost: O(size of x).
    Raises: TypeError or ValueError for shapes or dtypes that do not fit, concrete t
    and s out of range or order, a negative eta, or sigma_hat together with variance.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.diffusion import ddim_step, kexue_schedule
        >>> x, t, s = jnp.ones((2, 3)), jnp.array([100, 1000]), jnp.array([0, 500])
        >>> y = ddim_step(kexue_schedule(), x, x, t, s, 0.0, None)
        >>> print(f"{y[0, 0]:.4f} {y[1, 0]:.4f}")
        0.7257 0.9596
    """
    name = "ddim_step"
    t = check_steps(name, schedule, t, minimum=1)
    s = check_steps(name, schedule, s, minimum=0, argument="s")
    _check_step_arrays(name, x, eps, noise, t=t, s=s)
    _check_order(name, t, s)
    checks.number(name, "eta", eta, minimum=0, traced=True)
    check_ddim_options(name, schedule, sigma_hat, variance, clip_x0, last_noise)
    move = sub_chain_move(schedule, t, s, x)
    analytic = variance_at(variance, t, x)
    rates = ddim_coefficients(move, eta, sigma_hat, analytic, last_noise)
    return apply_move(move, rates, x, eps, noise, clip_x0)[0]


def check_sigma(name: str, sigma: str, variance: Any, schedule: Schedule) -> None:
    """Raise unless ``sigma`` is a known kind with a variance iff it is "analytic"."""
    checks.choice(name, "sigma", sigma, SIGMAS)
    if (variance is not None) != (sigma == "analytic"):
        got = "None" if variance is None else "an array"
        wanted = "given if and only if `sigma` is 'analytic'"
        raise checks.fail(name, "variance", got, wanted)
    check_variance(name, variance, schedule)


def check_variance(name: str, variance: Any, schedule: Schedule) -> None:
    """Raise unless ``variance`` is None or a floating array of the schedule's steps."""
    if variance is not None:
        checks.array(name, "variance", variance)
        alpha = schedule.alpha
        checks.shapes(name, schedule=(alpha, "steps"), variance=(variance, "steps"))


def check_ddim_options(
    name: str,
    schedule: Schedule,
    sigma_hat: bool,
    variance: Any,
    clip_x0: bool,
    last_noise: bool,
) -> None:
    """Raise unless the keyword options of a DDIM step or sampler are in order."""
    checks.flag(name, "sigma_hat", sigma_hat)
    checks.flag(name, "clip_x0", clip_x0)
    checks.flag(name, "last_noise", last_noise)
    check_variance(name, variance, schedule)
    if sigma_hat and variance is not None:
        raise checks.fail(name, "variance", "an array", "None with `sigma_hat`")


def _check_step_arrays(
    name: str, x: Any, eps: Any, noise: Any, **levels: jax.Array
) -> None:
    checks.array(name, "x", x)
    checks.array(name, "eps", eps)
    if noise is not None:
        checks.array(name, "noise", noise)
    patterns = {"x": (x, "... *d"), "eps": (eps, "... *d"), "noise": (noise, "... *d")}
    starts = {letter: (level, "...") for letter, level in levels.items()}
    checks.shapes(name, **starts, **patterns)


def _check_order(name: str, t: jax.Array, s: jax.Array) -> None:
    upper, lower = checks.known(t), checks.known(s)
    if upper is not None and lower is not None and not (lower < upper).all():
        raise checks.fail(name, "s", lower.tolist(), f"below t = {upper.tolist()}")
