"""Mamba's selective scan: a diagonal recurrence whose coefficients are read off x."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax._base.varying import all_varying
from kexue_jax.ssm._selective import selective
from kexue_jax.ssm.outputs import SsmOutput

METHODS = ("auto", "sequential")


def selective_scan(
    x: jax.Array,
    delta: jax.Array,
    a: jax.Array,
    b: jax.Array,
    c: jax.Array,
    d: jax.Array | None = None,
    *,
    state: jax.Array | None = None,
    method: str = "auto",
    chunk_size: int = 16,
) -> SsmOutput:
    """The outputs of Mamba's recurrence for a sequence, and the state after it.

    h_t = exp(delta_t a) h_{t-1} + (delta_t b_t) x_t, y_t = h_t c_t + d x_t, for each
    of e channels with n states; h_{-1} = state (None: 0). delta is positive and a
    negative: Mamba has delta = softplus(a projection of x), a = -exp(A_log). A step of
    padding has delta = 0 and passes the state on.

    Shapes: x, delta [..., L, e], a [e, n], b, c [..., L, n], d [e], state [..., n, e]
    -> SsmOutput(state [..., n, e], out [..., L, e]).
    Article: kexue.fm/archives/10114.  Paper: arXiv 2312.00752, algorithm 2.
    Differs: the state is laid out (n, e), the wide axis last, which is several times
    faster on a CPU. The gradient keeps one state a chunk and makes the others again;
    it has reverse mode only. method="sequential" is the plain scan with the gradient
    of JAX, the form that is read and tested against. On accelerators the scan goes
    chunk by chunk, in parallel inside.
    Cost: L e n exponentials, twice with the gradient; memory O(L e) for values and
    O(L (e + e n / chunk_size)) for the gradient, in place of O(L e n).
    Raises: TypeError or ValueError for shapes that do not fit, dtypes that differ.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import selective_scan
        >>> one = jnp.ones((3, 1))
        >>> print(selective_scan(one, one, -one[:1], one, one).out[:, 0].round(3))
        [1.    1.368 1.503]
    """
    name = "selective_scan"
    checks.choice(name, "method", method, METHODS)
    checks.count(name, "chunk_size", chunk_size)
    _check(name, "... L", x, delta, a, b, c, d, state)
    if 0 in x.shape:
        raise checks.fail(name, "x", f"shape {x.shape}", "without empty axes")
    lead, (length, e), n = x.shape[:-2], x.shape[-2:], a.shape[1]
    dtype = accumulation_dtype(x)
    wide, delta, b, c = (jnp.asarray(p, dtype) for p in (x, delta, b, c))
    rates = jnp.asarray(a, dtype).T
    rows = (p.reshape(-1, length, p.shape[-1]) for p in (wide, delta, b, c))
    x_, delta_, b_, c_ = rows
    start = jnp.zeros((*lead, n, e), dtype)
    start = start if state is None else jnp.asarray(state, dtype)
    start = start.reshape(-1, n, e)
    arrays = all_varying(x_, delta_, rates, b_, c_, start)
    form = _sequential if method == "sequential" else _by_chunks
    out, last = form(min(chunk_size, length), *arrays)
    out = out.reshape(x.shape)
    if d is not None:
        out = out + wide * jnp.asarray(d, dtype).reshape((1,) * (x.ndim - 1) + (e,))
    return SsmOutput(last.reshape(*lead, n, e), out.astype(x.dtype))


def selective_step(
    state: jax.Array,
    x: jax.Array,
    delta: jax.Array,
    a: jax.Array,
    b: jax.Array,
    c: jax.Array,
    d: jax.Array | None = None,
) -> SsmOutput:
    """``selective_scan`` of one more token: the state after it, and its output.

    h = exp(delta a) state + (delta b) x, y = h c + d x.

    Shapes: state [..., n, e], x, delta [..., e], a [e, n], b, c [..., n], d [e] ->
    SsmOutput(state [..., n, e], out [..., e]).
    Article: kexue.fm/archives/10114.  Paper: arXiv 2312.00752, algorithm 2.
    Differs: no. The state is in at least float32.
    Cost: e n exponentials, whatever the number of tokens before.
    Raises: TypeError or ValueError for shapes that do not fit, dtypes that differ.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import selective_step
        >>> one, state = jnp.ones(1), jnp.ones((1, 1))
        >>> print(selective_step(state, one, one, -state, one, one).out.round(3))
        [1.368]
    """
    name = "selective_step"
    _check(name, "...", x, delta, a, b, c, d, state)
    dtype = accumulation_dtype(x)
    wide, delta, b, c, h = (jnp.asarray(p, dtype) for p in (x, delta, b, c, state))
    n, e = h.shape[-2:]
    rates = jnp.asarray(a, dtype).T.reshape((1,) * (x.ndim - 1) + (n, e))
    decay = jnp.exp(delta[..., None, :] * rates)
    h = decay * h + b[..., None] * (delta * wide)[..., None, :]
    out = (c[..., None, :] @ h)[..., 0, :]
    if d is not None:
        out = out + wide * jnp.asarray(d, dtype).reshape((1,) * (x.ndim - 1) + (e,))
    return SsmOutput(h, out.astype(x.dtype))


def _check(
    name: str,
    lead: str,
    x: Any,
    delta: Any,
    a: Any,
    b: Any,
    c: Any,
    d: Any,
    state: Any,
) -> None:
    """Raise unless all fit; the state may have another floating dtype."""
    arguments = {"x": x, "delta": delta, "a": a, "b": b, "c": c}
    arguments |= {} if d is None else {"d": d}
    for argument, value in arguments.items():
        checks.array(name, argument, value)
    checks.same_dtype(name, x=x, delta=delta, b=b, c=c)
    if state is not None or lead == "...":
        checks.array(name, "state", state)
    checks.shapes(
        name,
        x=(x, f"{lead} e"),
        delta=(delta, f"{lead} e"),
        a=(a, "e n"),
        b=(b, f"{lead} n"),
        c=(c, f"{lead} n"),
        d=(d, "e"),
        state=(state, "... n e"),
    )


def _by_chunks(chunk: int, x: Any, delta: Any, a: Any, b: Any, c: Any, h0: Any) -> Any:
    """``selective`` at any length: steps of delta = 0 are added after the last."""
    length = x.shape[1]
    widths = [(0, 0), (0, -length % chunk), (0, 0)]
    x, delta, b, c = (
        jnp.pad(p, widths) if length % chunk else p for p in (x, delta, b, c)
    )
    out, last = selective(chunk, x, delta, a, b, c, h0)
    return out[:, :length], last


def _sequential(_: int, x: Any, delta: Any, a: Any, b: Any, c: Any, h0: Any) -> Any:
    """The recurrence as it is written, all rows at each step: the readable twin."""

    def step(h: Any, now: Any) -> Any:
        x, delta, b, c = now
        decay = jnp.exp(delta[:, None] * a[None])
        h = decay * h + b[:, :, None] * (delta * x)[:, None]
        return h, (c[:, None] @ h)[:, 0]

    steps = tuple(jnp.moveaxis(p, 1, 0) for p in (x, delta, b, c))
    last, out = lax.scan(step, h0, steps)
    return jnp.moveaxis(out, 0, 1), last
