"""Reading a schedule at integer steps: range checks, dtype, and shape to meet x."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype, expand_trailing
from kexue_jax.diffusion.schedules import Schedule, check_schedule


class Entries(NamedTuple):
    """The schedule at t, shaped to meet x: its four coefficients, and their dtype."""

    alpha: jax.Array
    beta: jax.Array
    alpha_bar: jax.Array
    beta_bar: jax.Array

    @property
    def dtype(self) -> jnp.dtype:
        return self.beta.dtype


def entries(schedule: Schedule, t: jax.Array, *arrays: jax.Array) -> Entries:
    """The schedule at steps t, expanded to the rank of the first of ``arrays``.

    In the common dtype of the schedule and the floating ``arrays``, at least float32.
    """
    floating = [a for a in arrays if jnp.issubdtype(a.dtype, jnp.floating)]
    dtype = accumulation_dtype(schedule.beta, *floating)
    parts = (jnp.take(jnp.asarray(part), t, mode="clip") for part in schedule)
    return Entries(*(expand_trailing(p, arrays[0]).astype(dtype) for p in parts))


def check_inputs(
    function: str, schedule: Schedule, t: Any, minimum: int, **arrays: Any
) -> jax.Array:
    """Check ``arrays [..., *d]`` against ``t [...]``; t as int32, ready to gather."""
    for name, value in arrays.items():
        checks.array(function, name, value)
    t = check_steps(function, schedule, t, minimum=minimum)
    patterns = {name: (value, "... *d") for name, value in arrays.items()}
    checks.shapes(function, t=(t, "..."), **patterns)
    return t


def check_steps(
    function: str, schedule: Schedule, t: Any, *, minimum: int, argument: str = "t"
) -> jax.Array:
    """``t`` as int32; raise unless it is of integers, and if concrete, in range.

    A Python integer is taken. Looking at a concrete t waits for its device, once.
    """
    check_schedule(function, schedule)
    steps = np.asarray(t) if type(t) is int else t
    checks.array(function, argument, steps, "integer")
    values = checks.known(steps)
    if values is not None and values.size:
        low, high = values.min(), values.max()
        if low < minimum or high > schedule.T:
            got = f"values from {low} to {high}"
            raise checks.fail(function, argument, got, f"in {minimum}..{schedule.T}")
    return jnp.asarray(steps).astype(jnp.int32)
