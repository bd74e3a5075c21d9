"""Positions: rotary embeddings and their scalings, extension of learned tables."""

from kexue_jax.positions.log_n import log_n_mask_scale, log_n_scale
from kexue_jax.positions.rotary import apply_rope, rope_frequencies

__all__ = [
    "rope_frequencies",
    "apply_rope",
    "log_n_scale",
    "log_n_mask_scale",
]
