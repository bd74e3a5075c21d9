"""Proposals made better for single examples while the model stays."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.generative._weights import (
    Encode,
    LogLik,
    LogPrior,
    Proposal,
    check_parts,
    encoded,
    log_joint,
    noise,
    sampled,
)


def refined_proposal(
    key: jax.Array,
    x: jax.Array,
    encode: Encode,
    log_lik: LogLik,
    *,
    log_prior: LogPrior | None = None,
    num_steps: int = 100,
    learning_rate: float | jax.Array = 0.03,
    num_samples: int = 8,
) -> Proposal:
    """A better proposal for each example, the model being what it is.

    Adam's ascent on L_1 = E log w from mean and log_scale of ``encode(x)``, each
    example by itself; step t with the noise of ``normal(fold_in(key, t), [M, ..., k])``
    and the gradient without the direct part of log p(z | x), which is zero at the
    posterior. Hand it on as ``encode=lambda x: proposal``.

    Shapes: x [..., *d], encode(x) -> mean and log_scale [..., k], log_lik(x, z) and
    log_prior(z) of z [..., k] -> [...]; mean and log_scale [..., k] in at least
    float32.
    Article: kexue.fm/archives/8791.  Paper: arXiv 1802.02550 (semi-amortized).
    Differs: no.
    Cost: num_steps num_samples calls of log_lik with their backward passes.
    Raises: TypeError or ValueError for a wrong key, array or number, and for functions
    that give other shapes.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.generative import gaussian_log_prob, refined_proposal
        >>> encode = lambda x: (jnp.zeros_like(x), jnp.zeros_like(x))
        >>> lik = lambda x, z: gaussian_log_prob(x, z, jnp.zeros_like(z))
        >>> f = lambda x: refined_proposal(jax.random.key(0), x, encode, lik,
        ...                                num_steps=400)
        >>> print(f"{f(jnp.ones((1, 1))).mean[0, 0]:.2f}")  # of the posterior
        0.50
    """
    name = "refined_proposal"
    checks.key(name, "key", key)
    checks.array(name, "x", x)
    check_parts(name, encode, log_lik, log_prior)
    checks.count(name, "num_steps", num_steps)
    checks.count(name, "num_samples", num_samples)
    checks.number(
        name, "learning_rate", learning_rate, minimum=0, open_minimum=True, traced=True
    )
    first = encoded(name, encode, x)
    dtype = accumulation_dtype(*first)
    start = Proposal(*(jnp.asarray(part, dtype) for part in first))
    adam = optax.scale_by_adam()

    def joint(z: jax.Array) -> jax.Array:
        return jnp.sum(log_joint(name, x, z, log_lik, log_prior))

    def descent(proposal: Proposal, eps: jax.Array) -> Proposal:
        """Minus the gradient along the path of z, without the direct part."""
        scale = jnp.exp(proposal.log_scale)[None]
        slope = jax.grad(joint)(sampled(proposal, eps)) + eps / scale
        return Proposal(-jnp.mean(slope, 0), -jnp.mean(slope * eps * scale, 0))

    def step(state: Any, place: jax.Array) -> Any:
        proposal, moments = state
        eps = noise(jax.random.fold_in(key, place), proposal.mean, num_samples)
        updates, moments = adam.update(descent(proposal, eps), moments)
        rate = jnp.asarray(learning_rate, dtype)
        moved = jax.tree.map(lambda part, u: part - rate * u, proposal, updates)
        return (moved, moments), None

    state = (start, adam.init(start))
    return lax.scan(step, state, jnp.arange(num_steps))[0][0]
