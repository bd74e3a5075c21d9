"""How a recurrent cell's gradient decays: one step in closed form, many measured."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree

from kexue_jax._base import checks
from kexue_jax._base.masks import safe_divide, safe_root
from kexue_jax.theory import _rnn
from kexue_jax.theory._rnn import KINDS, TWO_PARTS, Params

METHODS = ("exact", "probe")


class JacobianProfile(NamedTuple):
    """Logarithms of norms of M_k, the derivative of a state by that k steps before.

    ``frobenius`` is log(|M_k|_F / sqrt(N)), N the size of the state; ``spectral`` that
    of the largest singular value, from probes a lower bound. Entry k - 1 is for k.

    Article: kexue.fm/archives/7888.
    """

    frobenius: jax.Array
    spectral: jax.Array


def one_step_derivative_terms(
    params: Params,
    state: Any,
    x: jax.Array,
    gate: jax.Array | None = None,
    *,
    kind: str,
) -> jax.Array:
    """The addends of a cell's derivative by its own previous memory, unit by unit.

    Their sum is dh/dh' (dc/dc' for "lstm" and "reset_last", with o' or r' held fixed),
    exact for d = 1; for d > 1 each U is read as its diagonal. With s = 1 - tanh^2:
    "simple" s U; "relu" 1[z > 0] U; "lstm" f, f (1 - f) q c' U_f, i (1 - i) q c^ U_i,
    s i q U_c with q = o' (1 - tanh^2 c'); "gru" 1 - z, -z (1 - z) h' U_z, z (1 - z)
    h^ U_z, s r (1 + (1 - r) h' U_r) z U_h; "gru_after" the same with s r (U_h +
    (1 - r) (U_h h' + v) U_r) z at the end; "merged_gate_gru" that of "gru" with z = r;
    "reset_last" 1 - z, -r' c' z (1 - z) U_z, r' c^ z (1 - z) U_z, r' z s U_h.

    Shapes: params as the cell has them; state [..., d], or a CellState of such; x
    [..., d_in]; gate [..., d], the o' or r' of the step before -> terms [..., m, d],
    m = 1 for the simple kinds and 4 for the others.
    Article: kexue.fm/archives/7888.  Paper: none.
    Differs: the article's gate is h' over tanh(c') or c'; without ``gate`` it is taken
    so, and as 0 where c' is 0. Not to be multiplied over time: the output gate depends
    on h' too (``jacobian_profile`` has the whole derivative).
    Cost: one step of the cell.
    Raises: TypeError or ValueError for a bad argument.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import one_step_derivative_terms
        >>> params = {"w": jnp.ones((1, 1)), "u": jnp.full((1, 1), 2.0)}
        >>> params["b"] = jnp.zeros(1)
        >>> state, x = jnp.zeros(1), jnp.zeros(1)
        >>> print(one_step_derivative_terms(params, state, x, kind="simple"))
        [[2.]]
    """
    name = "one_step_derivative_terms"
    checks.choice(name, "kind", kind, KINDS)
    checks.array(name, "x", x)
    if x.ndim == 0:
        raise checks.fail(name, "x", "shape ()", "of shape [..., d_in]")
    _rnn.check(name, kind, params, state, x)
    if gate is not None:
        checks.array(name, "gate", gate)
        if kind not in TWO_PARTS:
            raise checks.fail(name, "gate", "an array", f"None for kind = {kind!r}")
        checks.shapes(name, state=(state.c, "..."), gate=(gate, "..."))
    dtype = x.dtype
    params, state, x, gate = _rnn.wide(params, state, x, gate)
    wx = _rnn.project(params, x)
    terms = _terms(kind, params, state, wx, gate)
    return jnp.stack(terms, -2).astype(dtype)


def _terms(
    kind: str, params: Params, state: Any, wx: jax.Array, gate: jax.Array | None
) -> list[jax.Array]:
    h = state.h if kind in TWO_PARTS else state
    d = h.shape[-1]
    own = [
        jnp.diagonal(u).reshape((1,) * (h.ndim - 1) + (d,))
        for u in _rnn.blocks(params["u"], d)
    ]
    if kind in ("simple", "relu"):
        z = wx + h @ params["u"]
        slope = _sech2(z) if kind == "simple" else jnp.where(z > 0, 1, 0)
        return [slope * own[0]]
    if kind in TWO_PARTS:
        gates = _rnn.blocks(wx + h @ params["u"], d)
        shown = jnp.tanh(state.c) if kind == "lstm" else state.c
        nonzero = shown != 0
        if gate is None:
            gate = jnp.where(nonzero, safe_divide(h, shown), 0)
        return (_lstm if kind == "lstm" else _reset_last)(gates, state.c, gate, own)
    return _gru(kind, params, h, wx, own)


def _lstm(gates: Any, c: jax.Array, gate: jax.Array, own: Any) -> list[jax.Array]:
    f, i, _, new = gates
    q = gate * _sech2(c)
    return [
        jax.nn.sigmoid(f),
        _slope(f) * q * c * own[0],
        _slope(i) * q * jnp.tanh(new) * own[1],
        _sech2(new) * q * jax.nn.sigmoid(i) * own[3],
    ]


def _reset_last(gates: Any, c: jax.Array, gate: jax.Array, own: Any) -> list[jax.Array]:
    z, _, new = gates
    return [
        jax.nn.sigmoid(-z),
        -gate * c * _slope(z) * own[0],
        gate * jnp.tanh(new) * _slope(z) * own[0],
        gate * jax.nn.sigmoid(z) * _sech2(new) * own[2],
    ]


def _gru(
    kind: str, params: Params, h: jax.Array, wx: jax.Array, own: Any
) -> list[jax.Array]:
    d = h.shape[-1]
    gates = _rnn.blocks(wx[..., :-d] + h @ params["u"][:, :-d], d)
    before_z, before_r = gates[0], gates[-1]
    z, r = jax.nn.sigmoid(before_z), jax.nn.sigmoid(before_r)
    u_z, u_r, u_h = own[0], own[-2], own[-1]
    if kind == "gru_after":
        again = h @ params["u"][:, -d:]
        again = again + params["v"].reshape((1,) * (h.ndim - 1) + (d,))
        new = wx[..., -d:] + r * again
        inner = r * u_h + _slope(before_r) * again * u_r
    else:
        new = wx[..., -d:] + (r * h) @ params["u"][:, -d:]
        inner = r * (1 + jax.nn.sigmoid(-before_r) * h * u_r) * u_h
    return [
        jax.nn.sigmoid(-before_z),
        -_slope(before_z) * h * u_z,
        _slope(before_z) * jnp.tanh(new) * u_z,
        _sech2(new) * inner * z,
    ]


def _slope(z: jax.Array) -> jax.Array:
    """The derivative of the logistic function, exact in both tails."""
    return jax.nn.sigmoid(z) * jax.nn.sigmoid(-z)


def _sech2(z: jax.Array) -> jax.Array:
    """1 - tanh(z)^2, exact in both tails."""
    return 4 * jax.nn.sigmoid(2 * z) * jax.nn.sigmoid(-2 * z)


def jacobian_profile(
    cell: Callable[..., Any],
    params: Any,
    state: Any,
    xs: jax.Array,
    mask: jax.Array | None = None,
    *,
    method: str = "exact",
    num_probes: int = 16,
    key: jax.Array | None = None,
) -> JacobianProfile:
    """How large the derivative of the last state is by that of k steps before.

    M_k = J_n J_{n-1} ... J_{n-k+1} for k = 1, ..., n, with J_t the derivative of the
    whole state after step t by the whole state before it (c and h of an LSTM); J = 1
    where ``mask`` is False. "exact" multiplies the matrices; "probe" draws num_probes
    normal vectors v of shape [num_probes, N] with ``key`` and has E |v^T M_k|^2 =
    |M_k|_F^2. Products are rescaled at each step, so that no norm underflows.

    Shapes: cell (params, state, x) -> (state, out); state [..., d] or a tree of such;
    xs [..., n, d_in], mask [..., n] -> JacobianProfile of [..., n].
    Article: kexue.fm/archives/7888.  Paper: arXiv 1211.5063.
    Differs: the article's product of dc/dc' leaves out the paths through o and h.
    Cost: "exact" O(n N^3) and N forward derivatives of a step; "probe" num_probes
    backward passes, and memory of O((n + num_probes) N).
    Raises: TypeError or ValueError for a bad argument, for "probe" without ``key``.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import jacobian_profile, simple_rnn_cell
        >>> params = {"w": jnp.zeros((1, 1)), "u": jnp.eye(1) / 2, "b": jnp.zeros(1)}
        >>> xs = jnp.zeros((3, 1))
        >>> logs = jacobian_profile(simple_rnn_cell, params, jnp.zeros(1), xs).spectral
        >>> [round(float(x), 4) for x in jnp.exp(logs)]
        [0.5, 0.25, 0.125]
    """
    name = "jacobian_profile"
    checks.function(name, "cell", cell)
    checks.choice(name, "method", method, METHODS)
    checks.count(name, "num_probes", num_probes)
    checks.array(name, "xs", xs)
    if xs.ndim < 2 or not xs.shape[-2]:
        wanted = "of shape [..., n, d_in] with n > 0"
        raise checks.fail(name, "xs", f"shape {xs.shape}", wanted)
    lead, n = xs.shape[:-2], xs.shape[-2]
    if mask is not None:
        checks.array(name, "mask", mask, "boolean")
    else:
        mask = jnp.ones((*lead, n), bool)
    checks.shapes(name, xs=(xs[..., 0], "... n"), mask=(mask, "... n"))
    _check_state(name, state, lead)
    if method == "probe":
        checks.key(name, "key", key)
    dtype = xs.dtype
    params, state, xs = _rnn.wide(params, state, xs)
    size = sum(leaf.size for leaf in jax.tree.leaves(state)) // math.prod(lead)
    probes = jnp.eye(size, dtype=xs.dtype)
    if method == "probe" and key is not None:
        probes = jax.random.normal(key, (num_probes, size), xs.dtype)

    def single(state: Any, xs: jax.Array, mask: jax.Array) -> JacobianProfile:
        return _profile(cell, params, state, xs, mask, probes, method)

    for _ in lead:
        single = jax.vmap(single)
    found = single(state, xs, mask)
    return JacobianProfile(*(part.astype(dtype) for part in found))


def _profile(
    cell: Callable[..., Any],
    params: Any,
    state: Any,
    xs: jax.Array,
    mask: jax.Array,
    probes: jax.Array,
    method: str,
) -> JacobianProfile:
    start, unravel = ravel_pytree(state)

    def after(flat: jax.Array, x: jax.Array) -> jax.Array:
        return ravel_pytree(cell(params, unravel(flat), x)[0])[0].astype(flat.dtype)

    def forward(flat: jax.Array, inputs: Any) -> tuple[jax.Array, jax.Array]:
        x, keep = inputs
        return jnp.where(keep, after(flat, x), flat), flat

    _, states = lax.scan(forward, start, (xs, mask))

    def backward(carry: Any, inputs: Any) -> tuple[Any, Any]:
        rows, logs = carry
        flat, x, keep = inputs
        if method == "exact":
            moved = rows @ jax.jacfwd(after)(flat, x)
        else:
            pull = jax.vjp(lambda f: after(f, x), flat)[1]
            moved = jax.vmap(lambda row: pull(row)[0])(rows)
        rows = jnp.where(keep, moved, rows)
        length = safe_root(jnp.sum(jnp.square(rows)))
        rows = safe_divide(rows, length)
        logs = logs + jnp.log(length)
        return (rows, logs), (logs, logs + jnp.log(_largest(rows, probes, method)))

    first = probes, jnp.zeros((), probes.dtype)
    _, (total, largest) = lax.scan(backward, first, (states, xs, mask), reverse=True)
    count = len(probes) if method == "probe" else 1
    frobenius = total - 0.5 * math.log(count * probes.shape[-1])
    return JacobianProfile(frobenius[::-1], largest[::-1])


def _largest(rows: jax.Array, probes: jax.Array, method: str) -> jax.Array:
    """The largest singular value of the rows, or the largest stretch of a probe."""
    if method == "exact":
        return jnp.linalg.svd(rows, compute_uv=False)[0]
    stretch = jnp.linalg.norm(rows, axis=-1) / jnp.linalg.norm(probes, axis=-1)
    return jnp.max(stretch)


def _check_state(name: str, state: Any, lead: tuple[int, ...]) -> None:
    leaves = jax.tree.leaves(state)
    if not leaves:
        got = f"a {type(state).__name__}"
        raise checks.fail_type(name, "state", got, "an array or a tree of arrays")
    for leaf in leaves:
        checks.array(name, "state", leaf)
        if leaf.ndim != len(lead) + 1 or leaf.shape[:-1] != lead:
            wanted = f"of leading axes {list(lead)} and one more, as `xs` has"
            raise checks.fail(name, "state", f"shape {leaf.shape}", wanted)
