"""Small chains, a predictor and malformed calls that the rows of diffusion share."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax.diffusion.schedules import Schedule
from tests.contract.case import Bad
from tests.contract.rows_schedules import exact_schedule

T = 6


def chain(rng: np.random.Generator, T: int = T) -> Schedule:
    """A chain of T coarse steps, other for every rng."""
    return exact_schedule(rng.uniform(0.1, 0.5, T))


def steps(rng: np.random.Generator, *shape: int, first: int = 1) -> np.ndarray:
    return rng.integers(first, T + 1, shape).astype(np.int32)


def eps_fn(x: Any, t: Any) -> Any:
    """A predictor in operators alone, for NumPy and JAX, gentle however large x is."""
    t = t.reshape(t.shape + (1,) * (x.ndim - t.ndim)).astype(x.dtype)
    return 0.8 * x + 0.3 * x / (1 + x * x) - 0.1 * t / (1 + t)


def normal(key: jax.Array, like: jax.Array) -> jax.Array:
    """The noise that docstrings promise: drawn in at least float32, then cast."""
    dtype = jnp.promote_types(like.dtype, jnp.float32)
    return jax.random.normal(key, like.shape, dtype).astype(like.dtype)


def bad_schedules(place: int = 0) -> tuple[Bad, ...]:
    part = np.linspace(0.1, 0.9, T + 1)
    wrong = (
        (part,) * 4,
        Schedule(part, part, part, part[1:]),
        Schedule(*(np.ones((2, T + 1)),) * 4),
        Schedule(*(np.arange(T + 1),) * 4),
        Schedule(part, part, part, 1.0),
    )
    return tuple(Bad("schedule", args={place: s}, traced=False) for s in wrong)


def bad_steps(place: int, shape: tuple[int, ...], first: int = 1) -> tuple[Bad, ...]:
    """Steps of a wrong dtype, of a wrong shape, and (concrete) off the chain."""
    return (
        Bad("t", args={place: np.full(shape, 2.0)}),
        Bad("t", args={place: np.ones(shape, bool)}),
        Bad("t", args={place: 2.5}, traced=False),
        Bad("t", args={place: np.full(shape, T + 1)}, traced=False),
        Bad("t", args={place: np.full(shape, first - 1)}, traced=False),
    )


def bad_arrays(argument: str, place: int, *shapes: tuple[int, ...]) -> tuple[Bad, ...]:
    """Floating arrays of shapes that do not fit, and one of integers."""
    wrong: list[Any] = [np.ones(shape) for shape in shapes]
    return tuple(
        Bad(argument, args={place: value})
        for value in [*wrong, np.ones(shapes[0], np.int32)]
    )
