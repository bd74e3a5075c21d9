"""Generative models: densities of autoencoders, critics and losses of GANs."""

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
from kexue_jax.generative.consistency import consistency_penalty, flip_translate
from kexue_jax.generative.density import LogProbEstimate, estimate_log_prob
from kexue_jax.generative.estimators import IwaeAux, IwaeLoss, iwae_loss
from kexue_jax.generative.gan_losses import GanLosses, gan_losses
from kexue_jax.generative.gradient_normalization import (
    NormalizedOutput,
    gradient_normalize,
    input_gradient_norm,
    normalized_critic,
)
from kexue_jax.generative.gradient_penalties import (
    difference_quotient_penalty,
    gradient_penalty,
)
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
from kexue_jax.generative.lipschitz import empirical_lipschitz, lipschitz_upper_bound
from kexue_jax.generative.proposals import refined_proposal
from kexue_jax.generative.quadrature import gauss_hermite_log_prob
from kexue_jax.generative.spectral_normalization import (
    SpectralNormalized,
    spectral_normalize,
    spectral_vector,
)

__all__ = [
    # consistency
    "consistency_penalty",
    "flip_translate",
    # gan_losses
    "GanLosses",
    "gan_losses",
    # gradient_normalization
    "NormalizedOutput",
    "gradient_normalize",
    "input_gradient_norm",
    "normalized_critic",
    # gradient_penalties
    "difference_quotient_penalty",
    "gradient_penalty",
    # lipschitz
    "empirical_lipschitz",
    "lipschitz_upper_bound",
    # spectral_normalization
    "SpectralNormalized",
    "spectral_normalize",
    "spectral_vector",
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
