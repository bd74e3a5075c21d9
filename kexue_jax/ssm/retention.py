"""Retention: linear attention whose past fades, by a head's decay or by the token's."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax._base.varying import all_varying
from kexue_jax.ssm._retention import retained
from kexue_jax.ssm.outputs import SsmOutput

METHODS = ("chunked", "parallel", "recurrent")


def retention_log_decays(*, heads: int, dtype: Any = jnp.float32) -> jax.Array:
    """The logarithms of the decays of the heads of RetNet.

    log gamma_h, gamma_h = 1 - 2^(-5 - h), h = 0 .. heads - 1.

    Shapes: -> [heads].
    Article: kexue.fm/archives/10114.  Paper: arXiv 2307.08621, eq. 8.
    Differs: logarithms, computed in float64: beyond some 20 heads gamma rounds to 1 in
    float32, its logarithm to nothing.
    Cost: O(heads).
    Raises: TypeError or ValueError for a count below 1 or a dtype of no floats.
    Example:
        >>> from kexue_jax.ssm import retention_log_decays
        >>> print(retention_log_decays(heads=2).round(4))
        [-0.0317 -0.0157]
    """
    name = "retention_log_decays"
    checks.count(name, "heads", heads)
    checks.float_dtype(name, "dtype", dtype)
    return jnp.asarray(np.log1p(-(2.0 ** (-5.0 - np.arange(heads)))), dtype)


def retention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    log_decay: jax.Array,
    *,
    state: jax.Array | None = None,
    method: str = "chunked",
    chunk_size: int = 64,
) -> SsmOutput:
    """Causal products of queries and keys that fade with their distance, applied to v.

    s_t = gamma_t s_{t-1} + k_t^T v_t, o_t = q_t s_t, gamma_t = exp(log_decay_t), s_{-1}
    = state (None: 0). In parallel o = ((q k^T) * D) v, D_ij = gamma_{j+1} .. gamma_i
    for j <= i. With a decay a head (``retention_log_decays``, [h, 1]) this is RetNet,
    with one a token and head it is the recurrence of Mamba-2. A step of padding has
    k = 0 and log_decay = 0; a log_decay of -inf forgets all that came before.

    Shapes: q, k [..., L, n], v [..., L, d], log_decay broadcastable to [..., L], not
    positive; state [..., n, d] -> SsmOutput(state [..., n, d], out [..., L, d]).
    Article: kexue.fm/archives/10114.  Paper: arXiv 2307.08621 (2405.21060).
    Differs: no rotation, no scaling of k and no norm of the heads, which are a layer's:
    rotate q and k by ``positions.apply_rope``. "chunked" has a gradient that keeps one
    state a chunk, in reverse mode only; "parallel" and "recurrent" are the forms that
    are read, in both modes. Decays must not be positive: the sums of their logarithms
    in a chunk are exponents.
    Cost: "chunked" 4 n d L + 2 chunk (n + d) L flops, memory O(L (n + d)), and n d L /
    chunk_size with the gradient; "parallel" 2 (n + d) L^2, memory L^2; "recurrent" 4 n
    d L flops one step after the other.
    Raises: TypeError or ValueError for shapes that do not fit, dtypes that differ.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import retention
        >>> one, half = jnp.ones((4, 1)), jnp.log(jnp.array([0.5]))
        >>> out = retention(one, one, one, half).out[:, 0]
        >>> print(*(f"{value:.3f}" for value in out))
        1.000 1.500 1.750 1.875
    """
    name = "retention"
    checks.choice(name, "method", method, METHODS)
    checks.count(name, "chunk_size", chunk_size)
    _check(name, "... L", q, k, v, state)
    lead, length = q.shape[:-2], q.shape[-2]
    if 0 in (*q.shape, v.shape[-1]):
        argument = "q" if 0 in q.shape else "v"
        got = f"shape {q.shape if argument == 'q' else v.shape}"
        raise checks.fail(name, argument, got, "without empty axes")
    _check_decay(name, log_decay, (*lead, length))
    n, d = q.shape[-1], v.shape[-1]
    dtype = accumulation_dtype(v)
    start = jnp.zeros((), dtype) if state is None else jnp.asarray(state, dtype)
    s = jnp.broadcast_to(start, (*lead, n, d)).reshape(-1, n, d)
    w = jnp.broadcast_to(jnp.asarray(log_decay, dtype), (*lead, length))
    arrays = (jnp.asarray(x, dtype).reshape(-1, length, x.shape[-1]) for x in (q, k, v))
    forms = {"chunked": _by_chunks, "parallel": _parallel, "recurrent": _recurrent}
    inputs = all_varying(*arrays, w.reshape(-1, length), s)
    out, end = forms[method](min(chunk_size, length), *inputs)
    out = out.reshape(*lead, length, d).astype(v.dtype)
    return SsmOutput(end.reshape(*lead, n, d), out)


def retention_step(
    state: jax.Array,
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    log_decay: jax.Array,
) -> SsmOutput:
    """``retention`` of one more token: the state after it, and its output.

    s = exp(log_decay) state + k^T v, o = q s.

    Shapes: state [..., n, d], q, k [..., n], v [..., d], log_decay broadcastable to
    [...] -> SsmOutput(state [..., n, d], out [..., d]).
    Article: kexue.fm/archives/10114.  Paper: arXiv 2307.08621, eq. 6.
    Differs: no. The state is in at least float32.
    Cost: 4 n d flops, whatever the number of tokens before.
    Raises: TypeError or ValueError for shapes that do not fit, dtypes that differ.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import retention_step
        >>> one, half = jnp.ones(1), jnp.log(jnp.array(0.5))
        >>> print(retention_step(jnp.ones((1, 1)), one, one, one, half).out)
        [1.5]
    """
    name = "retention_step"
    _check(name, "...", q, k, v, state)
    _check_decay(name, log_decay, q.shape[:-1])
    dtype = accumulation_dtype(v)
    s, queries, keys, values = (jnp.asarray(x, dtype) for x in (state, q, k, v))
    w = jnp.broadcast_to(jnp.asarray(log_decay, dtype), q.shape[:-1])
    s = jnp.exp(w)[..., None, None] * s + keys[..., None] * values[..., None, :]
    out = (queries[..., None, :] @ s)[..., 0, :]
    return SsmOutput(s, out.astype(v.dtype))


def _check(name: str, lead: str, q: Any, k: Any, v: Any, state: Any) -> None:
    """Raise unless all fit; the state may have another floating dtype."""
    for argument, value in (("q", q), ("k", k), ("v", v)):
        checks.array(name, argument, value)
    checks.same_dtype(name, q=q, k=k, v=v)
    if state is not None or lead == "...":
        checks.array(name, "state", state)
    checks.shapes(
        name,
        q=(q, f"{lead} n"),
        k=(k, f"{lead} n"),
        v=(v, f"{lead} d"),
        state=(state, "... n d"),
    )


def _check_decay(name: str, log_decay: Any, shape: tuple[int, ...]) -> None:
    checks.array(name, "log_decay", log_decay)
    checks.broadcastable(name, "log_decay", log_decay, shape)


def _by_chunks(chunk: int, q: Any, k: Any, v: Any, w: Any, s: Any) -> Any:
    """``retained`` at any length: steps that change no state come after the last.

    Its exponents are differences of sums, which a w of -inf would make no number and a
    huge one would round: what is below the logarithm of the least number is cut off.
    """
    length = q.shape[1]
    w = jnp.maximum(w, math.log(jnp.finfo(w.dtype).smallest_subnormal) - 1)
    if more := -length % chunk:
        q, k, v = (jnp.pad(x, [(0, 0), (0, more), (0, 0)]) for x in (q, k, v))
        w = jnp.pad(w, [(0, 0), (0, more)])
    out, end = retained(chunk, q, k, v, w, s)
    return out[:, :length], end


def _parallel(_: int, q: Any, k: Any, v: Any, w: Any, s: Any) -> Any:
    """The whole matrix of weights, its exponents summed for each pair."""
    every = jnp.ones((w.shape[-1],) * 2, bool)
    past, seen = jnp.tril(every, -1)[None], jnp.tril(every)[None]
    sums = jnp.cumsum(jnp.where(past, w[:, :, None], 0), 1)
    inner = jnp.where(seen, jnp.exp(sums), 0)
    until = jnp.exp(jnp.cumsum(w, 1))[..., None]
    out = (inner * (q @ k.mT)) @ v + (until * q) @ s
    after = inner[:, -1, :, None]
    return out, until[:, -1:] * s + (after * k).mT @ v


def _recurrent(_: int, q: Any, k: Any, v: Any, w: Any, s: Any) -> Any:
    """The recurrence as it is written."""

    def step(s: Any, now: Any) -> Any:
        q, k, v, w = now
        s = jnp.exp(w)[:, None, None] * s + k[:, :, None] * v[:, None]
        return s, (q[:, None] @ s)[:, 0]

    inputs = tuple(jnp.moveaxis(x, 1, 0) for x in (q, k, v, w))
    end, out = lax.scan(step, s, inputs)
    return jnp.moveaxis(out, 0, 1), end
