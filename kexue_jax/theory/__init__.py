"""Theorems of the articles as functions, and measures of what they speak of."""

from kexue_jax.theory.activations import (
    ActivationMoments,
    SeluConstants,
    activation_moments,
    rescale_activation,
    selu_constants,
)
from kexue_jax.theory.gradient_bound import GradientBound, mlp_gradient_bound
from kexue_jax.theory.heads import HeadParams, mlm_logits
from kexue_jax.theory.initializers import (
    truncated_normal,
    variance_scaling,
    zero_hadamard,
)
from kexue_jax.theory.normalization import layer_norm, ntk_dense, rms_norm
from kexue_jax.theory.online import OnlineTrace, online_sgd, regret
from kexue_jax.theory.profile import Profile, signal_gradient_profile
from kexue_jax.theory.regret_bounds import (
    last_iterate_bound,
    optimal_constant_rate,
    regret_bound,
    regret_bound_curve,
    trajectory_bound_curve,
    weighted_bound_curve,
)
from kexue_jax.theory.residual import (
    DeepNorm,
    StreamMoments,
    deepnorm_constants,
    residual_block,
    stream_moments,
)
from kexue_jax.theory.spectral import spectral_norm

__all__ = [
    # activations
    "ActivationMoments",
    "SeluConstants",
    "activation_moments",
    "rescale_activation",
    "selu_constants",
    # gradient_bound
    "GradientBound",
    "mlp_gradient_bound",
    # heads
    "HeadParams",
    "mlm_logits",
    # initializers
    "truncated_normal",
    "variance_scaling",
    "zero_hadamard",
    # normalization
    "layer_norm",
    "ntk_dense",
    "rms_norm",
    # online
    "OnlineTrace",
    "online_sgd",
    "regret",
    # profile
    "Profile",
    "signal_gradient_profile",
    # regret_bounds
    "last_iterate_bound",
    "optimal_constant_rate",
    "regret_bound",
    "regret_bound_curve",
    "trajectory_bound_curve",
    "weighted_bound_curve",
    # residual
    "DeepNorm",
    "StreamMoments",
    "deepnorm_constants",
    "residual_block",
    "stream_moments",
    # spectral
    "spectral_norm",
]
