"""Discretizations in float64 NumPy: series and eigenvalues, no matrix exponential."""

import numpy as np


def exponential(a: np.ndarray) -> np.ndarray:
    """e^a by its Taylor series at a / 2^s, squared s times."""
    squarings = max(0, int(np.ceil(np.log2(max(np.abs(a).sum(-1).max(), 1e-30)))) + 4)
    small, total = a / 2**squarings, np.eye(len(a), dtype=a.dtype)
    term = total
    for k in range(1, 20):
        term = term @ small / k
        total = total + term
    for _ in range(squarings):
        total = total @ total
    return total


def held(a: np.ndarray, b: np.ndarray, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """e^(dt a), and int_0^dt e^(s a) b ds by the series sum_k dt^k a^(k-1) b / k!
    at dt / 2^s, doubled by I(2 h) = I(h) + e^(h a) I(h)."""
    squarings = max(0, int(np.ceil(np.log2(max(np.abs(dt * a).sum(-1).max(), 1e-30)))))
    squarings += 4
    h = dt / 2**squarings
    term = h * b
    total = term
    for k in range(2, 20):
        term = h * (a @ term) / k
        total = total + term
    for s in range(squarings):
        total = total + exponential(2**s * h * a) @ total
    return exponential(dt * a), total


def discretize(a, b, dt, *, method, alpha=None):
    """One system: a [n, n], b [n] or [n, m], dt a number."""
    if method == "zoh":
        return held(a, b, dt)
    weight = {"forward": 0, "backward": 1, "bilinear": 0.5, "gbt": alpha}[method]
    eye = np.eye(len(a))
    left = eye - weight * dt * a
    right = eye + (1 - weight) * dt * a
    return np.linalg.solve(left, right), np.linalg.solve(left, dt * b)


def batch(a, b, dt, **options):
    """Systems along one leading axis of every argument."""
    pairs = [discretize(*system, **options) for system in zip(a, b, dt, strict=True)]
    return tuple(np.stack(part) for part in zip(*pairs, strict=True))


def diagonal(lam, b, dt, **options):
    """lam [k, n], b [k, n], dt [k], by the matrices diag(lam)."""
    pairs = [
        discretize(np.diag(row), column, step, **options)
        for row, column, step in zip(lam, b, dt, strict=True)
    ]
    return np.stack([np.diag(m) for m, _ in pairs]), np.stack([v for _, v in pairs])
