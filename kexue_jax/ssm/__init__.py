"""State spaces: HiPPO, S4 and the linear recurrences that grew out of them."""

from kexue_jax.ssm.discretization import Discretized, discretize, discretize_diagonal
from kexue_jax.ssm.hippo import HippoMatrices, hippo_matrices
from kexue_jax.ssm.rational import (
    RtfCoefficients,
    RtfCompanion,
    RtfOutput,
    rtf_from_matrices,
    rtf_kernel,
    rtf_scan,
    rtf_step,
    rtf_to_companion,
)
from kexue_jax.ssm.reflection import (
    rtf_from_reflection,
    rtf_reflection,
)

__all__ = [
    # discretization
    "Discretized",
    "discretize",
    "discretize_diagonal",
    # hippo
    "HippoMatrices",
    "hippo_matrices",
    # rational
    "RtfCoefficients",
    "RtfCompanion",
    "RtfOutput",
    "rtf_kernel",
    "rtf_step",
    "rtf_scan",
    "rtf_to_companion",
    "rtf_from_matrices",
    # reflection
    "rtf_from_reflection",
    "rtf_reflection",
]
