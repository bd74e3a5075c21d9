"""Training a diffusion model: state, step, and the call of the loop."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments._diffusion import settings
from experiments._diffusion.settings import DiffusionConfig
from experiments._harness import loop
from experiments._harness.data import Batches, ImageData
from experiments._harness.devices import data_mesh, jit_step, replicate
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
        labels = ()
        if config.conditional:
            labels = (
                diffusion.drop_labels(
                    mask, batch["label"], rate=config.label_drop, null=null_label
                ),
            )
        dropout = drop if config.dropout else None

        def loss(params: Any) -> jax.Array:
            result = diffusion.ddpm_loss(
                draw,
                lambda x, t: model.apply(params, x, t, *labels, key=dropout),
                schedule,
                batch["image"],
                param=config.param,
                weight=config.weight,
                reduction=config.reduction,
            )
            return result.loss

        value, gradient = jax.value_and_grad(loss)(state["params"])
        updates, optimizer_state = optimizer.update(
            gradient, state["optimizer"], state["params"]
        )
        params = jax.tree.map(lambda p, u: p + u, state["params"], updates)
        average = averaging.update(optim.Average(**state["average"]), params)
        pixels = np.prod(batch["image"].shape[1:]) if config.reduction == "sum" else 1
        return {
            "params": params,
            "average": average._asdict(),
            "optimizer": optimizer_state,
            "key": key,
        }, {"loss": value / pixels}

    return init, step


def train(
    config: DiffusionConfig, run: Run, images: ImageData, seed: int, part: str = ""
) -> Trained:
    """The model of ``seed``, trained or restored; ``part`` names its files."""
    model = settings.build_model(config, images)
    schedule = settings.build_schedule(config)
    init, step = make_step(config, model, schedule, images.num_classes)
    mesh = data_mesh(config.batch_size)
    state = replicate(mesh, jax.jit(init)(jax.random.key(seed)))
    state = loop.run(
        jit_step(step, state),
        state,
        Batches(images.train(), config.batch_size, seed),
        num_steps=config.num_steps,
        checkpointer=run.checkpointer(part),
        metrics=run.metrics(part),
        mesh=mesh,
        log_every=max(1, min(50, config.num_steps // 20)),
    )
    average = optim.Average(**state["average"])
    params = optim.ema(config.ema).read(average, state["params"])
    return Trained(model, schedule, params)


def restore(
    config: DiffusionConfig, run: Run, images: ImageData, part: str = ""
) -> Trained | None:
    """The model that the newest checkpoint of ``run`` holds; None without one."""
    model = settings.build_model(config, images)
    schedule = settings.build_schedule(config)
    init, _ = make_step(config, model, schedule, images.num_classes)
    mesh = data_mesh(config.batch_size)
    state = replicate(mesh, jax.jit(init)(jax.random.key(0)))
    saved = run.checkpointer(part).restore(state)
    if saved is None:
        return None
    average = optim.Average(**saved.state["average"])
    params = optim.ema(config.ema).read(average, saved.state["params"])
    return Trained(model, schedule, params)
