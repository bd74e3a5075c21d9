"""Starts of chains spread over the devices, and how far a sample may stray by chance.

A verdict on sampled numbers is wrong with probability ``FALSE_ALARM`` at most: it is
shared evenly (Bonferroni) by all the tests that the verdict rests on.
"""

import statistics
from typing import Any

import jax
import numpy as np

from experiments._diffusion.sampling import noise
from experiments._harness.devices import data_mesh, shard_batch

FALSE_ALARM = 1e-6


def start(seed: int, count: int, width: int = 1) -> jax.Array:
    """Standard normal x_T [count, width], float32, divided over the devices."""
    return shard_batch(data_mesh(count), noise(seed, count, (width,)))


def rows(x: Any) -> np.ndarray:
    """Samples as float64 NumPy."""
    return np.asarray(x, np.float64)


def mean_z(x: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """How many standard errors the mean of normal samples [N, d] is off."""
    return (x.mean(0) - mean) / np.sqrt(variance / len(x))


def variance_z(x: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """The same for their variance: chi-squared, made normal by Wilson and Hilferty."""
    degrees = len(x) - 1
    spread = 2 / (9 * degrees)
    ratio = x.var(0, ddof=1) / variance
    return (np.cbrt(ratio) - (1 - spread)) / np.sqrt(spread)


def share_z(share: Any, expected: Any, count: int) -> np.ndarray:
    """The same for the share of ``count`` samples that fall in a class."""
    expected = np.asarray(expected)
    deviation = np.sqrt(expected * (1 - expected) / count)
    return (np.asarray(share) - expected) / deviation


def allowed(tests: int) -> float:
    """The |z| that none of ``tests`` exceeds by chance but with FALSE_ALARM."""
    return statistics.NormalDist().inv_cdf(1 - FALSE_ALARM / (2 * max(tests, 1)))
