"""What dtypes positions and frequencies may have."""

from typing import Any

import jax.numpy as jnp

from kexue_jax._base import checks


def check_width(
    function: str, argument: str, value: Any, *, integers: bool = False
) -> None:
    """Raise unless ``value`` is a real floating array of at least 32 bits.

    With ``integers`` one of integers will do too. bfloat16 has no integers beyond 256,
    so that positions were rounded before they came; and angles are products of
    positions and frequencies, which take that error on.
    """
    integers = integers and checks.is_array(value)
    if integers and jnp.issubdtype(value.dtype, jnp.integer):
        return
    checks.array(function, argument, value)
    if jnp.finfo(value.dtype).bits < 32:
        wanted = "of at least 32 bits"
        raise checks.fail_type(function, argument, f"dtype {value.dtype}", wanted)
