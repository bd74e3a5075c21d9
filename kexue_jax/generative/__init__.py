"""Generative models: critics of bounded slope, the losses and penalties of GANs."""

from kexue_jax.generative.consistency import consistency_penalty, flip_translate
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
from kexue_jax.generative.lipschitz import empirical_lipschitz, lipschitz_upper_bound
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
]
