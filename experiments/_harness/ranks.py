"""Correlation of ranks."""

import numpy as np


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """The correlation of the ranks, equal values having the mean of theirs.

    0 of fewer than two pairs, and where all of one side are equal.
    """
    if len(a) < 2:
        return 0.0
    first, second = (_ranks(v) for v in (a, b))
    if not (first.std() > 0 and second.std() > 0):
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[place]
