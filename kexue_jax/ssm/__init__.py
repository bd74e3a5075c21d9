"""State spaces: HiPPO, S4 and the linear recurrences that grew out of them."""

from kexue_jax.ssm.basis import basis_coordinate, basis_eval, reconstruct
from kexue_jax.ssm.construction import (
    change_basis,
    chebyshev_from_legendre,
    hippo_from_basis,
)
from kexue_jax.ssm.discretization import Discretized, discretize, discretize_diagonal
from kexue_jax.ssm.hippo import HippoMatrices, hippo_matrices
from kexue_jax.ssm.outputs import (
    SsmOutput,
)
from kexue_jax.ssm.rational import (
    RtfCoefficients,
    RtfCompanion,
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
    # basis
    "basis_coordinate",
    "basis_eval",
    "reconstruct",
    # construction
    "change_basis",
    "chebyshev_from_legendre",
    "hippo_from_basis",
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
    "rtf_kernel",
    "rtf_step",
    "rtf_scan",
    "rtf_to_companion",
    "rtf_from_matrices",
    # reflection
    "rtf_from_reflection",
    "rtf_reflection",
    # outputs
    "SsmOutput",
]
