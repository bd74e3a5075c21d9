"""Ways to train: what the backward pass keeps, and what it computes again."""

from kexue_jax.training.memory import MemoryReport, Residual, memory_report
from kexue_jax.training.plan import RecomputeCost, recompute_cost, segment_length
from kexue_jax.training.recompute import remat, scan_layers
from kexue_jax.training.stacking import stack_params, unstack_params

__all__ = [
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
