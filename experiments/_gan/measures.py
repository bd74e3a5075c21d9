"""How good samples are: modes of the ring, features of classifiers for images."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments._gan.players import MODES, Task, centers
from experiments._gan.training import SAMPLES, WORST, Cell, Outcome
from experiments._harness import feature_classifier
from experiments._harness.data import ImageData
from kexue_jax import evaluation

NEAR, FEWEST, NEIGHBORS = 0.2, 0.02, 3
Scores = dict[str, float]
MAIN = {"ring": "energy", "images": "frechet"}
COLUMNS = {
    "ring": ("energy", "mmd", "near", "modes", "precision", "recall"),
    "images": ("frechet", "mmd", "energy", "precision", "recall", "recognized"),
}
WORSE = {"energy": WORST, "frechet": WORST, "mmd": WORST}


@functools.cache
def _distances() -> Any:
    @jax.jit
    def run(real: jax.Array, fake: jax.Array) -> dict[str, jax.Array]:
        near = evaluation.precision_recall(real, fake, k=NEIGHBORS)
        return {"mmd": evaluation.polynomial_mmd(real, fake), **near._asdict()}

    return run


def ring_scores(task: Task, samples: np.ndarray) -> Scores:
    """Distances to as many real points, share near a mode, modes that are hit."""
    key = jax.random.key(12345)
    real = task.draw(jnp.zeros((1, 2), jnp.float32), key, len(samples))
    gaps = np.linalg.norm(samples[:, None] - centers()[None], axis=-1)
    near = gaps.min(1) < NEAR
    shares = np.bincount(gaps.argmin(1)[near], minlength=MODES) / len(samples)
    found = _distances()(real, jnp.asarray(samples))
    return {
        **{name: float(value) for name, value in found.items()},
        "near": float(near.mean()),
        "modes": float((shares >= FEWEST).sum()),
    }


class Jury:
    """Two classifiers of the real images."""

    def __init__(self, images: ImageData, num_steps: int) -> None:
        self.images = images
        self.classifiers = [
            feature_classifier.train_classifier(
                jax.random.key(seed), images, num_steps=num_steps
            )
            for seed in (1, 2)
        ]

    def scores(self, samples: np.ndarray) -> Scores:
        """Of samples [n, size], against held-out images."""
        real = self.images.test_images
        count = min(len(real), len(samples))
        fake = samples[:count].reshape(-1, *self.images.shape).astype(np.float32)
        return feature_classifier.image_metrics(self.classifiers, real[:count], fake)

    def floor(self) -> Scores:
        """Of as many real training images."""
        images = self.images.train_images[:SAMPLES]
        return self.scores(images.reshape(len(images), -1))


def scores(task: Task, jury: Jury | None, outcome: Outcome) -> Mapping[Cell, Scores]:
    """The scores of every cell; WORST where samples are not finite."""
    found = {}
    for cell, samples in outcome.samples.items():
        if np.isfinite(samples).all() and np.abs(samples).max() < WORST:
            values = jury.scores(samples) if jury else ring_scores(task, samples)
        else:
            values = {name: WORSE.get(name, 0.0) for name in COLUMNS[task.name]}
        energy = float(outcome.energy[cell][-1])
        found[cell] = {**values, "energy": energy}
    return found
