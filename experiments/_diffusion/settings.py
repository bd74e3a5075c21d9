"""The settings of a diffusion run, and the library objects that they name."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments._harness.config import TrainingConfig, UserError, setting
from experiments._harness.data import DATASETS, ImageData, load_images
from experiments._harness.mesh import training_mesh
from kexue_jax import diffusion, models, optim

Schedule = diffusion.Schedule

SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "kexue": diffusion.kexue_schedule,
    "linear": diffusion.linear_schedule,
    "cosine": diffusion.cosine_schedule,
    "surrogate": diffusion.surrogate_schedule,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiffusionConfig(TrainingConfig):
    """Data, network, schedule, loss and optimizer of a diffusion model."""

    dataset: str = setting("digits", "images to learn", choices=DATASETS)
    data_dir: str = setting("none", "folder of the image files", shapes_run=False)
    image_size: int = setting(64, "side for --dataset=folder", minimum=8, maximum=1024)
    network: str = setting("small", "which U-Net", choices=("small", "paper"))
    width: int = setting(32, "channels of the first stage", minimum=1, maximum=4096)
    multipliers: str = setting("1,2", "widths of the stages over --width")
    blocks: int = setting(1, "residual blocks a stage", minimum=1, maximum=16)
    dropout: float = setting(
        0.0, "dropout of the paper's U-Net", minimum=0, maximum=0.9
    )
    attention: bool = setting(False, "self-attention in the middle (paper's U-Net)")
    conditional: bool = setting(False, "learn p(image | label), by label embedding")
    label_drop: float = setting(
        0.1, "share of labels dropped in training, for guidance", minimum=0, maximum=1
    )
    schedule: str = setting("kexue", "noise schedule", choices=tuple(SCHEDULES))
    T: int = setting(200, "diffusion steps", minimum=21, maximum=100_000)
    param: str = setting(
        "v", "what the network outputs", choices=("eps", "eps1", "x0", "v", "score")
    )
    weight: str = setting(
        "simple",
        "weights of the loss over t",
        choices=("simple", "regression", "x0", "score", "min_snr"),
    )
    reduction: str = setting("sum", "over pixels", choices=("sum", "mean"))
    optimizer: str = setting("adam", "optimizer", choices=("adam", "lamb"))
    learning_rate: float = setting(
        2e-3, "peak", minimum=0, maximum=1, open_minimum=True
    )
    num_steps: int = setting(4500, "training steps", minimum=1)
    batch_size: int = setting(32, "images a step", minimum=1, maximum=65536)
    ema: float = setting(
        0.998, "decay of the averaged weights", minimum=0, maximum=0.999999
    )
    accumulate: int = setting(
        1, "parts of a batch whose gradients are summed", minimum=1, maximum=65536
    )
    compute_dtype: str = setting(
        "float32",
        "numbers inside the network; parameters, optimizer and sums stay float32",
        choices=("float32", "bfloat16"),
    )
    recompute: str = setting(
        "none",
        "what the backward pass computes again instead of keeping it: none, or the "
        "inside of each residual block",
        choices=("none", "blocks"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size % self.accumulate:
            raise UserError(
                f"flag --accumulate={self.accumulate}: wanted a number that divides "
                f"--batch_size={self.batch_size}"
            )


def load(config: DiffusionConfig) -> ImageData:
    """The images of the run, which fit its settings; UserError where they do not."""
    training_mesh(config.mesh, config.batch_size)  # refuses before there is a folder
    size = config.image_size
    images = load_images(config.dataset, config.data_dir, image_size=size)
    if config.conditional and not images.num_classes:
        raise UserError(f"--conditional: the images of {images.source} have no labels")
    return images


def build_model(config: DiffusionConfig, images: ImageData) -> models.Model:
    """The network; UserError names the flag whose value it cannot take."""
    try:
        multipliers = tuple(int(part) for part in config.multipliers.split(","))
    except ValueError:
        multipliers = ()
    if not multipliers or min(multipliers) < 1 or max(multipliers) > 64:
        raise UserError(
            f"flag --multipliers={config.multipliers}: wanted whole numbers from 1 to "
            "64 with commas between, such as 1,2,2"
        )
    height, width, channels = images.shape
    common: dict[str, Any] = {
        "channels": channels,
        "width": config.width,
        "multipliers": multipliers,
        "blocks": config.blocks,
        "num_classes": images.num_classes if config.conditional else None,
        "recompute": config.recompute == "blocks",
    }
    if config.network == "small":
        return models.unet_small(T=config.T, **common)
    factor = 2 ** (len(multipliers) - 1)
    if height % factor or width % factor:
        raise UserError(
            f"flag --multipliers={config.multipliers}: {len(multipliers)} stages need "
            f"sides divisible by {factor}, the images are {height} x {width}"
        )
    return models.unet_paper(
        dropout_rate=config.dropout, middle_attention=config.attention, **common
    )


def build_schedule(config: DiffusionConfig) -> Schedule:
    """The noise schedule."""
    return SCHEDULES[config.schedule](T=config.T)


def build_optimizer(config: DiffusionConfig) -> optax.GradientTransformation:
    """Adam or the author's LAMB; a short warm-up, then a cosine to 0."""
    warmup = max(1, min(200, config.num_steps // 10))
    rate = optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, warmup, max(config.num_steps, warmup + 1)
    )
    if config.optimizer == "lamb":
        return optim.lamb_layerwise(rate)
    return optax.adam(rate)


def network(config: DiffusionConfig, model: models.Model) -> Callable[..., jax.Array]:
    """``model.apply`` computed in ``--compute_dtype``, in that of x outside of it."""

    def predict(params: Any, x: jax.Array, *inputs: Any, key: Any = None) -> jax.Array:
        inside = x if config.compute_dtype == "float32" else x.astype(jnp.bfloat16)
        return model.apply(params, inside, *inputs, key=key).astype(x.dtype)

    return predict


def eps_function(
    config: DiffusionConfig,
    model: models.Model,
    schedule: Schedule,
    params: Any,
) -> Callable[..., jax.Array]:
    """``eps(x, t)`` or, for a conditional model, ``eps(x, t, labels)``."""

    predict = network(config, model)

    def eps(x: jax.Array, t: jax.Array, *labels: jax.Array) -> jax.Array:
        out = predict(params, x, t, *labels)
        return diffusion.predict_eps(schedule, x, t, out, param=config.param)

    return eps
