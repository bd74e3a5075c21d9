"""What is trained and how it is judged: letters of answers, by task and length."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments._generalization.examples import Task
from experiments._generalization.rules import drawn_positions
from experiments._harness.devices import by_rows
from experiments._language.losses import Loss, cross_entropy
from kexue_jax.models import Model

AT_ONCE = 32  # rows that are judged together


def parted(rows: Any) -> tuple[Any, Any]:
    """The tokens of rows, and the answers plus 1, 0 where none is wanted."""
    width = rows.shape[-1] // 2
    return rows[..., :width], rows[..., width:]


def answer_loss(task: Task, model: Model, longest: int) -> Loss:
    """The mean cross entropy of all answers of a batch; positions drawn by the rule."""

    def loss(given: Any, rows: jax.Array, key: jax.Array, step: jax.Array) -> jax.Array:
        tokens, answers = parted(rows)
        sizes = jnp.sum(tokens != task.pad, -1)
        turns = drawn_positions(given["rule"], key, sizes, tokens.shape[-1], longest)
        found = cross_entropy(model.apply(given, tokens, turns), answers - 1)
        return jnp.sum(jnp.where(answers > 0, found, 0)) / jnp.sum(answers > 0)

    return loss


class Judge:
    """``judge(params, rule, turns, rows)``: the share of right answers, one length."""

    def __init__(self, model: Model) -> None:
        def right(given: Any, rows: jax.Array) -> tuple[jax.Array]:
            tokens, answers = parted(rows.astype(jnp.int32))
            logits = model.apply(given["model"], tokens, given["turns"])
            return (jnp.argmax(logits, -1) == answers - 1,)

        self._right = jax.jit(right)

    def __call__(self, params: Any, rule: Any, turns: Any, rows: np.ndarray) -> float:
        given = {"model": {"params": params, "rule": rule}, "turns": turns}
        (right,) = by_rows(self._right, given, (rows,), at_once=AT_ONCE)
        asked = parted(rows)[1] > 0
        return float(right[asked].mean())
