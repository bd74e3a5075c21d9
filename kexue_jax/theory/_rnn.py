"""The recurrent half of each cell: gates from a projected input and a state.

Parameters are a dict of w [d_in, g d], u [d, g d] and b [g d], whose g blocks of d
columns are the gates in the order of GATES; "gru_after" has a further v [d].
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype

Params = dict[str, Any]

GATES = {
    "simple": ("h",),
    "relu": ("h",),
    "lstm": ("f", "i", "o", "c"),
    "gru": ("z", "r", "h"),
    "gru_after": ("z", "r", "h"),
    "merged_gate_gru": ("r", "h"),
    "reset_last": ("z", "r", "h"),
}
KINDS = tuple(GATES)
TWO_PARTS = ("lstm", "reset_last")


class CellState(NamedTuple):
    """The state of a cell that has two parts: the memory c and what is read of it, h.

    Article: kexue.fm/archives/7888.
    """

    c: Any
    h: Any


def wide(*trees: Any) -> Any:
    """All arrays of all trees in one dtype, at least float32."""
    dtype = accumulation_dtype(*jax.tree.leaves(trees))
    return jax.tree.map(lambda leaf: leaf.astype(dtype), trees)


def project(params: Params, x: jax.Array) -> jax.Array:
    """w^T x + b for all gates."""
    found = x @ params["w"]
    return found + params["b"].reshape((1,) * (found.ndim - 1) + (-1,))


def recur(kind: str, params: Params, state: Any, wx: jax.Array) -> Any:
    """The next state of a kind, from the projected input; all in one dtype."""
    h = state.h if kind in TWO_PARTS else state
    d = h.shape[-1]
    u = params["u"]
    if kind in ("simple", "relu"):
        z = wx + h @ u
        return jnp.tanh(z) if kind == "simple" else jax.nn.relu(z)
    if kind == "lstm":
        f, i, o, c = blocks(wx + h @ u, d)
        c = jax.nn.sigmoid(f) * state.c + jax.nn.sigmoid(i) * jnp.tanh(c)
        return CellState(c, jax.nn.sigmoid(o) * jnp.tanh(c))
    if kind == "reset_last":
        z, r, c = blocks(wx + h @ u, d)
        z = jax.nn.sigmoid(z)
        c = (1 - z) * state.c + z * jnp.tanh(c)
        return CellState(c, jax.nn.sigmoid(r) * c)
    gates = jax.nn.sigmoid(wx[..., :-d] + h @ u[:, :-d])
    z, r = gates[..., :d], gates[..., -d:]  # the same gate where there is one
    if kind == "gru_after":
        again = h @ u[:, -d:]
        again = r * (again + params["v"].reshape((1,) * (h.ndim - 1) + (-1,)))
    else:
        again = (r * h) @ u[:, -d:]
    return (1 - z) * h + z * jnp.tanh(wx[..., -d:] + again)


def blocks(gates: jax.Array, d: int) -> list[jax.Array]:
    """The g gates of a [..., g d] array."""
    return [gates[..., n : n + d] for n in range(0, gates.shape[-1], d)]


def out_of(state: Any) -> jax.Array:
    """What the cell shows of its state."""
    return state.h if isinstance(state, CellState) else state


def check(function: str, kind: str, params: Any, state: Any, x: Any) -> None:
    """Refuse parameters, a state or an input that do not fit each other."""
    checks.array(function, "x", x)
    letters = check_state(function, kind, state, x.shape[:-1])
    check_params(function, kind, params, (*x.shape[-1:], letters))


def check_state(function: str, kind: str, state: Any, lead: tuple[int, ...]) -> int:
    """The size of the state, whose leading axes must be those of the input."""
    if kind in TWO_PARTS:
        if not isinstance(state, CellState):
            got = f"a {type(state).__name__}"
            raise checks.fail_type(function, "state", got, "a CellState")
        parts = {"state.c": state.c, "state.h": state.h}
    else:
        parts = {"state": state}
    size = 0
    for argument, part in parts.items():
        checks.array(function, argument, part)
        if part.ndim == 0 or part.shape[:-1] != lead or size not in (0, part.shape[-1]):
            wanted = f"of shape [{', '.join(map(str, lead))}{', ' if lead else ''}d]"
            raise checks.fail(function, argument, f"shape {part.shape}", wanted)
        size = part.shape[-1]
    return size


def check_params(function: str, kind: str, params: Any, sizes: Any) -> None:
    """Refuse parameters that lack a name or have another shape."""
    inputs, d = sizes
    wanted = {
        "w": (inputs, len(GATES[kind]) * d),
        "u": (d, len(GATES[kind]) * d),
        "b": (len(GATES[kind]) * d,),
    }
    if kind == "gru_after":
        wanted["v"] = (d,)
    if not isinstance(params, dict):
        got = f"a {type(params).__name__}"
        raise checks.fail_type(function, "params", got, "a dict")
    if set(params) != set(wanted):
        names = f"a dict with the keys {sorted(wanted)}"
        raise checks.fail(function, "params", f"{sorted(map(str, params))}", names)
    for name, shape in wanted.items():
        checks.array(function, f"params[{name!r}]", params[name])
        if params[name].shape != shape:
            got = f"shape {params[name].shape}"
            raise checks.fail(function, f"params[{name!r}]", got, f"of shape {shape}")
