"""The variance of the data that a trained network implies, for optimal sampling."""

from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.keys import normal_like
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.diffusion._network import EpsFn, predict
from kexue_jax.diffusion.losses import check_data
from kexue_jax.diffusion.parametrizations import PARAMS, convert
from kexue_jax.diffusion.process import q_sample
from kexue_jax.diffusion.schedules import Schedule


def analytic_variance(
    key: jax.Array,
    eps_fn: EpsFn,
    schedule: Schedule,
    data: jax.Array,
    *,
    param: str = "eps",
    bounds: tuple[float, float] | None = (-1.0, 1.0),
) -> jax.Array:
    """The mean variance of x_0 given x_t, for every step, from the size of eps.

    variance_t = (beta_bar_t^2 / alpha_bar_t^2) (1 - c_t), c_t = E ||eps_fn(x_t, t)||^2
    / d over the data, cut to 0 <= variance_t <= ((b - a) / 2)^2 for data in bounds =
    (a, b). The reverse step of mean that of ``ddim_posterior`` at the predicted x0 has
    the optimal variance sigma_t^2 + gamma_t^2 variance_t, gamma_t its coefficient of
    x0.

    Shapes: data [N, *d], eps_fn([N, *d], int32 [N]) -> [N, *d] -> [T + 1], in at least
    float32, with 0 at t = 0.
    Article: kexue.fm/archives/9245 and 9246.  Paper: arXiv 2201.06503.
    Differs: ``bounds=None`` leaves out the cut from above. The noise at t is normal of
    ``fold_in(key, t)``.
    Cost: T calls of eps_fn on all of data, in one scan; the memory of one.
    Raises: TypeError or ValueError for a wrong key, dtype, shape, choice or bounds, and
    for an eps_fn that changes the shape.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.diffusion import analytic_variance, linear_schedule
        >>> key, schedule = jax.random.key(0), linear_schedule(T=50)
        >>> blind = lambda x, t: jnp.zeros_like(x)
        >>> analytic_variance(key, blind, schedule, jnp.zeros((4, 3)))[-1].item()
        1.0
    """
    name = "analytic_variance"
    checks.key(name, "key", key)
    checks.function(name, "eps_fn", eps_fn)
    check_data(name, schedule, data, "data")
    checks.choice(name, "param", param, PARAMS)
    top = _half_range(name, bounds)
    dtype = accumulation_dtype(schedule.beta, data)
    chain = Schedule(*(jnp.asarray(part, dtype) for part in schedule))
    wide = data.astype(dtype)

    def power(carry: None, step: jax.Array) -> tuple[None, jax.Array]:
        t = jnp.full(data.shape[:1], step)
        noise = normal_like(jax.random.fold_in(key, step), data)
        x_t = q_sample(chain, wide, t, noise)
        out = predict(name, eps_fn, x_t.astype(data.dtype), t)
        eps = convert(chain, x_t, t, out, from_=param, to="eps")
        return carry, jnp.mean(eps**2)

    steps = jnp.arange(1, schedule.T + 1, dtype=jnp.int32)
    _, c = jax.lax.scan(power, None, steps)
    variance = (chain.beta_bar[1:] / chain.alpha_bar[1:]) ** 2 * (1 - c)
    variance = jnp.clip(variance, 0, top)
    return jnp.concatenate([jnp.zeros(1, dtype), variance])


def _half_range(name: str, bounds: Any) -> float | None:
    """((b - a) / 2)^2, or None for no bound; raise unless a < b are two numbers."""
    if bounds is None:
        return None
    if not isinstance(bounds, (tuple, list)) or len(bounds) != 2:
        raise checks.fail(name, "bounds", repr(bounds), "a pair (a, b) or None")
    for bound in bounds:
        checks.number(name, "bounds", bound)
    a, b = bounds
    if not a < b:
        raise checks.fail(name, "bounds", repr(bounds), "a pair of a < b")
    return ((b - a) / 2) ** 2
