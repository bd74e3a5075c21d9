"""Ranks against counting and SciPy; how they move with means and tasks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from kexue_jax.evaluation import (
    bootstrap_ranks,
    geometric_mean,
    kendall_tau,
    leave_one_out_ranks,
    rank,
    rank_sensitivity,
)
from tests.oracles import leaderboard as oracle

sensitivity = jax.jit(rank_sensitivity, static_argnames="orders")
left_out = jax.jit(leave_one_out_ranks, static_argnums=1)
tau_of = jax.jit(kendall_tau)


def tied(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 5, shape).astype(float)


@pytest.mark.parametrize("method", ["min", "average", "dense"])
def test_ranks_equal_scipy_on_a_thousand_rows(method) -> None:
    values = tied(0, 1000, 9)
    wanted = scipy.stats.rankdata(-values, method=method, axis=-1)
    got = rank(jnp.asarray(values), method=method)
    np.testing.assert_array_equal(got, wanted)
    assert got.dtype == (jnp.float64 if method == "average" else jnp.int32)


@pytest.mark.parametrize("method", ["min", "average", "dense"])
def test_ties_within_rounding_are_runs(method) -> None:
    values = np.random.default_rng(1).normal(size=(1000, 8))
    got = rank(jnp.asarray(values), method=method, tolerance=0.2)
    wanted = oracle.rank(values, method=method, tolerance=0.2)
    np.testing.assert_array_equal(got, wanted)
    scores = jnp.array([91.18, 91.22, 90.0])
    np.testing.assert_array_equal(rank(scores, tolerance=0.05), [1, 1, 3])


def test_nan_comes_last() -> None:
    np.testing.assert_array_equal(rank(jnp.array([1.0, np.nan, 2.0])), [2, 3, 1])


def test_equal_infinities_are_ties() -> None:
    values = jnp.array([np.inf, 1.0, np.inf, -np.inf, -np.inf, np.nan])
    np.testing.assert_array_equal(rank(values), [1, 3, 1, 4, 4, 6])
    average = rank(values, method="average")
    np.testing.assert_array_equal(average, [1.5, 3, 1.5, 4.5, 4.5, 6])
    a, b = values[:5], jnp.array([2.0, 1.0, 2.0, 0.0, -1.0])
    found = kendall_tau(a, b)
    assert int(found.concordant) == 8 and int(found.inversions) == 0
    np.testing.assert_allclose(found.tau, 8 / np.sqrt(8 * 9))
    tied = kendall_tau(jnp.array([np.nan, 1.0, 2.0]), b[:3])
    assert int(tied.concordant) + int(tied.inversions) == 1


def test_ranks_of_nothing_are_none() -> None:
    assert rank(jnp.zeros((2, 0))).shape == (2, 0)
    nothing = rank(jnp.zeros((2, 0), jnp.bfloat16), method="average")
    assert nothing.shape == (2, 0) and nothing.dtype == jnp.bfloat16


def test_tau_equals_scipy_on_a_thousand_rows() -> None:
    a, b = tied(2, 1000, 7), tied(3, 1000, 7)
    got = tau_of(jnp.asarray(a), jnp.asarray(b))
    wanted = [scipy.stats.kendalltau(x, y).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(got.tau, wanted, rtol=1e-12, atol=1e-15)


def test_tau_is_one_of_an_order_and_minus_one_of_its_reverse() -> None:
    a = jnp.asarray(np.random.default_rng(4).normal(size=(1000, 6)))
    same, turned = tau_of(a, 3 * a), tau_of(a, -a)
    np.testing.assert_allclose(same.tau, 1, rtol=1e-14)
    np.testing.assert_allclose(turned.tau, -1, rtol=1e-14)
    assert (same.inversions == 0).all() and (turned.inversions == 15).all()
    assert tau_of(a[0], jnp.zeros(6)).tau == 0


def test_sensitivity_holds_the_ranks_of_every_order() -> None:
    tables = jnp.asarray(np.random.default_rng(5).uniform(20, 90, (1000, 5, 4)))
    got = sensitivity(tables)
    wanted = rank(geometric_mean(tables))
    np.testing.assert_array_equal(got.ranks[:, 1], wanted)
    diagonal = jnp.diagonal(got.inversions, axis1=-2, axis2=-1)
    assert (diagonal == 0).all()
    np.testing.assert_array_equal(got.inversions, got.inversions.mT)
    assert (got.inversions[:, 0, 2] > 0).any()


def test_two_systems_of_equal_shape_are_never_turned() -> None:
    # One dominates on every task: no order and no task left out changes the ranks.
    rng = np.random.default_rng(6)
    low = rng.uniform(20, 60, (1000, 1, 5))
    tables = jnp.asarray(np.concatenate([low, low + rng.uniform(0.1, 9, low.shape)], 1))
    assert (sensitivity(tables).ranks == jnp.array([[[2, 1]]])).all()
    for p in (1, 0, -1):
        assert (left_out(tables, p) == jnp.array([[[2, 1]]])).all()
    drawn = bootstrap_ranks(jax.random.key(0), tables[:20], 0, samples=50)
    assert (drawn == jnp.array([[[2, 1]]])).all()


def test_leaving_out_equals_deleting_columns() -> None:
    rng = np.random.default_rng(7)
    table, w = rng.uniform(20, 90, (4, 6)), rng.uniform(1, 2, (4, 6))
    got = left_out(jnp.asarray(table), -1, weights=jnp.asarray(w))
    np.testing.assert_array_equal(got, oracle.leave_one_out_ranks(table, -1, w))


def test_bootstrap_has_the_right_share() -> None:
    # Two tasks, won by one system each: it is ahead in both, 1/2 of the draws (the
    # task drawn twice) less the ties; (1, 2) ties, at odds 1/2. Five standard errors.
    table = jnp.array([[60.0, 50.0], [50.0, 60.0]])
    drawn = bootstrap_ranks(jax.random.key(1), table, 1, samples=4000)
    first = float((drawn[:, 0] < drawn[:, 1]).mean())
    ties = float((drawn[:, 0] == drawn[:, 1]).mean())
    assert abs(first - 1 / 4) < 5 * (3 / 16 / 4000) ** 0.5
    assert abs(ties - 1 / 2) < 5 * (1 / 4 / 4000) ** 0.5


def test_ranks_are_of_the_means_before_rounding() -> None:
    table = jnp.asarray([[90.0, 80.0, 70.5], [90.0, 80.0, 70.0]], jnp.bfloat16)
    found = sensitivity(table)
    assert found.values[0, 0] == found.values[0, 1]
    np.testing.assert_array_equal(found.ranks[0], [1, 2])
