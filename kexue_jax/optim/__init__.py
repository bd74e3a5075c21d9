"""Optimizers and what goes with them: layer-wise trust, AdaX, clipping, Child-Tuning,
scale-free decay, schedules, weight averages."""

from kexue_jax.optim.adax import adax, adaxw, scale_by_adax
from kexue_jax.optim.averaging import Average, Averaging, ema
from kexue_jax.optim.child_tuning import child_tuning_d, child_tuning_f, mask_updates
from kexue_jax.optim.clipping import (
    clip_by_global_norm,
    clip_by_loss_change,
    global_norm,
    relaxed_gd,
    scale_by_relaxed_smoothness,
    soft_clip_by_global_norm,
)
from kexue_jax.optim.decay import sqrt_decay
from kexue_jax.optim.fisher import (
    empirical_fisher_diagonal,
    sampled_fisher_diagonal,
    true_fisher_diagonal,
)
from kexue_jax.optim.gradient_dropout import (
    GradientDropoutState,
    gradient_dropout,
    keep_mask,
)
from kexue_jax.optim.lamb import lamb_layerwise, scale_by_layerwise_trust
from kexue_jax.optim.projection import clip_weights, projected
from kexue_jax.optim.rank_one import RankOne, rank_one_nonneg
from kexue_jax.optim.schedules import piecewise_linear
from kexue_jax.optim.second_moments import (
    ScaleByAdaxState,
    scale_by_second_moment_schedule,
    second_moment_weight,
)
from kexue_jax.optim.smoothness import (
    descent_bound,
    gradient_bound,
    relaxed_step_size,
    value_bound,
)
from kexue_jax.optim.smoothness_estimates import (
    RelaxedSmoothness,
    TrajectorySmoothness,
    fit_relaxed_smoothness,
    hessian_norm,
    trajectory_smoothness,
)
from kexue_jax.optim.top_fraction import top_fraction_mask
from kexue_jax.optim.warmup import linear_warmup, noam
from kexue_jax.optim.weight_scales import (
    ScaledLayers,
    balance_scales,
    excess_l2,
    shift_scales,
)
from kexue_jax.optim.weissi import (
    add_weissi_decay,
    l2_penalty,
    log_norm_product,
    log_residual_product,
    log_spectral_product,
    weissi_penalty,
)

__all__ = [
    # adax
    "adax",
    "adaxw",
    "scale_by_adax",
    # averaging
    "Average",
    "Averaging",
    "ema",
    # child_tuning
    "child_tuning_d",
    "child_tuning_f",
    "mask_updates",
    # clipping
    "clip_by_global_norm",
    "clip_by_loss_change",
    "global_norm",
    "relaxed_gd",
    "scale_by_relaxed_smoothness",
    "soft_clip_by_global_norm",
    # decay
    "sqrt_decay",
    # fisher
    "empirical_fisher_diagonal",
    "sampled_fisher_diagonal",
    "true_fisher_diagonal",
    # gradient_dropout
    "GradientDropoutState",
    "gradient_dropout",
    "keep_mask",
    # lamb
    "lamb_layerwise",
    "scale_by_layerwise_trust",
    # projection
    "clip_weights",
    "projected",
    # rank_one
    "RankOne",
    "rank_one_nonneg",
    # schedules
    "piecewise_linear",
    # second_moments
    "ScaleByAdaxState",
    "scale_by_second_moment_schedule",
    "second_moment_weight",
    # smoothness
    "descent_bound",
    "gradient_bound",
    "relaxed_step_size",
    "value_bound",
    # smoothness_estimates
    "RelaxedSmoothness",
    "TrajectorySmoothness",
    "fit_relaxed_smoothness",
    "hessian_norm",
    "trajectory_smoothness",
    # top_fraction
    "top_fraction_mask",
    # warmup
    "linear_warmup",
    "noam",
    # weight_scales
    "ScaledLayers",
    "balance_scales",
    "excess_l2",
    "shift_scales",
    # weissi
    "add_weissi_decay",
    "l2_penalty",
    "log_norm_product",
    "log_residual_product",
    "log_spectral_product",
    "weissi_penalty",
]
