"""Means, ranks and leaderboards from their definitions, in float64 NumPy."""

import decimal
import itertools
import math

import numpy as np


def mean(scores, p, weights=None, where=None):
    """The power mean of one row, by its definition."""
    scores = np.asarray(scores, float)
    weights = np.ones(scores.shape) if weights is None else np.asarray(weights, float)
    kept = np.ones(scores.shape, bool) if where is None else where
    kept = kept & (weights > 0)
    s, w = scores[kept], weights[kept] / weights[kept].sum()
    p = float(p)
    if p == math.inf:
        return s.max()
    if p == -math.inf:
        return s.min()
    if p == 0:
        return math.exp((w * np.log(s)).sum())
    if abs(p) < 0.1:  # where the powers differ in digits that float64 lacks
        with decimal.localcontext() as context:
            context.prec = 60
            exact = [[decimal.Decimal(float(x)) for x in part] for part in (s, w)]
            order, rows = decimal.Decimal(p), zip(*exact, strict=True)
            total = sum(weight * (order * x.ln()).exp() for x, weight in rows)
            return float(((total / sum(exact[1])).ln() / order).exp())
    return (w * s**p).sum() ** (1 / p)


def power_mean(scores, p, weights=None, where=None):
    """Row by row."""
    shape = scores.shape
    full = [
        None if part is None else np.broadcast_to(part, shape).reshape(-1, shape[-1])
        for part in (scores, weights, where)
    ]
    rows = range(len(full[0]))
    found = [
        mean(full[0][i], p, *(None if f is None else f[i] for f in full[1:]))
        for i in rows
    ]
    return np.array(found).reshape(shape[:-1])


def rank(values, *, method="min", tolerance=0.0):
    """By counting through each row, from the top."""

    def row(v):
        order = sorted(range(len(v)), key=lambda i: -v[i])
        runs = [[order[0]]]
        for before, i in itertools.pairwise(order):
            if v[before] - v[i] <= tolerance:
                runs[-1].append(i)
            else:
                runs.append([i])
        found, above = np.zeros(len(v)), 0
        for number, run in enumerate(runs, 1):
            for i in run:
                found[i] = {
                    "min": above + 1,
                    "average": above + (len(run) + 1) / 2,
                    "dense": number,
                }[method]
            above += len(run)
        return found

    flat = values.reshape(-1, values.shape[-1])
    found = np.array([row(list(v)) for v in flat]).reshape(values.shape)
    return found if method == "average" else found.astype(int)


def kendall_tau(a, b):
    """tau-b, concordant and discordant pairs, by the pairs."""

    def row(a, b):
        alike = turned = in_a = in_b = 0
        for i, j in itertools.combinations(range(len(a)), 2):
            x, y = np.sign(a[i] - a[j]), np.sign(b[i] - b[j])
            alike += x * y > 0
            turned += x * y < 0
            in_a += x != 0
            in_b += y != 0
        scale = math.sqrt(in_a * in_b)
        return (alike - turned) / scale if scale else 0.0, int(alike), int(turned)

    m = a.shape[-1]
    rows = [row(x, y) for x, y in zip(a.reshape(-1, m), b.reshape(-1, m), strict=True)]
    kinds = (float, int, int)
    return tuple(
        np.array([r[i] for r in rows], kinds[i]).reshape(a.shape[:-1]) for i in range(3)
    )


def rank_sensitivity(scores, weights=None, where=None, *, orders):
    """Values, ranks, tau and inversions of every pair of orders."""
    values = np.stack([power_mean(scores, p, weights, where) for p in orders], -2)
    ranks = rank(values)
    pairs = [[kendall_tau(a, b) for b in rows] for a, rows in _pairs(values)]
    tau = np.moveaxis(
        np.array([[p[0] for p in row] for row in pairs]), (0, 1), (-2, -1)
    )
    turned = np.array([[p[2] for p in row] for row in pairs])
    return values, ranks, tau, np.moveaxis(turned, (0, 1), (-2, -1))


def _pairs(values):
    rows = [values[..., i, :] for i in range(values.shape[-2])]
    return [(a, rows) for a in rows]


def leave_one_out_ranks(scores, p, weights=None):
    """Ranks on the table without a column, column by column."""
    found = []
    for j in range(scores.shape[-1]):
        left = np.delete(scores, j, -1)
        w = None if weights is None else np.delete(weights, j, -1)
        found.append(rank(power_mean(left, p, w)))
    return np.stack(found, -2)


def bootstrap_ranks(scores, p, *, samples, draws):
    """Ranks on tables whose columns are those that were drawn."""
    return np.stack([rank(power_mean(scores[..., d], p)) for d in draws], -2)


def leaderboard(scores, weights=None, *, reported, missing, p, tolerance, method):
    """Values, ranks, cells used and whether rows differ in them."""
    used = np.array(reported)
    if missing != "per_row":
        for column in range(used.shape[1]):
            used[:, column] = all(reported[:, column])
    values = power_mean(scores, p, weights, used)
    mixed = any(list(row) != list(used[0]) for row in used)
    ranks = rank(values, method=method, tolerance=tolerance)
    return values, ranks, used, np.array(mixed)


def infer_aggregation(scores, published, *, orders, tolerance):
    """Means of the first j tasks, one after the other."""
    m, k = scores.shape
    values = np.zeros((len(orders), k, m))
    for (i, p), j, s in itertools.product(enumerate(orders), range(k), range(m)):
        values[i, j, s] = mean(scores[s, : j + 1], p)
    return values, np.abs(values - published) <= tolerance


def collapse(cell):
    """A cell's mean; NaN for a dash."""
    if cell in (None, "", "-", "–"):
        return math.nan
    parts = [float(part) for part in str(cell).split("/")]
    return sum(parts) / len(parts)
