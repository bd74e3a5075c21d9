"""Theorems of the articles as functions: what is claimed, and how to measure it."""

from kexue_jax.theory.activations import (
    ActivationMoments,
    SeluConstants,
    activation_moments,
    rescale_activation,
    selu_constants,
)
from kexue_jax.theory.attributions import TopSamples, top_attributions
from kexue_jax.theory.gradient_bound import GradientBound, mlp_gradient_bound
from kexue_jax.theory.heads import HeadParams, mlm_logits
from kexue_jax.theory.initializers import (
    truncated_normal,
    variance_scaling,
    zero_hadamard,
)
from kexue_jax.theory.kernel_machine import (
    KernelMachine,
    kernel_machine_predict,
    kernel_ridge,
    ntk_gradient_flow,
)
from kexue_jax.theory.normalization import layer_norm, ntk_dense, rms_norm
from kexue_jax.theory.online import OnlineTrace, online_sgd, regret
from kexue_jax.theory.path_kernel import (
    attribute_step,
    path_change,
    path_kernel,
    path_step,
    sample_displacements,
)
from kexue_jax.theory.path_training import PathTrace, train_with_path_kernel
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
from kexue_jax.theory.spectral import spectral_norm
from kexue_jax.theory.tangent_kernel import mlp_tangent_kernel, tangent_kernel

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
