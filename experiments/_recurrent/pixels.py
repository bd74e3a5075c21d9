"""Images read pixel by pixel: rows of gray levels with the label behind them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments._harness.data_types import ImageData
from experiments._harness.devices import by_rows
from experiments._language.losses import Loss, cross_entropy
from kexue_jax.models import Model

AT_ONCE = 64  # images that are judged together


def pixel_rows(images: ImageData, *, test: bool) -> np.ndarray:
    """The levels of all pixels, row by row, and the label: uint8 [N, pixels + 1]."""
    if test:
        pictures, labels = images.test_images, images.test_labels
    else:
        pictures, labels = images.train_images, images.train_labels
    if labels is None:
        raise ValueError("pixel_rows: `images` must have labels, got none.")
    levels = np.rint((pictures + 1) / 2 * (images.levels - 1)).astype(np.uint8)
    return np.column_stack([levels.reshape(len(levels), -1), labels.astype(np.uint8)])


def label_loss(model: Model) -> Loss:
    """The cross entropy of the label after the last pixel."""

    def loss(params: Any, rows: jax.Array, key: jax.Array, step: jax.Array) -> Any:
        logits = model.apply(params, rows[:, :-1])[:, -1]
        return cross_entropy(logits, rows[:, -1]).mean()

    return loss


def accuracy(model: Model, params: Any, rows: np.ndarray) -> float:
    """The share of images whose label has the largest logit after the last pixel."""

    @jax.jit
    def best(params: Any, pixels: jax.Array) -> tuple[jax.Array]:
        return (jnp.argmax(model.apply(params, pixels)[:, -1], -1),)

    pixels = rows[:, :-1].astype(np.int32)
    (told,) = by_rows(best, params, (pixels,), at_once=AT_ONCE)
    return float((told == rows[:, -1]).mean())
