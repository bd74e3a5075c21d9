"""The classifier whose features judge samples: accurate, repeatable, and telling."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments._harness import feature_classifier
from experiments._harness.classifier_programs import programs
from experiments._harness.data import ImageData, load_images
from experiments._harness.feature_classifier import (
    FeatureClassifier,
    image_metrics,
    reference_metrics,
    train_classifier,
)


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return load_images("digits")


@pytest.fixture(scope="module")
def pair(digits) -> list[FeatureClassifier]:
    return [train_classifier(jax.random.key(seed), digits) for seed in (1, 2)]


@pytest.fixture(scope="module")
def references(pair, digits) -> dict[str, dict[str, float]]:
    return reference_metrics(pair, digits, 300)


def brief(digits: ImageData, **changes) -> FeatureClassifier:
    return train_classifier(jax.random.key(3), digits, num_steps=5, **changes)


def test_held_out_digits_are_named_right(pair, digits) -> None:
    for classifier in pair:
        named = classifier.predict(digits.test_images)
        assert classifier.accuracy == np.mean(named == digits.test_labels) >= 0.97
        assert classifier.features(digits.test_images).shape == (len(named), 64)
        shares = classifier.probabilities(digits.test_images[:7])
        np.testing.assert_allclose(shares.sum(-1), 1, rtol=1e-5)


def test_the_same_key_gives_the_same_classifier_and_another_key_another(digits) -> None:
    one, again = brief(digits), brief(digits)
    jax.tree.map(np.testing.assert_array_equal, one.params, again.params)
    other = train_classifier(jax.random.key(4), digits, num_steps=5)
    assert (
        one.features(digits.test_images) != other.features(digits.test_images)
    ).any()


def test_held_out_images_have_no_part_in_training(digits) -> None:
    blank = dataclasses.replace(
        digits,
        test_images=np.zeros_like(digits.test_images[:50]),
        test_labels=digits.test_labels[:50],
    )
    jax.tree.map(
        np.testing.assert_array_equal, brief(digits).params, brief(blank).params
    )


def test_classifiers_of_one_recipe_share_their_programs(digits) -> None:
    brief(digits, width=8)
    before = programs.cache_info()
    classifier = brief(digits, width=8)
    for count in (1, 255, 256, 257):
        assert len(classifier.predict(digits.train_images[:count])) == count
    after = programs.cache_info()
    assert after.misses == before.misses


def test_an_image_is_judged_the_same_in_any_company(pair, digits) -> None:
    images = digits.test_images
    alone = np.concatenate([pair[0].features(images[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(
        pair[0].features(images)[:3], alone, rtol=1e-5, atol=1e-6
    )


def test_real_images_are_near_and_noise_is_far(references) -> None:
    floor = references["floor"]
    assert floor["agreement"] > 0.97 and floor["recognized"] > 0.9
    assert floor["precision"] > 0.8 and floor["recall"] > 0.7
    assert abs(floor["two_sample"] - 0.5) < 0.15
    assert floor["classes"] > 0.98
    for name in ("gaussian", "uniform"):
        noise = references[name]
        assert noise["frechet"] > 20 * floor["frechet"]
        assert noise["mmd"] > 10 * abs(floor["mmd"])
        assert noise["two_sample"] > 0.85
        assert noise["recognized"] < 0.3
        assert noise["coverage"] < 0.3 < floor["coverage"]


def test_blurred_digits_lie_between_floor_and_noise(pair, digits, references) -> None:
    images = digits.train_images[300:600]
    rng = np.random.default_rng(0)
    spoiled = np.clip(images + 0.5 * rng.normal(size=images.shape), -1, 1)
    between = image_metrics(pair, digits.test_images[:300], spoiled.astype(np.float32))
    low, high = references["floor"], references["gaussian"]
    assert low["frechet"] < between["frechet"] < high["frechet"]
    assert high["recognized"] < between["recognized"] < low["recognized"]


def test_one_repeated_digit_has_no_recall_and_no_classes(pair, digits) -> None:
    same = np.repeat(digits.test_images[:1], 300, axis=0)
    scores = image_metrics(pair, digits.test_images[:300], same)
    assert scores["classes"] == 0 and scores["recall"] < 0.1
    assert scores["coverage"] < 0.1 and scores["confidence"] > 0.8


def test_every_score_is_a_finite_number_by_its_name(references) -> None:
    names = {
        *("frechet", "mmd", "precision", "recall", "density", "coverage"),
        *("two_sample", "agreement", "confidence", "recognized", "classes"),
    }
    for scores in references.values():
        assert set(scores) == names
        assert all(type(v) is float and np.isfinite(v) for v in scores.values())


def test_recognition_of_made_up_probabilities() -> None:
    sure, torn = [0.95, 0.05], [0.45, 0.55]
    scores = feature_classifier._recognition(
        np.array([[sure, sure, torn, sure], [sure, torn, torn, sure[::-1]]])
    )
    assert scores["agreement"] == 0.5 and scores["recognized"] == 0.25
    np.testing.assert_allclose(scores["confidence"], (5 * 0.95 + 3 * 0.55) / 8)
    shares = np.array([0.75, 0.25])
    entropy = -(shares * np.log(shares)).sum() / np.log(2)
    np.testing.assert_allclose(scores["classes"], entropy)


def test_bad_input_is_refused(pair, digits) -> None:
    images = digits.test_images
    with pytest.raises(ValueError, match="wanted 2 classifiers or more, got 1"):
        image_metrics(pair[:1], images[:9], images[:9])
    with pytest.raises(ValueError, match="got 9 and 8"):
        image_metrics(pair, images[:9], images[:8])
    with pytest.raises(ValueError, match="got 3 and 3"):
        image_metrics(pair, images[:3], images[:3])
    unlabeled = dataclasses.replace(digits, train_labels=None)
    with pytest.raises(ValueError, match=r"\(digits\) has no labels"):
        train_classifier(jax.random.key(0), unlabeled)
