"""Scalars, or one number per example, that meet arrays of shape ``[..., *d]``."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks, numerics


def leading(
    function: str,
    argument: str,
    value: Any,
    like: Any,
    *,
    minimum: float = -math.inf,
    maximum: float = math.inf,
) -> jax.Array:
    """``value`` in the accumulation dtype and with the rank of ``like``.

    A Python number is checked against the bounds. An array must be floating and its
    shape must start that of ``like``: () is one number for all, [B] one an example.
    """
    dtype = numerics.accumulation_dtype(like)
    if not checks.is_array(value):
        checks.number(function, argument, value, minimum=minimum, maximum=maximum)
    else:
        checks.array(function, argument, value)
        starts = np.shape(like)[: np.ndim(value)]
        if np.shape(value) != starts:
            wanted = f"a number, or of a shape that starts {list(np.shape(like))}"
            raise checks.fail(function, argument, f"shape {np.shape(value)}", wanted)
    return numerics.expand_trailing(jnp.asarray(value, dtype), like)
