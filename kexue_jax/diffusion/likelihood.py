"""The exact evidence bound of a chain in bits per dimension, and optimal variances."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.keys import normal_like
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.diffusion._network import EpsFn, predict
from kexue_jax.diffusion.decoder import discretized_log_likelihood
from kexue_jax.diffusion.losses import check_data, reduce_example, squared_error
from kexue_jax.diffusion.parametrizations import PARAMS, convert
from kexue_jax.diffusion.process import q_sample
from kexue_jax.diffusion.schedules import Schedule

SIGMAS = ("posterior", "beta")


class Elbo(NamedTuple):
    """An upper bound of -log2 q(x0) per dimension by example, [B], and its three parts.

    bits_per_dim = prior + diffusion + reconstruction: KL(p(x_T | x0) || N(0, I)), the
    KL of all steps t = 2..T, and -log2 of the discretized decoder at t = 1.
    """

    bits_per_dim: jax.Array
    prior: jax.Array
    diffusion: jax.Array
    reconstruction: jax.Array


def elbo_bits_per_dim(
    key: jax.Array,
    eps_fn: EpsFn,
    schedule: Schedule,
    x0: jax.Array,
    *,
    levels: int = 256,
    sigma: str | jax.Array = "posterior",
    num_t: int | None = None,
    param: str = "eps",
) -> Elbo:
    """The variational bound of the negative log-likelihood, in bits per dimension.

    KL(p(x_T|x0) || N(0, I)) + sum_{t=2}^T {(d/2) [r_t - 1 - ln r_t] + beta_t^4 / (2
    sigma_t^2 alpha_t^2 beta_bar_t^2) ||eps - eps_hat||^2} + L_0, over d ln 2, r_t =
    v_t^2 / sigma_t^2, v_t = beta_bar_{t-1} beta_t / beta_bar_t, L_0 = -sum
    discretized_log_likelihood(x0, x0_hat, sigma_1).

    Shapes: x0 [B, *d] on the grid of ``levels`` over [-1, 1], eps_fn([B, *d], int32
    [B]) -> [B, *d], sigma a name or [T + 1] -> Elbo of four [B].
    Article: kexue.fm/archives/9152.  Paper: arXiv 2006.11239, eq. 5 and 13.
    Differs: no factor is dropped. sigma_t is "posterior" (v_t, and beta_1 in L_0, where
    v_1 = 0), "beta" (beta_t) or the given entries, which must be positive. One noise a
    step, normal of ``fold_in(key, t)``, makes the sum over all T steps unbiased; with
    ``num_t`` it is estimated, unbiased too, from num_t steps an example, drawn by
    their weight in num_t strata (u of ``fold_in(key, 0)``, noise i = 1.. of
    ``fold_in(key, 1 + i)``).
    Cost: T calls of eps_fn, or num_t + 1, in one scan; the memory of one call.
    Raises: TypeError or ValueError for a wrong key, dtype, shape or choice, levels < 2,
    and for an eps_fn that changes the shape.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.diffusion import elbo_bits_per_dim, linear_schedule
        >>> key, schedule = jax.random.key(0), linear_schedule(T=50)
        >>> bound = elbo_bits_per_dim(key, lambda x, t: x, schedule, jnp.zeros((2, 3)))
        >>> bound.bits_per_dim.shape
        (2,)
    """
    name = "elbo_bits_per_dim"
    checks.key(name, "key", key)
    checks.function(name, "eps_fn", eps_fn)
    check_data(name, schedule, x0)
    checks.count(name, "levels", levels, minimum=2)
    checks.choice(name, "param", param, PARAMS)
    if num_t is not None:
        checks.count(name, "num_t", num_t)
    dtype = accumulation_dtype(schedule.beta, x0)
    chain = Schedule(*(jnp.asarray(part, dtype) for part in schedule))
    std, first = _stds(name, chain, sigma)

    def errors(index: jax.Array | int, t: jax.Array) -> jax.Array:
        noise = normal_like(jax.random.fold_in(key, index), x0)
        squares = squared_error(name, eps_fn, chain, x0, t, noise, param)
        return reduce_example(squares, "sum")

    noise = normal_like(jax.random.fold_in(key, 1), x0)
    mean = _decoder_mean(name, eps_fn, chain, x0.astype(dtype), noise, x0.dtype, param)
    log_prob = discretized_log_likelihood(x0, mean, first, levels=levels)
    rest, weight = _terms(chain, std)
    size = math.prod(x0.shape[1:])
    nats = (
        _prior(chain, x0.astype(dtype)),
        size * jnp.sum(rest) + _weighted_errors(key, errors, weight, x0, num_t),
        -reduce_example(log_prob, "sum"),
    )
    parts = [part / (size * math.log(2)) for part in nats]
    return Elbo(parts[0] + parts[1] + parts[2], *parts)


def _stds(name: str, chain: Schedule, sigma: Any) -> tuple[jax.Array, jax.Array]:
    """sigma_t for t = 2..T, and the sigma_1 of the decoder."""
    if not checks.is_array(sigma):
        checks.choice(name, "sigma", sigma, SIGMAS)
        if sigma == "beta":
            return chain.beta[2:], chain.beta[1]
        return chain.beta_bar[1:-1] * chain.beta[2:] / chain.beta_bar[2:], chain.beta[1]
    checks.array(name, "sigma", sigma)
    checks.shapes(name, sigma=(sigma, str(chain.T + 1)))
    given = jnp.asarray(sigma, chain.beta.dtype)
    return given[2:], given[1]


def _terms(chain: Schedule, std: jax.Array) -> tuple[jax.Array, jax.Array]:
    """For t = 2..T: the KL of a variance v_t^2 that is not sigma_t^2, in nats for one
    dimension, and the weight of ||eps - eps_hat||^2."""
    alpha, beta, _, beta_bar = (part[2:] for part in chain)
    v = chain.beta_bar[1:-1] * beta / beta_bar
    excess = (v / std) ** 2 - 1
    return (excess - jnp.log1p(excess)) / 2, (
        beta**2 / (alpha * beta_bar * std)
    ) ** 2 / 2


def _prior(chain: Schedule, x0: jax.Array) -> jax.Array:
    """KL(p(x_T | x0) || N(0, I)) in nats, [B]."""
    power = chain.alpha_bar[-1] ** 2
    # -ln beta_bar_T^2, which is about alpha_bar_T^2 on a chain that ends in noise.
    log = jnp.where(power < 0.5, -jnp.log1p(-power), -2 * jnp.log(chain.beta_bar[-1]))
    return reduce_example(power * (x0**2 - 1) + log, "sum") / 2


def _weighted_errors(
    key: jax.Array,
    errors: Callable[[jax.Array, jax.Array], jax.Array],
    weight: jax.Array,
    x0: jax.Array,
    num_t: int | None,
) -> jax.Array:
    """sum_{t=2}^T weight_t errors_t, [B]: all of it, or estimated from num_t steps."""
    batch, count = x0.shape[0], weight.size
    if num_t is None or not count:
        index = jnp.arange(2, count + 2)
        steps = jnp.broadcast_to(index[:, None], (count, batch))
        factor = weight
    else:
        index = jnp.arange(2, num_t + 2)
        u = jax.random.uniform(jax.random.fold_in(key, 0), (num_t, batch), weight.dtype)
        place = (jnp.arange(num_t, dtype=u.dtype)[:, None] + u) / num_t
        total = jnp.sum(weight)
        steps = 2 + jnp.searchsorted(jnp.cumsum(weight), place * total, side="right")
        steps = jnp.minimum(steps, count + 1)
        factor = jnp.full(num_t, total / num_t)

    def add(sum_: jax.Array, inputs: Any) -> tuple[jax.Array, None]:
        number, t, w = inputs
        return sum_ + w * errors(number, t), None

    start = jnp.zeros(batch, weight.dtype)
    inputs = (index, steps.astype(jnp.int32), factor)
    return jax.lax.scan(add, start, inputs)[0]


def _decoder_mean(
    name: str,
    eps_fn: EpsFn,
    chain: Schedule,
    x0: jax.Array,
    noise: jax.Array,
    dtype: Any,
    param: str,
) -> jax.Array:
    """The network's x0 at t = 1, from x_1 shown to it in ``dtype``."""
    t = jnp.ones(x0.shape[:1], jnp.int32)
    x_1 = q_sample(chain, x0, t, noise)
    out = predict(name, eps_fn, x_1.astype(dtype), t)
    return convert(chain, x_1, t, out, from_=param, to="x0")
