"""Ways to train: penalties on gradients, flooding."""

from kexue_jax.training.flooding import descent_ascent_step, flooding
from kexue_jax.training.gradient_penalty import (
    dirichlet_energy,
    implicit_gradient_loss,
    input_gradient_penalty,
    parameter_gradient_penalty,
)
from kexue_jax.training.perceptron_penalty import mlp_parameter_penalty

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
]
