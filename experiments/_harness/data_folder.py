"""A folder of images: PNG, JPEG and BMP files, in one class or in subfolders."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from experiments._harness.data_types import ImageData, scaled, split
from experiments._harness.errors import UserError
from experiments._harness.extras import need

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
_TESTED = 10  # one image of so many is test


def load(data_dir: str, image_size: int) -> ImageData:
    """RGB images of ``image_size`` pixels a side; subfolders, if any, are classes."""
    pillow = need("PIL.Image", "experiments")
    folder = Path(data_dir)
    files, labels = _files(folder)
    pixels = np.stack([_pixels(pillow, path, image_size) for path in files])
    tested = max(1, len(files) // _TESTED)
    images, labels, test_images, test_labels = split(pixels, labels, tested)
    return ImageData(
        scaled(images, 256),
        labels,
        scaled(test_images, 256),
        test_labels,
        256,
        "folder",
        f"{len(files)} image files, centre-cropped to {image_size} pixels, split "
        f"{len(files) - tested}/{tested} by a fixed order",
    )


def _files(folder: Path) -> tuple[list[Path], np.ndarray | None]:
    """The image files in a fixed order, and their classes if they lie in subfolders."""
    if not folder.is_dir():
        raise UserError(f"--data_dir={folder} is no folder: wanted one of images")
    direct = _images(folder)
    classes = sorted(
        path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."
    )
    inside = [
        (path, label) for label, sub in enumerate(classes) for path in _images(sub)
    ]
    if direct and inside:
        raise UserError(
            f"--data_dir={folder}: images both beside and inside subfolders "
            f"({direct[0].name}, {inside[0][0].relative_to(folder)}): wanted one kind"
        )
    files = direct or [path for path, _ in inside]
    if len(files) < 2:
        raise UserError(
            f"--data_dir={folder}: {len(files)} images there: looked for at least 2 "
            f"files {', '.join(f'*{suffix}' for suffix in _SUFFIXES)}, there or one "
            "folder deeper"
        )
    return files, None if direct else np.array([n for _, n in inside], np.int32)


def _images(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in _SUFFIXES and path.name[0] != "." and path.is_file()
    )


def _pixels(pillow: Any, path: Path, size: int) -> np.ndarray:
    """The middle square of an image as bytes [size, size, 3]."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a bomb, a damaged tag
            with pillow.open(path) as image:
                short = min(image.size)
                left, top = ((side - short) // 2 for side in image.size)
                box = (left, top, left + short, top + short)
                colored = image.convert("RGB")
                resized = colored.resize((size, size), pillow.Resampling.LANCZOS, box)
                return np.asarray(resized, np.uint8)
    except Exception as error:  # Pillow's readers raise nearly anything
        raise UserError(f"{path}: not a readable image: {error}") from None
