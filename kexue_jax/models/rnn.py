"""The recurrent cells of the theory room as layers that ``nnx.RNN`` takes."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.theory import (
    CellState,
    gru_cell,
    init_rnn,
    lstm_cell,
    merged_gate_gru_cell,
    reset_last_cell,
    simple_rnn_cell,
)

CELLS: dict[str, Any] = {
    "simple": simple_rnn_cell,
    "relu": partial(simple_rnn_cell, activation="relu"),
    "lstm": lstm_cell,
    "gru": gru_cell,
    "gru_after": partial(gru_cell, reset="after"),
    "merged_gate_gru": merged_gate_gru_cell,
    "reset_last": reset_last_cell,
}


class RecurrentCell(nnx.RNNCellBase):
    """A cell of ``kexue_jax.theory`` by its kind, for ``nnx.RNN``: the carry first.

    ``nnx.RNN(RecurrentCell(3, 8, kind="gru", rngs=rngs), rngs=False)`` maps [..., n, 3]
    to [..., n, 8]; ``functional`` makes pure functions of it. Kinds: "simple", "relu",
    "lstm", "gru", "gru_after", "merged_gate_gru", "reset_last". Parameters w, u, b (v)
    and their start are those of ``init_rnn`` of ``keep_bias``, ``recurrent_init`` and
    ``param_dtype``; the carry has at least float32.

    Article: kexue.fm/archives/7888. Paper: none.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        kind: str,
        keep_bias: float = 1.0,
        recurrent_init: Any = None,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        name = "RecurrentCell"
        checks.count(name, "in_features", in_features)
        checks.count(name, "hidden_features", hidden_features)
        checks.choice(name, "kind", kind, tuple(CELLS))
        checks.number(name, "keep_bias", keep_bias)
        checks.float_dtype(name, "param_dtype", param_dtype)
        if recurrent_init is not None:
            checks.function(name, "recurrent_init", recurrent_init)
        options: dict[str, Any] = {"inputs": in_features, "hidden": hidden_features}
        options |= {"keep_bias": keep_bias, "recurrent_init": recurrent_init}
        made = init_rnn(rngs.params(), kind=kind, dtype=param_dtype, **options)
        self.weights = nnx.Dict({name: nnx.Param(leaf) for name, leaf in made.items()})
        self.kind, self.hidden_features = kind, hidden_features

    def __call__(self, carry: Any, inputs: jax.Array) -> tuple[Any, jax.Array]:
        params = {name: leaf[...] for name, leaf in self.weights.items()}
        return tuple(CELLS[self.kind](params, carry, inputs))

    def initialize_carry(
        self, input_shape: tuple[int, ...], rngs: Any = None, carry_init: Any = None
    ) -> Any:
        """Zeros of the leading axes of the input."""
        dtype = accumulation_dtype(self.weights["w"][...])
        zeros = jnp.zeros((*input_shape[:-1], self.hidden_features), dtype)
        two = self.kind in ("lstm", "reset_last")
        return CellState(zeros, zeros) if two else zeros

    @property
    def num_feature_axes(self) -> int:
        """One: the last axis of an input."""
        return 1
