"""The blog's first loss, with four random variables, and the one with less variance.

A step of the chain needs x_{t-1} and the noise of that step, so that x_0, t and two
noises are drawn. One of them can be integrated out in closed form, which leaves the
expectation of the loss, and so of its gradient, and takes away variance.
"""

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.keys import normal_like
from kexue_jax._base.masks import safe_divide
from kexue_jax.diffusion._network import EpsFn, predict
from kexue_jax.diffusion.indexing import entries
from kexue_jax.diffusion.losses import (
    REDUCTIONS,
    DDPMLoss,
    check_batch,
    check_data,
    draw_steps,
    reduce_example,
)
from kexue_jax.diffusion.parametrizations import PARAMS, convert
from kexue_jax.diffusion.schedules import Schedule


def four_variable_loss(
    key: jax.Array,
    eps_fn: EpsFn,
    schedule: Schedule,
    x0: jax.Array,
    *,
    param: str = "eps1",
    reduction: str = "sum",
) -> DDPMLoss:
    """The loss of a network that predicts the noise of the last step alone.

    ``four_variable_loss_at`` with ``key_t, key_bar, key_eps = split(key, 3)``, t ~
    U{1..T} by int32 ``randint(key_t, [B], 1, T + 1)``, and eps_bar and eps normal noise
    of the other two.

    Shapes: x0 [B, *d], eps_fn([B, *d], int32 [B]) -> [B, *d]; DDPMLoss of a scalar and
    three [B].
    Article: kexue.fm/archives/9119.  Paper: arXiv 2006.11239, before its eq. 12.
    Differs: see ``four_variable_loss_at``.
    Cost: one call of eps_fn.
    Raises: TypeError or ValueError for a wrong key, dtype, shape or choice.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.diffusion import four_variable_loss, linear_schedule
        >>> key, schedule = jax.random.key(0), linear_schedule(T=100)
        >>> x0 = jnp.zeros((4, 8))
        >>> four_variable_loss(key, lambda x, t: x, schedule, x0).per_example.shape
        (4,)
    """
    name = "four_variable_loss"
    checks.key(name, "key", key)
    check_data(name, schedule, x0)
    key_t, key_bar, key_eps = jax.random.split(key, 3)
    t = draw_steps(key_t, schedule, x0)
    eps_bar, eps = normal_like(key_bar, x0), normal_like(key_eps, x0)
    return _four(name, eps_fn, schedule, x0, t, eps_bar, eps, param, reduction)


def four_variable_loss_at(
    eps_fn: EpsFn,
    schedule: Schedule,
    x0: jax.Array,
    t: jax.Array,
    eps_bar: jax.Array,
    eps: jax.Array,
    *,
    param: str = "eps1",
    reduction: str = "sum",
) -> DDPMLoss:
    """``four_variable_loss`` at given steps and noises.

    per_example = ||eps - eps1_hat||^2, eps1_hat the eps1 of the output eps_fn(x_t, t)
    at x_t = alpha_bar_t x0 + alpha_t beta_bar_{t-1} eps_bar + beta_t eps.

    Shapes: x0, eps_bar and eps [B, *d], t [B], eps_fn([B, *d], int32 [B]) -> [B, *d];
    DDPMLoss of a scalar and three [B].
    Article: kexue.fm/archives/9119.  Paper: arXiv 2006.11239, before its eq. 12.
    Differs: ``param`` lets the network say eps or another of the five instead of the
    article's eps1.
    Cost: one call of eps_fn.
    Raises: TypeError or ValueError for a wrong dtype, shape or choice, for a concrete t
    outside of 1..T, and for an eps_fn that changes the shape.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.diffusion import four_variable_loss_at, linear_schedule
        >>> x0, eps, t = jnp.zeros((2, 3)), jnp.ones((2, 3)), jnp.array([1, 1000])
        >>> blind = lambda x, t: jnp.zeros_like(x)
        >>> terms = four_variable_loss_at(blind, linear_schedule(), x0, t, eps, eps)
        >>> terms.per_example.tolist()
        [3.0, 3.0]
    """
    name = "four_variable_loss_at"
    return _four(name, eps_fn, schedule, x0, t, eps_bar, eps, param, reduction)


def reduced_variance_loss(
    key: jax.Array,
    eps_fn: EpsFn,
    schedule: Schedule,
    x0: jax.Array,
    *,
    param: str = "eps1",
    reduction: str = "sum",
) -> DDPMLoss:
    """The loss with the expectation of ``four_variable_loss`` and less variance.

    ``reduced_variance_loss_at`` with ``key_t, key_noise = split(key)``, t ~ U{1..T} by
    int32 ``randint(key_t, [B], 1, T + 1)`` and normal noise of ``key_noise``.

    Shapes: x0 [B, *d], eps_fn([B, *d], int32 [B]) -> [B, *d]; DDPMLoss of a scalar and
    three [B].
    Article: kexue.fm/archives/9119.  Paper: arXiv 2006.11239, eq. 12.
    Differs: see ``reduced_variance_loss_at``.
    Cost: one call of eps_fn.
    Raises: TypeError or ValueError for a wrong key, dtype, shape or choice.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.diffusion import linear_schedule, reduced_variance_loss
        >>> key, schedule = jax.random.key(0), linear_schedule(T=100)
        >>> x0 = jnp.zeros((4, 8))
        >>> reduced_variance_loss(key, lambda x, t: x, schedule, x0).per_example.shape
        (4,)
    """
    name = "reduced_variance_loss"
    checks.key(name, "key", key)
    check_data(name, schedule, x0)
    key_t, key_noise = jax.random.split(key)
    t, noise = draw_steps(key_t, schedule, x0), normal_like(key_noise, x0)
    return _reduced(name, eps_fn, schedule, x0, t, noise, param, reduction)


def reduced_variance_loss_at(
    eps_fn: EpsFn,
    schedule: Schedule,
    x0: jax.Array,
    t: jax.Array,
    noise: jax.Array,
    *,
    param: str = "eps1",
    reduction: str = "sum",
) -> DDPMLoss:
    """``reduced_variance_loss`` at given steps and noise.

    per_example = ||r noise - eps1_hat||^2 + d (alpha_t beta_bar_{t-1} / beta_bar_t)^2,
    r = beta_t / beta_bar_t, eps1_hat the eps1 of the output at x_t = alpha_bar_t x0 +
    beta_bar_t noise: the mean of ``four_variable_loss_at`` over omega, where eps =
    r noise - sqrt(1 - r^2) omega and eps_bar = sqrt(1 - r^2) noise + r omega.

    Shapes: x0 and noise [B, *d], t [B], eps_fn([B, *d], int32 [B]) -> [B, *d]; DDPMLoss
    of a scalar and three [B], ``squared_error`` without the second term.
    Article: kexue.fm/archives/9119.  Paper: arXiv 2006.11239, eq. 12.
    Differs: the article leaves the second term, which no parameter moves, unsaid; with
    reduction="mean" it is divided by d as the first is.
    Cost: one call of eps_fn.
    Raises: TypeError or ValueError for a wrong dtype, shape or choice, for a concrete t
    outside of 1..T, and for an eps_fn that changes the shape.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.diffusion import linear_schedule, reduced_variance_loss_at
        >>> x0, noise, t = jnp.zeros((1, 3)), jnp.ones((1, 3)), jnp.array([1])
        >>> blind = lambda x, t: jnp.zeros_like(x)
        >>> reduced_variance_loss_at(blind, linear_schedule(), x0, t, noise).loss.item()
        3.0
    """
    name = "reduced_variance_loss_at"
    return _reduced(name, eps_fn, schedule, x0, t, noise, param, reduction)


def _four(
    name: str,
    eps_fn: EpsFn,
    schedule: Schedule,
    x0: jax.Array,
    t: jax.Array,
    eps_bar: jax.Array,
    eps: jax.Array,
    param: str,
    reduction: str,
) -> DDPMLoss:
    _check(name, eps_fn, param, reduction)
    t = check_batch(name, schedule, t, x0=x0, eps_bar=eps_bar, eps=eps)
    at = entries(schedule, t, x0, eps_bar, eps)
    before = entries(schedule, t - 1, x0, eps_bar, eps)
    target, older = eps.astype(at.dtype), eps_bar.astype(at.dtype)
    x_t = at.alpha_bar * x0.astype(at.dtype) + at.beta * target
    x_t = x_t + at.alpha * before.beta_bar * older
    eps1 = _eps1(name, eps_fn, schedule, x_t, x0, t, param)
    errors = reduce_example((target - eps1) ** 2, reduction)
    return DDPMLoss(jnp.mean(errors), errors, errors, t)


def _reduced(
    name: str,
    eps_fn: EpsFn,
    schedule: Schedule,
    x0: jax.Array,
    t: jax.Array,
    noise: jax.Array,
    param: str,
    reduction: str,
) -> DDPMLoss:
    _check(name, eps_fn, param, reduction)
    t = check_batch(name, schedule, t, x0=x0, noise=noise)
    at = entries(schedule, t, x0, noise)
    before = entries(schedule, t - 1, x0, noise)
    target = noise.astype(at.dtype)
    x_t = at.alpha_bar * x0.astype(at.dtype) + at.beta_bar * target
    eps1 = _eps1(name, eps_fn, schedule, x_t, x0, t, param)
    ratio = safe_divide(at.beta, at.beta_bar)
    errors = reduce_example((ratio * target - eps1) ** 2, reduction)
    rest = safe_divide(at.alpha * before.beta_bar, at.beta_bar) ** 2
    constant = reduce_example(jnp.broadcast_to(rest, x0.shape), reduction)
    terms = errors + constant
    return DDPMLoss(jnp.mean(terms), terms, errors, t)


def _check(name: str, eps_fn: EpsFn, param: str, reduction: str) -> None:
    checks.function(name, "eps_fn", eps_fn)
    checks.choice(name, "param", param, PARAMS)
    checks.choice(name, "reduction", reduction, REDUCTIONS)


def _eps1(
    name: str,
    eps_fn: EpsFn,
    schedule: Schedule,
    x_t: jax.Array,
    x0: jax.Array,
    t: jax.Array,
    param: str,
) -> jax.Array:
    """The network's eps1 in the dtype of x_t; it sees x_t in the dtype of x0."""
    out = predict(name, eps_fn, x_t.astype(x0.dtype), t)
    return convert(schedule, x_t, t, out, from_=param, to="eps1")
