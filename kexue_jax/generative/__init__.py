"""Variational autoencoders as density estimators: weights, bounds, gradients."""

from kexue_jax.generative._weights import Proposal
from kexue_jax.generative.annealing import Annealed, annealed_log_weights
from kexue_jax.generative.bounds import (
    ciwae,
    delta_corrected,
    effective_sample_size,
    elbo,
    iwae_bound,
    jackknife_bound,
    miwae,
)
from kexue_jax.generative.density import LogProbEstimate, estimate_log_prob
from kexue_jax.generative.estimators import IwaeAux, IwaeLoss, iwae_loss
from kexue_jax.generative.importance import hierarchical_log_weights, log_weights
from kexue_jax.generative.likelihoods import (
    active_units,
    bernoulli_log_prob,
    bits_per_dim,
    dequantize,
    gaussian_kl,
    gaussian_log_prob,
)
from kexue_jax.generative.linear_gaussian import (
    GaussianPosterior,
    LinearGaussian,
    linear_gaussian,
)
from kexue_jax.generative.proposals import refined_proposal
from kexue_jax.generative.quadrature import gauss_hermite_log_prob

__all__ = [
    "Annealed",
    "annealed_log_weights",
    "ciwae",
    "delta_corrected",
    "effective_sample_size",
    "elbo",
    "iwae_bound",
    "jackknife_bound",
    "miwae",
    "LogProbEstimate",
    "estimate_log_prob",
    "IwaeAux",
    "IwaeLoss",
    "iwae_loss",
    "hierarchical_log_weights",
    "log_weights",
    "active_units",
    "bernoulli_log_prob",
    "bits_per_dim",
    "dequantize",
    "gaussian_kl",
    "gaussian_log_prob",
    "GaussianPosterior",
    "LinearGaussian",
    "linear_gaussian",
    "Proposal",
    "refined_proposal",
    "gauss_hermite_log_prob",
]
