"""Fisher diagonals of softmax regression and top fractions, in float64 NumPy."""

import numpy as np


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def probabilities(params, x):
    return softmax(x @ params["w"] + params["b"])


def squares(errors, x):
    """Per example: squared gradients of w [n, d, c] and b [n, c]."""
    return {"w": (x[:, :, None] * errors[:, None, :]) ** 2, "b": errors**2}


def empirical(params, x, y, *, chunk, batch_gradients=False):
    errors = probabilities(params, x) - np.eye(params["w"].shape[1])[y]
    if not batch_gradients:
        return {n: s.mean(0) for n, s in squares(errors, x).items()}
    gradients = {"w": x[:, :, None] * errors[:, None, :], "b": errors}

    def of(g):
        batches = g.reshape(-1, chunk, *g.shape[1:]).mean(1)
        return (batches**2).mean(0)

    return {n: of(g) for n, g in gradients.items()}


def true(params, x):
    p = probabilities(params, x)
    total = {"w": 0.0, "b": 0.0}
    for label in np.eye(p.shape[1]):
        found = squares(p - label, x)
        weights = p @ label
        for n, s in found.items():
            total[n] = total[n] + np.tensordot(weights, s, 1) / len(x)
    return total


def top_fraction(scores, fraction):
    """True for the round(fraction N) largest; NaN lowest, the first of equals."""
    names = sorted(scores)
    flat = np.concatenate([np.ravel(scores[n]).astype(np.float64) for n in names])
    flat = np.where(np.isnan(flat), -np.inf, flat)
    kept = round(fraction * flat.size)
    mask = np.zeros(flat.size, bool)
    mask[np.argsort(-flat, kind="stable")[:kept]] = True
    found, place = {}, 0
    for n in names:
        size = np.size(scores[n])
        found[n] = mask[place : place + size].reshape(np.shape(scores[n]))
        place += size
    return found
