"""The settings of a comparison of short trainings."""

import dataclasses
from typing import Any

import numpy as np

from experiments._diffusion import settings
from experiments._diffusion.settings import DiffusionConfig
from experiments._harness.config import TrainingConfig, setting
from experiments._harness.data import DATASETS, ImageData
from kexue_jax import models


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparisonConfig(TrainingConfig):
    """Data, network and length of the trainings; the rest is held fixed."""

    dataset: str = setting("digits", "images to learn", choices=DATASETS)
    data_dir: str = setting("none", "folder of the image files", shapes_run=False)
    image_size: int = setting(64, "side for --dataset=folder", minimum=8, maximum=1024)
    width: int = setting(16, "channels of the first stage", minimum=1, maximum=4096)
    multipliers: str = setting("1,2", "widths of the stages over --width")
    T: int = setting(1000, "diffusion steps", minimum=40, maximum=100_000)
    num_steps: int = setting(300, "training steps", minimum=10)
    batch_size: int = setting(32, "images a step", minimum=2, maximum=65536)
    learning_rate: float = setting(
        2e-3, "peak", minimum=0, maximum=1, open_minimum=True
    )
    num_seeds: int = setting(3, "seeds, from --seed on", minimum=1, maximum=99)


def load(config: ComparisonConfig) -> tuple[ImageData, models.Model]:
    """The images and the author's small U-Net; UserError if they do not fit."""
    names = ("dataset", "data_dir", "image_size", "width", "multipliers", "T")
    names += ("mesh", "batch_size")
    values: dict[str, Any] = {name: getattr(config, name) for name in names}
    diffusion_config = DiffusionConfig(**values, network="small")
    images = settings.load(diffusion_config)
    return images, settings.build_model(diffusion_config, images)


def held_out(images: ImageData, most: int = 256) -> np.ndarray:
    """The images that no training sees, at most ``most`` of them."""
    return images.test_images[:most]
