"""LegS in float64 NumPy by dense matrices; projections by integrals of Legendre."""

import numpy as np

from tests.oracles import hippo
from tests.oracles.discretization import exponential

# (p, q, g) of (I - p A) x' = (I + q A) x + g B u, from k to k + 1.
WEIGHTS = {
    "forward": lambda k: (0.0, 1 / k, 1 / k),
    "backward": lambda k: (1 / (k + 1), 0.0, 1 / (k + 1)),
    "bilinear": lambda k: (0.5 / (k + 1), 0.5 / k, 1 / k),
    "ln_weight": lambda k: (0.5 / (k + 1), 0.5 / k, np.log((k + 1) / k)),
    "trapezoid": lambda k: (0.5 / (k + 1), 0.5 / k, 0.5 / k + 0.5 / (k + 1)),
    "log_bilinear": lambda k: np.log((k + 1) / k) * np.array([0.5, 0.5, 1.0]),
    "frozen_bilinear": lambda k: (0.5 / k, 0.5 / k, 1 / k),
}


def integrals(s, n):
    """int_{-1}^s g_i, [..., n]: (P_{i+1} - P_{i-1}) / (2 i + 1) times the size of g."""
    p = np.polynomial.legendre.legvander(s, n)
    i = np.arange(1, n)
    rest = (p[..., 2:] - p[..., :-2]) / (2 * i + 1) * np.sqrt((2 * i + 1) / 2)
    return np.concatenate([np.sqrt(0.5) * (s + 1)[..., None], rest], -1)


def project(u, *, n, power=1.0, norm="hippo"):
    """Coefficients of samples held from j to j + 1, u [..., length]."""
    length = u.shape[-1]
    s = 2 * (np.arange(length + 1) / length) ** (1 / power) - 1
    return u @ np.diff(integrals(s, n), axis=0) / hippo.norm_scale(n, norm)


def history(u, *, n, method, power=1.0, norm="hippo"):
    """Coefficients after each sample of u [length], [length, n]."""
    if method == "exact":
        options = {"n": n, "power": power, "norm": norm}
        return np.stack([project(u[: j + 1], **options) for j in range(len(u))])
    a, b = hippo.matrices("legs", n, power=power, norm=norm)
    x = np.zeros(n)
    x[0] = np.sqrt(2) / hippo.norm_scale(n, norm)[0] * u[0]
    found = [x]
    for k in range(1, len(u)):
        p, q, g = WEIGHTS[method](k)
        right = x + q * a @ x + g * b * u[k]
        x = np.linalg.solve(np.eye(n) - p * a, right)
        found.append(x)
    return np.stack(found)


def step(x, u, k, *, n, method, power=1.0, norm="hippo"):
    """One step of one row from k >= 1; exact by the projection's own flow."""
    a, b = hippo.matrices("legs", n, power=power, norm=norm)
    if method == "exact":
        still = np.eye(n)[0] * np.sqrt(2) / hippo.norm_scale(n, norm)[0] * u
        return exponential(np.log((k + 1) / k) * a) @ (x - still) + still
    p, q, g = WEIGHTS[method](k)
    return np.linalg.solve(np.eye(n) - p * a, x + q * a @ x + g * b * u)


def matvec(x, norm):
    return x @ hippo.matrices("legs", x.shape[-1], norm=norm)[0].T


def solve(v, lam, norm):
    n = v.shape[-1]
    a = hippo.matrices("legs", n, norm=norm)[0]
    lam = np.broadcast_to(lam, v.shape[:-1])[..., None, None]
    return np.linalg.solve(np.eye(n) - lam * a, v[..., None])[..., 0]
