"""CIFAR-10, binary version: records of a label byte and 3,072 bytes, RGB planes."""

from pathlib import Path

import numpy as np

from experiments._harness.data_types import ImageData, scaled
from experiments._harness.errors import UserError

_TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
_TEST = ("test_batch.bin",)
_PIXELS = 3 * 32 * 32


def load(data_dir: str) -> ImageData:
    """The images of the six files of ``data_dir``, or of its cifar-10-batches-bin."""
    folder = Path(data_dir)
    inner = folder / "cifar-10-batches-bin"
    if inner.is_dir():
        folder = inner
    missing = [name for name in _TRAIN + _TEST if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"--data_dir={folder}: no binary CIFAR-10 there: looked for "
            f"{', '.join(missing)}"
        )
    images, labels = _read(folder, _TRAIN)
    test_images, test_labels = _read(folder, _TEST)
    return ImageData(
        scaled(images, 256),
        labels,
        scaled(test_images, 256),
        test_labels,
        256,
        "cifar10",
        "CIFAR-10, binary version, its own split",
    )


def _read(folder: Path, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    records = np.concatenate([_records(folder / name) for name in names])
    planes = records[:, 1:].reshape(-1, 3, 32, 32)
    return planes.transpose(0, 2, 3, 1), records[:, 0].astype(np.int32)


def _records(path: Path) -> np.ndarray:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if not content or len(content) % (_PIXELS + 1):
        raise UserError(
            f"{path}: {len(content)} bytes are no whole number of records of "
            f"{_PIXELS + 1} bytes"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, _PIXELS + 1)
    if records[:, 0].max() > 9:
        raise UserError(f"{path}: a label of {records[:, 0].max()}, wanted 0 to 9")
    return records
