"""Training a diffusion model: state, step, and the call of the loop."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments._diffusion import settings
from experiments._diffusion.settings import DiffusionConfig
from experiments._harness import loop
from experiments._harness.data import Batches, ImageData
from experiments._harness.gradients import value_and_grad
from experiments._harness.mesh import gathered, init_state, training_mesh
from experiments._harness.training_config import options
from experiments._harness.workdir import Run
from kexue_jax import diffusion, models, optim


class Trained(NamedTuple):
    """A trained model: the functions, and the averaged parameters that sample best."""

    model: models.Model
    schedule: diffusion.Schedule
    params: Any


def make_step(
    config: DiffusionConfig,
    model: models.Model,
    schedule: diffusion.Schedule,
    null_label: int,
) -> tuple[Callable[[jax.Array], Any], Callable[[Any, Any], tuple[Any, Any]]]:
    """``init(key) -> state`` and ``step(state, batch) -> (state, metrics)``, pure."""
    optimizer, averaging = settings.build_optimizer(config), optim.ema(config.ema)
    network = settings.network(config, model)

    def init(key: jax.Array) -> dict[str, Any]:
        key, weights = jax.random.split(key)
        params = model.init(weights)
        return {
            "params": params,
            "average": averaging.init(params)._asdict(),
            "optimizer": optimizer.init(params),
            "key": key,
        }

    def step(state: Any, batch: Any) -> tuple[Any, Any]:
        key, draw, drop, mask = jax.random.split(state["key"], 4)
        labels = None
        if config.conditional:
            labels = diffusion.drop_labels(
                mask, batch["label"], rate=config.label_drop, null=null_label
            )
        rows = _drawn(draw, schedule, batch["image"], labels)

        def loss(params: Any, part: Any, number: jax.Array) -> jax.Array:
            labels = (part["label"],) if config.conditional else ()
            dropout = jax.random.fold_in(drop, number) if config.dropout else None
            return diffusion.ddpm_loss_at(
                lambda x, t: network(params, x, t, *labels, key=dropout),
                schedule,
                part["image"],
                part["t"],
                part["noise"],
                param=config.param,
                weight=config.weight,
                reduction=config.reduction,
            ).loss

        value, gradient = value_and_grad(
            loss, state["params"], rows, parts=config.accumulate
        )
        updates, optimizer_state = optimizer.update(
            gradient, state["optimizer"], state["params"]
        )
        params = jax.tree.map(lambda p, u: p + u, state["params"], updates)
        average = averaging.update(optim.Average(**state["average"]), params)
        pixels = math.prod(batch["image"].shape[1:]) if config.reduction == "sum" else 1
        return {
            "params": params,
            "average": average._asdict(),
            "optimizer": optimizer_state,
            "key": key,
        }, {"loss": value / pixels, "gradient_norm": optax.tree.norm(gradient)}

    return init, step


def _drawn(key: jax.Array, schedule: Any, images: jax.Array, labels: Any) -> Any:
    """Images with their steps and noise (and labels), so that a batch can be parted."""
    key_t, key_noise = jax.random.split(key)
    # Noise drawn flat takes half the time on a CPU.
    noise = jax.random.normal(key_noise, (images.size,), images.dtype)
    rows = {
        "image": images,
        "t": jax.random.randint(key_t, images.shape[:1], 1, schedule.T + 1, jnp.int32),
        "noise": noise.reshape(images.shape),
    }
    return rows if labels is None else {**rows, "label": labels}


def train(
    config: DiffusionConfig, run: Run, images: ImageData, seed: int, part: str = ""
) -> Trained:
    """The model of ``seed``, trained or restored; ``part`` names its files."""
    model = settings.build_model(config, images)
    schedule = settings.build_schedule(config)
    init, step = make_step(config, model, schedule, images.num_classes)
    mesh = training_mesh(config.mesh, config.batch_size)
    state = loop.run(
        step,
        init_state(mesh, init, seed),
        Batches(images.train(), config.batch_size, seed),
        num_steps=config.num_steps,
        options=options(config, run, log_every=max(1, min(50, config.num_steps // 20))),
        checkpointer=run.checkpointer(part),
        metrics=run.metrics(part),
        mesh=mesh,
    )
    return Trained(model, schedule, _averaged(config, state))


def restore(
    config: DiffusionConfig, run: Run, images: ImageData, part: str = ""
) -> Trained | None:
    """The model that the newest checkpoint of ``run`` holds; None without one."""
    model = settings.build_model(config, images)
    schedule = settings.build_schedule(config)
    init, _ = make_step(config, model, schedule, images.num_classes)
    mesh = training_mesh(config.mesh, config.batch_size)
    saved = run.checkpointer(part).restore(init_state(mesh, init, 0))
    if saved is None:
        return None
    return Trained(model, schedule, _averaged(config, saved.state))


def _averaged(config: DiffusionConfig, state: Any) -> Any:
    """The averaged parameters, whole on every process."""
    state = gathered({name: state[name] for name in ("average", "params")})
    average = optim.Average(**state["average"])
    return optim.ema(config.ema).read(average, state["params"])
