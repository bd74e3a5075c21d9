"""Labelled rows, and shifts whose density ratio is known because they are made."""

import collections
import dataclasses
import hashlib
import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from experiments._harness.data import load_images
from experiments._harness.errors import UserError

DATASETS = ("digits", "mnist", "reviews")
HOTEL = ("酒店", "房间", "宾馆", "入住", "前台", "早餐", "客房")
_FILES = ("sentiment.train.data", "sentiment.valid.data")
_FEATURES = 300


@dataclasses.dataclass(frozen=True)
class Data:
    """Features [N, d] of mean 0 and variance 1, labels [N], and traits by name [N].

    A trait z makes a shift of strength a: rows are kept for training with odds
    exp(-a z) and for the test with odds exp(a z), so that q / p = exp(a z) up to a
    factor. ``none`` is 0 everywhere.
    """

    x: np.ndarray
    y: np.ndarray
    traits: Mapping[str, np.ndarray]
    source: str

    @property
    def classes(self) -> int:
        """The number of classes."""
        return int(self.y.max()) + 1


def load(dataset: str, data_dir: str, rows: int) -> Data:
    """The rows of a dataset, at most ``rows`` of them."""
    if dataset == "reviews":
        return _reviews(data_dir, rows)
    found = load_images(dataset, data_dir)
    if found.train_labels is None or found.test_labels is None:
        raise UserError(f"--dataset={dataset} has no labels")
    images = np.concatenate([found.train_images, found.test_images])[:rows, ..., 0]
    y = np.concatenate([found.train_labels, found.test_labels])[:rows]
    while images.shape[1] > 14:  # means of 2 x 2 pixels
        n, h, w = images.shape
        images = images.reshape(n, h // 2, 2, w // 2, 2).mean((2, 4))
    flat = images.reshape(len(images), -1)
    traits = {
        "classes": np.where(y >= 5, 1.0, -1.0),
        "ink": np.clip(scaled(flat.mean(1)[:, None])[:, 0], -2, 2),
        "none": np.zeros(len(y)),
    }
    return Data(scaled(flat), y.astype(np.int32), traits, found.source)


def scaled(x: np.ndarray) -> np.ndarray:
    """Each column with mean 0 and variance 1, or 0 where it is constant."""
    x = x - x.mean(0)
    spread = x.std(0)
    return (x / np.where(spread > 1e-6, spread, 1)).astype(np.float32)


def _reviews(data_dir: str, rows: int) -> Data:
    """Reviews with their sentiment; the trait is whether a review is of a hotel."""
    lines: dict[str, int] = {}
    for name in _FILES:
        path = Path(data_dir) / name
        if not path.is_file():
            raise UserError(f"--dataset=reviews needs {name} in --data_dir={data_dir}")
        for line in path.read_text(encoding="utf-8").splitlines():
            text, _, label = line.rpartition("\t")
            if text and label in ("0", "1"):
                lines.setdefault(text, int(label))  # copies count once
    texts = sorted(lines, key=lambda t: hashlib.sha256(t.encode()).digest())[:rows]
    if len(texts) < 100:
        raise UserError(f"{data_dir}: {len(texts)} reviews, 100 are wanted at least")
    y = np.array([lines[text] for text in texts], np.int32)
    hotel = np.array([any(w in text for w in HOTEL) for text in texts])
    length = np.log([len(text) for text in texts])
    traits = {
        "domain": np.where(hotel, -1.0, 1.0),
        "length": np.clip(scaled(length[:, None])[:, 0], -2, 2),
        "none": np.zeros(len(y)),
    }
    source = (
        f"Chinese reviews (sentiment.*.data, bert4keras), {len(texts)} distinct, "
        f"{hotel.mean():.0%} of hotels by keyword; the {_FEATURES} commonest "
        "characters and pairs"
    )
    return Data(scaled(_frequent(texts)), y, traits, source)


def _frequent(texts: list[str]) -> np.ndarray:
    """Root counts of the characters and pairs that most texts have, of length 1."""
    parts = [
        collections.Counter([*text, *map("".join, itertools.pairwise(text))])
        for text in texts
    ]
    spread = collections.Counter(part for row in parts for part in row)
    ranked = sorted(spread, key=lambda part: (-spread[part], part))[:_FEATURES]
    counts = [[row[part] for part in ranked] for row in parts]
    found = np.sqrt(np.array(counts, np.float32))
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6)


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Rows to train on, to validate on, and of the test."""

    train: int
    validation: int
    test: int


@dataclasses.dataclass(frozen=True)
class Parts:
    """Row numbers of one seed: training, validation, test."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def shifted(data: Data, trait: str, strength: float, seed: int, sizes: Sizes) -> Parts:
    """Rows of one shift: disjoint, and independent of each other given the rows.

    Three fifths of a shuffle are offered to training and validation, the rest to the
    test; each row is kept with its probability, and of those kept the first are taken.
    """
    rng = np.random.Generator(np.random.Philox(key=seed))
    order = rng.permutation(len(data.y))
    cut = 3 * len(order) // 5
    kept = []
    for rows, sign in ((order[:cut], -1), (order[cut:], 1)):
        odds = np.exp(sign * strength * data.traits[trait][rows])
        kept.append(rows[rng.random(len(rows)) < odds / (1 + odds)])
    ours, test = kept
    wanted = sizes.train + sizes.validation
    if len(ours) < wanted or len(test) < sizes.test:
        raise UserError(
            f"{trait}: {len(ours)} and {len(test)} rows are kept, {wanted} and "
            f"{sizes.test} are wanted: a smaller --share or --strength"
        )
    return Parts(ours[: sizes.train], ours[sizes.train : wanted], test[: sizes.test])
