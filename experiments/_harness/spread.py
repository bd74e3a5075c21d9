"""Whether a difference over seeds says anything: one rule for all experiments.

``values`` are paired differences, one a seed: both sides of a seed share their start
and their data.
"""

from collections.abc import Iterable

import numpy as np

FEWEST = 3  # seeds below which nothing is called equal


def deviation(values: np.ndarray) -> float | None:
    """The standard deviation over seeds, for a table; None for one seed."""
    return float(values.std(ddof=1)) if len(values) > 1 else None


def standard_error(values: np.ndarray) -> float:
    """Of the mean over seeds; infinite for one seed."""
    if values.size < 2:
        return float("inf")
    return float(values.std(ddof=1) / np.sqrt(values.size))


def exceeds(values: np.ndarray, errors: float = 2.0) -> bool:
    """Whether the mean lies above 0 by so many standard errors."""
    return bool(values.mean() > 0 and values.mean() > errors * standard_error(values))


def everywhere(several: Iterable[np.ndarray]) -> bool:
    """Whether every mean lies above 0 by two standard errors."""
    return all(exceeds(values) for values in several)


def somewhere(several: Iterable[np.ndarray]) -> bool:
    """Whether a mean lies above 0 by two standard errors, and none as far below."""
    several = list(several)
    return any(map(exceeds, several)) and not any(exceeds(-v) for v in several)


def within(values: np.ndarray, margin: float) -> bool:
    """Whether the mean is shown to be within the margin of 0: by two errors."""
    if values.size < FEWEST:
        return False
    return bool(abs(values.mean()) + 2 * standard_error(values) <= margin)


def not_below(values: np.ndarray, margin: float) -> bool:
    """Whether the mean is shown to be no more than the margin below 0."""
    if values.size < FEWEST:
        return False
    return bool(values.mean() - 2 * standard_error(values) >= -margin)
