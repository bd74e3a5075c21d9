"""Recurrent cells as pure functions, the article's variants of the GRU among them.

Each is (params, state, x) -> (state, out). Beside it ``scan_rnn`` runs any of them over
a sequence, with the projections of all inputs in one matrix product where that is
faster.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.theory import _rnn
from kexue_jax.theory._rnn import GATES, KINDS, CellState, Params

ACTIVATIONS = ("tanh", "relu")
RESETS = ("before", "after")

# On a CPU a loop that projects its own inputs is 1.5 to 3 times as fast (an LSTM of 128
# units, 16 rows; 64, 128) as one that reads them projected. With few rows or wide cells
# it waits for w: 1 row of 128 units, or 16 of 512, take 1.2 to 3 times as long.
WEIGHTS_A_ROW = 2**14


class RnnStep(NamedTuple):
    """A state, and what is shown of it: of one step, or all steps of a sequence.

    Article: kexue.fm/archives/7888.
    """

    state: Any
    out: jax.Array


def simple_rnn_cell(
    params: Params, state: jax.Array, x: jax.Array, *, activation: str = "tanh"
) -> RnnStep:
    """The next state of a simple RNN, which is also its output.

    h = tanh(x w + h' u + b), or relu for activation="relu".

    Shapes: w [d_in, d], u [d, d], b [d]; state [..., d], x [..., d_in] -> RnnStep of
    state [..., d] and out [..., d].
    Article: kexue.fm/archives/7888.  Paper: arXiv 1211.5063.
    Differs: no. tanh and relu are those of the article; any other is a cell of one's
    own, which ``scan_rnn`` and ``jacobian_profile`` take as well.
    Cost: O(d (d + d_in)).
    Raises: TypeError or ValueError for a bad argument.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import simple_rnn_cell
        >>> params = {"w": jnp.ones((1, 2)), "u": jnp.eye(2), "b": jnp.zeros(2)}
        >>> print(simple_rnn_cell(params, jnp.zeros(2), jnp.zeros(1)).out)
        [0. 0.]
    """
    checks.choice("simple_rnn_cell", "activation", activation, ACTIVATIONS)
    return _step("simple_rnn_cell", _simple(activation), params, state, x)


def lstm_cell(params: Params, state: CellState, x: jax.Array) -> RnnStep:
    """The next state of an LSTM, and its output h.

    f, i, o = sigmoid(x w + h' u + b) and c^ = tanh(x w + h' u + b), each with its own
    columns; c = f c' + i c^; h = o tanh(c).

    Shapes: w [d_in, 4 d], u [d, 4 d], b [4 d] in the order f, i, o, c^; state a
    CellState of c and h [..., d], x [..., d_in] -> RnnStep of the like and h [..., d].
    Article: kexue.fm/archives/7888.  Paper: Neural Computation 9(8), 1735 (1997).
    Differs: no.
    Cost: O(4 d (d + d_in)).
    Raises: TypeError or ValueError for a bad argument.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import CellState, lstm_cell
        >>> params = {"w": jnp.ones((1, 4)), "u": jnp.ones((1, 4)), "b": jnp.zeros(4)}
        >>> state = CellState(jnp.ones(1), jnp.zeros(1))
        >>> print(lstm_cell(params, state, jnp.zeros(1)).state.c)
        [0.5]
    """
    return _step("lstm_cell", "lstm", params, state, x)


def gru_cell(
    params: Params, state: jax.Array, x: jax.Array, *, reset: str = "before"
) -> RnnStep:
    """The next state of a GRU, which is also its output.

    z, r = sigmoid(x w + h' u + b); h^ = tanh(x w + (r h') u + b) for reset="before",
    tanh(x w + r (h' u + v) + b) for "after"; h = (1 - z) h' + z h^.

    Shapes: w [d_in, 3 d], u [d, 3 d], b [3 d] in the order z, r, h^, and v [d] for
    "after" alone; state [..., d], x [..., d_in] -> RnnStep of state and out [..., d].
    Article: kexue.fm/archives/7888.  Paper: arXiv 1406.1078.
    Differs: "before" is the article's and the paper's; Keras, cuDNN, PyTorch and Flax
    have "after". PyTorch and Flax keep with z, where this keeps with 1 - z.
    Cost: O(3 d (d + d_in)).
    Raises: TypeError or ValueError for a bad argument.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import gru_cell
        >>> params = {"w": jnp.ones((1, 3)), "u": jnp.zeros((1, 3)), "b": jnp.zeros(3)}
        >>> print(gru_cell(params, jnp.ones(1), jnp.zeros(1)).out)
        [0.5]
    """
    checks.choice("gru_cell", "reset", reset, RESETS)
    return _step("gru_cell", _gru(reset), params, state, x)


def merged_gate_gru_cell(params: Params, state: jax.Array, x: jax.Array) -> RnnStep:
    """The next state of the article's GRU with one gate, which is also its output.

    r = sigmoid(x w + h' u + b); h = (1 - r) h' + r tanh(x w + (r h') u + b).

    Shapes: w [d_in, 2 d], u [d, 2 d], b [2 d] in the order r, h^; state [..., d], x
    [..., d_in] -> RnnStep of state and out [..., d].
    Article: kexue.fm/archives/7888.  Paper: arXiv 1603.09420 is a relative.
    Differs: no. In the paper's MGU (and Flax's) the gate that resets keeps: (1 - f) h^
    + f h'. Here it writes.
    Cost: O(2 d (d + d_in)).
    Raises: TypeError or ValueError for a bad argument.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import merged_gate_gru_cell
        >>> params = {"w": jnp.ones((1, 2)), "u": jnp.zeros((1, 2)), "b": jnp.zeros(2)}
        >>> print(merged_gate_gru_cell(params, jnp.ones(1), jnp.zeros(1)).out)
        [0.5]
    """
    return _step("merged_gate_gru_cell", "merged_gate_gru", params, state, x)


def reset_last_cell(params: Params, state: CellState, x: jax.Array) -> RnnStep:
    """The next state of the article's own cell, and its output h.

    z, r = sigmoid(x w + h' u + b) and c^ = tanh(x w + h' u + b); c = (1 - z) c' + z c^;
    h = r c.

    Shapes: w [d_in, 3 d], u [d, 3 d], b [3 d] in the order z, r, c^; state a CellState
    of c and h [..., d], x [..., d_in] -> RnnStep of the like and h [..., d].
    Article: kexue.fm/archives/7888.  Paper: none.
    Differs: no.
    Cost: O(3 d (d + d_in)).
    Raises: TypeError or ValueError for a bad argument.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import CellState, reset_last_cell
        >>> params = {"w": jnp.ones((1, 3)), "u": jnp.zeros((1, 3)), "b": jnp.zeros(3)}
        >>> state = CellState(jnp.ones(1), jnp.zeros(1))
        >>> print(reset_last_cell(params, state, jnp.zeros(1)).out)
        [0.25]
    """
    return _step("reset_last_cell", "reset_last", params, state, x)


def init_rnn(
    key: jax.Array,
    *,
    kind: str,
    inputs: int,
    hidden: int,
    keep_bias: float | jax.Array = 1.0,
    recurrent_init: Callable[..., jax.Array] | None = None,
    dtype: Any = jnp.float32,
) -> Params:
    """Parameters of a cell: Glorot inputs, orthogonal recurrence, a bias to keep.

    Block by block, w = glorot_uniform(key_w) and u = recurrent_init(key_u) of the two
    keys ``jax.random.split(split(key, g)[n])``, n the number of the gate; b = 0 but for
    the gate that forgets: ``keep_bias`` for the f of "lstm", -keep_bias for the z of
    "gru", "gru_after" and "reset_last" and the r of "merged_gate_gru", so that the
    state is kept by sigmoid(keep_bias). "simple" and "relu" have no gate.

    Shapes: key [] -> w [d_in, g d], u [d, g d], b [g d], with d_in = inputs, d =
    hidden, as the cell of that kind takes them.
    Article: kexue.fm/archives/7888.  Paper: none.
    Differs: Flax and PyTorch start with a keep_bias of 0, Keras the LSTM with 1.
    Cost: one orthogonal matrix a gate, O(g d^3).
    Raises: TypeError or ValueError for a bad argument.
    Example:
        >>> import jax
        >>> from kexue_jax.theory import init_rnn
        >>> params = init_rnn(jax.random.key(0), kind="lstm", inputs=3, hidden=2)
        >>> print(params["b"], params["w"].shape)
        [1. 1. 0. 0. 0. 0. 0. 0.] (3, 8)
    """
    name = "init_rnn"
    checks.key(name, "key", key)
    checks.choice(name, "kind", kind, KINDS)
    checks.count(name, "inputs", inputs)
    checks.count(name, "hidden", hidden)
    checks.number(name, "keep_bias", keep_bias, traced=True)
    checks.float_dtype(name, "dtype", dtype)
    if recurrent_init is None:
        recurrent_init = jax.nn.initializers.orthogonal()
    checks.function(name, "recurrent_init", recurrent_init)
    made = accumulation_dtype(jnp.zeros((), dtype))
    glorot, drawn = jax.nn.initializers.glorot_uniform(), []
    for part in jax.random.split(key, len(GATES[kind])):
        first, second = jax.random.split(part)
        w = glorot(first, (inputs, hidden), made)
        drawn.append((w, recurrent_init(second, (hidden, hidden), made)))
    w, u = (jnp.concatenate(parts, -1) for parts in zip(*drawn, strict=True))
    signs = {"lstm": 1.0, "simple": 0.0, "relu": 0.0}
    b = jnp.zeros(w.shape[-1], made)
    b = b.at[:hidden].set(jnp.asarray(signs.get(kind, -1.0) * keep_bias, made))
    params = {"w": w, "u": u, "b": b}
    if kind == "gru_after":
        params["v"] = jnp.zeros(hidden, made)
    return jax.tree.map(lambda leaf: leaf.astype(dtype), params)


def scan_rnn(
    cell: Callable[..., Any],
    params: Any,
    state: Any,
    xs: jax.Array,
    mask: jax.Array | None = None,
) -> RnnStep:
    """The last state of a cell over a sequence, and its outputs at every step.

    state, out_t = cell(params, state, xs_t) for t = 0, ..., n-1; where ``mask`` is
    False the state is copied and out_t = 0.

    Shapes: state as the cell has it, [..., d]; xs [..., n, d_in], mask [..., n] ->
    RnnStep of state [..., d] and out [..., n, d].
    Article: kexue.fm/archives/7888.  Paper: none.
    Differs: the cells of this room (also with options bound by functools.partial) keep
    their state in at least float32, and have the projections of all inputs in one
    product outside the loop; on a CPU they are made in the loop, unless w has more than
    2^14 entries a row of the batch. Any other cell, (params, state, x) -> (state, out),
    runs as it is.
    Cost: n steps of the cell in order.
    Raises: TypeError or ValueError for a bad argument.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.theory import gru_cell, init_rnn, scan_rnn
        >>> params = init_rnn(jax.random.key(0), kind="gru", inputs=3, hidden=2)
        >>> scan_rnn(gru_cell, params, jnp.zeros((5, 2)), jnp.ones((5, 7, 3))).out.shape
        (5, 7, 2)
    """
    name = "scan_rnn"
    checks.function(name, "cell", cell)
    checks.array(name, "xs", xs)
    if xs.ndim < 2 or not xs.shape[-2]:
        wanted = "of shape [..., n, d_in] with n > 0"
        raise checks.fail(name, "xs", f"shape {xs.shape}", wanted)
    if mask is not None:
        checks.array(name, "mask", mask, "boolean")
        checks.shapes(name, xs=(xs[..., 0], "... n"), mask=(mask, "... n"))
    kind = _kind_of(cell)
    if kind is None:
        return _scan_any(cell, params, state, xs, mask)
    size = _rnn.check_state(name, kind, state, xs.shape[:-2])
    _rnn.check_params(name, kind, params, (xs.shape[-1], size))
    params, start, high = _rnn.wide(params, state, xs)
    inputs = params, start, jnp.moveaxis(high, -2, 0), mask
    at_once, in_loop = (
        functools.partial(_scan_known, kind, early) for early in (True, False)
    )
    if math.prod(xs.shape[:-2]) * WEIGHTS_A_ROW < params["w"].size:
        last, out = at_once(*inputs)
    else:
        last, out = lax.platform_dependent(*inputs, cpu=in_loop, default=at_once)
    last = jax.tree.map(lambda new, old: new.astype(old.dtype), last, state)
    return RnnStep(last, out.astype(xs.dtype))


def _scan_known(
    kind: str, early: bool, params: Any, state: Any, leading: jax.Array, mask: Any
) -> tuple[Any, jax.Array]:
    """A cell of this room along the first axis, inputs projected early or in turn."""

    def step(carry: Any, x: jax.Array) -> tuple[Any, jax.Array]:
        wx = x if early else _rnn.project(params, x)
        after = _rnn.recur(kind, params, carry, wx)
        return after, _rnn.out_of(after)

    inputs = _rnn.project(params, leading) if early else leading
    return _masked_scan(step, state, inputs, mask)


def _scan_any(
    cell: Callable[..., Any], params: Any, state: Any, xs: jax.Array, mask: Any
) -> RnnStep:
    def step(carry: Any, x: jax.Array) -> tuple[Any, Any]:
        after, out = cell(params, carry, x)
        return after, out

    return RnnStep(*_masked_scan(step, state, jnp.moveaxis(xs, -2, 0), mask))


def _masked_scan(
    step: Callable[..., Any], state: Any, leading: jax.Array, mask: jax.Array | None
) -> tuple[Any, Any]:
    """``step`` along the first axis; the state stands still where the mask is False.

    The outputs have the time last but one.
    """
    kept = None if mask is None else jnp.moveaxis(mask, -1, 0)

    def masked(carry: Any, inputs: Any) -> tuple[Any, Any]:
        x, keep = inputs
        after, out = step(carry, x)
        if keep is not None:
            after = jax.tree.map(lambda new, old: _where(keep, new, old), after, carry)
            out = jax.tree.map(lambda y: _where(keep, y, jnp.zeros_like(y)), out)
        return after, out

    last, out = lax.scan(masked, state, (leading, kept))
    return last, jax.tree.map(lambda y: jnp.moveaxis(y, 0, leading.ndim - 2), out)


def _where(keep: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    return jnp.where(keep.reshape(keep.shape + (1,) * (new.ndim - keep.ndim)), new, old)


def _step(function: str, kind: str, params: Any, state: Any, x: Any) -> RnnStep:
    checks.array(function, "x", x)
    if x.ndim == 0:
        raise checks.fail(function, "x", "shape ()", "of shape [..., d_in]")
    _rnn.check(function, kind, params, state, x)
    params, before, high = _rnn.wide(params, state, x)
    after = _rnn.recur(kind, params, before, _rnn.project(params, high))
    out = _rnn.out_of(after).astype(x.dtype)
    return RnnStep(
        jax.tree.map(lambda new, old: new.astype(old.dtype), after, state), out
    )


def _simple(activation: str = "tanh") -> str:
    return "simple" if activation == "tanh" else "relu"


def _gru(reset: str = "before") -> str:
    return "gru" if reset == "before" else "gru_after"


def _kind_of(cell: Callable[..., Any]) -> str | None:
    """The kind of a cell of this room, also with its options bound; or None."""
    options: dict[str, Any] = {}
    if isinstance(cell, functools.partial) and not cell.args:
        cell, options = cell.func, cell.keywords
    if cell is simple_rnn_cell:
        return _simple(**options)
    if cell is gru_cell:
        return _gru(**options)
    plain = {
        lstm_cell: "lstm",
        merged_gate_gru_cell: "merged_gate_gru",
        reset_last_cell: "reset_last",
    }
    return plain.get(cell)
