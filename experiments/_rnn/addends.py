"""The addends of a gated cell's derivative as whole matrices, and what gates make."""

from typing import Any

import jax
import jax.numpy as jnp

from experiments._rnn.networks import CELLS, TWO_PARTS, UNGATED, zeros
from kexue_jax.theory import CellState, one_step_derivative_terms


def addends(cell: str, params: Any, state: Any, x: jax.Array) -> jax.Array:
    """The four [4, d, d] of a gated cell for one row, entry [j, k] d new_j / d old_k.

    Those of ``one_step_derivative_terms``, whose U are diagonals there: the gate that
    keeps first. The output gate of the step before is held fixed.
    """
    h = state.h if cell in TWO_PARTS else state
    d = len(h)
    u = [params["u"][:, k : k + d] for k in range(0, params["u"].shape[1], d)]
    z = x @ params["w"] + params["b"]
    z = [z[k : k + d] for k in range(0, len(z), d)]
    if cell in TWO_PARTS:
        return _two_parts(
            cell, state, [a + h @ b for a, b in zip(z, u, strict=True)], u
        )
    keep, reset = z[0] + h @ u[0], z[-2] + h @ u[-2]
    r = jax.nn.sigmoid(reset)
    new = jnp.tanh(z[-1] + (r * h) @ u[-1])
    inner = (jnp.diag(r) + u[-2] * (_slope(reset) * h)[None]) @ u[-1]
    return jnp.stack(
        [
            jnp.diag(jax.nn.sigmoid(-keep)),
            (-_slope(keep) * h)[:, None] * u[0].T,
            (_slope(keep) * new)[:, None] * u[0].T,
            (jax.nn.sigmoid(keep) * (1 - new**2))[:, None] * inner.T,
        ]
    )


def _two_parts(cell: str, state: CellState, z: Any, u: Any) -> jax.Array:
    shown = jnp.tanh(state.c) if cell == "lstm" else state.c
    gate = jnp.where(shown == 0, 0, state.h / jnp.where(shown == 0, 1, shown))
    new = jnp.tanh(z[-1])
    if cell == "lstm":
        q = gate * (1 - shown**2)
        i = jax.nn.sigmoid(z[1])
        kept, into = jax.nn.sigmoid(z[0]), z[1]
        from_keep, places = _slope(z[0]) * state.c, (0, 1, 3)
    else:
        q, i = gate, jax.nn.sigmoid(z[0])
        kept, into = jax.nn.sigmoid(-z[0]), z[0]
        from_keep, places = -_slope(z[0]) * state.c, (0, 0, 2)
    factors = from_keep, _slope(into) * new, i * (1 - new**2)
    parts = [
        a[:, None] * u[place].T * q[None]
        for a, place in zip(factors, places, strict=True)
    ]
    return jnp.stack([jnp.diag(kept), *parts])


def _slope(z: jax.Array) -> jax.Array:
    return jax.nn.sigmoid(z) * jax.nn.sigmoid(-z)


def gates(cell: str, params: Any, xs: jax.Array) -> dict[str, jax.Array]:
    """What the gates make of rows xs [rows, n, d]; without gates, of s U in place of f.

    ``keep`` and ``log_keep`` the means of the gate that keeps and of its logarithm;
    ``product`` [n] the sums over the last k steps of log(mean over units of the gate),
    ``alone`` [n] log of the root mean square over units of the gates' own products,
    both means over rows; ``terms`` the mean Frobenius norms of the addends.
    """
    kind, run = CELLS[cell]

    def step(state: Any, x: jax.Array) -> tuple[Any, Any]:
        terms = one_step_derivative_terms(params, state, x, kind=kind)
        sizes = jnp.linalg.norm(terms, axis=-1)
        if cell not in UNGATED:
            each = jax.vmap(lambda s, row: addends(cell, params, s, row))(state, x)
            sizes = jnp.linalg.norm(each, axis=(-2, -1))
        return run(params, state, x)[0], (terms[:, 0], sizes)

    first = zeros(cell, len(xs), params["u"].shape[0])
    _, (kept, sizes) = jax.lax.scan(step, first, jnp.moveaxis(xs, 1, 0))
    back = jnp.maximum(jnp.abs(kept), 1e-30)[::-1]
    units = jnp.cumsum(jnp.log(back), axis=0)
    squares = jax.nn.logsumexp(2 * units, axis=-1) - jnp.log(units.shape[-1])
    return {
        "keep": kept.mean(),
        "log_keep": jnp.log(back).mean(),
        "product": jnp.cumsum(jnp.log(back.mean(-1)), axis=0).mean(1),
        "alone": squares.mean(1) / 2,
        "terms": sizes.mean((0, 1)),
    }
