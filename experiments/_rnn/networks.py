"""Recurrent networks of one cell, all models of a kind trained as one program."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from kexue_jax.theory import (
    CellState,
    gru_cell,
    init_rnn,
    jacobian_profile,
    lstm_cell,
    merged_gate_gru_cell,
    reset_last_cell,
    scan_rnn,
    simple_rnn_cell,
)
from kexue_jax.training import stack_params

CELLS: dict[str, Any] = {
    "rnn": ("simple", simple_rnn_cell),
    "relu": ("relu", partial(simple_rnn_cell, activation="relu")),
    "lstm": ("lstm", lstm_cell),
    "gru": ("gru", gru_cell),
    "merged": ("merged_gate_gru", merged_gate_gru_cell),
    "reset_last": ("reset_last", reset_last_cell),
}
UNGATED = ("rnn", "relu")
TWO_PARTS = ("lstm", "reset_last")


class Model(NamedTuple):
    """One training: its cell, the bias of its gate that keeps, its seed."""

    cell: str
    bias: float
    seed: int


class Task(NamedTuple):
    """Rows of tokens to learn.

    ``train`` [rows, n + 1] and ``test`` likewise; "label" is judged on the last token
    after the others, "next" on each after those before it, the state handed on.
    ``held`` are rows that no training sees, by which a bias is chosen.
    """

    name: str
    kind: str
    train: np.ndarray
    held: np.ndarray
    test: np.ndarray
    inputs: int
    outputs: int


def zeros(cell: str, rows: int, width: int) -> Any:
    """The first state."""
    zero = jnp.zeros((rows, width), jnp.float32)
    return CellState(zero, zero) if cell in TWO_PARTS else zero


def drawn(key: jax.Array, model: Model, width: int) -> Any:
    """Parameters of a model's cell."""
    sizes = {"inputs": width, "hidden": width}
    kind = CELLS[model.cell][0]
    return init_rnn(key, kind=kind, keep_bias=model.bias, **sizes)


def start(model: Model, task: Task, width: int) -> Any:
    """Parameters: tokens as rows, the cell, a linear read-out.

    Not for jit: the programs of single operations serve all cells, while one of all
    draws takes a cell ten seconds to compile.
    """
    first, second, third = jax.random.split(jax.random.key(model.seed), 3)
    return {
        "word": jax.random.normal(first, (task.inputs, width), jnp.float32),
        "cell": drawn(second, model, width),
        "out": jax.random.normal(third, (width, task.outputs), jnp.float32)
        / width**0.5,
        "bias": jnp.zeros(task.outputs, jnp.float32),
    }


def logits(params: Any, cell: str, state: Any, tokens: jax.Array, kind: str) -> Any:
    """The last state, and logits of the last step or of all."""
    xs = params["word"][tokens]
    state, out = scan_rnn(CELLS[cell][1], params["cell"], state, xs)
    out = out[:, -1:] if kind == "label" else out
    bias = params["bias"].reshape(1, 1, -1)
    return state, out @ params["out"] + bias


def loss(params: Any, cell: str, state: Any, rows: jax.Array, kind: str) -> Any:
    """Mean cross entropy, and the last state."""
    state, found = logits(params, cell, state, rows[:, :-1], kind)
    wanted = rows[:, -1:] if kind == "label" else rows[:, 1:]
    entropy = optax.softmax_cross_entropy_with_integer_labels(found, wanted)
    return entropy.mean(), state


def train(
    task: Task, models: list[Model], width: int, steps: int, batch: int, rate: float
) -> tuple[Any, np.ndarray]:
    """Parameters of all models (leading axis) and their losses [models, steps]."""
    cell = models[0].cell
    rule = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    orders = np.stack([_order(task, m.seed, steps, batch) for m in models])
    starts = stack_params([start(model, task, width) for model in models])
    data = jnp.asarray(task.train)

    def one(params: Any, order: jax.Array) -> Any:

        def step(carry: Any, ids: jax.Array) -> Any:
            params, moments, state = carry
            grad = jax.value_and_grad(loss, has_aux=True)
            (value, after), slope = grad(params, cell, state, data[ids], task.kind)
            updates, moments = rule.update(slope, moments, params)
            params = optax.apply_updates(params, updates)
            kept = after if task.kind == "next" else state
            return (params, moments, jax.lax.stop_gradient(kept)), value

        first = params, rule.init(params), zeros(cell, batch, width)
        (params, _, _), losses = jax.lax.scan(step, first, order)
        return params, losses

    params, losses = jax.jit(jax.vmap(one))(starts, jnp.asarray(orders))
    return params, np.asarray(losses)


def _order(task: Task, seed: int, steps: int, batch: int) -> np.ndarray:
    """Rows of each step [steps, batch]: drawn, or in streams that go on."""
    rng = np.random.default_rng(seed)
    if task.kind == "label":
        return rng.integers(0, len(task.train), (steps, batch))
    begin = rng.integers(0, len(task.train), batch)
    return (begin[None] + np.arange(steps)[:, None]) % len(task.train)


def profile_of(cell: str, params: Any, state: Any, xs: jax.Array) -> jax.Array:
    """The mean over rows of log(|M_k| / sqrt(N)) by probes."""
    probe: dict[str, Any] = {"method": "probe", "num_probes": 8}
    found = jacobian_profile(
        CELLS[cell][1], params, state, xs, key=jax.random.key(0), **probe
    )
    return found.frobenius.mean(0)


def exact_profile(
    cell: str, params: Any, state: Any, xs: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The means over rows of log(|M_k| / sqrt(N)) and of log of the spectral norm."""
    found = jacobian_profile(CELLS[cell][1], params, state, xs, method="exact")
    return found.frobenius.mean(0), found.spectral.mean(0)
