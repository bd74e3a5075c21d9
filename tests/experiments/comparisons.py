"""A network of three numbers and a run to train it in, for the comparison tests."""

import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments._comparison.training import Trainer
from experiments._harness.data_types import ImageData
from experiments._harness.workdir import Run
from kexue_jax.models import Model


def apply(params: Any, x: jax.Array, t: jax.Array, *, key: Any = None) -> jax.Array:
    a, b, c = (params[name].astype(x.dtype) for name in ("a", "b", "c"))
    return a * x + b * jnp.tanh(x) + c


def init(key: jax.Array) -> dict[str, jax.Array]:
    numbers = jax.random.normal(key, (3,), jnp.float32)
    return {name: numbers[i] for i, name in enumerate(("a", "b", "c"))}


MODEL = Model(init, apply)


def images() -> ImageData:
    pixels = np.random.default_rng(0).uniform(-1, 1, (24, 4, 4, 1)).astype(np.float32)
    return ImageData(pixels[:16], None, pixels[16:], None, 17, "toy", "random pixels")


def trainer(config: Any, folder: Path, loss: Any) -> Trainer:
    run = Run(folder, False, time.monotonic())
    return Trainer(config, run, images(), MODEL, loss)
