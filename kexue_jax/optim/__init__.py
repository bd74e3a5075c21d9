"""Optimizers and what goes with them: layer-wise trust, schedules, weight averages."""

from kexue_jax.optim.averaging import Average, Averaging, ema
from kexue_jax.optim.lamb import lamb_layerwise, scale_by_layerwise_trust
from kexue_jax.optim.schedules import piecewise_linear

__all__ = [
    # averaging
    "Average",
    "Averaging",
    "ema",
    # lamb
    "lamb_layerwise",
    "scale_by_layerwise_trust",
    # schedules
    "piecewise_linear",
]
