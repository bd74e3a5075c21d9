"""Modes of diagonal systems: checks and broadcasting that their functions share."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from kexue_jax._base import checks
from kexue_jax._base.varying import all_varying


def complex_modes(function: str, **arrays: Any) -> None:
    """Raise unless all are complex arrays of one dtype with one last axis n >= 1."""
    for argument, value in arrays.items():
        checks.array(function, argument, value, "complex")
    checks.same_dtype(function, **arrays)
    first = next(iter(arrays))
    for argument, value in arrays.items():
        checks.shapes(function, **{argument: (value, "... n")})
        n = arrays[first].shape[-1]
        if value.shape[-1] != n or n == 0:
            wanted = f"of the {n} modes of `{first}`" if n else "of at least one mode"
            raise checks.fail(function, argument, f"shape {value.shape}", wanted)


def real_part_dtype(value: Any) -> np.dtype:
    """float32 for complex64, float64 for complex128."""
    return np.finfo(value.dtype).dtype


def step_sizes(function: str, dt: Any, like: Any) -> jax.Array:
    """dt as an array of the real dtype that goes with the complex ``like``."""
    dtype = real_part_dtype(like)
    if not checks.is_array(dt):
        checks.number(function, "dt", dt, minimum=0, open_minimum=True)
        return jnp.asarray(dt, dtype)
    checks.array(function, "dt", dt)
    if dt.dtype != dtype:
        got, wanted = f"dtype {dt.dtype}", f"of dtype {dtype}"
        raise checks.fail_type(function, "dt", got, wanted)
    return jnp.asarray(dt)


def spread_leading(function: str, **arrays: tuple[Any, int]) -> list[jax.Array]:
    """Arrays, each with its number of own axes, with one common leading shape."""
    shapes = {name: x.shape[: x.ndim - own] for name, (x, own) in arrays.items()}
    lead = checks.leading(function, shapes)
    return [
        jnp.broadcast_to(value, lead + value.shape[value.ndim - own :])
        for value, own in arrays.values()
    ]


def channel_inputs(function: str, u: Any, like: Any, pattern: str) -> None:
    """Raise unless u is a floating array of the pattern, h as ``like [h, n]`` has."""
    checks.array(function, "u", u)
    checks.shapes(function, modes=(like, "h n"), u=(u, pattern))


def check_complex_dtype(function: str, dtype: Any) -> None:
    """Raise TypeError unless ``dtype`` names a complex dtype."""
    try:
        right = jnp.issubdtype(jnp.dtype(dtype), jnp.complexfloating)
    except TypeError:
        right = False
    if dtype is None or not right:
        raise checks.fail_type(function, "dtype", repr(dtype), "a complex dtype")


def power_rows(
    start: jax.Array, factor: jax.Array, count: int, *, reverse: bool = False
) -> jax.Array:
    """start factor^j for j = 0 .. count - 1, ``[..., n]`` -> real [count, ..., 2 n].

    Real parts and then imaginary ones; ``reverse`` has the last power first. A loop of
    products: exponentials of complex numbers take twenty times as long, and XLA on a
    CPU would compute a table without a loop once for each use of it.
    """

    def body(power: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        return power * factor, jnp.concatenate([power.real, power.imag], -1)

    start, factor = all_varying(start, factor)
    return lax.scan(body, start, None, length=count, reverse=reverse)[1]
