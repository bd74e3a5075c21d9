"""Rows drawn like the test set: duplicates stay, nothing leaks, and the shares fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.evaluation import (
    density_ratio,
    discriminator_logits,
    fit_logistic_discriminator,
    resample_indices,
    split_like_test,
)

draw = jax.jit(resample_indices, static_argnames=("n", "method"))


def test_draws_of_a_shifted_gaussian_are_those_of_the_card() -> None:
    x = np.random.default_rng(0).normal(size=100_000)
    w = density_ratio(jnp.asarray(x - 0.5))
    found = draw(jax.random.key(0), w, n=20_000)
    drawn = x[np.asarray(found.indices)]
    assert abs(drawn.mean() - 1) < 0.04 and abs(drawn.var() - 1) < 0.06
    unique = len(np.unique(found.indices)) / 20_000
    assert abs(unique - 0.80) < 0.02


def test_removing_duplicates_pulls_the_sample_back() -> None:
    # 2,000 of 2,000, 300 times: 1.001 with duplicates, 0.531 without.
    rng = np.random.default_rng(1)
    kept, single = [], []
    for seed in range(300):
        x = rng.normal(size=2000)
        w = jnp.asarray(np.exp(x - 0.5))
        indices = np.asarray(draw(jax.random.key(seed), w, n=2000).indices)
        kept.append(x[indices].mean())
        single.append(x[np.unique(indices)].mean())
    assert abs(np.mean(kept) - 1.0) < 0.02
    assert abs(np.mean(single) - 0.531) < 0.02


@pytest.mark.parametrize("method", ["multinomial", "systematic"])
def test_counts_are_of_the_indices_and_nothing_without_weight_is_drawn(method) -> None:
    rng = np.random.default_rng(2)
    weights = rng.exponential(size=(1000, 11)) * (rng.random((1000, 11)) < 0.6)
    weights[:, 4] += 0.1
    keys = jax.random.split(jax.random.key(3), 1000)
    many = jax.jit(jax.vmap(lambda k, w: resample_indices(k, w, n=13, method=method)))
    indices, counts = many(keys, jnp.asarray(weights))
    assert (counts.sum(-1) == 13).all()
    assert (np.asarray(counts)[weights == 0] == 0).all()
    again = np.stack([np.bincount(row, minlength=11) for row in np.asarray(indices)])
    np.testing.assert_array_equal(counts, again)
    if method == "systematic":
        share = 13 * weights / weights.sum(-1, keepdims=True)
        assert (np.abs(np.asarray(counts) - share) < 1 + 1e-9).all()


def test_independent_draws_have_the_multinomial_law() -> None:
    # 40,000 draws of five rows: chi-squared with 4 degrees, 1e-6 quantile 33.4.
    weights = jnp.array([0.1, 0.4, 0.05, 0.25, 0.2])
    counts = np.asarray(draw(jax.random.key(4), weights, n=40_000).counts)
    wanted = 40_000 * np.asarray(weights)
    assert ((counts - wanted) ** 2 / wanted).sum() < 33.4
    wrong = 40_000 * np.full(5, 0.2)
    assert ((counts - wrong) ** 2 / wrong).sum() > 1000


def test_a_hundred_thousand_rows_are_told_apart_in_float32() -> None:
    weights = jnp.ones(100_000, jnp.float32)
    indices = np.asarray(draw(jax.random.key(5), weights, n=200_000).indices)
    tenths = np.bincount(indices // 10_000, minlength=10)
    assert (np.abs(tenths - 20_000) < 5 * (20_000 * 0.9) ** 0.5).all()
    assert indices.max() < 100_000


def test_every_row_can_be_the_only_one() -> None:
    for place in range(5):
        weights = jnp.zeros(5, jnp.float32).at[place].set(1e-30)
        for method in ("multinomial", "systematic"):
            found = draw(jax.random.key(place), weights, n=50, method=method)
            assert (found.indices == place).all()


@pytest.mark.parametrize("method", ["multinomial", "systematic"])
def test_weights_that_are_not_scaled_do_not_overflow_in_sums(method) -> None:
    weights = jnp.tile(jnp.asarray([3.0, 1.0, 2.0, 2.0], jnp.float32), 5)
    wanted = draw(jax.random.key(6), weights, n=80, method=method)
    found = draw(jax.random.key(6), 2e37 * weights, n=80, method=method)
    np.testing.assert_array_equal(found.indices, wanted.indices)


def logistic(key, p, q):
    return fit_logistic_discriminator(p, q, l2=1e-3, steps=60)


@jax.jit
def split_of(key, x, test):
    return split_like_test(
        key,
        x,
        test,
        n_val=1500,
        pool_size=1500,
        fit_fn=logistic,
        apply_fn=discriminator_logits,
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_split_is_like_the_test_set_and_does_not_leak(seed) -> None:
    rng = np.random.default_rng(seed)
    x, test = rng.normal(size=(3000, 2)), rng.normal(size=(2000, 2))
    test[:, 0] += 1
    split = split_of(jax.random.key(seed), jnp.asarray(x), jnp.asarray(test))
    train, validation = np.asarray(split.train), np.asarray(split.validation)
    assert len(train) == 1500 and len(validation) == 1500
    assert not set(train) & set(np.asarray(split.pool))
    assert set(validation) <= set(np.asarray(split.pool))
    assert abs(x[validation, 0].mean() - 1) < 0.2 > abs(x[train, 0].mean())
    assert abs(float(split.auc) - 0.76) < 0.04
    assert abs(float(split.effective_size) / 1500 - 1 / np.e) < 0.12
    assert float(split.largest) == float(split.weights.max()) > 3
    assert abs(float(split.weights.mean()) - 1) < 1e-12
