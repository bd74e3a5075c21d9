"""A predictor that is far from linear, in JAX and in NumPy, and the draws of a key."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax.diffusion import Schedule, gaussian_eps


def eps_fn(x: jax.Array, t: jax.Array) -> jax.Array:
    """0.9 x + 0.1 sin(3 x + t / 100): near the perfect one for N(0, 1)."""
    t = t.reshape(t.shape + (1,) * (x.ndim - t.ndim))
    return 0.9 * x + 0.1 * jnp.sin(3 * x + t.astype(x.dtype) / 100)


def eps_numpy(x: np.ndarray, t: float) -> np.ndarray:
    return 0.9 * x + 0.1 * np.sin(3 * x + t / 100)


def gaussian_fn(schedule: Schedule, mean: float, variance: float):
    """The perfect predictor of N(mean, variance) at the steps of a schedule."""

    def perfect(x: jax.Array, t: jax.Array) -> jax.Array:
        alpha_bar, beta_bar = schedule.alpha_bar[t], schedule.beta_bar[t]
        return gaussian_eps(x, alpha_bar, beta_bar, mean, variance)

    return perfect


def surrogate_fn(mean: float, variance: float, T: int):
    """The same in continuous time, alpha_bar = exp(-5 (t / T)^2)."""

    def perfect(x: jax.Array, t: jax.Array) -> jax.Array:
        square = (t / T) ** 2
        alpha_bar, beta_bar = jnp.exp(-5 * square), jnp.sqrt(-jnp.expm1(-10 * square))
        return gaussian_eps(x, alpha_bar, beta_bar, mean, variance)

    return perfect


def normals(seed: int, *shape: int) -> jax.Array:
    """Standard normal test data, from NumPy: no program to compile for each shape."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


@functools.lru_cache
def _normals(shape: tuple[int, ...], dtype: Any, T: int):
    def one(key, t):
        return jax.random.normal(jax.random.fold_in(key, t), shape, dtype)

    return jax.jit(lambda key: jax.vmap(one, (None, 0))(key, jnp.arange(T + 1)))


def draws(key: jax.Array, T: int, shape: tuple[int, ...], dtype=jnp.float64):
    """What the samplers' rule promises: entry t is normal of ``fold_in(key, t)``."""
    return np.asarray(_normals(shape, dtype, T)(key), np.float64)


def relative(got, wanted) -> float:
    """The largest difference, relative to the largest entry wanted."""
    got, wanted = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
    assert got.shape == wanted.shape
    return float(np.abs(got - wanted).max() / np.abs(wanted).max())
