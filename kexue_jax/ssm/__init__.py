"""State spaces: HiPPO, S4 and the linear recurrences that grew out of them."""

from kexue_jax.ssm.basis import basis_coordinate, basis_eval, reconstruct
from kexue_jax.ssm.construction import (
    change_basis,
    chebyshev_from_legendre,
    hippo_from_basis,
)
from kexue_jax.ssm.diagonal import (
    S4dInit,
    dss_kernel,
    s4d_init,
    s4d_kernel,
    s4d_step,
)
from kexue_jax.ssm.diagonal_conv import (
    s4d_conv,
)
from kexue_jax.ssm.discretization import Discretized, discretize, discretize_diagonal
from kexue_jax.ssm.hippo import HippoMatrices, hippo_matrices
from kexue_jax.ssm.legs import LegsOutput, LegsState, legs_scan, legs_step
from kexue_jax.ssm.legs_algebra import legs_matvec, legs_solve
from kexue_jax.ssm.legs_projection import legs_project
from kexue_jax.ssm.lru import (
    LruParams,
    SlruParams,
    lru_apply,
    lru_init,
    lru_step,
    slru_apply,
    slru_init,
    slru_step,
)
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
from kexue_jax.ssm.recurrence import (
    causal_fft_conv,
    linear_scan,
    linear_scan_step,
    ssm_recurrent,
)
from kexue_jax.ssm.reflection import (
    rtf_from_reflection,
    rtf_reflection,
)
from kexue_jax.ssm.retention import (
    retention,
    retention_log_decays,
    retention_step,
)
from kexue_jax.ssm.s4_nplr import (
    Nplr,
    nplr,
)
from kexue_jax.ssm.s4_recurrence import (
    S4Step,
    s4_step,
    s4_step_matrices,
)
from kexue_jax.ssm.s4_spectrum import (
    s4_kernel,
    s4_truncate,
)
from kexue_jax.ssm.s5 import (
    S5Params,
    s5_apply,
    s5_init,
    s5_step,
)
from kexue_jax.ssm.selective import (
    selective_scan,
    selective_step,
)
from kexue_jax.ssm.wkv import (
    WkvState,
    wkv,
    wkv_step,
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
    # legs
    "LegsOutput",
    "LegsState",
    "legs_matvec",
    "legs_project",
    "legs_scan",
    "legs_solve",
    "legs_step",
    # rational
    "RtfCoefficients",
    "RtfCompanion",
    "rtf_kernel",
    "rtf_step",
    "rtf_scan",
    "rtf_to_companion",
    "rtf_from_matrices",
    # recurrence
    "causal_fft_conv",
    "linear_scan",
    "linear_scan_step",
    "ssm_recurrent",
    # reflection
    "rtf_from_reflection",
    "rtf_reflection",
    # retention
    "retention",
    "retention_log_decays",
    "retention_step",
    # selective
    "selective_scan",
    "selective_step",
    # wkv
    "WkvState",
    "wkv",
    "wkv_step",
    # outputs
    "SsmOutput",
    # s4_nplr
    "Nplr",
    "nplr",
    # s4_spectrum
    "s4_kernel",
    "s4_truncate",
    # s4_recurrence
    "S4Step",
    "s4_step",
    "s4_step_matrices",
    # diagonal
    "S4dInit",
    "s4d_init",
    "s4d_kernel",
    "s4d_step",
    "dss_kernel",
    # diagonal_conv
    "s4d_conv",
    # s5
    "S5Params",
    "s5_init",
    "s5_apply",
    "s5_step",
    # lru
    "LruParams",
    "SlruParams",
    "lru_init",
    "lru_apply",
    "lru_step",
    "slru_init",
    "slru_apply",
    "slru_step",
]
