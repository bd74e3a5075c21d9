"""What models are: scores, profiles and gates, before and after training."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._rnn.addends import gates
from experiments._rnn.networks import (
    CELLS,
    Model,
    Task,
    logits,
    loss,
    profile_of,
    zeros,
)
from kexue_jax.theory import init_rnn


class Outcome(NamedTuple):
    """What a training has come to, one entry a model.

    ``score`` is accuracy or loss; ``profile`` [models, n] the logarithms of norms on
    test rows; the others are those of ``addends.gates``; ``losses`` [models, steps].
    """

    score: np.ndarray
    profile: np.ndarray
    keep: np.ndarray
    log_keep: np.ndarray
    product: np.ndarray
    alone: np.ndarray
    terms: np.ndarray
    losses: np.ndarray


class Start(NamedTuple):
    """Profiles [models, n] before training, and ``addends.gates`` of them."""

    profile: Any
    product: Any
    alone: Any
    terms: Any


def judge_models(
    task: Task, cell: str, params: Any, losses: np.ndarray, width: int
) -> Outcome:
    """Score, profile and gates of trained models on the test rows."""
    rows = jnp.asarray(task.test)

    def one(params: Any) -> dict[str, jax.Array]:
        state = zeros(cell, len(rows), width)
        if task.kind == "label":
            _, found = logits(params, cell, state, rows[:, :-1], task.kind)
            score = (found[:, -1].argmax(-1) == rows[:, -1]).mean()
        else:
            score = loss(params, cell, state, rows, task.kind)[0]
        few = params["word"][rows[:8, :-1]]
        first = zeros(cell, len(few), width)
        profile = profile_of(cell, params["cell"], first, few)
        found = gates(cell, params["cell"], few)
        return {"score": score, "profile": profile, **found}

    found = jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(params))
    return Outcome(**found, losses=losses)


def profiles_at_start(
    models: list[Model], width: int, length: int, scale: float = 1.0
) -> Start:
    """The Start of models on unit normal inputs."""
    cell = models[0].cell
    keys = jax.vmap(jax.random.key)(jnp.asarray([m.seed for m in models]))
    biases = jnp.asarray([m.bias for m in models], jnp.float32)

    def one(given: Any) -> Start:
        key, bias = given
        first, second = jax.random.split(key)
        sizes = {"inputs": width, "hidden": width}
        params = init_rnn(first, kind=CELLS[cell][0], keep_bias=bias, **sizes)
        params["u"] = scale * params["u"]
        xs = jax.random.normal(second, (2, length, width), jnp.float32)
        profile = profile_of(cell, params, zeros(cell, 2, width), xs)
        found = gates(cell, params, xs)
        return Start(profile, found["product"], found["alone"], found["terms"])

    found = jax.jit(lambda given: jax.lax.map(one, given))((keys, biases))
    return jax.tree.map(np.asarray, found)
