"""The steps of every experiment that trains, on tiny networks, in any float dtype."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import ddpm, ddpm_loss_scale, ddpm_variance
from experiments._comparison.training import Trainer
from experiments._diffusion import settings, training
from experiments._harness.data_types import ImageData
from experiments._harness.workdir import Run
from experiments._language.losses import MASKED_VOCABULARY, masked_bytes, next_byte
from experiments._language.settings import LanguageConfig
from experiments._language.training import Trainer as LanguageTrainer
from kexue_jax import models

BATCH, STEPS, CLASSES = 16, 20, 3


class Case(NamedTuple):
    """``init(key) -> state``, ``step(state, batch)`` and the arrays of the batches."""

    init: Callable[[jax.Array], Any]
    step: Callable[[Any, Any], tuple[Any, Any]]
    data: dict[str, np.ndarray]


def images() -> ImageData:
    """Random images of a digit's size, with labels."""
    generator = np.random.default_rng(0)
    pixels = generator.uniform(-1, 1, (56, 8, 8, 1)).astype(np.float32)
    labels = generator.integers(0, CLASSES, 56).astype(np.int32)
    labels[:CLASSES] = range(CLASSES)
    return ImageData(pixels[:40], labels[:40], pixels[40:], None, 17, "toy", "toy")


DDPM: dict[str, dict[str, Any]] = {
    "plain": {},
    "stages": {"multipliers": "1,2"},
    "conditional": {"conditional": True, "label_drop": 0.3},
    "paper": {
        "multipliers": "1,2",
        "network": "paper",
        "dropout": 0.2,
        "attention": True,
    },
    "accumulate": {"accumulate": 2},
    "recompute": {"recompute": "blocks"},
}


def ddpm_config(**values: Any) -> ddpm.Config:
    """A config of ddpm with a network of the size of the tests.

    Not of width 8: its norms would have one channel a group, and a shift before such a
    norm has a gradient that is rounding alone, of which Adam makes a whole step.
    """
    common = {"width": 12, "multipliers": "2", "T": 40}
    common |= {"batch_size": BATCH, "num_steps": STEPS}
    return ddpm.Config(**{**common, "reduction": "mean", **values})


def ddpm_case(dtype: Any, **values: Any) -> Case:
    """The step of ddpm with these flags."""
    config, data = ddpm_config(**values), images()
    model = settings.build_model(config, data)
    schedule = settings.SCHEDULES[config.schedule](T=config.T, dtype=dtype)
    init, step = training.make_step(config, model, schedule, data.num_classes)
    return Case(lambda key: cast(init(key), dtype), step, cast(data.train(), dtype))


def comparison_case(config: Any, loss: Any, dtype: Any, **numbers: float) -> Case:
    """The step of a Trainer with ``loss``."""
    data, run = images(), Run(Path("unused"), False, time.monotonic())
    _, model = ddpm_network()
    trainer = Trainer(config, run, data, model, loss)
    trainer.schedule = cast(trainer.schedule, dtype)
    state = cast(trainer.init(0, {"adam_eps": 1e-8, **numbers}), dtype)
    return Case(lambda _: state, trainer.step, cast(trainer.data, dtype))


def ddpm_network() -> Any:
    """The plain case's config and network."""
    config = ddpm_config()
    return config, settings.build_model(config, images())


def _variance(dtype: Any) -> Case:
    config = ddpm_variance.Config(T=40, batch_size=BATCH, num_steps=STEPS)
    loss = ddpm_variance.loss_named("four variables", config.param)
    return comparison_case(config, loss, dtype)


def _loss_scale(dtype: Any) -> Case:
    config = ddpm_loss_scale.Config(T=40, batch_size=BATCH, num_steps=STEPS)
    loss = ddpm_loss_scale.loss_in(jnp.dtype(dtype).name)
    return comparison_case(config, loss, dtype, scale=1 / 64)


def causal_attention(q: Any, k: Any, v: Any, layer: int) -> Any:
    """Causal softmax attention, plainly."""
    n = q.shape[-2]
    scores = jnp.einsum("bhid,bhjd->bhij", q, k) / q.shape[-1] ** 0.5
    kept = np.tri(n, dtype=bool).reshape(1, 1, n, n)
    return jax.nn.softmax(jnp.where(kept, scores, -jnp.inf), -1) @ v


def _language(dtype: Any, causal: bool) -> Case:
    config = LanguageConfig(width=24, heads=2, num_steps=STEPS, batch_size=BATCH)
    model = models.transformer(
        vocabulary=MASKED_VOCABULARY,
        attend=causal_attention,
        length=16,
        width=24,
        heads=2,
        layers=2,
    )
    text = np.random.default_rng(0).integers(0, 256, (40, 17)).astype(np.uint8)
    rows = text if causal else text[:, :16]
    loss = (next_byte if causal else masked_bytes)(model)
    run = Run(Path("unused"), False, time.monotonic())
    trainer = LanguageTrainer(config, run, rows, loss)
    params = cast(jax.jit(model.init)(jax.random.key(0)), dtype)
    state = trainer.init(params, 0)
    return Case(lambda _: state, trainer.step, {"text": rows})


def _named() -> Iterator[tuple[str, Callable[[Any], Case]]]:
    for name, values in DDPM.items():
        yield name, lambda dtype, v=values: ddpm_case(dtype, **v)
    yield "variance", _variance
    yield "loss_scale", _loss_scale
    yield "next_byte", lambda dtype: _language(dtype, causal=True)
    yield "masked_bytes", lambda dtype: _language(dtype, causal=False)


CASES = dict(_named())


def cast(tree: Any, dtype: Any) -> Any:
    """``tree`` with its floating arrays in ``dtype``."""

    def one(leaf: Any) -> Any:
        floating = jnp.issubdtype(leaf.dtype, jnp.floating)
        return leaf.astype(dtype) if floating else leaf

    return jax.tree.map(one, tree)


def apart(one: Any, other: Any, *, least: float = 1e-300) -> float:
    """The largest difference of two trees, each leaf relative to its largest entry.

    An entry below ``least`` counts as ``least``.
    """

    def of_leaf(a: Any, b: Any) -> float:
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        return float(
            np.abs(a - b).max(initial=0) / max(np.abs(b).max(initial=0), least)
        )

    return max(jax.tree.leaves(jax.tree.map(of_leaf, one, other)))
