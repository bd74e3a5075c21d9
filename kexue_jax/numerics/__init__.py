"""Elementary functions: polynomials in place of the exponential."""

from kexue_jax.numerics.exp_taylor import (
    TaylorMin,
    log_taylor_exp,
    taylor_exp,
    taylor_min,
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
    # exp_taylor
    "TaylorMin",
    "log_taylor_exp",
    "taylor_exp",
    "taylor_min",
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
