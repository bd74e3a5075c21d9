"""Correlation of ranks, with ties, against SciPy."""

import numpy as np
import pytest
import scipy.stats

from experiments._harness.ranks import spearman


@pytest.mark.parametrize("values", [3, 1000])
def test_the_correlation_is_that_of_scipy_with_ties(values) -> None:
    rng = np.random.default_rng(values)
    for _ in range(50):
        a, b = rng.integers(0, values, (2, 20)).astype(float)
        wanted = scipy.stats.spearmanr(a, b).statistic
        assert spearman(a, b) == pytest.approx(wanted, abs=1e-12)


def test_ties_on_both_sides_are_no_agreement() -> None:
    # By their order in the rows such ties would agree.
    a, b = np.repeat([0.0, 1.0], 30), np.tile([0.0, 1.0], 30)
    assert spearman(a, b) == pytest.approx(0, abs=1e-12)


def test_nothing_correlates_with_a_constant_or_alone() -> None:
    assert spearman(np.ones(4), np.arange(4.0)) == 0
    assert spearman(np.ones(1), np.ones(1)) == 0
