"""A small classifier of the real training images, whose features judge generated ones.

Frechet and kindred distances need a feature space. With no Inception weights at hand it
is that of a classifier trained here, on the real training split alone, deterministic in
its key; its held-out accuracy is reported. None of the distances is an "FID".
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from experiments._harness import loop
from experiments._harness.classifier_programs import Recipe, programs
from experiments._harness.data import Batches, ImageData
from experiments._harness.devices import data_mesh, replicate, shard_batch
from kexue_jax import evaluation

# Images at a time when a classifier is asked; the last batch is filled up to it.
_BATCH = 256
# Wanted of every classifier before an image counts as recognized.
_SURE = 0.9
_NEIGHBORS = 3


@dataclasses.dataclass(frozen=True)
class FeatureClassifier:
    """A trained classifier. ``accuracy`` is its share of held-out images named right.

    ``params`` belong to ``models.image_classifier`` with the sizes of ``recipe``.
    """

    params: Any
    recipe: Recipe
    accuracy: float

    def features(self, images: np.ndarray) -> np.ndarray:
        """The penultimate layer, float32 [n, feature_width]."""
        return self.answers(images)[1]

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """The probability of each class, float32 [n, num_classes]."""
        return self.answers(images)[0]

    def predict(self, images: np.ndarray) -> np.ndarray:
        """The likeliest class of each image, int [n]."""
        return self.probabilities(images).argmax(-1)

    def answers(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities and features, in one pass over the images."""
        return _answers(self.recipe, self.params, images)


def train_classifier(
    key: jax.Array,
    data: ImageData,
    *,
    num_steps: int = 400,
    batch_size: int = 64,
    learning_rate: float = 5e-3,
    width: int = 16,
    multipliers: tuple[int, ...] | None = None,
    feature_width: int = 64,
) -> FeatureClassifier:
    """A classifier of ``data``'s training split; the held-out split only scores it.

    The same key, data and devices give the same classifier: the weights and the order
    of the batches both come from ``key``. ``multipliers`` (of ``width``, one a stage of
    the network) is (1, 2) for small images and (1, 2, 4) for sides over 16.
    """
    if data.train_labels is None or data.test_labels is None:
        raise ValueError(f"train_classifier: `data` ({data.name}) has no labels.")
    if multipliers is None:
        multipliers = (1, 2, 4) if max(data.shape[:2]) > 16 else (1, 2)
    recipe = Recipe(
        num_classes=data.num_classes,
        channels=data.shape[2],
        width=width,
        multipliers=multipliers,
        feature_width=feature_width,
        num_steps=num_steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
    )
    weights, order = jax.random.split(key)
    mesh = data_mesh(batch_size)
    init, step, _ = programs(recipe, mesh)
    state = init(weights)
    seed = int(jax.random.bits(order, (), np.uint32))
    state = loop.run(
        step,
        state,
        Batches(data.train(), batch_size, seed),
        num_steps=num_steps,
        mesh=mesh,
        options=loop.Options(progress=False),
    )
    found, _ = _answers(recipe, state["params"], data.test_images)
    accuracy = float(np.mean(found.argmax(-1) == data.test_labels))
    return FeatureClassifier(state["params"], recipe, accuracy)


def image_metrics(
    classifiers: Sequence[FeatureClassifier], real: np.ndarray, fake: np.ndarray
) -> dict[str, float]:
    """How near ``fake`` images are to ``real`` ones, as named numbers.

    frechet, mmd, precision, recall (k = 3), density, coverage and two_sample (the 1-NN
    accuracy; 0.5: alike) are of the features of the first classifier. All of them
    depend on the number of images, so that as many of each are wanted. Of the fake
    images alone: agreement, the share on which all classifiers give one class;
    confidence, their mean probability of their likeliest class; recognized, the share
    on which they agree and each gives that class 0.9 or more; classes, the entropy of
    the histogram of named classes over that of equal shares.
    """
    if len(classifiers) < 2:
        got = len(classifiers)
        raise ValueError(f"image_metrics: wanted 2 classifiers or more, got {got}.")
    if len(real) != len(fake) or len(real) <= _NEIGHBORS:
        raise ValueError(
            "image_metrics: wanted as many real as fake images, more than "
            f"{_NEIGHBORS}, got {len(real)} and {len(fake)}."
        )
    answers = [classifier.answers(fake) for classifier in classifiers]
    distances = _distances(classifiers[0].features(real), answers[0][1])
    opinions = _recognition(np.stack([probabilities for probabilities, _ in answers]))
    return {name: float(value) for name, value in distances.items()} | opinions


def reference_metrics(
    classifiers: Sequence[FeatureClassifier], data: ImageData, count: int
) -> dict[str, dict[str, float]]:
    """The metrics of what cannot be beaten and of what must be, ``count`` of each.

    All against held-out images: "floor", real training images; "gaussian" and
    "uniform", clipped normal and uniform noise, the ceilings.
    """
    rng = np.random.default_rng(0)
    shape = (count, *data.shape)
    candidates = {
        "floor": data.train_images[:count],
        "gaussian": np.clip(rng.standard_normal(shape, np.float32), -1, 1),
        "uniform": rng.uniform(-1, 1, shape).astype(np.float32),
    }
    real = data.test_images[:count]
    return {
        name: image_metrics(classifiers, real, images)
        for name, images in candidates.items()
    }


def _recognition(probabilities: np.ndarray) -> dict[str, float]:
    """What classifiers [c] say of images [n]; probabilities [c, n, classes]."""
    named, sure = probabilities.argmax(-1), probabilities.max(-1)
    agreed = (named == named[:1]).all(0)
    shares = np.bincount(named[0], minlength=probabilities.shape[-1]) / named.shape[1]
    kept = shares[shares > 0]
    return {
        "agreement": float(agreed.mean()),
        "confidence": float(sure.mean()),
        "recognized": float((agreed & (sure >= _SURE).all(0)).mean()),
        "classes": float(-(kept * np.log(kept)).sum() / np.log(len(shares))),
    }


@jax.jit
def _distances(real: jax.Array, fake: jax.Array) -> dict[str, jax.Array]:
    near = evaluation.precision_recall(real, fake, k=_NEIGHBORS)
    within = evaluation.density_coverage(real, fake, k=_NEIGHBORS)
    return {
        "frechet": evaluation.frechet_distance(real, fake),
        "mmd": evaluation.polynomial_mmd(real, fake),
        **near._asdict(),
        **within._asdict(),
        "two_sample": evaluation.two_sample_accuracy(real, fake).accuracy,
    }


def _answers(
    recipe: Recipe, params: Any, images: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and features of any number of images, by one program."""
    mesh = data_mesh(_BATCH)
    _, _, apply = programs(recipe, mesh)
    params, parts = replicate(mesh, params), []
    for first in range(0, len(images), _BATCH):
        part = np.asarray(images[first : first + _BATCH], np.float32)
        filled = np.zeros((_BATCH, *part.shape[1:]), np.float32)
        filled[: len(part)] = part
        parts.append(apply(params, shard_batch(mesh, filled)))
    probabilities, features = (
        np.concatenate([np.asarray(part[i]) for part in parts])[: len(images)]
        for i in range(2)
    )
    return probabilities, features
