"""Image data: one shape for all sources, and an endless seekable order of batches."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments._harness import (
    data_cifar,
    data_digits,
    data_folder,
    data_idx,
    processes,
)
from experiments._harness.data_types import ImageData, order_of
from experiments._harness.errors import UserError

__all__ = ["DATASETS", "Batches", "ImageData", "Rows", "load_images"]

DATASETS = ("digits", "mnist", "cifar10", "folder")


def load_images(
    dataset: str, data_dir: str = "none", *, image_size: int = 64
) -> ImageData:
    """The images of ``dataset``, one of DATASETS, split in a fixed way.

    "digits" is bundled with scikit-learn; "mnist" (IDX files), "cifar10" (binary
    version) and "folder" (PNG, JPEG and BMP files, centre-cropped and resized to
    ``image_size``) are read from ``data_dir``. Nothing is downloaded. UserError names
    the file that is missing or malformed.
    """
    if dataset == "digits":
        return data_digits.load()
    loaders = {
        "mnist": data_idx.load,
        "cifar10": data_cifar.load,
        "folder": lambda folder: data_folder.load(folder, image_size),
    }
    if dataset not in loaders:
        raise UserError(
            f"flag --dataset={dataset}: wanted one of {', '.join(DATASETS)}"
        )
    if data_dir in ("", "none"):
        raise UserError(
            f"--dataset={dataset} needs --data_dir, the folder of its files"
        )
    return loaders[dataset](data_dir)


class Rows:
    """The rows ``numbers`` of ``array``, each gathered only when it is asked for.

    It has what placing a batch needs of an array: shape, dtype, slices of it.
    """

    def __init__(self, array: np.ndarray, numbers: np.ndarray) -> None:
        self.array, self.numbers = array, numbers
        self.shape, self.dtype = numbers.shape + array.shape[1:], array.dtype

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        first, *rest = index
        return self.array[self.numbers[first]][:, *rest]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.array[self.numbers].astype(dtype or self.dtype, copy=False)


class Batches:
    """Endless shuffled batches of ``arrays``, whose order is pure in seed and epoch.

    ``arrays`` maps names to arrays of one length n; a batch is the dict of their rows.
    Each epoch holds every row once; a batch may span two epochs, so that none is
    short. With several processes the leaves of a batch are Rows: it is the same batch
    for each of them, but a process gathers only what its own devices want. The position
    is one number of batches: ``restore`` seeks to it at once.
    """

    def __init__(
        self, arrays: Mapping[str, np.ndarray], batch_size: int, seed: int
    ) -> None:
        lengths = {len(array) for array in arrays.values()}
        if len(lengths) != 1 or lengths == {0}:
            raise ValueError(
                f"Batches: `arrays` must be of one length, not 0, got {lengths}."
            )
        if batch_size < 1:
            raise ValueError(
                f"Batches: `batch_size` must be positive, got {batch_size}."
            )
        self.arrays = dict(arrays)
        self.batch_size, self.seed, self.length = batch_size, seed, lengths.pop()
        self._done = 0
        self._orders: dict[int, np.ndarray] = {}

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> dict[str, Any]:
        rows = self.rows(self._done)
        self._done += 1
        if processes.alone():
            return {name: array[rows] for name, array in self.arrays.items()}
        return {name: Rows(array, rows) for name, array in self.arrays.items()}

    def rows(self, number: int) -> np.ndarray:
        """The row numbers of batch ``number``, whatever the position."""
        first, last = number * self.batch_size, (number + 1) * self.batch_size
        epochs = range(first // self.length, math.ceil(last / self.length))
        self._orders = {epoch: self._order(epoch) for epoch in epochs}
        orders = list(self._orders.values())
        stream = orders[0] if len(orders) == 1 else np.concatenate(orders)
        skipped = epochs[0] * self.length
        return stream[first - skipped : last - skipped]

    def state(self) -> dict[str, int]:
        """The position, for a checkpoint."""
        return {"batches": self._done}

    def restore(self, state: Mapping[str, int]) -> None:
        """Go to a position that ``state`` gave."""
        self._done = int(state["batches"])

    def _order(self, epoch: int) -> np.ndarray:
        kept = self._orders.get(epoch)
        return order_of(self.length, self.seed, epoch) if kept is None else kept
