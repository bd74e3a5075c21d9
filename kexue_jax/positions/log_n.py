"""Log-n attention: the factor on queries that keeps the entropy at any length."""

import math

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax.positions._width import check_width


def log_n_scale(
    positions: jax.Array, train_length: int, *, floor: float = 1.0
) -> jax.Array:
    """The factor on the query at each position of a causal model.

    max(floor, ln(positions + 1) / ln(train_length)): a query at 0-based position i
    sees i + 1 keys.

    Shapes: positions [...], integer or floating, not negative -> [...].
    Article: kexue.fm/archives/8823 (9948).  Paper: none.
    Differs: no. floor=1 is for a model that was trained without the factor (it leaves
    positions below train_length alone); floor=0 is for one trained with it. Multiply q
    by it, not the scores, before any rotation: it then fits every fast attention. The
    general kappa ln n / d has ``scale`` = kappa ln(train_length) / d beside it.
    Cost: O(n) time and memory; float32 at least.
    Raises: TypeError or ValueError for bad arguments, positions in floats of 16 bits,
    or a train_length below 2.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.positions import log_n_scale
        >>> log_n_scale(jnp.array([0, 511, 4095]), 512).round(3).tolist()
        [1.0, 1.0, 1.3330000638961792]
    """
    name = "log_n_scale"
    check_width(name, "positions", positions, integers=True)
    checks.count(name, "train_length", train_length, minimum=2)
    checks.number(name, "floor", floor, minimum=0)
    positions = jnp.asarray(positions)
    dtype = jnp.promote_types(positions.dtype, jnp.float32)
    if not jnp.issubdtype(positions.dtype, jnp.floating):
        dtype = jnp.dtype(jnp.float32)
    factor = jnp.log1p(positions.astype(dtype)) / math.log(train_length)
    return jnp.maximum(factor, floor)


def log_n_mask_scale(
    mask: jax.Array, train_length: int, *, floor: float = 0.0, min_keys: int = 16
) -> jax.Array:
    """The factor on all queries of a row of keys, for a bidirectional model.

    max(floor, ln(max(min_keys, n)) / ln(train_length)), n the number of keys kept.

    Shapes: mask [..., n] boolean, True = keep -> [...] float32.
    Article: kexue.fm/archives/8823.  Paper: none.
    Differs: no; ``min_keys`` is 16 in the author's code.
    Cost: O(n) time, no memory.
    Raises: TypeError or ValueError for bad arguments, or a train_length below 2.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.positions import log_n_mask_scale
        >>> float(log_n_mask_scale(jnp.ones(4096, bool), 512).round(3))
        1.3330000638961792
    """
    name = "log_n_mask_scale"
    checks.array(name, "mask", mask, "boolean")
    checks.shapes(name, mask=(mask, "... n"))
    checks.count(name, "train_length", train_length, minimum=2)
    checks.number(name, "floor", floor, minimum=0)
    checks.count(name, "min_keys", min_keys)
    keys = jnp.maximum(jnp.sum(mask, -1, dtype=jnp.int32), min_keys)
    factor = jnp.log(keys.astype(jnp.float32)) / math.log(train_length)
    return jnp.maximum(factor, floor)
