"""Ways to train: penalties on gradients, flooding, what the backward pass keeps."""

from kexue_jax.training.flooding import descent_ascent_step, flooding
from kexue_jax.training.gradient_penalty import (
    dirichlet_energy,
    implicit_gradient_loss,
    input_gradient_penalty,
    parameter_gradient_penalty,
)
from kexue_jax.training.memory import MemoryReport, Residual, memory_report
from kexue_jax.training.perceptron_penalty import mlp_parameter_penalty
from kexue_jax.training.plan import RecomputeCost, recompute_cost, segment_length
from kexue_jax.training.recompute import remat, scan_layers
from kexue_jax.training.stacking import stack_params, unstack_params

__all__ = [
    # flooding
    "descent_ascent_step",
    "flooding",
    # gradient_penalty
    "dirichlet_energy",
    "implicit_gradient_loss",
    "input_gradient_penalty",
    "parameter_gradient_penalty",
    # perceptron_penalty
    "mlp_parameter_penalty",
    # memory
    "MemoryReport",
    "Residual",
    "memory_report",
    # plan
    "RecomputeCost",
    "recompute_cost",
    "segment_length",
    # recompute
    "remat",
    "scan_layers",
    # stacking
    "stack_params",
    "unstack_params",
]
