"""Parts of importance weights: what callables must give, and the sums of logs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.generative.likelihoods import gaussian

Encode = Callable[[jax.Array], Any]
LogLik = Callable[[jax.Array, jax.Array], jax.Array]
LogPrior = Callable[[jax.Array], jax.Array]


class Proposal(NamedTuple):
    """A diagonal normal distribution for z: mean and log_scale, both [..., k].

    Article: kexue.fm/archives/8791.
    """

    mean: jax.Array
    log_scale: jax.Array


def check_parts(name: str, encode: Any, log_lik: Any, log_prior: Any) -> None:
    """Raise unless the parts of a model can be called (log_prior may be None)."""
    checks.function(name, "encode", encode)
    checks.function(name, "log_lik", log_lik)
    if log_prior is not None:
        checks.function(name, "log_prior", log_prior)


def encoded(name: str, encode: Encode, x: Any, argument: str = "encode") -> Proposal:
    """The proposal that ``encode(x)`` describes, or an error naming ``argument``."""
    found: Any = encode(x)
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        got = f"one that returns a {type(found).__name__}"
        wanted = "a function to a pair (mean, log_scale)"
        raise checks.fail_type(name, argument, got, wanted)
    mean, log_scale = found
    fine = all(
        checks.is_array(a) and jnp.issubdtype(a.dtype, jnp.floating) for a in found
    )
    if not fine or mean.shape != log_scale.shape or mean.ndim < 1:
        got = f"one that returns {_described(mean)} and {_described(log_scale)}"
        wanted = "a function to two floating arrays of one shape [..., k]"
        raise checks.fail(name, argument, got, wanted)
    return Proposal(mean, log_scale)


def density(name: str, argument: str, value: Any, lead: tuple[int, ...]) -> jax.Array:
    """The log-density that a callable gave, of shape ``lead``, in at least float32."""
    if not checks.is_array(value) or value.shape != lead:
        got = f"one that returns {_described(value)}"
        raise checks.fail(name, argument, got, f"a function to an array {list(lead)}")
    if not jnp.issubdtype(value.dtype, jnp.floating):
        got = f"one that returns {_described(value)}"
        raise checks.fail_type(name, argument, got, "a function to a floating array")
    return jnp.asarray(value, accumulation_dtype(value))


def _described(value: Any) -> str:
    if checks.is_array(value):
        return f"{value.dtype}{list(value.shape)}"
    return f"a {type(value).__name__}"


def noise(key: jax.Array, mean: jax.Array, count: int) -> jax.Array:
    """Standard normal numbers ``[count, *mean.shape]``, in at least float32."""
    dtype = accumulation_dtype(mean)
    return jax.random.normal(key, (count, *mean.shape), dtype)


def sampled(proposal: Proposal, eps: jax.Array) -> jax.Array:
    """z = mean + exp(log_scale) eps in at least float32."""
    mean, log_scale = (jnp.asarray(part, eps.dtype) for part in proposal)
    return mean[None] + jnp.exp(log_scale)[None] * eps


def log_joint(
    name: str, x: Any, z: jax.Array, log_lik: LogLik, log_prior: LogPrior | None
) -> jax.Array:
    """log q(x | z) + log q(z) of z ``[M, ..., k]``, each sample by itself."""
    lead = z.shape[1:-1]

    def one(z: jax.Array) -> jax.Array:
        likelihood = density(name, "log_lik", log_lik(x, z), lead)
        if log_prior is None:
            return likelihood + gaussian(z, jnp.zeros_like(z))
        return likelihood + density(name, "log_prior", log_prior(z), lead)

    return jax.vmap(one)(z)


def log_proposal(proposal: Proposal, z: jax.Array, eps: jax.Array) -> jax.Array:
    """log p(z | x) where the gradient flows through mean, log_scale alone.

    In terms of eps, which is exact, the terms of z = mean + exp(log_scale) eps cancel.
    """
    del z
    log_scale = jnp.asarray(proposal.log_scale, eps.dtype)[None]
    return gaussian(eps, jnp.broadcast_to(log_scale, eps.shape))


def log_proposal_by_path(proposal: Proposal, z: jax.Array, eps: jax.Array) -> jax.Array:
    """log p(z | x) where the gradient flows through z alone; the same value."""
    log_scale = lax.stop_gradient(jnp.asarray(proposal.log_scale, eps.dtype))[None]
    # The value of eps, exact, with the slope of (z - mean) / scale.
    unit = eps + (z - lax.stop_gradient(z)) * jnp.exp(-log_scale)
    return gaussian(unit, jnp.broadcast_to(log_scale, unit.shape))
