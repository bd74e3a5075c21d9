"""Relaxed smoothness in float64 NumPy: bounds, the trajectory's, the fitted line."""

import itertools

import numpy as np


def gradient_bound(n, r, *, l0, l1):
    return (l0 + l1 * n) * np.expm1(l1 * r) / l1


def value_bound(n, r, *, l0, l1):
    z = l1 * r
    # The series, summed to the end: e^z - 1 - z cancels near 0.
    terms, rest = z * z / 2, np.zeros(np.broadcast_shapes(np.shape(n), np.shape(z)))
    for k in range(3, 60):
        rest = rest + terms
        terms = terms * z / k
    return (l0 + l1 * n) / l1**2 * rest


def descent_bound(n, step, *, l0, l1):
    return -step * n**2 + value_bound(n, step * n, l0=l0, l1=l1)


def norm(tree):
    return np.sqrt(sum(np.sum(x**2) for x in tree.values()))


def trajectory(gradient, params, after, *, num):
    """Largest quotient of differences along a step, and the norm at its start."""
    start = gradient(params)
    step = {n: after[n] - params[n] for n in params}
    found = []
    for k in range(1, num + 1):
        there = gradient({n: params[n] + k / num * step[n] for n in params})
        change = {n: there[n] - start[n] for n in params}
        found.append(norm(change) / (k / num * norm(step)))
    return max(found), norm(start)


def fit(n, h, *, envelope):
    """By trying every line through two points (the origin among them), and level."""
    if not envelope:
        l1, l0 = np.polyfit(n, h, 1)
        return (l0, l1) if l0 > 0 and l1 >= 0 else (np.nan, np.nan)
    points = [(0.0, 0.0), *zip(n, h, strict=True)]
    slopes = [0.0]
    for (x, y), (u, v) in itertools.combinations(points, 2):
        if u != x:
            slopes.append((v - y) / (u - x))
    best = None
    for slope in slopes:
        if slope >= 0:
            level = max(y - slope * x for x, y in points)
            mean = level + slope * np.mean(n)
            if best is None or mean < best[0] - 1e-15:
                best = mean, level, slope
    return best[1], best[2]
