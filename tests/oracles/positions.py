"""Positions in float64 NumPy, from the method cards: frequencies, rotation, tables.

Rotations are complex products and angles are looped over pairs and positions, so that
nothing here has the layout of the library.
"""

import math

import numpy as np


def frequencies(
    dim, *, base=1e4, scaling="none", scale=1.0, beta=0.625, train_length=None, tau=32.0
):
    """One angle per position for each m = 1 .. dim / 2, by the card's formulas."""
    found = []
    for m in range(1, dim // 2 + 1):
        theta = base ** (-2 * (m - 1) / dim)
        a = math.log(scale) / (dim / 2) ** beta
        turns = theta * (train_length or 0) / (2 * math.pi)
        kept = min(max((turns - 1) / (tau - 1), 0.0), 1.0)
        power = dim / (dim - 2) if dim > 2 else 0.0
        found.append(
            {
                "none": theta,
                "linear": theta / scale,
                "ntk_old": (base * scale) ** (-2 * (m - 1) / dim),
                "ntk": (base * scale**power) ** (-2 * (m - 1) / dim),
                "ntk_fixed": theta * scale ** (-2 * m / dim),
                "ntk_mixed": theta * math.exp(-a * m**beta),
                "yarn": theta * (kept + (1 - kept) / scale),
            }[scaling]
        )
    return np.array(found)


def rope(x, positions, freqs, interleaved=True):
    """Each pair as a complex number times exp(1j position freq)."""
    x, freqs = np.asarray(x, np.float64), np.asarray(freqs, np.float64)
    half = x.shape[-1] // 2
    turns = np.broadcast_to(np.asarray(positions, np.float64), x.shape[:-1])
    out = np.empty_like(x)
    for i in range(half):
        a, b = (2 * i, 2 * i + 1) if interleaved else (i, i + half)
        z = (x[..., a] + 1j * x[..., b]) * np.exp(1j * turns * freqs[i])
        out[..., a], out[..., b] = z.real, z.imag
    return out


def log_n(positions, train_length, floor=1.0):
    n = np.asarray(positions, np.float64) + 1
    return np.maximum(np.log(n) / math.log(train_length), floor)


def log_n_mask(mask, train_length, floor=0.0, min_keys=16):
    n = np.maximum(np.asarray(mask).sum(-1), min_keys).astype(float)
    return np.maximum(np.log(n) / math.log(train_length), floor)


def dynamic_scale(length, train_length):
    return np.maximum(np.asarray(length, float), train_length) / train_length


def dynamic_base(length, *, base, dim, factor, train_length):
    n = np.maximum(np.asarray(length, float), train_length)
    return base * (factor * n / train_length - (factor - 1)) ** (dim / (dim - 2))


def yarn_logit_scale(scale):
    return np.asarray((1 + 0.1 * math.log(scale)) ** 2)


def digits(positions, base, num_digits):
    """By repeated division."""
    rest, found = np.array(positions), []
    for _ in range(num_digits):
        rest, digit = np.divmod(rest, base)
        found.append(digit)
    return np.stack(found, -1)


def relative(delta, window=None, leak=math.inf, causal=True):
    """rho of one distance at a time."""

    def rho(d):
        if window is None:
            return d
        if not causal and d < 0:
            return -rho(-d)
        return d if d < window else window + (d - window) / leak

    return np.vectorize(rho, otypes=[float])(np.asarray(delta, float))


def self_extend(queries, keys, window, group, causal=True):
    """rho of one pair at a time, in Python's integers."""
    queries, keys = np.asarray(queries), np.asarray(keys)
    out = np.zeros((*queries.shape, keys.shape[-1]), np.int64)
    for place in np.ndindex(out.shape):
        i, j = int(queries[place[:-1]]), int(keys[(*place[:-2], place[-1])])
        sign = -1 if i < j and not causal else 1
        a, b = (j, i) if sign < 0 else (i, j)
        far = a // group + window - window // group - b // group
        out[place] = sign * (a - b if a - b < window else far)
    return out


def window_mask(positions, window, causal=True, sinks=0):
    positions = np.asarray(positions)
    delta = positions[..., :, None] - positions[..., None, :]
    near = delta < window if causal else np.abs(delta) < window
    first = (positions >= 0) & (positions < sinks)
    kept = near | np.broadcast_to(first[..., None, :], near.shape)
    return kept & (delta >= 0) if causal else kept


def hierarchical(table, ids, alpha=0.4, levels=2):
    """One position at a time; two levels by the article's own u."""
    table, ids = np.asarray(table, np.float64), np.asarray(ids)
    n = table.shape[0]
    u = (table - alpha * table[0]) / (1 - alpha)
    out = np.zeros((*ids.shape, table.shape[-1]))
    for place in np.ndindex(ids.shape):
        rest, t_digits = int(ids[place]), []
        for _ in range(levels):
            rest, digit = divmod(rest, n)
            t_digits.append(digit)
        if levels == 2:
            low, high = t_digits
            out[place] = alpha * u[high] + (1 - alpha) * u[low]
            continue
        c = alpha / (1 - alpha)
        out[place] = table[t_digits[0]]
        for level, digit in enumerate(t_digits[1:], 1):
            out[place] += c**level * (table[digit] - table[0])
    return out


def extended(table, new_length, method, alpha=0.4, offset=0, levels=2, draws=None):
    reserved, p = np.asarray(table)[:offset], np.asarray(table, np.float64)[offset:]
    n, t = p.shape[0], np.arange(new_length)
    if method == "hierarchical":
        rows = hierarchical(p, t, alpha, levels)
    elif method == "tile":
        rows = p[t % n]
    elif method == "interpolate":
        places = t * (n - 1) / max(1, new_length - 1)
        rows = np.stack([np.interp(places, np.arange(n), col) for col in p.T], -1)
    else:
        new = np.zeros((max(0, new_length - n), p.shape[-1]))
        if method == "random":
            new = p.std() * np.asarray(draws, np.float64)
        rows = np.concatenate([p, new])[:new_length]
    return np.concatenate([reserved, rows])
