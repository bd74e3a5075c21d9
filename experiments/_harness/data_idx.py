"""MNIST and its look-alikes: IDX files, plain or gzipped, under their usual names."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from experiments._harness.data_types import ImageData, scaled, split
from experiments._harness.errors import UserError

_IMAGES, _LABELS = 0x0803, 0x0801  # unsigned bytes in 3 axes, in 1 axis
_TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
_TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def load(data_dir: str) -> ImageData:
    """The images of the four files; of the two t10k files alone, split 9 to 1."""
    folder = Path(data_dir)
    found = _present(folder)
    wanted = _TEST if found.keys() == set(_TEST) else _TRAIN + _TEST
    missing = [name for name in wanted if name not in found]
    if missing:
        raise UserError(
            f"--data_dir={folder}: MNIST is not whole there: looked for "
            f"{', '.join(f'{name}[.gz]' for name in missing)} (t10k alone would do)"
        )
    test = _pair(*(found[name] for name in _TEST))
    if wanted == _TEST:
        tested = max(1, len(test[0]) // 10)
        parts = split(*test, tested)
        source = (
            f"the {len(test[0])} t10k images only (no train files there), split "
            f"{len(test[0]) - tested}/{tested} by a fixed order"
        )
    else:
        train = _pair(*(found[name] for name in _TRAIN))
        if train[0].shape[1:] != test[0].shape[1:]:
            raise UserError(
                f"{found[_TEST[0]]}: images of {test[0].shape[1:3]} pixels, but those "
                f"of {found[_TRAIN[0]]} have {train[0].shape[1:3]}"
            )
        parts, source = (*train, *test), "the train and t10k files"
    images, labels, test_images, test_labels = parts
    return ImageData(
        scaled(images, 256),
        labels,
        scaled(test_images, 256),
        test_labels,
        256,
        "mnist",
        f"MNIST-style IDX files: {source}",
    )


def _present(folder: Path) -> dict[str, Path]:
    """The files that are there, by their names without .gz; plain before gzipped."""
    paths = {
        name: [p for p in (folder / name, folder / f"{name}.gz") if p.is_file()]
        for name in _TRAIN + _TEST
    }
    return {name: found[0] for name, found in paths.items() if found}


def _pair(images: Path, labels: Path) -> tuple[np.ndarray, np.ndarray]:
    pixels, targets = read_idx(images, _IMAGES), read_idx(labels, _LABELS)
    if len(pixels) != len(targets):
        raise UserError(
            f"{labels}: {len(targets)} labels for the {len(pixels)} images of {images}"
        )
    return pixels[..., None], targets.astype(np.int32)


def read_idx(path: Path, magic: int) -> np.ndarray:
    """The bytes of an IDX file whose magic number must be ``magic``, in its shape."""
    content = _content(path)
    axes = magic & 0xFF
    header = 4 + 4 * axes
    if len(content) < header:
        raise UserError(f"{path}: cut short in its header ({len(content)} bytes)")
    got = int.from_bytes(content[:4], "big")
    if got != magic:
        raise UserError(f"{path}: magic number {got:#010x}, wanted {magic:#010x}")
    shape = tuple(
        int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(axes)
    )
    if math.prod(shape) != len(content) - header:
        raise UserError(
            f"{path}: {len(content) - header} bytes after the header, but shape "
            f"{list(shape)} wants {math.prod(shape)}"
        )
    if not math.prod(shape):
        raise UserError(f"{path}: empty, of shape {list(shape)}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _content(path: Path) -> bytes:
    try:
        if path.suffix != ".gz":
            return path.read_bytes()
        with gzip.open(path) as file:
            return file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
