"""Power means: the article's identities on random tables, the ends of the orders."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from kexue_jax.evaluation import (
    arithmetic_mean,
    geometric_mean,
    harmonic_mean,
    power_mean,
)
from tests.oracles import leaderboard as oracle

ROWS = 1000
mean_of = jax.jit(power_mean, static_argnums=1)
MEANS = {1: arithmetic_mean, 0: geometric_mean, -1: harmonic_mean}


def rows(seed: int, k: int = 7) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).uniform(1, 99, (ROWS, k)))


def some_weights(seed: int, k: int = 7) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).uniform(0.1, 3, (ROWS, k)))


def test_the_three_means_are_three_orders_and_rise_in_the_order() -> None:
    s, w = rows(0), some_weights(1)
    for p, mean in MEANS.items():
        got = jax.jit(mean)(s, weights=w)
        np.testing.assert_array_equal(got, mean_of(s, p, weights=w))
    orders = (-math.inf, -30, -3, -1, -1e-4, 0, 1e-4, 0.5, 1, 3, 30, math.inf)
    values = np.stack([mean_of(s, p, weights=w) for p in orders])
    assert (np.diff(values, axis=0) > 0).all()
    np.testing.assert_array_equal(values[0], s.min(-1))
    np.testing.assert_array_equal(values[-1], s.max(-1))


def test_equal_scores_have_one_mean_of_every_order() -> None:
    s = jnp.broadcast_to(rows(2)[:, :1], (ROWS, 5))
    for p in (-math.inf, -7.0, -1, 0, 1e-6, 1, 4.0, math.inf):
        np.testing.assert_allclose(mean_of(s, p), s[:, 0], rtol=1e-13)


@pytest.mark.parametrize("p", [-3.0, -1, 0, 0.5, 1, 4.0])
def test_means_are_homogeneous_symmetric_and_blind_to_replication(p) -> None:
    s, rng = rows(3), np.random.default_rng(4)
    mean = mean_of(s, p)
    factor = jnp.asarray(rng.uniform(0.01, 9, (ROWS, 1)))
    scaled = mean_of(factor * s, p)
    np.testing.assert_allclose(scaled, factor[:, 0] * mean, rtol=1e-13)
    shuffled = rng.permuted(np.asarray(s), axis=1)
    np.testing.assert_allclose(mean_of(jnp.asarray(shuffled), p), mean, rtol=1e-13)
    twice = jnp.concatenate([s, s, s], -1)
    np.testing.assert_allclose(mean_of(twice, p), mean, rtol=1e-13)


def test_inverses_turn_the_means_over() -> None:
    s = rows(5)
    inverse = geometric_mean(1 / s)
    np.testing.assert_allclose(inverse, 1 / geometric_mean(s), rtol=1e-13)
    over = 1 / arithmetic_mean(1 / s)
    np.testing.assert_allclose(harmonic_mean(s), over, rtol=1e-13)


def test_harmonic_mean_of_rates_over_equal_work_is_total_over_total() -> None:
    rates = rows(6)
    work = 3.0
    total = rates.shape[-1] * work / jnp.sum(work / rates, -1)
    np.testing.assert_allclose(harmonic_mean(rates), total, rtol=1e-13)


def test_geometric_ranks_do_not_see_the_scale_of_a_task_and_others_do() -> None:
    rng = np.random.default_rng(7)
    tables = jnp.asarray(rng.uniform(20, 90, (ROWS, 6, 5)))
    scales = jnp.asarray(rng.uniform(0.2, 5, (ROWS, 1, 5)))

    def order(mean, scores):
        return np.argsort(np.asarray(jax.jit(mean)(scores)), -1)

    before, after = (order(geometric_mean, t) for t in (tables, tables * scales))
    np.testing.assert_array_equal(before, after)
    for mean in (arithmetic_mean, harmonic_mean):
        moved = (order(mean, tables) != order(mean, tables * scales)).any(-1)
        assert moved.mean() > 0.5


@pytest.mark.parametrize("p", [-2.0, -1, 0, 0.5, 1])
def test_means_of_order_one_and_below_are_concave(p) -> None:
    a, b = rows(8), rows(9)
    t = jnp.asarray(np.random.default_rng(10).random((ROWS, 1)))
    between = mean_of(t * a + (1 - t) * b, p)
    chord = t[:, 0] * mean_of(a, p) + (1 - t[:, 0]) * mean_of(b, p)
    assert (between - chord >= -1e-12 * between).all()


def test_means_above_order_one_are_not_concave() -> None:
    a, b = rows(8), rows(9)
    between = mean_of((a + b) / 2, 2.0)
    assert (between < (mean_of(a, 2.0) + mean_of(b, 2.0)) / 2).mean() > 0.99


@pytest.mark.parametrize("p", [-2.0, -1, 0, 1e-5, 0.5, 1, 3.0])
def test_slope_by_a_score_is_its_weight_times_a_power(p) -> None:
    s, w = rows(11), some_weights(12)
    total = lambda s: jnp.sum(mean_of(s, p, weights=w))  # noqa: E731
    mean = mean_of(s, p, weights=w)[:, None]
    wanted = w / w.sum(-1, keepdims=True) * (s / mean) ** (p - 1)
    np.testing.assert_allclose(jax.grad(total)(s), wanted, rtol=1e-10, atol=1e-13)


def test_small_spreads_follow_the_second_order() -> None:
    # Spread of two points around 90; a factor of 2 wrong in either would be 0.02 off.
    s = 90 + jnp.asarray(np.random.default_rng(13).uniform(-2, 2, (ROWS, 9)))
    mean, variance = s.mean(-1), s.var(-1)
    np.testing.assert_allclose(
        geometric_mean(s), mean - variance / (2 * mean), atol=1e-3
    )
    np.testing.assert_allclose(harmonic_mean(s), mean - variance / mean, atol=1e-3)
    wrong = np.abs(geometric_mean(s) - (mean - variance / mean))
    assert np.median(wrong) > 3e-3


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_orders_near_zero_lose_no_digits(dtype) -> None:
    s = jnp.asarray(rows(14)[:40], dtype)
    bound = 1e-13 if dtype == "float64" else 2e-6
    for p in (1e-12, 1e-6, 3e-5, 1e-3, 3e-3, 0.03, 0.1, 0.3, 1.0):
        for order in (p, -p):
            exact = [oracle.mean(row, order) for row in np.asarray(s, float)]
            got = jax.jit(power_mean)(s, jnp.asarray(order, dtype))
            np.testing.assert_allclose(got, exact, rtol=bound)
    tiny = jax.jit(power_mean)(s, jnp.asarray(1e-37, dtype))
    np.testing.assert_array_equal(tiny, jax.jit(geometric_mean)(s))


def test_large_orders_do_not_overflow() -> None:
    s = jnp.asarray(rows(15), jnp.float32)
    for p in (50.0, 1e3, 1e6):
        np.testing.assert_allclose(mean_of(s, p), s.max(-1), rtol=2.1 / p + 1e-6)
        np.testing.assert_allclose(mean_of(s, -p), s.min(-1), rtol=2.1 / p + 1e-6)
    assert jnp.isinf(s**50).any()


@pytest.mark.parametrize("p", [1e39, -1e39, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_no_order_is_too_large(p, dtype) -> None:
    s = jnp.concatenate([rows(15)[:40], jnp.full((1, 7), 5.0)]).astype(dtype)
    wanted = s.max(-1) if p > 0 else s.min(-1)
    bound = 1e-13 if dtype == "float64" else 2e-6
    np.testing.assert_allclose(mean_of(s, p), wanted, rtol=bound)
    traced = jax.jit(power_mean)(s, jnp.asarray(np.clip(p, -3e38, 3e38), dtype))
    np.testing.assert_allclose(traced, wanted, rtol=bound)
    endless = jax.jit(power_mean)(s, jnp.asarray(np.inf * p, dtype))
    np.testing.assert_allclose(endless, wanted, rtol=bound)


def test_an_order_that_is_an_array_is_one_of_positive_scores() -> None:
    s = jnp.array([[3.0, 0.0], [5.0, 1.0]])
    np.testing.assert_allclose(power_mean(s, jnp.array(1.0)), [1.5, 3.0])
    with pytest.raises(ValueError, match="`scores` must be positive"):
        power_mean(s, jnp.array(0.0))
    with pytest.raises(ValueError, match="`scores` must be not negative"):
        power_mean(-s, jnp.array(1.0))


def test_error_rates_rank_otherwise_than_accuracies() -> None:
    s = rows(20, 4)[:, None] * jnp.array([[[1.0], [0.9]]])
    s = s.at[:, 1, 0].add(12).clip(1, 99)
    high = geometric_mean(s).argmax(-1)
    low = geometric_mean(100 - s).argmin(-1)
    assert 0.01 < (high != low).mean() < 0.5
    same = arithmetic_mean(s).argmax(-1) == arithmetic_mean(100 - s).argmin(-1)
    assert same.all()


def test_gradient_by_the_order_and_the_weights() -> None:
    s, w = rows(16, 4)[:2], some_weights(17, 4)[:2]
    mean = jax.jit(lambda s, p, w: power_mean(s, p, weights=w))
    for p in (-2.0, -0.3, 0.0, 1e-4, 1.0, 2.5):
        check_grads(mean, (s, jnp.asarray(p), w), order=1, atol=1e-6, rtol=1e-6)


def test_masks_leave_tasks_out_of_both_sides() -> None:
    rng = np.random.default_rng(18)
    s, kept = np.asarray(rows(19)).copy(), rng.random((ROWS, 7)) < 0.6
    kept[:, 3] = True
    s[~kept] = np.where(rng.random((~kept).sum()) < 0.5, np.nan, -5.0)
    for p in (-1, 0, 1, 2.0, math.inf):
        got = mean_of(jnp.asarray(s), p, where=jnp.asarray(kept))
        wanted = [oracle.mean(a, p, where=b) for a, b in zip(s, kept, strict=True)]
        np.testing.assert_allclose(got, wanted, rtol=1e-12)
        slope = jax.grad(
            lambda s, p=p: jnp.sum(mean_of(s, p, where=jnp.asarray(kept)))
        )(jnp.asarray(s))
        assert np.isfinite(slope).all() and (np.asarray(slope)[~kept] == 0).all()


def test_zeros_are_scores_for_positive_orders() -> None:
    s = jnp.array([[0.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(mean_of(s, 0.5), [1.0, 0.0], rtol=1e-15)
    np.testing.assert_allclose(mean_of(s, 2), [8**0.5, 0.0], rtol=1e-15)
    assert np.isfinite(jax.grad(lambda s: mean_of(s, 0.5).sum())(s)).all()


@pytest.mark.parametrize("mean", [geometric_mean, harmonic_mean])
@pytest.mark.parametrize("score", [0.0, -0.4])
def test_a_correlation_that_is_not_positive_is_refused(mean, score) -> None:
    # CBoW's AX-b on SuperGLUE is -0.4.
    s = jnp.array([[60.0, score], [50.0, 40.0]])
    with pytest.raises(ValueError, match=f"{mean.__name__}: `scores` must be positive"):
        mean(s)
    assert np.isnan(jax.jit(mean)(s)[0]) and np.isfinite(jax.jit(mean)(s)[1])
    assert np.isfinite(arithmetic_mean(s)).all()


def test_a_missing_score_is_never_skipped_in_silence() -> None:
    s = jnp.array([90.0, np.nan])
    for mean in MEANS.values():
        with pytest.raises(ValueError, match="a missing score is False"):
            mean(s)
        assert np.isnan(jax.jit(mean)(s))
    assert np.isnan(jax.jit(lambda s: power_mean(s, 1, where=s > 100))(s))


def test_scores_of_zero_weight_are_not_looked_at() -> None:
    s, w = jnp.array([3.0, 12.0, -1.0]), jnp.array([1.0, 1.0, 0.0])
    np.testing.assert_allclose(geometric_mean(s, weights=w), 6.0, rtol=1e-14)
    assert mean_of(s, -math.inf, weights=w) == 3.0
