"""The recurrent cells as layers: beside Flax's own, and in ``nnx.RNN``."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from kexue_jax.models import RecurrentCell, functional
from kexue_jax.theory import CellState, gru_cell, lstm_cell, simple_rnn_cell
from tests.theory.test_rnn_cells import CELLS, TWO_PARTS, drawn


def split(block, count):
    return np.split(np.asarray(block, np.float64), count, -1)


def test_cells_are_those_of_flax_under_its_names() -> None:
    """Flax's LSTM has the order i, f, c, o; its GRU keeps with z and resets after."""
    rng = np.random.default_rng(0)
    h, c = jnp.asarray(rng.normal(size=(2, 4, 3)))
    x, rngs = jnp.asarray(rng.normal(size=(4, 2))), nnx.Rngs(0)
    options = {"dtype": jnp.float64, "param_dtype": jnp.float64, "rngs": rngs}

    cell = nnx.OptimizedLSTMCell(2, 3, **options)
    w, u, b = (
        split(leaf[...], 4)
        for leaf in (cell.dense_i.kernel, cell.dense_h.kernel, cell.dense_h.bias)
    )
    order = [1, 0, 3, 2]
    params = {
        name: jnp.concatenate([parts[i] for i in order], -1)
        for name, parts in zip("wub", (w, u, b), strict=True)
    }
    mine = lstm_cell(params, CellState(c, h), x).out
    assert np.abs(mine - cell((c, h), x)[1]).max() < 1e-14

    cell = nnx.GRUCell(2, 3, **options)
    w, u, b = (
        split(leaf[...], 3)
        for leaf in (cell.dense_i.kernel, cell.dense_h.kernel, cell.dense_i.bias)
    )
    params = {
        name: jnp.concatenate([-parts[1], parts[0], parts[2]], -1)
        for name, parts in zip("wub", (w, u, b), strict=True)
    }
    params["v"] = jnp.zeros(3)
    wanted = cell(h, x)[1]
    assert np.abs(gru_cell(params, h, x, reset="after").out - wanted).max() < 1e-14
    del params["v"]
    assert np.abs(gru_cell(params, h, x).out - wanted).max() > 1e-3

    cell = nnx.SimpleCell(2, 3, **options)
    params = {
        "w": cell.dense_i.kernel[...],
        "u": cell.dense_h.kernel[...],
        "b": cell.dense_i.bias[...],
    }
    assert np.abs(simple_rnn_cell(params, h, x).out - cell(h, x)[1]).max() < 1e-14


@pytest.mark.parametrize("kind", ["lstm", "merged_gate_gru"])
def test_layer_runs_in_nnx_rnn_and_is_the_cell(kind) -> None:
    cell = RecurrentCell(2, 3, kind=kind, keep_bias=2.0, rngs=nnx.Rngs(0))
    carry = cell.initialize_carry((4, 2))
    x = jnp.ones((4, 5, 2), jnp.float32)
    outs = nnx.RNN(cell, rngs=False)(x)
    assert outs.shape == (4, 5, 3)
    params = {name: leaf[...] for name, leaf in cell.weights.items()}
    for t in range(5):
        carry, out = CELLS[kind](params, carry, x[:, t])
        assert np.abs(out - outs[:, t]).max() < 1e-6
    assert isinstance(carry, CellState) == (kind in TWO_PARTS)


def test_layer_is_functional() -> None:
    model = functional(lambda rngs: RecurrentCell(2, 3, kind="gru", rngs=rngs))
    params = model.init(jax.random.key(0))["weights"]
    assert {n: leaf.shape for n, leaf in params.items()} == {
        n: leaf.shape for n, leaf in drawn("gru", 2, 3).items()
    }


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"kind": "mgu"}, "kind"),
        ({"kind": "gru", "keep_bias": "1"}, "keep_bias"),
        ({"kind": "gru", "in_features": 0}, "in_features"),
        ({"kind": "gru", "hidden_features": 1.0}, "hidden_features"),
        ({"kind": "gru", "param_dtype": "int8"}, "param_dtype"),
        ({"kind": "gru", "recurrent_init": 3}, "recurrent_init"),
    ],
)
def test_bad_layers_are_refused(options, name) -> None:
    sizes = {"in_features": 2, "hidden_features": 3, **options}
    with pytest.raises((ValueError, TypeError), match=f"RecurrentCell: `{name}`"):
        RecurrentCell(**sizes, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("kind", ["gru", "lstm", "reset_last"])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float64])
def test_dtypes_and_starts_of_a_cell(kind, dtype) -> None:
    zeros = jax.nn.initializers.zeros
    cell = RecurrentCell(
        2, 3, kind=kind, recurrent_init=zeros, param_dtype=dtype, rngs=nnx.Rngs(0)
    )
    kept = nnx.state(cell)["weights"]
    assert all(leaf.dtype == dtype for leaf in jax.tree.leaves(kept))
    assert (kept["u"][...] == 0).all() and (kept["w"][...] != 0).any()
    carry = cell.initialize_carry((4, 2))
    wide = jnp.float64 if dtype == jnp.float64 else jnp.float32
    assert all(leaf.dtype == wide for leaf in jax.tree.leaves(carry))
    out = nnx.RNN(cell, rngs=False)(jnp.ones((4, 5, 2), dtype))
    assert out.shape == (4, 5, 3) and out.dtype == dtype
