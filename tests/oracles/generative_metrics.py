"""Distances between sets of vectors by brute force, in float64 NumPy and SciPy."""

import itertools

import numpy as np
import scipy.linalg


def distances(a, b):
    """All distances |a_i - b_j|, from the differences."""
    return np.sqrt(((a[:, None, :] - b[None, :, :]) ** 2).sum(-1))


def frechet_distance(x, y):
    """|difference of means|^2 + tr(C_x + C_y - 2 sqrtm(C_x C_y))."""
    cov_x = np.cov(x, rowvar=False).reshape(x.shape[1], x.shape[1])
    cov_y = np.cov(y, rowvar=False).reshape(y.shape[1], y.shape[1])
    root = np.real(scipy.linalg.sqrtm(cov_x @ cov_y))
    shift = ((x.mean(0) - y.mean(0)) ** 2).sum()
    return shift + np.trace(cov_x) + np.trace(cov_y) - 2 * np.trace(root)


def polynomial_mmd(x, y, *, degree=3):
    """Three means over pairs, by loops over the pairs."""

    def kernel(a, b):
        return (float(a @ b) / a.size + 1) ** degree

    def within(a):
        pairs = itertools.permutations(range(len(a)), 2)
        return np.mean([kernel(a[i], a[j]) for i, j in pairs])

    across = np.mean([kernel(a, b) for a in x for b in y])
    return within(x) + within(y) - 2 * across


def radii(centers, k):
    """Distance from each vector to its k-th nearest other one."""
    table = distances(centers, centers)
    np.fill_diagonal(table, np.inf)
    return np.sort(table, axis=1)[:, k - 1]


def precision_recall(x_real, x_fake, *, k=3):
    def inside(points, centers):
        return (distances(points, centers) <= radii(centers, k)[None, :]).any(1).mean()

    return inside(x_fake, x_real), inside(x_real, x_fake)


def density_coverage(x_real, x_fake, *, k=5):
    inside = distances(x_fake, x_real) <= radii(x_real, k)[None, :]
    return inside.sum() / (k * len(x_fake)), inside.any(0).mean()


def nearest_neighbors(queries, data, *, k=1, leave_one_out=False):
    table = distances(queries, data)
    if leave_one_out:
        np.fill_diagonal(table, np.inf)
    index = np.argsort(table, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(table, index, axis=1), index.astype(np.int32)


def two_sample_accuracy(x, y):
    """Leave-one-out 1-nearest-neighbor accuracy, vector by vector on the pooled set."""
    pooled, labels = np.concatenate([x, y]), [0] * len(x) + [1] * len(y)
    scores: list[list[float]] = [[], []]
    for i, label in enumerate(labels):
        gaps = np.sqrt(((pooled - pooled[i]) ** 2).sum(1))
        gaps[i] = np.inf
        nearest = [labels[j] for j in np.flatnonzero(gaps == gaps.min())]
        right = label in nearest
        scores[label].append((right + (set(nearest) == {label})) / 2)
    of_x, of_y = np.mean(scores[0]), np.mean(scores[1])
    return (of_x + of_y) / 2, of_x, of_y


def energy_distance(x, y):
    """Three means over pairs, those of a vector with itself left out."""

    def within(a):
        return distances(a, a).sum() / (len(a) * (len(a) - 1))

    return 2 * distances(x, y).mean() - within(x) - within(y)
