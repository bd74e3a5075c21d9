"""Elementary functions and arithmetic: polynomials, bit patterns, powers."""

from kexue_jax.numerics.activation_fit import (
    ApproximationReport,
    FitResult,
    approximation_report,
    fit_activation,
    gelu_constants,
)
from kexue_jax.numerics.exp_taylor import (
    TaylorMin,
    log_taylor_exp,
    taylor_exp,
    taylor_min,
)
from kexue_jax.numerics.gelu import gelu, gelu_sigmoid, gelu_tanh, silu
from kexue_jax.numerics.mitchell import (
    lmul,
    lmul_offset,
    mitchell_div,
    mitchell_mul,
)
from kexue_jax.numerics.mitchell_errors import mitchell_relative_error, optimal_offset
from kexue_jax.numerics.mitchell_functions import (
    mitchell_exp2,
    mitchell_log2,
    mitchell_rsqrt,
    mitchell_sqrt,
)
from kexue_jax.numerics.mitchell_matmul import (
    mitchell_conv,
    mitchell_dot_general,
    mitchell_matmul,
)
from kexue_jax.numerics.powers import (
    PowerLimits,
    compare_consecutive_powers,
    compare_powers,
    exact_compare,
    log_power_gap,
    power_crossover,
    power_gap_series,
    power_limits,
)
from kexue_jax.numerics.taylor_softmax import log_taylor_softmax, taylor_softmax

__all__ = [
    # activation_fit
    "ApproximationReport",
    "FitResult",
    "approximation_report",
    "fit_activation",
    "gelu_constants",
    # exp_taylor
    "TaylorMin",
    "log_taylor_exp",
    "taylor_exp",
    "taylor_min",
    # gelu
    "gelu",
    "gelu_sigmoid",
    "gelu_tanh",
    "silu",
    # mitchell
    "lmul",
    "lmul_offset",
    "mitchell_div",
    "mitchell_mul",
    # mitchell_errors
    "mitchell_relative_error",
    "optimal_offset",
    # mitchell_functions
    "mitchell_exp2",
    "mitchell_log2",
    "mitchell_rsqrt",
    "mitchell_sqrt",
    # mitchell_matmul
    "mitchell_conv",
    "mitchell_dot_general",
    "mitchell_matmul",
    # powers
    "PowerLimits",
    "compare_consecutive_powers",
    "compare_powers",
    "exact_compare",
    "log_power_gap",
    "power_crossover",
    "power_gap_series",
    "power_limits",
    # taylor_softmax
    "log_taylor_softmax",
    "taylor_softmax",
]
