"""The 1,797 real 8x8 digits that come with scikit-learn: no file, no download."""

import numpy as np

from experiments._harness.data_types import ImageData, order_of, scaled
from experiments._harness.extras import need

LEVELS = 17


def load() -> ImageData:
    """The digits, split within each class: every fifth of a fixed order is test."""
    datasets = need("sklearn.datasets", "experiments")
    bunch = datasets.load_digits()
    pixels = np.asarray(bunch.images)[..., None]
    labels = np.asarray(bunch.target, np.int32)
    tested = np.zeros(len(labels), bool)
    for digit in range(10):
        rows = np.flatnonzero(labels == digit)
        tested[rows[order_of(len(rows), digit)[::5]]] = True
    images = scaled(pixels, LEVELS)
    return ImageData(
        images[~tested],
        labels[~tested],
        images[tested],
        labels[tested],
        LEVELS,
        "digits",
        "8x8 handwritten digits bundled with scikit-learn (UCI, test part), split "
        f"{(~tested).sum()}/{tested.sum()} within each class, the same for every seed",
    )
