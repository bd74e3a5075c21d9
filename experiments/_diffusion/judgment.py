"""What is measured on samples.

Distances are taken in the features of a small classifier trained on the real training
split (no Inception network is at hand, so none of them is an FID), and every one stands
beside a floor (training against held-out images) and a ceiling (noise).
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from experiments._diffusion.sampling import Method, Sampler, noise
from experiments._diffusion.settings import DiffusionConfig
from experiments._harness import feature_classifier
from experiments._harness.data import ImageData

Scores = dict[str, float]

COLUMNS = (
    "frechet",
    "mmd",
    "precision",
    "recall",
    "coverage",
    "two_sample",
    "agreement",
    "confidence",
    "recognized",
    "classes",
    "spread",
)


class Assessment(NamedTuple):
    """One model: samples of the first method, scores by method, bits, obedience."""

    samples: np.ndarray
    scores: dict[str, list[Scores]]
    bits: Scores
    obedience: list[tuple[float, float, float]]


class Jury:
    """Two classifiers of the real training images, the floor, and the ceiling."""

    def __init__(self, images: ImageData, count: int, num_steps: int) -> None:
        self.images = images
        self.count = min(count, len(images.test_images), len(images.train_images))
        self.classifiers = [
            feature_classifier.train_classifier(
                jax.random.key(seed), images, num_steps=num_steps
            )
            for seed in (1, 2)
        ]
        self.real = images.test_images[: self.count]
        found = feature_classifier.reference_metrics(
            self.classifiers, images, self.count
        )
        spread = {
            "floor": images.train_images[: self.count],
            "gaussian": np.clip(noise(99, self.count, images.shape), -1, 1),
        }
        self.floor, self.ceiling = (
            {**found[name], "spread": _spread(np.asarray(spread[name]))}
            for name in ("floor", "gaussian")
        )

    def measure(self, samples: np.ndarray) -> Scores:
        """The scores of samples against held-out images, at equal counts."""
        samples = np.asarray(samples)[: self.count]
        scores = feature_classifier.image_metrics(self.classifiers, self.real, samples)
        return {**scores, "spread": _spread(samples)}

    def facts(self) -> dict[str, Any]:
        """What a reader must know of the jury."""
        accuracies = ", ".join(f"{c.accuracy:.4f}" for c in self.classifiers)
        return {
            "feature classifiers": "seeds 1 and 2, trained on the real training split",
            "their accuracy on held-out images": accuracies,
            "images a side of each distance": self.count,
        }


def _spread(samples: np.ndarray) -> float:
    """The variance over the samples, summed over the pixels."""
    return float(samples.reshape(len(samples), -1).var(axis=0).sum())


def methods(config: DiffusionConfig) -> list[Method]:
    """The samplers that are compared; steps fall away where they exceed T."""
    short = [steps for steps in (10, 20, 50) if steps < config.T]
    ddim = [
        Method(f"DDIM S={steps}, eta={eta:g}", steps=steps, eta=eta)
        for steps in short
        for eta in (0.0, 1.0)
    ]
    large = [Method(f"sigma_hat S={s}", steps=s, sigma_hat=True) for s in short[-1:]]
    chains = [
        Method(f"DDPM S={config.T}, sigma={sigma}", sigma=sigma)
        for sigma in ("beta", "posterior")
    ]
    return [*chains, *ddim, *large]


def assess(config: Any, sampler: Sampler, jury: Jury, seed: int) -> Assessment:
    """Sample one model by every method and score what comes out."""
    count, shape = config.num_samples, jury.images.shape
    labels = _labels(config, jury.images, count)
    samples: list[np.ndarray] = []
    scores: dict[str, list[Scores]] = {}
    for method in methods(config):
        for draw in range(config.draws if method.steps else 1):
            key = jax.random.fold_in(jax.random.key(seed), draw)
            start = noise(1000 * seed + draw, count, shape)
            drawn = np.asarray(
                sampler(key, start, method, labels=labels, guidance=config.guidance).x
            )
            samples = samples or [drawn]
            scores.setdefault(method.name, []).append(jury.measure(drawn))
    held = jury.images.test_images[: jury.count]
    bound = sampler.elbo(jax.random.key(seed), held, jury.images.levels, 100)
    parts = bound._asdict().items()
    bits = {name: float(np.mean(np.asarray(value))) for name, value in parts}
    return Assessment(samples[0], scores, bits, _obedience(config, sampler, jury, seed))


def _labels(config: Any, images: ImageData, count: int) -> np.ndarray | None:
    if not config.conditional:
        return None
    return np.arange(count, dtype=np.int32) % images.num_classes


def _obedience(
    config: Any, sampler: Sampler, jury: Jury, seed: int
) -> list[tuple[float, float, float]]:
    """(w, share of samples that are what was asked, their spread) by guidance w."""
    rows = []
    labels = _labels(config, jury.images, config.num_samples)
    for w in (0.0, 1.0, 3.0) if config.conditional else ():
        start = noise(seed, config.num_samples, jury.images.shape)
        method = Method("guided", steps=min(50, config.T))
        drawn = sampler(jax.random.key(seed), start, method, labels=labels, guidance=w)
        found = jury.classifiers[0].probabilities(np.asarray(drawn.x)).argmax(-1)
        within = [
            np.asarray(drawn.x)[labels == label].var(axis=0).sum()
            for label in range(jury.images.num_classes)
        ]
        rows.append((w, float(np.mean(found == labels)), float(np.mean(within))))
    return rows
