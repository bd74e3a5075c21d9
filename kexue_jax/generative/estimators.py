"""The loss of importance-weighted autoencoders with every estimator of its gradient."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax._base import checks
from kexue_jax._base.varying import varying_alike
from kexue_jax.generative._weights import (
    Proposal,
    check_parts,
    encoded,
    log_joint,
    log_proposal,
    log_proposal_by_path,
    noise,
    sampled,
)
from kexue_jax.generative.bounds import effective_sample_size, elbo, iwae_bound

ESTIMATORS = ("plain", "stl", "dreg")
Weights = Callable[..., jax.Array]


class IwaeAux(NamedTuple):
    """What ``iwae_loss`` reports of each example, [...], without gradients.

    ``bound`` is log((1 / M) sum w), ``elbo`` the mean of log w, ``ess`` the effective
    sample size.

    Article: kexue.fm/archives/8791.
    """

    bound: jax.Array
    elbo: jax.Array
    ess: jax.Array


class IwaeLoss(NamedTuple):
    """The loss [] and what is reported beside it, for ``grad(..., has_aux=True)``.

    Article: kexue.fm/archives/8791.
    """

    loss: jax.Array
    aux: IwaeAux


def iwae_loss(
    key: jax.Array,
    params: Any,
    x: jax.Array,
    encode: Callable[[Any, jax.Array], Any],
    log_lik: Callable[[Any, jax.Array, jax.Array], jax.Array],
    *,
    log_prior: Callable[[Any, jax.Array], jax.Array] | None = None,
    num_samples: int,
    estimator: str = "dreg",
    encoder_groups: int = 1,
) -> IwaeLoss:
    """The negative importance-weighted bound, whose gradient is an estimator's.

    -mean_x log((1 / M) sum_i w_i), the weights of ``log_weights``. With v = w / sum w:
    "plain" gradient sum v_i grad log w_i; "stl" the same without the direct part of
    log p(z | x), biased for M > 1; "dreg" sum v_i^2 (d log w_i / d z_i) (d z_i / d phi)
    for what ``encode`` depends on, unbiased, and sum v_i grad log w_i for all else.
    With ``encoder_groups`` > 1 the encoder's gradient is that of ``miwae`` of so many
    groups (PIWAE), the model's stays. ``num_samples`` = 1 is the VAE.

    Shapes: params any tree, x [..., *d], encode(params, x) -> mean and log_scale
    [..., k], log_lik(params, x, z) and log_prior(params, z) of z [..., k] -> [...];
    loss [] in at least float32, aux of [...].
    Article: kexue.fm/archives/8791, 5383.  Paper: arXiv 1509.00519, 1703.09194,
    1810.04152, 1802.04537.
    Differs: common code multiplies log w by weights that are not stopped, whose
    gradient has one term too many. "dreg" and PIWAE have reverse mode only, at first
    order; a parameter that both ``encode`` and ``log_lik`` use gets both parts.
    Cost: M calls of log_lik and one backward pass, two with ``encoder_groups`` > 1.
    Raises: TypeError or ValueError for a wrong key, array, number or choice, groups
    that do not divide num_samples, and for functions that give other shapes.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.generative import gaussian_log_prob, iwae_loss
        >>> encode = lambda p, x: (p["m"] * x, jnp.full_like(x, -0.5 * jnp.log(2.0)))
        >>> lik = lambda p, x, z: gaussian_log_prob(x, z, jnp.zeros_like(z))
        >>> args = jnp.ones((1, 1)), encode, lik
        >>> f = lambda p: iwae_loss(jax.random.key(0), p, *args, num_samples=8).loss
        >>> print(f"{abs(jax.grad(f)({'m': 0.5})['m']):.4f}")  # at the posterior
        0.0000
    """
    name = "iwae_loss"
    _check(name, key, x, (encode, log_lik, log_prior), num_samples, encoder_groups)
    checks.choice(name, "estimator", estimator, ESTIMATORS)
    return loss_from_noise(
        lambda mean: noise(key, mean, num_samples),
        params,
        x,
        (encode, log_lik, log_prior),
        estimator,
        encoder_groups,
    )


def loss_from_noise(
    draw: Callable[[jax.Array], jax.Array],
    params: Any,
    x: jax.Array,
    parts: tuple[Any, Any, Any],
    estimator: str,
    encoder_groups: int,
) -> IwaeLoss:
    """The loss for the noise eps [M, ..., k] that ``draw(mean)`` gives."""
    name, (encode, log_lik, log_prior) = "iwae_loss", parts
    proposal = encoded(name, lambda x: encode(params, x), x)
    eps = draw(proposal.mean)
    form = log_proposal if estimator == "plain" else log_proposal_by_path

    def weights(z: jax.Array, proposal: Proposal, params: Any, x: Any, eps: Any) -> Any:
        def likelihood(x: jax.Array, z: jax.Array) -> jax.Array:
            return log_lik(params, x, z)

        prior = None if log_prior is None else lambda z: log_prior(params, z)
        joint = log_joint(name, x, z, likelihood, prior)
        return joint - form(proposal, z, eps)

    z = sampled(proposal, eps)
    if estimator == "dreg" or encoder_groups > 1:
        directed = _directed(weights, estimator == "dreg", encoder_groups)
        bound, log_w = directed(*varying_alike(z, proposal, params, x, eps))
    else:
        log_w = weights(z, proposal, params, x, eps)
        bound = iwae_bound(log_w)
    log_w = lax.stop_gradient(log_w)
    aux = IwaeAux(iwae_bound(log_w), elbo(log_w), effective_sample_size(log_w))
    return IwaeLoss(-jnp.mean(bound), aux)


def _directed(weights: Weights, squared: bool, groups: int) -> Any:
    """The bound and log w [M, ...]; one gradient for the encoder, one for the rest.

    The encoder's goes through the proposal and z; that of log w_i by z_i is wanted
    times v_i^2, and one backward pass gives it times v_i.
    """

    @jax.custom_vjp
    def bound(*arguments: Any) -> tuple[jax.Array, jax.Array]:
        log_w = weights(*arguments)
        return iwae_bound(log_w), log_w

    def forward(*arguments: Any) -> Any:
        log_w, pull = jax.vjp(weights, *arguments)
        return (iwae_bound(log_w), log_w), (log_w, pull)

    def backward(kept: Any, cotangents: Any) -> Any:
        log_w, pull = kept
        slope = cotangents[0][None]
        share = jax.nn.softmax(log_w, 0)
        z, proposal, *rest = pull(slope * share)
        if groups > 1:
            parts = log_w.reshape(groups, -1, *log_w.shape[1:])
            own = jax.nn.softmax(parts, 1).reshape(log_w.shape)
            z, proposal, *_ = pull(slope * own / groups)
            share = own
        if squared:
            z = z * share[..., None]
        return (z, proposal, *rest)

    bound.defvjp(forward, backward)
    return bound


def _check(
    name: str, key: Any, x: Any, parts: Any, num_samples: Any, groups: Any
) -> None:
    checks.key(name, "key", key)
    checks.array(name, "x", x)
    check_parts(name, *parts)
    checks.count(name, "num_samples", num_samples)
    checks.count(name, "encoder_groups", groups)
    if num_samples % groups:
        wanted = f"a divisor of num_samples = {num_samples}"
        raise checks.fail(name, "encoder_groups", groups, wanted)
