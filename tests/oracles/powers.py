"""Consecutive powers in long double, from the method card."""

import numpy as np


def gap(n: np.ndarray) -> np.ndarray:
    n = np.asarray(n, np.longdouble)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(n) - n * np.log1p(1 / n), np.float64)


def series(n: np.ndarray, *, terms: int) -> np.ndarray:
    total = np.log(n) - 1
    for k in range(2, terms + 2):
        total = total + (-1) ** k / (k * n ** (k - 1))
    return total


def sign(n: np.ndarray) -> np.ndarray:
    return np.sign(gap(n))


def compare(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = (np.asarray(x, np.longdouble) for x in (a, b))
    return np.asarray(np.sign(b * np.log(a) - a * np.log(b)), np.float64)
