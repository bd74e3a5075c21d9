"""WEISSI, L2 and shifts of scales in float64 NumPy."""

import numpy as np


def matrices(params):
    return [w for w in params.values() if np.ndim(w) > 1]


def lengths(params):
    return np.array([np.sqrt(np.sum(w**2)) for w in matrices(params)])


def weissi(params, *, log_coef, direction_coef, delta=1e-8):
    total = 0.0
    for w in matrices(params):
        n = np.sqrt(np.sum(w**2) + delta**2)
        total += log_coef * np.log(n) + direction_coef * np.abs(w).sum() / n
    return total


def l2(params, *, coef):
    return coef * np.sum(lengths(params) ** 2)


def log_norms(params):
    return np.sum(np.log(lengths(params)))


def log_spectral(params):
    found = [w.reshape(-1, w.shape[-1]) for w in matrices(params)]
    return np.sum([np.log(np.linalg.norm(w, 2)) for w in found])


def log_residual(blocks):
    return np.sum([np.log(1 + np.prod(lengths(block))) for block in blocks])


def shift(weights, biases, gammas):
    products = np.cumprod(gammas)
    return (
        [g * w for g, w in zip(gammas, weights, strict=True)],
        [None if b is None else p * b for p, b in zip(products, biases, strict=True)],
    )


def balance(weights, biases):
    n = np.array([np.sqrt(np.sum(w**2)) for w in weights])
    return shift(weights, biases, np.prod(n) ** (1 / len(n)) / n)


def excess(params):
    n = lengths(params)
    return 1 - len(n) * np.prod(n) ** (2 / len(n)) / np.sum(n**2)
