"""The forward process and the distributions of its earlier steps.

In the blog's notation ``x_t = alpha_bar_t x_0 + beta_bar_t eps``. A time ``t`` is an
integer array whose shape starts that of x (one step per example), or one integer for
all of x. Concrete steps outside of the schedule are refused; under jit the values are
not known, and a step out of range is taken as the nearest step of the schedule.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks
from kexue_jax._base.masks import safe_divide, safe_root
from kexue_jax._base.numerics import expand_trailing
from kexue_jax.diffusion.indexing import check_inputs, check_steps, entries
from kexue_jax.diffusion.schedules import Schedule

SIGMA_KINDS = ("beta", "posterior", "zero")


class Posterior(NamedTuple):
    """A normal distribution of an earlier x: mean [..., *d], variance [..., 1, ..., 1].

    The variance has an axis of size 1 for each of d, so that it meets the mean.
    """

    mean: jax.Array
    variance: jax.Array


def q_sample(
    schedule: Schedule, x0: jax.Array, t: jax.Array, noise: jax.Array
) -> jax.Array:
    """The data noised to step t, a sample of p(x_t | x_0).

    x_t = alpha_bar_t x0 + beta_bar_t noise; t = 0 returns x0.

    Shapes: t [...] integer, x0 and noise [..., *d] -> [..., *d].
    Article: kexue.fm/archives/9119.  Paper: arXiv 2006.11239, eq. 4.
    Differs: no; computed in at least float32 and cast to the dtype of x0.
    Cost: one pass over x0.
    Raises: TypeError or ValueError for a wrong dtype or shape, and for a concrete t
    outside of 0..T.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.diffusion import linear_schedule, q_sample
        >>> schedule, t = linear_schedule(T=1000), jnp.array([0, 1000])
        >>> x_t = q_sample(schedule, jnp.ones((2, 3)), t, jnp.zeros((2, 3)))
        >>> print(f"{x_t[0, 0]:.4f} {x_t[1, 0]:.4f}")
        1.0000 0.0064
    """
    name = "q_sample"
    t = check_inputs(name, schedule, t, 0, x0=x0, noise=noise)
    at = entries(schedule, t, x0, noise)
    x_t = at.alpha_bar * x0.astype(at.dtype) + at.beta_bar * noise.astype(at.dtype)
    return x_t.astype(x0.dtype)


def posterior(
    schedule: Schedule, x0: jax.Array, x_t: jax.Array, t: jax.Array
) -> Posterior:
    """The distribution p(x_{t-1} | x_t, x_0) of the chain one step earlier.

    mean = (alpha_t beta_bar_{t-1}^2 x_t + alpha_bar_{t-1} beta_t^2 x0) / beta_bar_t^2,
    variance = beta_bar_{t-1}^2 beta_t^2 / beta_bar_t^2.

    Shapes: t [...] integer, x0 and x_t [..., *d] -> mean [..., *d], variance
    [..., 1, ..., 1].
    Article: kexue.fm/archives/9164.  Paper: arXiv 2006.11239, eq. 6 and 7.
    Differs: no; at t = 1 it is x0 with variance 0.
    Cost: one pass over x_t.
    Raises: TypeError or ValueError for a wrong dtype or shape, and for a concrete t
    outside of 1..T.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.diffusion import linear_schedule, posterior
        >>> schedule, t = linear_schedule(T=1000), jnp.array([1, 2])
        >>> earlier = posterior(schedule, jnp.ones(2), jnp.zeros(2), t)
        >>> print([f"{m:.4f}" for m in earlier.mean])
        ['1.0000', '0.5453']
    """
    name = "posterior"
    t = check_inputs(name, schedule, t, 1, x0=x0, x_t=x_t)
    at, before = entries(schedule, t, x_t, x0), entries(schedule, t - 1, x_t, x0)
    kept = safe_divide(before.beta_bar, at.beta_bar)
    new = safe_divide(at.beta, at.beta_bar)
    x_part = at.alpha * kept**2 * x_t.astype(at.dtype)
    mean = x_part + before.alpha_bar * new**2 * x0.astype(at.dtype)
    variance = (before.beta_bar * new) ** 2
    return Posterior(mean.astype(x_t.dtype), variance.astype(x_t.dtype))


def ddim_posterior(
    schedule: Schedule,
    x0: jax.Array,
    x_t: jax.Array,
    t: jax.Array,
    sigma: float | jax.Array,
    *,
    s: jax.Array | None = None,
) -> Posterior:
    """The DDIM family's p(x_s | x_t, x_0) of standard deviation sigma, s = t - 1.

    mean = k x_t + (alpha_bar_s - alpha_bar_t k) x0, k = sqrt(beta_bar_s^2 - sigma^2) /
    beta_bar_t, variance = sigma^2. Every 0 <= sigma <= beta_bar_s keeps all marginals;
    ``posterior`` is the member sigma = beta_bar_s beta_t / beta_bar_t.

    Shapes: t and s [...] integer, sigma a number or [...], x0 and x_t [..., *d] -> mean
    [..., *d], variance [..., 1, ..., 1].
    Article: kexue.fm/archives/9181.  Paper: arXiv 2010.02502, eq. 7.
    Differs: a larger sigma (beta_t is one at t = 1, 2, 3 of the default schedule) makes
    the article's root imaginary; here it is taken as beta_bar_s, the largest of the
    family, so that the marginals hold. From t to t - 1 the coefficient of x0 is
    computed in a form without cancellation.
    Cost: one pass over x_t.
    Raises: TypeError or ValueError for a wrong dtype or shape, a negative number as
    sigma, a concrete t outside of 1..T, or a concrete s outside of 0..T-1.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.diffusion import ddim_posterior, linear_schedule
        >>> schedule, t = linear_schedule(T=1000), jnp.array([500])
        >>> end = ddim_posterior(schedule, jnp.ones(1), jnp.ones(1), t, 0.5, s=0)
        >>> end.mean.tolist(), end.variance.tolist()
        ([1.0], [0.0])
    """
    name = "ddim_posterior"
    t = check_inputs(name, schedule, t, 1, x0=x0, x_t=x_t)
    earlier = _check_earlier(name, schedule, t, s)
    at, before = entries(schedule, t, x_t, x0), entries(schedule, earlier, x_t, x0)
    sigma = _check_sigma(name, t, sigma, at.dtype)
    if s is None:
        a, b_squared = at.alpha, at.beta**2
    else:
        a = at.alpha_bar / before.alpha_bar
        b_squared = jnp.maximum(at.beta_bar**2 - (a * before.beta_bar) ** 2, 0)
    std = jnp.minimum(expand_trailing(sigma, at.beta), before.beta_bar)
    gap = (before.beta_bar - std) * (before.beta_bar + std)
    k = safe_divide(safe_root(gap), at.beta_bar)
    # alpha_bar_s - alpha_bar_t k = alpha_bar_s (1 - a k), by (1 - a^2 k^2) / (1 + a k).
    rest = safe_divide(b_squared + (a * std) ** 2, at.beta_bar**2) / (1 + a * k)
    mean = k * x_t.astype(at.dtype) + before.alpha_bar * rest * x0.astype(at.dtype)
    return Posterior(mean.astype(x_t.dtype), (std**2).astype(x_t.dtype))


def reverse_sigma(schedule: Schedule, t: jax.Array, *, kind: str) -> jax.Array:
    """The standard deviation of the reverse step from t to t - 1.

    "beta": beta_t, exact if the data is N(0, I); "posterior": beta_bar_{t-1} beta_t /
    beta_bar_t, exact if it is one point; "zero": 0.

    Shapes: t [...] integer -> [...], in the dtype of the schedule.
    Article: kexue.fm/archives/9164.  Paper: arXiv 2006.11239, section 3.2.
    Differs: no; "posterior" is 0 at t = 1.
    Cost: a gather.
    Raises: TypeError or ValueError for a wrong dtype or kind, and for a concrete t
    outside of 1..T.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.diffusion import kexue_schedule, reverse_sigma
        >>> schedule, t = kexue_schedule(T=1000), jnp.array([2, 1000])
        >>> sigma = reverse_sigma(schedule, t, kind="posterior")
        >>> print([f"{value:.5f}" for value in sigma])
        ['0.00365', '0.14142']
    """
    name = "reverse_sigma"
    checks.choice(name, "kind", kind, SIGMA_KINDS)
    t = check_steps(name, schedule, t, minimum=1)
    at, before = entries(schedule, t, t), entries(schedule, t - 1, t)
    if kind == "zero":
        return jnp.zeros_like(at.beta)
    if kind == "beta":
        return at.beta
    return before.beta_bar * safe_divide(at.beta, at.beta_bar)


def _check_sigma(function: str, t: jax.Array, sigma: Any, dtype: Any) -> jax.Array:
    """``sigma`` as an array of the shape of t; raise unless a number >= 0 or [...]."""
    if checks.is_array(sigma) and np.ndim(sigma):
        checks.array(function, "sigma", sigma)
        checks.shapes(function, t=(t, "..."), sigma=(sigma, "..."))
    else:
        checks.number(function, "sigma", sigma, minimum=0, traced=True)
    return jnp.broadcast_to(jnp.asarray(sigma, dtype), t.shape)


def _check_earlier(
    function: str, schedule: Schedule, t: jax.Array, s: Any
) -> jax.Array:
    """``s`` in the shape of t (t - 1 if None); raise if concrete and not before t."""
    if s is None:
        return t - 1
    s = check_steps(function, schedule, s, minimum=0, argument="s")
    if s.ndim:
        checks.shapes(function, t=(t, "..."), s=(s, "..."))
    s = jnp.broadcast_to(s, t.shape)
    late, early = checks.known(t), checks.known(s)
    if late is not None and early is not None and (early >= late).any():
        raise checks.fail(function, "s", early, f"earlier than t = {late}")
    return s
