"""The bases of HiPPO in float64 NumPy, by closed formulas, not by recurrences."""

import math

import numpy as np

from tests.oracles.hippo import norm_scale


def laguerre(s: np.ndarray, i: int, alpha: float) -> np.ndarray:
    """L_i^(alpha)(s) = sum_k (-1)^k binomial(i + alpha, i - k) s^k / k!."""
    total = np.zeros_like(s)
    for k in range(i + 1):
        choose = math.gamma(i + alpha + 1) / math.gamma(alpha + k + 1)
        choose /= math.factorial(i - k)
        total = total + (-1) ** k * choose * s**k / math.factorial(k)
    return total


def functions(
    s: np.ndarray,
    *,
    measure: str,
    n: int,
    kappa: float = 0.5,
    alpha: float = 0.0,
    norm: str = "hippo",
) -> np.ndarray:
    """h_i(s), [..., n]."""
    columns = []
    for i in range(n):
        order = i - n // 2
        if measure in ("legt", "legs"):
            one = np.polynomial.legendre.Legendre.basis(i)(s)
            one = one * np.sqrt((2 * i + 1) / 2) * norm_scale(n, norm)[i]
        elif measure == "lagt":
            size = math.sqrt(math.gamma(i + alpha + 1) / math.factorial(i))
            one = s**alpha * np.exp(-(1 - kappa) * s) * laguerre(s, i, alpha) / size
        elif measure in ("fourier", "fourier_all"):
            one = np.exp(2j * np.pi * order * s)
        elif i == 0:
            one = np.ones_like(s)
        else:
            wave = np.cos if i % 2 else np.sin
            one = np.sqrt(2) * wave(2 * np.pi * ((i + 1) // 2) * s)
        columns.append(one)
    return np.stack(columns, -1)


def reconstruct(coef: np.ndarray, s: np.ndarray, **options) -> np.ndarray:
    """Sum over i of c_i h_i(s), rows of coef with rows of s or with one s."""
    values = functions(s, n=coef.shape[-1], **options)
    return (values @ coef[..., None])[..., 0] if s.ndim > 1 else coef @ values.T


def coordinate(lag, *, measure, window=1.0, power=1.0):
    if measure == "lagt":
        return lag / window
    if measure.startswith("fourier"):
        return (window - lag) / window
    if measure == "s4":
        return 2 * np.exp(-lag / window) - 1
    rest = np.maximum(window - lag, 0) / window if power != 1 else 1 - lag / window
    return 2 * rest ** (1 / power) - 1


def change_basis(a, b, transform):
    inverse = np.linalg.inv(transform)
    return transform @ a @ inverse, (transform @ b[..., None])[..., 0]


def chebyshev(n: int, norm: str) -> np.ndarray:
    """M by the coefficients of T_i in P_k, from those in powers."""
    m = np.zeros((n, n))
    for i in range(n):
        powers = np.polynomial.chebyshev.cheb2poly(np.eye(n)[i])
        found = np.polynomial.legendre.poly2leg(powers)
        m[i, : len(found)] = found
    k = np.arange(n)
    return m * np.sqrt(2 / (2 * k + 1)) * norm_scale(n, norm)
