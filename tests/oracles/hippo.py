"""HiPPO in float64 NumPy, from the formulas of the method card, entry by entry."""

import math

import numpy as np


def legt(n: int, window: float) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.zeros((n, n)), np.zeros(n)
    for i in range(n):
        b[i] = math.sqrt(2 * (2 * i + 1)) / window
        for k in range(n):
            size = math.sqrt((2 * i + 1) * (2 * k + 1)) / window
            a[i, k] = -size * (1 if k < i else (-1) ** (i - k))
    return a, b


def legs(n: int, power: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.zeros((n, n)), np.zeros(n)
    for i in range(n):
        b[i] = math.sqrt(2 * (2 * i + 1)) / power
        a[i, i] = -(i + 1) / power
        for k in range(i):
            a[i, k] = -math.sqrt((2 * i + 1) * (2 * k + 1)) / power
    return a, b


def lagt(n: int, kappa: float, alpha: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.zeros((n, n)), np.zeros(n)
    for i in range(n):
        b[i] = math.gamma(i + alpha + 1) / math.gamma(i + 1) / math.gamma(alpha + 1)
        a[i, i] = -kappa
        a[i, :i] = -1
    norm = [math.sqrt(math.gamma(i + alpha + 1) / math.factorial(i)) for i in range(n)]
    scale = np.array(norm)
    return a * scale / scale[:, None], b / scale


def fourier(n: int, window: float, end: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """``end`` 2, or the article's 1."""
    order = range(-(n // 2), n // 2 + 1)
    a = np.array([[2j * np.pi * i * (i == k) - end for k in order] for i in order])
    return a / window, np.full(n, end / window, complex)


def real_transform(n: int) -> np.ndarray:
    """From complex coefficients to those of 1, sqrt(2) cos, sqrt(2) sin, ...

    sqrt(2) int u cos = (c_k + c_-k) / sqrt(2), sqrt(2) int u sin = i (c_k - c_-k) /
    sqrt(2), with c_k = int u exp(-2 pi i k s).
    """
    middle = n // 2
    rows = np.zeros((n, n), complex)
    rows[0, middle] = 1
    for k in range(1, middle + 1):
        rows[2 * k - 1, [middle + k, middle - k]] = np.sqrt(0.5)
        rows[2 * k, [middle + k, middle - k]] = np.array([1j, -1j]) * np.sqrt(0.5)
    return rows


def fourier_real(n: int, window: float) -> tuple[np.ndarray, np.ndarray]:
    rows = real_transform(n)
    a, b = fourier(n, window)
    a, b = rows @ a @ rows.conj().T, rows @ b
    return a.real, b.real


def fourier_all(n: int) -> tuple[np.ndarray, np.ndarray]:
    order = list(range(-(n // 2), n // 2 + 1))
    a = np.zeros((n, n), complex)
    for row, i in enumerate(order):
        for column, k in enumerate(order):
            a[row, column] = 1j * np.pi * i - 1 if i == k else -i / (i - k)
    return a, np.ones(n, complex)


def norm_scale(n: int, norm: str) -> np.ndarray:
    """lambda of the Legendre coefficients."""
    if norm == "lmu":
        return np.array([math.sqrt(2 / (2 * i + 1)) for i in range(n)])
    return np.full(n, {"hippo": math.sqrt(2), "orthonormal": 1.0}[norm])


def matrices(
    measure: str,
    n: int,
    window: float = 1.0,
    kappa: float = 0.5,
    alpha: float = 0.0,
    power: float = 1.0,
    norm: str = "hippo",
) -> tuple[np.ndarray, np.ndarray]:
    """The matrices of any measure in any normalization."""
    if measure in ("legt", "legs"):
        a, b = legt(n, window) if measure == "legt" else legs(n, power)
        scale = np.diag(norm_scale(n, norm))
        inverse = np.linalg.inv(scale)
        return inverse @ a @ scale, inverse @ b
    if measure == "lagt":
        a, b = lagt(n, kappa, alpha)
        return a / window, b / window
    if measure == "fourier_all":
        return fourier_all(n)
    return (fourier if measure == "fourier" else fourier_real)(n, window)
