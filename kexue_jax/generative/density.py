"""Log-densities of models with latent variables by importance, in bounded memory."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from kexue_jax._base import checks
from kexue_jax._base.masks import safe_divide
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax._base.varying import varying_alike, zero_like
from kexue_jax.generative._weights import (
    Encode,
    LogLik,
    LogPrior,
    Proposal,
    check_parts,
    density,
    encoded,
    log_joint,
    log_proposal,
    noise,
    sampled,
)
from kexue_jax.generative.likelihoods import gaussian


class LogProbEstimate(NamedTuple):
    """Estimates by example, [...], and whether they can be trusted.

    ``log_prob`` is log((1 / M) sum w), a lower bound on average; ``elbo`` the mean of
    log w of the same samples; ``ess`` the effective sample size (below 10: noise, 0 if
    all weights are 0);
    ``bias_estimate`` is V / (2 M), by how much log_prob is expected to be too low, V
    the sample variance of w / mean(w); ``max_weight`` the largest share of one weight.

    Article: kexue.fm/archives/8791.
    """

    log_prob: jax.Array
    elbo: jax.Array
    ess: jax.Array
    bias_estimate: jax.Array
    max_weight: jax.Array


class _Sums(NamedTuple):
    """Of weights over exp(top): their sum and that of squares; the sum of log w."""

    top: jax.Array
    first: jax.Array
    second: jax.Array
    logs: jax.Array


def estimate_log_prob(
    key: jax.Array,
    x: jax.Array,
    encode: Encode,
    log_lik: LogLik,
    *,
    log_prior: LogPrior | None = None,
    num_samples: int = 5000,
    chunk: int = 100,
    prior_share: float = 0.0,
) -> LogProbEstimate:
    """The log-density by importance sampling, chunk by chunk, with its diagnostics.

    log((1 / M) sum_i w_i), w = q(x|z) q(z) / p(z|x), by a running maximum t and sums
    s' = s exp(t - t') + sum exp(log w - t'). Chunk c has its noise from ``normal(
    fold_in(key, c), [chunk, ..., k])``, the last one fewer. With prior_share d > 0 the
    proposal is (1 - d) p(z|x) + d N(0, I), which bounds every weight by q(x|z) / d (for
    the standard prior): z is eps where the uniform number of ``fold_in(key, 2^31 + c)``
    is below d.

    Shapes: x [..., *d], encode(x) -> mean and log_scale [..., k], log_lik(x, z) and
    log_prior(z) of z [..., k] -> [...]; results [...] in at least float32.
    Article: kexue.fm/archives/8791.  Paper: arXiv 1509.00519, section 5.
    Differs: the article takes the estimate for the density; its mean is below, by about
    ``bias_estimate`` once M is large, by anything where ``ess`` is near 1.
    Cost: M calls of log_lik in M / chunk turns of a loop; the memory of ``chunk`` of
    them whatever M is, for the gradient that and one number an example and turn.
    Raises: TypeError or ValueError for a wrong key, array or number, and for functions
    that give other shapes.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.generative import estimate_log_prob, gaussian_log_prob
        >>> encode = lambda x: (x / 2, jnp.full_like(x, -0.5 * jnp.log(2.0)))
        >>> lik = lambda x, z: gaussian_log_prob(x, z, jnp.zeros_like(z))
        >>> key, x = jax.random.key(0), jnp.ones((1, 1))
        >>> found = estimate_log_prob(key, x, encode, lik, num_samples=250)
        >>> print(f"{found.log_prob[0]:.4f} {found.ess[0]:.0f}")
        -1.5155 250
    """
    name = "estimate_log_prob"
    checks.key(name, "key", key)
    checks.array(name, "x", x)
    check_parts(name, encode, log_lik, log_prior)
    checks.count(name, "num_samples", num_samples)
    checks.count(name, "chunk", chunk)
    checks.number(
        name, "prior_share", prior_share, minimum=0, maximum=1, open_maximum=True
    )
    proposal = encoded(name, encode, x)
    size = min(chunk, num_samples)
    turns, rest = divmod(num_samples, size)

    @partial(jax.checkpoint, static_argnums=(2,))
    def added(sums: _Sums, place: Any, count: int) -> _Sums:
        own = jax.random.fold_in(key, place)
        eps = noise(own, proposal.mean, count)
        if prior_share:
            own = jax.random.fold_in(key, place + jnp.uint32(2**31))
            z, log_p = _mixture(own, proposal, eps, prior_share)
        else:
            z = sampled(proposal, eps)
            log_p = log_proposal(proposal, z, eps)
        log_w = log_joint(name, x, z, log_lik, log_prior) - log_p
        return _updated(sums, log_w)

    start = _empty(name, x, proposal, log_lik)

    def turn(sums: _Sums, place: jax.Array) -> tuple[_Sums, None]:
        return added(sums, place, size), None

    sums, _ = lax.scan(turn, start, jnp.arange(turns, dtype=jnp.uint32))
    if rest:
        sums = added(sums, jnp.uint32(turns), rest)
    return _estimate(sums, num_samples)


def _empty(name: str, x: Any, proposal: Proposal, log_lik: LogLik) -> _Sums:
    """Sums of no weights, of the dtype and, under shard_map, the axes that come."""
    zeros = jnp.zeros_like(proposal.mean, accumulation_dtype(*proposal))
    lead = zeros.shape[:-1]
    kind = jax.eval_shape(
        lambda z: density(name, "log_lik", log_lik(x, z), lead), zeros
    )
    dtype = jnp.promote_types(kind.dtype, zeros.dtype)
    # The carry varies over a mesh as x and the proposal do.
    zero, _ = varying_alike(jnp.sum(zeros, -1).astype(dtype), zero_like(x))
    low = zero + jnp.asarray(jnp.finfo(dtype).min, dtype)
    return _Sums(low, zero, zero, zero)


def _updated(sums: _Sums, log_w: jax.Array) -> _Sums:
    log_w = log_w.astype(sums.top.dtype)
    top = jnp.maximum(sums.top, jnp.max(log_w, 0))
    old, new = jnp.exp(sums.top - top), jnp.exp(log_w - top[None])
    return _Sums(
        top,
        sums.first * old + jnp.sum(new, 0),
        sums.second * jnp.square(old) + jnp.sum(jnp.square(new), 0),
        sums.logs + jnp.sum(log_w, 0),
    )


def _estimate(sums: _Sums, m: int) -> LogProbEstimate:
    # Weights of 0 alone are as good as none: 0, not NaN, so that `ess < 10` finds them.
    ess = safe_divide(jnp.square(sums.first), sums.second)
    spread = jnp.maximum(safe_divide(jnp.full_like(ess, m), ess) - 1, 0)
    return LogProbEstimate(
        sums.top + jnp.log(sums.first / m),
        sums.logs / m,
        ess,
        spread / (2 * max(m - 1, 1)),
        safe_divide(jnp.ones_like(ess), sums.first),
    )


def _mixture(
    key: jax.Array, proposal: Proposal, eps: jax.Array, share: float
) -> tuple[jax.Array, jax.Array]:
    """Samples of (1 - share) p + share N(0, I), and their log-density."""
    mean, log_scale = (jnp.asarray(part, eps.dtype) for part in proposal)
    shape = eps.shape[:-1]
    from_prior = jax.random.uniform(key, shape, eps.dtype) < share
    own = mean[None] + jnp.exp(log_scale)[None] * eps
    z = jnp.where(from_prior[..., None], eps, own)
    wide = jnp.broadcast_to(log_scale[None], eps.shape)
    unit = (z - mean[None]) * jnp.exp(-wide)
    # Of its own samples the standardized value is eps, exactly.
    own_p = gaussian(jnp.where(from_prior[..., None], unit, eps), wide)
    prior = gaussian(z, jnp.zeros_like(z))
    logs = np.log1p(-share), np.log(share)
    return z, jnp.logaddexp(own_p + float(logs[0]), prior + float(logs[1]))
