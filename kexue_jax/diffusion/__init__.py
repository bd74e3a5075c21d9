"""Diffusion models: schedules, noising, losses, samplers, likelihood, oracles."""

from kexue_jax.diffusion.ancestral import ddpm_sample
from kexue_jax.diffusion.chain import Sample
from kexue_jax.diffusion.ddim import ddim_encode, ddim_sample
from kexue_jax.diffusion.decoder import discretized_log_likelihood
from kexue_jax.diffusion.four_variable import (
    four_variable_loss,
    four_variable_loss_at,
    reduced_variance_loss,
    reduced_variance_loss_at,
)
from kexue_jax.diffusion.guidance import (
    cfg_eps,
    classifier_guided_eps,
    classifier_guided_mean,
    drop_labels,
    guided_eps_fn,
)
from kexue_jax.diffusion.interpolation import interpolate_images, slerp
from kexue_jax.diffusion.likelihood import Elbo, elbo_bits_per_dim
from kexue_jax.diffusion.losses import (
    DDPMLoss,
    ddpm_loss,
    ddpm_loss_at,
    loss_weight,
)
from kexue_jax.diffusion.moments import Moments, gaussian_moments
from kexue_jax.diffusion.ode import flow_ode_drift, ode_sample, sde_drift, sde_sample
from kexue_jax.diffusion.oracles import gaussian_eps, mixture_eps
from kexue_jax.diffusion.parametrizations import convert, predict_eps, predict_x0
from kexue_jax.diffusion.process import (
    Posterior,
    ddim_posterior,
    posterior,
    q_sample,
    reverse_sigma,
)
from kexue_jax.diffusion.schedules import (
    PaperNotation,
    Schedule,
    cosine_schedule,
    kexue_schedule,
    linear_schedule,
    paper_notation,
    schedule_from_alpha_bar,
    schedule_from_ddpm_betas,
    surrogate_schedule,
)
from kexue_jax.diffusion.steps import ddim_step, ddpm_step
from kexue_jax.diffusion.strides import ddim_taus
from kexue_jax.diffusion.variance import analytic_variance

__all__ = [
    # schedules
    "PaperNotation",
    "Schedule",
    "cosine_schedule",
    "kexue_schedule",
    "linear_schedule",
    "paper_notation",
    "schedule_from_alpha_bar",
    "schedule_from_ddpm_betas",
    "surrogate_schedule",
    # samplers
    "Sample",
    "ddim_encode",
    "ddim_sample",
    "ddim_step",
    "ddim_taus",
    "ddpm_sample",
    "ddpm_step",
    "flow_ode_drift",
    "interpolate_images",
    "ode_sample",
    "sde_drift",
    "sde_sample",
    "slerp",
    # guidance
    "cfg_eps",
    "classifier_guided_eps",
    "classifier_guided_mean",
    "drop_labels",
    "guided_eps_fn",
    # oracles
    "Moments",
    "gaussian_eps",
    "gaussian_moments",
    "mixture_eps",
    # process
    "Posterior",
    "convert",
    "ddim_posterior",
    "posterior",
    "predict_eps",
    "predict_x0",
    "q_sample",
    "reverse_sigma",
    # losses
    "DDPMLoss",
    "ddpm_loss",
    "ddpm_loss_at",
    "four_variable_loss",
    "four_variable_loss_at",
    "loss_weight",
    "reduced_variance_loss",
    "reduced_variance_loss_at",
    # likelihood
    "Elbo",
    "analytic_variance",
    "discretized_log_likelihood",
    "elbo_bits_per_dim",
]
