"""Real vectors from images: pixels, products of pixels, and one-hot points beside."""

import numpy as np

_SMALL = 64  # pixels that products are taken of


def pixels(images: np.ndarray) -> np.ndarray:
    """[N, H W C] in [-1, 1]."""
    return images.reshape(len(images), -1)


def products(images: np.ndarray) -> np.ndarray:
    """All products of two pixels, of images pooled to at most 64 pixels."""
    size = 1
    while images[0].size // size**2 > _SMALL:
        size += 1
    n, height, width, channels = images.shape
    rows, columns = height // size, width // size
    cut = images[:, : rows * size, : columns * size]
    pooled = cut.reshape(n, rows, size, columns, size, channels).mean((2, 4))
    flat = pooled.reshape(n, -1)
    i, j = np.triu_indices(flat.shape[1])
    return flat[:, i] * flat[:, j]


def one_hot(count: int, m: int) -> np.ndarray:
    """As many unit vectors, m at most."""
    return np.eye(min(count, m), m, dtype=np.float32)
