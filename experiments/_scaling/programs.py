"""The two steps of the plan: the DDPM paper's U-Net, and a BERT encoder."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments._diffusion import settings, training
from experiments._diffusion.settings import DiffusionConfig
from experiments._harness.gradients import value_and_grad
from experiments._scaling import encoder
from experiments._scaling.compiled import Program
from experiments._scaling.encoder import Sizes
from kexue_jax import models

SIDE, CLASSES = 32, 10


def unet(width: int, multipliers: str, blocks: int, batch_size: int) -> Program:
    """The step of experiments.ddpm on CIFAR-10 with the paper's network, bfloat16."""
    config = DiffusionConfig(
        dataset="cifar10",
        network="paper",
        width=width,
        multipliers=multipliers,
        blocks=blocks,
        dropout=0.1,
        schedule="linear",
        T=1000,
        learning_rate=2e-4,
        num_steps=800_000,
        ema=0.9999,
        batch_size=batch_size,
        compute_dtype="bfloat16",
    )
    stages = tuple(map(int, multipliers.split(",")))
    network = models.unet_paper(
        channels=3,
        width=width,
        multipliers=stages,
        blocks=blocks,
        middle_blocks=2,
        attention_stages=(1,) if len(stages) > 1 else (),
        middle_attention=True,
        downsample="conv",
        upsample="conv",
        bias=True,
        dropout_rate=config.dropout,
    )
    schedule = settings.build_schedule(config)
    init, step = training.make_step(config, network, schedule, CLASSES)
    image = jax.ShapeDtypeStruct((SIDE, SIDE, 3), jnp.float32)
    return Program("DDPM U-Net", init, step, {"image": image}, batch_size)


def bert(sizes: Sizes, batch_size: int) -> Program:
    """A step of AdamW on the masked-word loss."""
    optimizer = optax.adamw(1e-4, weight_decay=0.01)

    def init(key: jax.Array) -> dict[str, Any]:
        params = encoder.init(key, sizes)
        return {"params": params, "optimizer": optimizer.init(params)}

    def step(state: Any, batch: Any) -> tuple[Any, Any]:
        def loss(params: Any, rows: Any, number: jax.Array) -> jax.Array:
            return encoder.loss(params, rows, sizes)

        value, gradient = value_and_grad(loss, state["params"], batch)
        updates, moments = optimizer.update(
            gradient, state["optimizer"], state["params"]
        )
        params = optax.apply_updates(state["params"], updates)
        norm = optax.tree.norm(gradient)
        metrics = {"loss": value, "gradient_norm": norm}
        return {"params": params, "optimizer": moments}, metrics

    row = {
        "words": jax.ShapeDtypeStruct((sizes.length,), jnp.int32),
        "places": jax.ShapeDtypeStruct((sizes.predicted,), jnp.int32),
        "targets": jax.ShapeDtypeStruct((sizes.predicted,), jnp.int32),
    }
    return Program("BERT encoder", init, step, row, batch_size)
