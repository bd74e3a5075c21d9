"""Projected descent on a stream of losses, and its bounds, in float64 NumPy."""

import numpy as np

from tests.oracles.gradients import tree_gradient


def theorem(etas, diameter, gradient_bound):
    """The bound after each step, term by term."""
    found = []
    for n in range(1, len(etas) + 1):
        total = diameter**2 / (2 * etas[0])
        for t in range(1, n):
            total += diameter**2 / 2 * max(0.0, 1 / etas[t] - 1 / etas[t - 1])
        total += gradient_bound**2 / 2 * np.sum(etas[:n])
        found.append(total / n)
    return np.array(found)


def trajectory(etas, distances, norms):
    found = []
    for n in range(1, len(etas) + 1):
        total = distances[0] ** 2 / (2 * etas[0])
        for t in range(1, n):
            total += (1 / etas[t] - 1 / etas[t - 1]) / 2 * distances[t] ** 2
        total -= distances[n] ** 2 / (2 * etas[n - 1])
        total += np.sum(etas[:n] * norms[:n] ** 2) / 2
        found.append(total / n)
    return np.array(found)


def weighted(etas, distance, gradient_bound):
    total = distance**2 + gradient_bound**2 * np.cumsum(etas**2)
    return total / (2 * np.cumsum(etas))


def last_iterate(etas, distance, gradient_bound):
    total = (distance**2 + gradient_bound**2 * np.sum(etas**2)) / np.sum(etas)
    for k in range(len(etas) - 1):
        weight = 1 / np.sum(etas[k + 1 :]) - 1 / np.sum(etas[k:])
        total += weight * gradient_bound**2 * np.sum(etas[k:] ** 2)
    return total / 2


def rows(batches):
    length = len(next(iter(batches.values())))
    return [{k: v[t] for k, v in batches.items()} for t in range(length)]


def regret(losses, f, comparator, batches):
    theirs = np.array([f(comparator, batch) for batch in rows(batches)])
    return np.cumsum(losses - theirs) / np.arange(1, len(losses) + 1)


def distance(a, b):
    return np.sqrt(sum(np.sum((a[k] - b[k]) ** 2) for k in a))


def online_sgd(f, params, batches, schedule, projection, comparator):
    theta, seen, kept = params, [], []
    for t, batch in enumerate(rows(batches)):
        grads = tree_gradient(lambda p, e=batch: f(p, e), theta)
        rate = schedule(float(t))
        norm = np.sqrt(sum(np.sum(g**2) for g in grads.values()))
        loss = f(theta, batch)
        excess = loss - f(comparator, batch)
        seen.append((loss, rate, norm, excess, distance(theta, comparator)))
        kept.append(theta)
        theta = projection({k: theta[k] - rate * grads[k] for k in theta})
    losses, rates, norms, excess, distances = map(np.array, zip(*seen, strict=True))
    mean = {k: np.mean([p[k] for p in kept], axis=0) for k in params}
    weighted = {
        k: np.sum([r * p[k] for r, p in zip(rates, kept, strict=True)], axis=0)
        / np.sum(rates)
        for k in params
    }
    last = np.append(distances, distance(theta, comparator))
    return theta, mean, weighted, losses, rates, norms, excess, last
