"""Theorems of the articles as functions: what is claimed, and how to measure it."""

from kexue_jax.theory.attributions import TopSamples, top_attributions
from kexue_jax.theory.kernel_machine import (
    KernelMachine,
    kernel_machine_predict,
    kernel_ridge,
    ntk_gradient_flow,
)
from kexue_jax.theory.path_kernel import (
    attribute_step,
    path_change,
    path_kernel,
    path_step,
    sample_displacements,
)
from kexue_jax.theory.path_training import PathTrace, train_with_path_kernel
from kexue_jax.theory.rnn_cells import (
    CellState,
    RnnStep,
    gru_cell,
    init_rnn,
    lstm_cell,
    merged_gate_gru_cell,
    reset_last_cell,
    scan_rnn,
    simple_rnn_cell,
)
from kexue_jax.theory.rnn_gradients import (
    JacobianProfile,
    jacobian_profile,
    one_step_derivative_terms,
)
from kexue_jax.theory.tangent_kernel import mlp_tangent_kernel, tangent_kernel

__all__ = [
    # attributions
    "TopSamples",
    "top_attributions",
    # kernel_machine
    "KernelMachine",
    "kernel_machine_predict",
    "kernel_ridge",
    "ntk_gradient_flow",
    # path_kernel
    "attribute_step",
    "path_change",
    "path_kernel",
    "path_step",
    "sample_displacements",
    # path_training
    "PathTrace",
    "train_with_path_kernel",
    # rnn_cells
    "CellState",
    "RnnStep",
    "gru_cell",
    "init_rnn",
    "lstm_cell",
    "merged_gate_gru_cell",
    "reset_last_cell",
    "scan_rnn",
    "simple_rnn_cell",
    # rnn_gradients
    "JacobianProfile",
    "jacobian_profile",
    "one_step_derivative_terms",
    # tangent_kernel
    "mlp_tangent_kernel",
    "tangent_kernel",
]
