"""Elementary functions: polynomials in place of the exponential."""

from kexue_jax.numerics.exp_taylor import (
    TaylorMin,
    log_taylor_exp,
    taylor_exp,
    taylor_min,
)
from kexue_jax.numerics.taylor_softmax import log_taylor_softmax, taylor_softmax

__all__ = [
    # exp_taylor
    "TaylorMin",
    "log_taylor_exp",
    "taylor_exp",
    "taylor_min",
    # taylor_softmax
    "log_taylor_softmax",
    "taylor_softmax",
]
