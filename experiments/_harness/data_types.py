"""What every image source gives, and orders that depend on nothing but numbers."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class ImageData:
    """Images float32 [N, H, W, C] in [-1, 1]; labels int32 [N], or None.

    ``levels`` is the number of values that a pixel can have, evenly spaced over
    [-1, 1]; ``source`` says in a sentence where the images and the split come from.
    """

    train_images: np.ndarray
    train_labels: np.ndarray | None
    test_images: np.ndarray
    test_labels: np.ndarray | None
    levels: int
    name: str
    source: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        height, width, channels = self.train_images.shape[1:]
        return height, width, channels

    @property
    def num_classes(self) -> int:
        """The number of classes; 0 without labels."""
        if self.train_labels is None:
            return 0
        return int(self.train_labels.max()) + 1

    def train(self) -> dict[str, np.ndarray]:
        """The training rows for Batches: "image", and "label" where known."""
        rows = {"image": self.train_images}
        if self.train_labels is not None:
            rows["label"] = self.train_labels
        return rows


def order_of(length: int, seed: int, epoch: int = 0) -> np.ndarray:
    """A permutation of ``range(length)`` that is a pure function of the numbers.

    It sorts raw words of Philox, whose stream NumPy keeps the same in every version
    (unlike that of ``permutation``).
    """
    words = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(length)
    return np.argsort(words, kind="stable")


def batches_of(rows: int, seed: int, steps: int, batch_size: int) -> np.ndarray:
    """The rows of every batch [steps, size]: each epoch in its order, whole batches."""
    size = min(batch_size, rows)
    each = rows // size
    epochs = -(-steps // each)
    found = [order_of(rows, seed, e)[: each * size] for e in range(epochs)]
    return np.concatenate(found).reshape(-1, size)[:steps].astype(np.int32)


def scaled(pixels: np.ndarray, levels: int) -> np.ndarray:
    """Integers 0..levels-1 as float32 in [-1, 1]."""
    top = np.float32(levels - 1)
    return (pixels.astype(np.float32) * 2 - top) / top


def split(
    pixels: np.ndarray, labels: np.ndarray | None, tested: int
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray, np.ndarray | None]:
    """Train and test rows by one fixed order: the last ``tested`` of it are test."""
    order = order_of(len(pixels), 0)
    train, test = np.sort(order[:-tested]), np.sort(order[-tested:])
    if labels is None:
        return pixels[train], None, pixels[test], None
    return pixels[train], labels[train], pixels[test], labels[test]
