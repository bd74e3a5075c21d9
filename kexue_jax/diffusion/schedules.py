"""Noise schedules in the blog's notation, valid at every T, and the papers' notations.

The blog writes one step as ``x_t = alpha_t x_{t-1} + beta_t eps_t`` with ``alpha_t^2 +
beta_t^2 = 1``; the DDPM paper's alpha_t, beta_t are the squares of these, and the DDIM
paper's alpha_t is the square of ``alpha_bar_t``. Everything is built in float64 NumPy
and cast at the end.
"""

import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks


class Schedule(NamedTuple):
    """Coefficients of a diffusion of T steps, each of shape ``[T + 1]``.

    Index 0 is the data: ``alpha = 1, beta = 0, alpha_bar = 1, beta_bar = 0``, so that
    index t is step t of the mathematics. ``alpha_bar_t`` is the product of the first
    t alphas and ``beta_bar_t = sqrt(1 - alpha_bar_t^2)``, kept beside it because it
    cannot be recovered from a float32 ``alpha_bar`` near t = 0.

    Article: kexue.fm/archives/9119. Paper: arXiv 2006.11239, section 2.
    """

    alpha: jax.Array
    beta: jax.Array
    alpha_bar: jax.Array
    beta_bar: jax.Array

    @property
    def T(self) -> int:
        """The number of steps."""
        return self.alpha.shape[-1] - 1


class PaperNotation(NamedTuple):
    """One schedule in the notations of the papers, steps 1..T only, float64 NumPy."""

    ddpm_beta: np.ndarray
    ddpm_alpha: np.ndarray
    ddpm_alpha_bar: np.ndarray
    ddim_alpha: np.ndarray


def kexue_schedule(
    *, T: int = 1000, rescale: bool = True, dtype: Any = jnp.float32
) -> Schedule:
    """The blog's default schedule.

    beta_t^2 = (20 / T) t / T and alpha_t = sqrt(1 - beta_t^2); at T = 1000 these are
    the article's ``alpha_t = sqrt(1 - 0.02 t / T)``.

    Shapes: -> four arrays [T + 1].
    Article: kexue.fm/archives/9119.  Paper: arXiv 2006.11239.
    Differs: the article's 0.02 holds at T = 1000 only (at T = 100 it leaves alpha_bar_T
    = 0.60, far from noise), so it is scaled to 20 / T; ``rescale=False`` keeps the
    literal form and warns where alpha_bar_T > 0.05.
    Cost: O(T) time and memory.
    Raises: TypeError or ValueError for a bad T or dtype, and ValueError for T <= 20
    with ``rescale``, where beta_T would reach 1: take ``surrogate_schedule`` there.
    Example:
        >>> from kexue_jax.diffusion import kexue_schedule
        >>> print(f"{kexue_schedule(T=1000).alpha_bar[-1]:.6f}")
        0.006482
    """
    checks.count("kexue_schedule", "T", T)
    checks.flag("kexue_schedule", "rescale", rescale)
    checks.float_dtype("kexue_schedule", "dtype", dtype)
    if rescale and T <= 20:
        wanted = "at least 21 (beta_T^2 = 20 / T must stay below 1; see Raises)"
        raise checks.fail("kexue_schedule", "T", T, wanted)
    top = 20.0 / T if rescale else 0.02
    beta_squared = top * np.arange(1, T + 1) / T
    if not rescale:
        _warn_unless_noise("kexue_schedule", beta_squared)
    return _from_beta_squared(beta_squared, dtype)


def linear_schedule(
    *, T: int = 1000, rescale: bool = True, dtype: Any = jnp.float32
) -> Schedule:
    """The linear schedule of the DDPM paper.

    beta_t^2 = (1000 / T) linspace(1e-4, 0.02, T)_t (the paper's beta_t).

    Shapes: -> four arrays [T + 1].
    Article: kexue.fm/archives/9119.  Paper: arXiv 2006.11239, section 4.
    Differs: the paper's numbers hold at T = 1000 only, so they are scaled by 1000 / T;
    ``rescale=False`` keeps them and warns where alpha_bar_T > 0.05.
    Cost: O(T) time and memory.
    Raises: TypeError or ValueError for a bad T or dtype, and ValueError for T <= 20
    with ``rescale``, where beta_T would reach 1: take ``surrogate_schedule`` there.
    Example:
        >>> from kexue_jax.diffusion import linear_schedule
        >>> print(f"{linear_schedule(T=1000).alpha_bar[-1]:.6f}")
        0.006353
    """
    checks.count("linear_schedule", "T", T)
    checks.flag("linear_schedule", "rescale", rescale)
    checks.float_dtype("linear_schedule", "dtype", dtype)
    if rescale and T <= 20:
        wanted = "at least 21 (beta_T^2 = 20 / T must stay below 1; see Raises)"
        raise checks.fail("linear_schedule", "T", T, wanted)
    scale = 1000.0 / T if rescale else 1.0
    beta_squared = scale * np.linspace(1e-4, 0.02, T)
    if not rescale:
        _warn_unless_noise("linear_schedule", beta_squared)
    return _from_beta_squared(beta_squared, dtype)


def cosine_schedule(*, T: int = 1000, dtype: Any = jnp.float32) -> Schedule:
    """The cosine schedule of improved DDPM, valid at every T.

    alpha_bar_t^2 = f(t) / f(0), f(t) = cos^2(((t/T + 0.008) / 1.008) pi / 2), and
    beta_t^2 clipped at 0.999.

    Shapes: -> four arrays [T + 1].
    Article: kexue.fm/archives/9119.  Paper: arXiv 2102.09672, eq. 17.
    Differs: no.
    Cost: O(T) time and memory.
    Raises: TypeError or ValueError for a bad T or dtype.
    Example:
        >>> from kexue_jax.diffusion import cosine_schedule
        >>> print(f"{cosine_schedule(T=1000).alpha_bar[-1]:.2e}")
        4.93e-05
    """
    checks.count("cosine_schedule", "T", T)
    checks.float_dtype("cosine_schedule", "dtype", dtype)
    f = np.cos((np.arange(T + 1) / T + 0.008) / 1.008 * np.pi / 2) ** 2
    beta_squared = np.minimum(1 - f[1:] / f[:-1], 0.999)
    return _from_beta_squared(beta_squared, dtype)


def surrogate_schedule(*, T: int = 1000, dtype: Any = jnp.float32) -> Schedule:
    """The article's continuous surrogate of its schedule, valid at every T.

    alpha_bar_t = exp(-5 (t/T)^2).

    Shapes: -> four arrays [T + 1].
    Article: kexue.fm/archives/9228.  Paper: arXiv 2011.13456.
    Differs: no; it ends at alpha_bar_T = 0.00674 where ``kexue_schedule`` ends at
    0.00648.
    Cost: O(T) time and memory.
    Raises: TypeError or ValueError for a bad T or dtype.
    Example:
        >>> from kexue_jax.diffusion import surrogate_schedule
        >>> print(f"{surrogate_schedule(T=4).alpha_bar[-1]:.6f}")
        0.006738
    """
    checks.count("surrogate_schedule", "T", T)
    checks.float_dtype("surrogate_schedule", "dtype", dtype)
    log_alpha_bar = -5 * (np.arange(T + 1) / T) ** 2
    return _from_log_alpha(np.diff(log_alpha_bar), dtype)


def schedule_from_alpha_bar(alpha_bar: Any, *, dtype: Any = jnp.float32) -> Schedule:
    """The schedule whose cumulative signal rates are ``alpha_bar``.

    alpha_t = alpha_bar_t / alpha_bar_{t-1}, with alpha_bar_0 = 1 put in front.

    Shapes: alpha_bar [T] (steps 1..T) -> four arrays [T + 1].
    Article: kexue.fm/archives/9119.  Paper: arXiv 2010.02502 (its alpha_t is the
    square of alpha_bar_t here).
    Differs: no.
    Cost: O(T) time and memory.
    Raises: TypeError if ``alpha_bar`` is traced or not of floating dtype; ValueError
    unless it is one-dimensional, not empty, and falls strictly from below 1 to above 0.
    Example:
        >>> from kexue_jax.diffusion import schedule_from_alpha_bar
        >>> schedule_from_alpha_bar([0.8, 0.4]).alpha.tolist()
        [1.0, 0.800000011920929, 0.5]
    """
    name = "schedule_from_alpha_bar"
    checks.float_dtype(name, "dtype", dtype)
    values = checks.concrete(name, "alpha_bar", alpha_bar, "floating")
    values = values.astype(np.float64)
    if values.ndim != 1 or not values.size:
        raise checks.fail(name, "alpha_bar", f"shape {values.shape}", "of shape [T]")
    full = np.concatenate([[1.0], values])
    if not (np.isfinite(full).all() and (full > 0).all() and (np.diff(full) < 0).all()):
        wanted = "strictly falling from below 1 to above 0"
        raise checks.fail(name, "alpha_bar", values, wanted)
    return _from_log_alpha(np.diff(np.log(full)), dtype)


def schedule_from_ddpm_betas(betas: Any, *, dtype: Any = jnp.float32) -> Schedule:
    """The schedule that the DDPM paper, and most code, writes as ``betas``.

    beta_t^2 = betas_t: the paper's beta_t is a variance, the blog's a standard
    deviation.

    Shapes: betas [T] (steps 1..T) -> four arrays [T + 1].
    Article: kexue.fm/archives/9119.  Paper: arXiv 2006.11239.
    Differs: no.
    Cost: O(T) time and memory.
    Raises: TypeError if ``betas`` is traced or not of floating dtype; ValueError unless
    it is one-dimensional, not empty, and lies strictly between 0 and 1.
    Example:
        >>> from kexue_jax.diffusion import schedule_from_ddpm_betas
        >>> schedule_from_ddpm_betas([0.36, 0.75]).alpha_bar.tolist()
        [1.0, 0.800000011920929, 0.4000000059604645]
    """
    name = "schedule_from_ddpm_betas"
    checks.float_dtype(name, "dtype", dtype)
    values = checks.concrete(name, "betas", betas, "floating").astype(np.float64)
    if values.ndim != 1 or not values.size:
        raise checks.fail(name, "betas", f"shape {values.shape}", "of shape [T]")
    if not ((values > 0) & (values < 1)).all():
        raise checks.fail(name, "betas", values, "strictly between 0 and 1")
    return _from_beta_squared(values, dtype)


def paper_notation(schedule: Schedule) -> PaperNotation:
    """The schedule as the DDPM and the DDIM paper write it, for steps 1..T.

    ddpm_beta = beta^2, ddpm_alpha = alpha^2, ddpm_alpha_bar = alpha_bar^2, and
    ddim_alpha = alpha_bar^2.

    Shapes: schedule [T + 1] each -> four float64 NumPy arrays [T].
    Article: kexue.fm/archives/9119.  Paper: arXiv 2006.11239 and 2010.02502.
    Differs: no.
    Cost: O(T) time and memory.
    Raises: TypeError unless ``schedule`` is a Schedule of concrete arrays.
    Example:
        >>> from kexue_jax.diffusion import linear_schedule, paper_notation
        >>> print(f"{paper_notation(linear_schedule(T=1000)).ddpm_beta[0]:.1e}")
        1.0e-04
    """
    check_schedule("paper_notation", schedule)
    alpha, beta, alpha_bar, _ = (
        checks.concrete("paper_notation", name, value, "floating")[1:].astype(float)
        for name, value in zip(Schedule._fields, schedule, strict=True)
    )
    squared = alpha_bar**2
    return PaperNotation(beta**2, alpha**2, squared, squared.copy())


def check_schedule(function: str, schedule: Any) -> None:
    """Raise TypeError unless ``schedule`` is a Schedule of floating arrays [T + 1]."""
    if not isinstance(schedule, Schedule):
        got = f"a {type(schedule).__name__}"
        raise checks.fail_type(function, "schedule", got, "a Schedule")
    for value in schedule:
        checks.array(function, "schedule", value)
    fields = schedule._asdict().items()
    checks.shapes(function, **{f"schedule.{f}": (v, "steps") for f, v in fields})


def _warn_unless_noise(name: str, beta_squared: np.ndarray) -> None:
    alpha_bar = np.exp(0.5 * np.log1p(-beta_squared).sum())
    if alpha_bar > 0.05:
        warnings.warn(
            f"{name}: alpha_bar_T = {alpha_bar:.3f} at T = {beta_squared.size}: x_T is "
            "not noise, and sampling from N(0, I) starts off the chain. Use "
            "rescale=True.",
            UserWarning,
            stacklevel=3,
        )


def _from_beta_squared(beta_squared: np.ndarray, dtype: Any) -> Schedule:
    return _from_log_alpha(0.5 * np.log1p(-beta_squared), dtype)


def _from_log_alpha(log_alpha: np.ndarray, dtype: Any) -> Schedule:
    """Build in float64 from ``ln alpha_t``, t = 1..T, and cast once."""
    log_alpha = np.concatenate([[0.0], log_alpha])
    log_alpha_bar = np.cumsum(log_alpha)
    parts = (
        np.exp(log_alpha),
        np.sqrt(0.0 - np.expm1(2 * log_alpha)),
        np.exp(log_alpha_bar),
        np.sqrt(0.0 - np.expm1(2 * log_alpha_bar)),
    )
    return Schedule(*(jnp.asarray(part, dtype) for part in parts))
