"""GELU and its approximations in float64, from the method card."""

import math

import numpy as np


def phi(x: np.ndarray) -> np.ndarray:
    flat = [0.5 * math.erfc(-v / math.sqrt(2)) for v in np.ravel(x)]
    return np.array(flat).reshape(np.shape(x))


def exact(x: np.ndarray) -> np.ndarray:
    return x * phi(x)


def exact_slope(x: np.ndarray) -> np.ndarray:
    return phi(x) + x * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def tanh(x: np.ndarray, *, coef: float = 0.044715) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + coef * x**3)))


def sigmoid(x: np.ndarray, *, scale: float = 1.702) -> np.ndarray:
    return x * (0.5 + 0.5 * np.tanh(scale * x / 2))


FORMS = {"none": exact, "tanh": tanh, "sigmoid": sigmoid}
