"""Correlation of ranks."""

import numpy as np


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """The correlation of the ranks, 0 of fewer than two pairs."""
    if len(a) < 2:
        return 0.0
    first, second = (np.argsort(np.argsort(v)) for v in (a, b))
    return float(np.corrcoef(first, second)[0, 1])
