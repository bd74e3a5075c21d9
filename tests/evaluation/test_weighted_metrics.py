"""Weighted accuracy, F1 and AUC against scikit-learn, and the correction of labels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics

from kexue_jax.evaluation import (
    adversarial_auc,
    label_shift_weights,
    weighted_accuracy,
    weighted_auc,
    weighted_f1,
)

CASES = 1000


def rows(seed: int, top: int = 4, n: int = 25):
    rng = np.random.default_rng(seed)
    predictions, labels = rng.integers(0, top, (2, CASES, n))
    return predictions, labels, rng.exponential(size=(CASES, n))


def test_accuracy_is_that_of_scikit_learn() -> None:
    p, y, w = rows(0)
    got = jax.jit(weighted_accuracy)(jnp.asarray(p), jnp.asarray(y), jnp.asarray(w))
    wanted = [
        sklearn.metrics.accuracy_score(b, a, sample_weight=c)
        for a, b, c in zip(p, y, w, strict=True)
    ]
    np.testing.assert_allclose(got, wanted, rtol=1e-12)


@pytest.mark.parametrize("average", ["macro", "micro", "binary"])
def test_f1_is_that_of_scikit_learn(average) -> None:
    p, y, w = rows(1, 2 if average == "binary" else 5, 6)
    got = jax.jit(weighted_f1, static_argnames=("num_classes", "average"))(
        jnp.asarray(p), jnp.asarray(y), jnp.asarray(w), num_classes=5, average=average
    )
    wanted = [
        sklearn.metrics.f1_score(
            b, a, sample_weight=c, average=average, zero_division=0.0
        )
        for a, b, c in zip(p, y, w, strict=True)
    ]
    np.testing.assert_allclose(got, wanted, rtol=1e-12)


def test_auc_is_that_of_scikit_learn_with_ties() -> None:
    rng = np.random.default_rng(2)
    scores = rng.integers(0, 8, (CASES, 30)).astype(float)
    up, w = rng.random((CASES, 30)) < 0.4, rng.exponential(size=(CASES, 30))
    up[:, 0], up[:, 1] = True, False
    got = jax.jit(weighted_auc)(jnp.asarray(scores), jnp.asarray(up), jnp.asarray(w))
    wanted = [
        sklearn.metrics.roc_auc_score(b, a, sample_weight=c)
        for a, b, c in zip(scores, up, w, strict=True)
    ]
    np.testing.assert_allclose(got, wanted, rtol=1e-12)


def test_auc_turns_with_the_sides_and_is_one_half_without_one() -> None:
    rng = np.random.default_rng(3)
    a, b = (
        jnp.asarray(rng.normal(size=(1000, 9))),
        jnp.asarray(rng.normal(size=(1000, 7))),
    )
    auc = jax.jit(adversarial_auc)
    np.testing.assert_allclose(auc(a, b) + auc(b, a), 1, rtol=1e-12)
    np.testing.assert_allclose(auc(jnp.exp(a), jnp.exp(b)), auc(a, b), rtol=1e-14)
    alone = weighted_auc(a[0], jnp.ones(9, bool), jnp.ones(9))
    assert alone == 0.5
    assert adversarial_auc(jnp.zeros(4), jnp.zeros(3)) == 0.5


def test_scores_that_are_not_numbers_have_no_auc() -> None:
    # A discriminator that diverged must not look like one that tells all rows apart.
    lost = jnp.full((2, 4), jnp.nan).at[1].set(1.0)
    found = adversarial_auc(lost, jnp.zeros((2, 3)))
    assert jnp.isnan(found[0]) and found[1] == 0
    scores = jnp.array([0.5, jnp.nan, 0.1])
    assert jnp.isnan(weighted_auc(scores, scores > 0.3, jnp.ones(3)))
    unknown = jnp.array([1.0, jnp.nan, 1.0])
    p, y = jnp.array([0, 1, 1]), jnp.array([0, 0, 1])
    for f in (
        lambda w: weighted_auc(jnp.arange(3.0), y > 0, w),
        lambda w: weighted_accuracy(p, y, w),
        lambda w: weighted_f1(p, y, w, num_classes=2),
    ):
        assert jnp.isnan(jax.jit(f)(unknown))


def test_weights_that_are_not_scaled_do_not_overflow_in_sums() -> None:
    rng = np.random.default_rng(6)
    p, y = map(jnp.asarray, rng.integers(0, 3, (2, 12)))
    w = jnp.asarray(rng.uniform(0.5, 1, 12), jnp.float32)
    scores = jnp.asarray(rng.normal(size=12), jnp.float32)
    for f in (
        lambda w: weighted_auc(scores, y > 0, w),
        lambda w: weighted_accuracy(p, y, w),
        lambda w: weighted_f1(p, y, w, num_classes=3),
    ):
        np.testing.assert_allclose(f(8e37 * w), f(w), rtol=1e-5)


def test_whole_weights_are_repetitions() -> None:
    rng = np.random.default_rng(4)
    p, y = rng.integers(0, 3, (2, 12))
    scores, w = rng.normal(size=12), rng.integers(0, 4, 12)
    many = [jnp.asarray(np.repeat(v, w)) for v in (p, y, scores)]
    ones, whole = jnp.ones(w.sum()), jnp.asarray(w, float)
    p, y, scores = map(jnp.asarray, (p, y, scores))
    np.testing.assert_allclose(
        weighted_accuracy(p, y, whole), weighted_accuracy(many[0], many[1], ones)
    )
    np.testing.assert_allclose(
        weighted_f1(p, y, whole, num_classes=3),
        weighted_f1(many[0], many[1], ones, num_classes=3),
    )
    np.testing.assert_allclose(
        weighted_auc(scores, y > 0, whole), weighted_auc(many[2], many[1] > 0, ones)
    )


def test_label_weights_are_exact_where_the_confusion_is() -> None:
    # p(prediction | label) is the same on both sides by construction: whole tables.
    rng = np.random.default_rng(5)
    correct = jax.jit(label_shift_weights, static_argnames="num_classes")
    for _ in range(100):
        confusion = rng.integers(0, 3, (3, 3)) + 6 * np.eye(3, dtype=int)
        confusion = confusion * 60 // confusion.sum(0)  # columns: labels
        confusion[0] += 60 - confusion.sum(0)
        train, test = rng.permutation([1, 2, 4]), rng.permutation([1, 3, 5])
        pairs = [
            (g, t)
            for g in range(3)
            for t in range(3)
            for _ in range(confusion[g, t] * train[t])
        ]
        guessed, labels = np.array(pairs).T
        mu = np.repeat(np.arange(3), confusion @ test)
        got = correct(*map(jnp.asarray, (guessed, labels, mu)), num_classes=3)
        wanted = (test / test.sum()) / (train / train.sum())
        np.testing.assert_allclose(got, wanted, rtol=1e-9)
