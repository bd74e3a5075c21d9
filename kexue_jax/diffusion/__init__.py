"""Diffusion models: schedules, noising, losses, samplers, likelihood, oracles."""

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
]
