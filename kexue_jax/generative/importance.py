"""Logarithms of importance weights of models with latent variables."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax.generative._weights import (
    Encode,
    LogLik,
    LogPrior,
    check_parts,
    density,
    encoded,
    log_joint,
    log_proposal,
    log_proposal_by_path,
    noise,
    sampled,
)
from kexue_jax.generative.likelihoods import gaussian, gaussian_log_prob

ESTIMATORS = ("plain", "stl")


def log_weights(
    key: jax.Array,
    x: jax.Array,
    encode: Encode,
    log_lik: LogLik,
    *,
    log_prior: LogPrior | None = None,
    num_samples: int,
    estimator: str = "plain",
) -> jax.Array:
    """The logarithms of importance weights of a model with a latent variable.

    log w = log q(x | z) + log q(z) - log p(z | x), z = mean + exp(log_scale) eps, eps
    of ``normal(key, [M, ..., k])``, mean and log_scale of ``encode(x)``. The mean of w
    is unbiased for q(x): see ``iwae_bound``. The prior is N(0, I) without
    ``log_prior``. With "stl" the gradient of log p(z | x) flows through z alone
    (sticking the landing).

    Shapes: x [..., *d], encode(x) -> mean and log_scale [..., k], log_lik(x, z) and
    log_prior(z) of z [..., k] -> [...]; the result [M, ...], M = num_samples, in at
    least float32.
    Article: kexue.fm/archives/8791, 5383.  Paper: arXiv 1312.6114, 1509.00519,
    1703.09194.
    Differs: the article's p is the encoder and q the model, papers have it the other
    way round. Always the sampled log p(z | x), in terms of eps, which is exact; an
    analytic divergence in w bounds nothing for M > 1.
    Cost: M calls of log_lik, in one; M times the memory of one
    (``estimate_log_prob`` needs less).
    Raises: TypeError or ValueError for a wrong key, array, number or choice, and for
    functions that give other shapes.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.generative import gaussian_log_prob, log_weights
        >>> encode = lambda x: (x / 2, jnp.full_like(x, -0.5 * jnp.log(2.0)))
        >>> lik = lambda x, z: gaussian_log_prob(x, z, jnp.zeros_like(z))
        >>> key, x = jax.random.key(0), jnp.ones((1, 1))
        >>> w = log_weights(key, x, encode, lik, num_samples=3)
        >>> [f"{v:.4f}" for v in w[:, 0]]  # the posterior is known: all are log q(x)
        ['-1.5155', '-1.5155', '-1.5155']
    """
    name = "log_weights"
    checks.key(name, "key", key)
    checks.array(name, "x", x)
    check_parts(name, encode, log_lik, log_prior)
    checks.count(name, "num_samples", num_samples)
    checks.choice(name, "estimator", estimator, ESTIMATORS)
    proposal = encoded(name, encode, x)
    eps = noise(key, proposal.mean, num_samples)
    z = sampled(proposal, eps)
    form = log_proposal if estimator == "plain" else log_proposal_by_path
    return log_joint(name, x, z, log_lik, log_prior) - form(proposal, z, eps)


def hierarchical_log_weights(
    key: jax.Array,
    x: jax.Array,
    encoders: Sequence[Encode],
    priors: Sequence[Encode],
    log_lik: LogLik,
    *,
    num_samples: int,
) -> jax.Array:
    """The logarithms of importance weights of several stochastic layers.

    log w = log q(x|z_1) + log q(z_1|z_2) + ... + log q(z_L) - log p(z_1|x) -
    log p(z_2|z_1) - ..., all sampled together: z_l = mean + exp(log_scale) eps_l by
    encoders[l - 1] of z_(l-1) (of x for the first), eps_l of ``normal(fold_in(key, l),
    [M, ..., k_l])``; q(z_l|z_(l+1)) by priors[l - 1] of z_(l+1), q(z_L) = N(0, I).

    Shapes: x [..., *d]; encoders and priors to pairs mean, log_scale [..., k_l];
    log_lik(x, z_1) -> [...]; the result [M, ...] in at least float32.
    Article: kexue.fm/archives/8791.  Paper: arXiv 1509.00519, section 3.
    Differs: no.
    Cost: M calls of every function, in one; M times the memory of one.
    Raises: TypeError or ValueError for a wrong key, array or number, for lists that are
    empty or do not match, and for functions that give other shapes.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.generative import hierarchical_log_weights
        >>> unit = lambda z: (jnp.zeros_like(z), jnp.zeros_like(z))
        >>> lik = lambda x, z: jnp.zeros(z.shape[0])
        >>> args = jnp.ones((1, 2)), [unit, unit], [unit], lik
        >>> hierarchical_log_weights(jax.random.key(0), *args, num_samples=3).shape
        (3, 1)
    """
    name = "hierarchical_log_weights"
    checks.key(name, "key", key)
    checks.array(name, "x", x)
    _check_list(name, "encoders", encoders)
    if not encoders:
        raise checks.fail(name, "encoders", "none", "one function or more")
    _check_list(name, "priors", priors)
    if len(priors) != len(encoders) - 1:
        wanted = f"{len(encoders) - 1} functions, one fewer than the encoders"
        raise checks.fail(name, "priors", len(priors), wanted)
    checks.function(name, "log_lik", log_lik)
    checks.count(name, "num_samples", num_samples)

    def one(eps: list[jax.Array]) -> jax.Array:
        return _one_sample(name, x, eps, encoders, priors, log_lik)

    layers = [fold.shape for fold in jax.eval_shape(_means(name, encoders), x)]
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    eps = [
        jax.random.normal(jax.random.fold_in(key, place), (num_samples, *shape), dtype)
        for place, shape in enumerate(layers, 1)
    ]
    return jax.vmap(one)(eps)


def _means(name: str, encoders: Sequence[Encode]) -> Any:
    """The function from x to the mean of every layer, for their shapes."""

    def means(x: jax.Array) -> list[jax.Array]:
        found, z = [], x
        for place, encode in enumerate(encoders):
            z = encoded(name, encode, z, f"encoders[{place}]").mean
            found.append(z)
        return found

    return means


def _one_sample(
    name: str,
    x: jax.Array,
    eps: list[jax.Array],
    encoders: Sequence[Encode],
    priors: Sequence[Encode],
    log_lik: LogLik,
) -> jax.Array:
    z, layers, terms = x, [], []
    for place, (encode, draw) in enumerate(zip(encoders, eps, strict=True)):
        mean, log_scale = encoded(name, encode, z, f"encoders[{place}]")
        log_scale = jnp.asarray(log_scale, draw.dtype)
        z = jnp.asarray(mean, draw.dtype) + jnp.exp(log_scale) * draw
        layers.append(z)
        terms.append(gaussian(draw, log_scale))
    lead = layers[0].shape[:-1]
    total = density(name, "log_lik", log_lik(x, layers[0]), lead) - sum(terms)
    for place, (prior, z) in enumerate(zip(priors, layers[:-1], strict=True)):
        argument = f"priors[{place}]"
        mean, log_scale = encoded(name, prior, layers[place + 1], argument)
        if mean.shape != z.shape:
            got, wanted = f"one to shape {mean.shape}", f"a function to {z.shape}"
            raise checks.fail(name, argument, got, wanted)
        total = total + gaussian_log_prob(z, mean, log_scale)
    return total + gaussian(layers[-1], jnp.zeros_like(layers[-1]))


def _check_list(name: str, argument: str, value: Any) -> None:
    if not isinstance(value, (tuple, list)):
        got = f"a {type(value).__name__}"
        raise checks.fail_type(name, argument, got, "a list of functions")
    for place, each in enumerate(value):
        checks.function(name, f"{argument}[{place}]", each)
