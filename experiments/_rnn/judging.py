"""What models are: scores, profiles and gates, before and after training."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._rnn.addends import gates
from experiments._rnn.networks import (
    Model,
    Task,
    drawn,
    exact_profile,
    logits,
    loss,
    profile_of,
    zeros,
)
from kexue_jax.training import stack_params


class Outcome(NamedTuple):
    """What a training has come to, one entry a model.

    ``score`` is accuracy or loss on test rows, ``held`` on those that choose a bias;
    ``profile`` [models, n] the logarithms of norms on test rows; the others are those
    of ``addends.gates``; ``losses`` [models, steps].
    """

    score: np.ndarray
    held: np.ndarray
    profile: np.ndarray
    keep: np.ndarray
    log_keep: np.ndarray
    product: np.ndarray
    alone: np.ndarray
    terms: np.ndarray
    losses: np.ndarray


class Start(NamedTuple):
    """Profiles [models, n] before training, and ``addends.gates`` of them.

    ``exact`` are the Frobenius and spectral norms of ``exact_profile``, at the width of
    the trained models; none where U is scaled.
    """

    profile: Any
    product: Any
    alone: Any
    terms: Any
    exact: tuple[Any, ...] = ()


def judge_models(
    task: Task, cell: str, params: Any, losses: np.ndarray, width: int
) -> Outcome:
    """Scores of trained models; profile and gates on the test rows."""
    held, test = jnp.asarray(task.held), jnp.asarray(task.test)

    def score(params: Any, rows: jax.Array) -> jax.Array:
        state = zeros(cell, len(rows), width)
        if task.kind == "next":
            return loss(params, cell, state, rows, task.kind)[0]
        _, found = logits(params, cell, state, rows[:, :-1], task.kind)
        return (found[:, -1].argmax(-1) == rows[:, -1]).mean()

    def one(params: Any) -> dict[str, jax.Array]:
        few = params["word"][test[:8, :-1]]
        first = zeros(cell, len(few), width)
        profile = profile_of(cell, params["cell"], first, few)
        found = gates(cell, params["cell"], few)
        scores = {"score": score(params, test), "held": score(params, held)}
        return {**scores, "profile": profile, **found}

    found = jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(params))
    return Outcome(**found, losses=losses)


def profiles_at_start(
    models: list[Model], width: int, length: int, scale: float = 1.0
) -> Start:
    """The Start of models on unit normal inputs, without ``exact``."""
    cell = models[0].cell

    def one(given: Any) -> Start:
        params, xs = given
        profile = profile_of(cell, params, zeros(cell, len(xs), width), xs)
        found = gates(cell, params, xs)
        return Start(profile, found["product"], found["alone"], found["terms"])

    found = jax.jit(lambda given: jax.lax.map(one, given))(
        _begun(models, width, length, scale)
    )
    return jax.tree.map(np.asarray, found)


def exact_at_start(models: list[Model], width: int, length: int) -> tuple[Any, ...]:
    """``exact_profile`` of models on unit normal inputs, each [models, n]."""
    cell = models[0].cell

    def one(given: Any) -> tuple[jax.Array, jax.Array]:
        params, xs = given
        return exact_profile(cell, params, zeros(cell, len(xs), width), xs)

    found = jax.jit(lambda given: jax.lax.map(one, given))(
        _begun(models, width, length)
    )
    return jax.tree.map(np.asarray, found)


def _begun(models: list[Model], width: int, length: int, scale: float = 1.0) -> Any:
    """Parameters of the models' cells, U scaled, and two rows of inputs for each."""
    found = []
    for model in models:
        first, second = jax.random.split(jax.random.key(model.seed))
        params = drawn(first, model, width)
        params["u"] = scale * params["u"]
        rows = jax.random.normal(second, (2, length, width), jnp.float32)
        found.append((params, rows))
    return stack_params(found)
