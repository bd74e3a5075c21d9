"""A small causal model of bytes, trained with every arm, read product by product."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments._harness.data_text import VOCABULARY, TextData
from experiments._harness.workdir import Run
from experiments._language.judgment import Judge, Scores
from experiments._language.losses import next_byte
from experiments._language.settings import LanguageConfig, sizes
from experiments._language.training import Trainer
from experiments._mitchell.arms import EXACT, Arm
from experiments._mitchell.images import fit, slope
from kexue_jax import models

IN_LAYER = ("query", "key", "value", "mix", "wide", "narrow")


def build(
    config: LanguageConfig,
    arm: Arm,
    *,
    attention: Arm | None = None,
    dot_general: Callable[..., jax.Array] | None = None,
) -> models.Model:
    """The model whose products are those of ``arm``, in attention of ``attention``."""
    return models.transformer(
        vocabulary=VOCABULARY,
        attend=(attention or arm).attend,
        length=config.length,
        dot_general=dot_general or arm.dot_general,
        **sizes(config),
    )


def train(
    config: LanguageConfig, run: Run, text: TextData, arm: Arm, seeds: list[int]
) -> list[Any]:
    """The parameters of each seed."""
    model = build(config, arm)
    trainer = Trainer(config, run, text.rows(config.length + 1), next_byte(model))
    return [trainer(model.init, seed) for seed in seeds]


def scores(
    config: LanguageConfig, model: models.Model, several: list[Any], text: TextData
) -> list[Scores]:
    """On held-out bytes, one a set of parameters."""
    judge = Judge(model)
    rows = text.test_rows(config.length + 1, config.tested)
    return [judge(params, rows) for params in several]


def product_names(config: LanguageConfig) -> list[str]:
    """The products of weights, in the order in which the model makes them."""
    inside = [f"{name} {n + 1}" for n in range(config.layers) for name in IN_LAYER]
    return [*inside, "out"]


def shrink(
    config: LanguageConfig, params: Any, tokens: np.ndarray, arm: Arm
) -> np.ndarray:
    """[products, 3], as ``images.shrink``."""
    dims = (((2,), (0,)), ((), ()))

    @jax.jit
    def measured(params: Any, tokens: jax.Array) -> jax.Array:
        exact, own = (_products(config, params, tokens, a) for a in (EXACT, arm))
        rows = []
        for (x, kernel), (entered, _) in zip(exact, own, strict=True):
            wanted, found = (a.dot_general(x, kernel, dims) for a in (EXACT, arm))
            rows.append(jnp.stack([*fit(wanted, found), slope(x, entered)]))
        return jnp.stack(rows)

    return np.asarray(measured(params, tokens), np.float64)


def _products(
    config: LanguageConfig, params: Any, tokens: jax.Array, arm: Arm
) -> list[tuple[jax.Array, jax.Array]]:
    """What enters each product and its weights, as the model is traced."""
    seen = []

    def dot_general(x: jax.Array, kernel: jax.Array, numbers: Any) -> jax.Array:
        seen.append((x, kernel))
        return arm.dot_general(x, kernel, numbers)

    model = build(config, arm, dot_general=dot_general)
    seen.clear()
    model.apply(params, tokens)
    return seen
