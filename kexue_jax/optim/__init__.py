"""Optimizers and what goes with them: layer-wise trust, schedules, weight averages."""

from kexue_jax.optim.averaging import Average, Averaging, ema
from kexue_jax.optim.decay import sqrt_decay
from kexue_jax.optim.lamb import lamb_layerwise, scale_by_layerwise_trust
from kexue_jax.optim.projection import projected
from kexue_jax.optim.schedules import piecewise_linear
from kexue_jax.optim.warmup import linear_warmup, noam

__all__ = [
    # averaging
    "Average",
    "Averaging",
    "ema",
    # decay
    "sqrt_decay",
    # lamb
    "lamb_layerwise",
    "scale_by_layerwise_trust",
    # projection
    "projected",
    # schedules
    "piecewise_linear",
    # warmup
    "linear_warmup",
    "noam",
]
