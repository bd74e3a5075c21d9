"""Positions: rotary embeddings and their scalings, extension of learned tables."""

from kexue_jax.positions.hierarchical import (
    extend_position_parameters,
    extend_position_table,
    hierarchical_lookup,
    hierarchical_positions,
)
from kexue_jax.positions.log_n import log_n_mask_scale, log_n_scale
from kexue_jax.positions.random_positions import (
    equal_mean_positions,
    random_positions,
    spaced_positions,
)
from kexue_jax.positions.relative import relative_position, self_extend_position
from kexue_jax.positions.rotary import apply_rope, rope_frequencies
from kexue_jax.positions.scaling import (
    base_digits,
    dynamic_scale,
    ntk_dynamic_base,
    yarn_logit_scale,
)
from kexue_jax.positions.windows import (
    hwfa2_layer_windows,
    hwfa_layer_windows,
    lambda_mask,
    window_mask,
)

__all__ = [
    "rope_frequencies",
    "apply_rope",
    "dynamic_scale",
    "ntk_dynamic_base",
    "yarn_logit_scale",
    "base_digits",
    "log_n_scale",
    "log_n_mask_scale",
    "relative_position",
    "self_extend_position",
    "window_mask",
    "lambda_mask",
    "hwfa_layer_windows",
    "hwfa2_layer_windows",
    "random_positions",
    "spaced_positions",
    "equal_mean_positions",
    "hierarchical_positions",
    "hierarchical_lookup",
    "extend_position_table",
    "extend_position_parameters",
]
