"""The compiled programs of a small classifier: start, one training step, answers."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from experiments._harness.guard import Guarded
from kexue_jax import models


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The network and the training of a classifier; two alike share their programs."""

    num_classes: int
    channels: int
    width: int
    multipliers: tuple[int, ...]
    feature_width: int
    num_steps: int
    batch_size: int
    learning_rate: float


@functools.lru_cache(maxsize=8)
def programs(recipe: Recipe, mesh: Mesh) -> tuple[Callable[..., Any], ...]:
    """``init(key) -> state``, the Guarded step and ``apply``, compiled."""
    model = models.image_classifier(
        num_classes=recipe.num_classes,
        channels=recipe.channels,
        width=recipe.width,
        multipliers=recipe.multipliers,
        feature_width=recipe.feature_width,
    )
    rate = optax.cosine_onecycle_schedule(
        recipe.num_steps, recipe.learning_rate, pct_start=0.2
    )
    optimizer = optax.adamw(rate, weight_decay=1e-4)
    everywhere = NamedSharding(mesh, PartitionSpec())

    def init(key: jax.Array) -> dict[str, Any]:
        params = model.init(key)
        return {"params": params, "optimizer": optimizer.init(params)}

    def step(state: Any, batch: Any) -> tuple[Any, dict[str, jax.Array]]:
        def loss(params: Any) -> jax.Array:
            logits = model.apply(params, batch["image"]).logits
            losses = optax.softmax_cross_entropy_with_integer_labels(
                logits, batch["label"]
            )
            return jnp.mean(losses)

        value, gradient = jax.value_and_grad(loss)(state["params"])
        updates, optimizer_state = optimizer.update(
            gradient, state["optimizer"], state["params"]
        )
        params = optax.apply_updates(state["params"], updates)
        return {"params": params, "optimizer": optimizer_state}, {"loss": value}

    def apply(params: Any, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        output = model.apply(params, images)
        return jax.nn.softmax(output.logits), output.features

    start = jax.jit(init, out_shardings=everywhere)
    shapes = jax.eval_shape(init, jax.eval_shape(jax.random.key, 0))
    placed = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=everywhere),
        shapes,
    )
    return start, Guarded(step, placed), jax.jit(apply)
