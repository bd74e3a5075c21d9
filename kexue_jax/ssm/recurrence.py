"""Linear recurrences: diagonal scan, its step, causal convolution, dense system."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from kexue_jax._base import checks
from kexue_jax._base.varying import all_varying
from kexue_jax.ssm._engine import Options, recurrence
from kexue_jax.ssm.outputs import SsmOutput

METHODS = ("auto", "sequential", "associative", "chunked", "upper_lower")


def linear_scan(
    a: jax.Array,
    b: jax.Array,
    *,
    h0: jax.Array | None = None,
    axis: int = -2,
    reverse: bool = False,
    method: str = "auto",
    chunk_size: int = 256,
) -> jax.Array:
    """All states of the recurrence with decay a and input b, entry by entry.

    h_t = a_t h_{t-1} + b_t, h_{-1} = h0 (None: 0); ``reverse``: h_t = a_t h_{t+1} +
    b_t, h_L = h0. The last state along ``axis`` (the first in reverse) continues the
    recurrence. A step of padding has a = 1 and b = 0 and passes the state on.

    Shapes: b [..., L, n] with L along ``axis``; a broadcastable to b, h0 broadcastable
    to b without ``axis`` -> as b. Real or complex.
    Article: kexue.fm/archives/9554.  Paper: CMU-CS-90-190.
    Differs: the article pads and runs Upper/Lower, which is "upper_lower" here, for a
    decay constant in time. "auto" is a loop in place on a CPU and elsewhere an
    associative scan, by chunks beyond 65,536 steps. The gradient is the recurrence
    reversed, so there is reverse mode only; "sequential" is the plain ``lax.scan``
    that the other forms are tested against, in both modes. Half types are computed in
    float32. The result has the dtype of b, complex where a is.
    Cost: 2 flops an entry; O(L n) memory, and a is spread over the steps at most. On
    one core of a CPU, 64 to 16,384 steps of 1 to 512 numbers, the loop was the fastest
    everywhere but for ``lax.scan`` forward on one short row (0.7 of its time): it took
    0.06 to 0.8 of the time of an associative scan, 0.1 to 0.4 with the gradient, which
    took 0.2 to 1.0 of that of ``lax.scan``. On accelerators nothing was measured.
    Raises: TypeError or ValueError for shapes that do not fit, integers, an unknown
    method, "upper_lower" with a decay that varies in time.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import linear_scan
        >>> print(linear_scan(jnp.array([0.5]), jnp.ones((4, 1)))[:, 0])
        [1.    1.5   1.75  1.875]
    """
    name = "linear_scan"
    checks.choice(name, "method", method, METHODS)
    checks.flag(name, "reverse", reverse)
    checks.count(name, "chunk_size", chunk_size)
    checks.array(name, "a", a, "inexact")
    checks.array(name, "b", b, "inexact")
    axis = _axis(name, axis, b.ndim)
    lead, rest = b.shape[:axis], b.shape[axis + 1 :]
    if 0 in b.shape:
        raise checks.fail(name, "b", f"shape {b.shape}", "without empty axes")
    checks.broadcastable(name, "a", a, b.shape)
    if h0 is not None:
        checks.array(name, "h0", h0, "inexact")
        checks.broadcastable(name, "h0", h0, lead + rest)
    out_dtype, dtype = _dtypes(b, a, h0)
    a, b = (jnp.asarray(x, dtype) for x in (a, b))
    a = a.reshape((1,) * (b.ndim - a.ndim) + a.shape)
    if method == "upper_lower" and a.shape[axis] != 1:
        got, wanted = "a decay that varies in time", "'upper_lower' only if it does not"
        raise checks.fail(name, "method", got, wanted)
    start = jnp.zeros((), dtype) if h0 is None else jnp.asarray(h0, dtype)
    start = jnp.broadcast_to(start, lead + rest)
    options = Options(axis, bool(reverse), method, int(chunk_size))
    form = _sequential if method == "sequential" else recurrence
    return form(options, *all_varying(a, b, start)).astype(out_dtype)


def linear_scan_step(state: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """The state after one more step of ``linear_scan``.

    h = a state + b.

    Shapes: state [..., n], a and b broadcastable to it -> [..., n].
    Article: kexue.fm/archives/9554.  Paper: none.
    Differs: no. The result has the dtype of the state, which should be float32 at
    least, and complex where a or b is.
    Cost: 2 flops an entry.
    Raises: TypeError or ValueError for shapes that do not fit, integers.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import linear_scan_step
        >>> print(linear_scan_step(jnp.ones(2), jnp.array([0.5, 0.25]), jnp.ones(2)))
        [1.5  1.25]
    """
    name = "linear_scan_step"
    for argument, value in (("state", state), ("a", a), ("b", b)):
        checks.array(name, argument, value, "inexact")
        checks.broadcastable(name, argument, value, state.shape)
    out_dtype, dtype = _dtypes(state, a, b)
    h, a, b = (_spread(jnp.asarray(x, dtype), state.ndim) for x in (state, a, b))
    return (a * h + b).astype(out_dtype)


def ssm_recurrent(
    a: jax.Array,
    b: jax.Array,
    c: jax.Array,
    u: jax.Array,
    *,
    state: jax.Array | None = None,
) -> SsmOutput:
    """Outputs and last state of a discrete linear system, step by step.

    x_t = a x_{t-1} + b u_t, y_t = c x_t, x_{-1} = state (None: 0): the output sees
    the input of its own step.

    Shapes: a [n, n], b [n, d], c [m, n], u [..., L, d], state broadcastable to [...,
    n] -> SsmOutput(state [..., n], out [..., L, m]). Real or complex.
    Article: kexue.fm/archives/10114 (10162).  Paper: arXiv 2111.00396.
    Differs: no. c is used as it is: pass the conjugate where a paper writes C*.
    Cost: 2 L n (n + d + m) flops, L matrix products one after the other: the readable
    twin of kernels and diagonal forms. The state is in at least float32.
    Raises: TypeError or ValueError for shapes that do not fit, integers.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import ssm_recurrent
        >>> one = jnp.ones((1, 1))
        >>> print(ssm_recurrent(0.5 * one, one, one, jnp.ones((3, 1))).out[:, 0])
        [1.   1.5  1.75]
    """
    name = "ssm_recurrent"
    for argument, value in (("a", a), ("b", b), ("c", c), ("u", u)):
        checks.array(name, argument, value, "inexact")
    letters = checks.shapes(
        name, a=(a, "n n"), b=(b, "n d"), c=(c, "m n"), u=(u, "... L d")
    )
    if 0 in u.shape[-2:]:
        raise checks.fail(name, "u", f"shape {u.shape}", "without empty axes")
    lead: Any = letters["..."]
    if state is not None:
        checks.array(name, "state", state, "inexact")
        checks.broadcastable(name, "state", state, (*lead, a.shape[0]))
    out_dtype, dtype = _dtypes(u, a, b, c, state)
    a, b, c, u = all_varying(*(jnp.asarray(x, dtype) for x in (a, b, c, u)))
    start = jnp.zeros((), dtype) if state is None else jnp.asarray(state, dtype)
    driven = jnp.moveaxis(u @ b.mT, -2, 0)

    def step(x: Any, v: Any) -> Any:
        x = x @ a.mT + v
        return x, x

    start, driven = all_varying(jnp.broadcast_to(start, driven.shape[1:]), driven)
    last, states = lax.scan(step, start, driven)
    out = jnp.moveaxis(states @ c.mT, 0, -2)
    return SsmOutput(last, out.astype(out_dtype))


def causal_fft_conv(u: jax.Array, kernel: jax.Array) -> jax.Array:
    """The causal convolution of sequences with kernels, by the fast Fourier transform.

    y_t = sum_{j <= t} kernel_j u_{t-j}: with kernel_j = c a^j b the outputs of a
    linear system that starts from 0.

    Shapes: u [..., L, d], kernel broadcastable to [..., K, d] for any K (what lies
    beyond L has no effect) -> [..., L, d]. Real or complex.
    Article: kexue.fm/archives/10162.  Paper: arXiv 2111.00396.
    Differs: no. Both are padded to at least L + K - 1 steps, so nothing wraps around.
    Half types are computed in float32.
    Cost: O(L log L) a channel, memory O(L); three transforms.
    Raises: TypeError or ValueError for shapes that do not fit, integers.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import causal_fft_conv
        >>> y = causal_fft_conv(jnp.ones((3, 1)), jnp.array([[1.0], [0.5], [0.25]]))
        >>> print(*(f"{value:.2f}" for value in y[:, 0]))
        1.00 1.50 1.75
    """
    name = "causal_fft_conv"
    checks.array(name, "u", u, "inexact")
    checks.array(name, "kernel", kernel, "inexact")
    checks.shapes(name, u=(u, "... L d"))
    checks.shapes(name, kernel=(kernel, "... K d"))
    if 0 in u.shape:
        raise checks.fail(name, "u", f"shape {u.shape}", "without empty axes")
    length = u.shape[-2]
    shape = (*u.shape[:-2], kernel.shape[-2], u.shape[-1])
    checks.broadcastable(name, "kernel", kernel, shape)
    out_dtype, dtype = _dtypes(u, kernel)
    u, kernel = jnp.asarray(u, dtype), jnp.asarray(kernel[..., :length, :], dtype)
    size = fast_length(length + kernel.shape[-2] - 1)
    kernel = _spread(kernel, u.ndim)
    if jnp.issubdtype(dtype, jnp.complexfloating):
        spectrum = jnp.fft.fft(u, size, -2) * jnp.fft.fft(kernel, size, -2)
        full = jnp.fft.ifft(spectrum, size, -2)
    else:
        spectrum = jnp.fft.rfft(u, size, -2) * jnp.fft.rfft(kernel, size, -2)
        full = jnp.fft.irfft(spectrum, size, -2)
    return full[..., :length, :].astype(out_dtype)


def fast_length(n: int) -> int:
    """The least even length of at least n with no prime factor beyond 5."""
    best = 2 ** max(1, (n - 1).bit_length())
    for factor in (9, 3, 15, 5, 25):
        power = max(1, (-(-n // factor) - 1).bit_length())
        size = factor * 2**power
        best = min(best, size) if size >= n else best
    return best


def _sequential(options: Options, a: Any, b: Any, h0: Any) -> jax.Array:
    """The recurrence as one plain scan with time leading, the readable twin."""
    steps = jnp.moveaxis(b, options.axis, 0)
    decays = jnp.moveaxis(a, options.axis, 0)
    varies = decays.shape[0] != 1 or steps.shape[0] == 1

    def step(h: Any, now: Any) -> Any:
        b_t, a_t = now
        h = (decays[0] if a_t is None else a_t) * h + b_t
        return h, h

    inputs = (steps, decays if varies else None)
    _, states = lax.scan(step, h0, inputs, reverse=options.reverse)
    return jnp.moveaxis(states, 0, options.axis)


def _axis(name: str, axis: Any, ndim: int) -> int:
    """The axis of time counted from the front, or an error."""
    whole = isinstance(axis, (int, np.integer)) and not isinstance(axis, bool)
    if not whole:
        got = f"a {type(axis).__name__}"
        raise checks.fail_type(name, "axis", got, "a Python integer")
    if not -ndim <= axis < ndim:
        wanted = f"an axis of `b`, which has {ndim}"
        raise checks.fail(name, "axis", axis, wanted)
    return int(axis) % ndim


def _dtypes(first: Any, *others: Any) -> tuple[Any, Any]:
    """The dtype of a result that follows ``first``, and that of the computation.

    The result is complex where any array is; with parts of at least float32 then.
    """
    arrays = [x for x in (first, *others) if x is not None]
    wide = jnp.promote_types(jnp.result_type(*arrays), jnp.float32)
    if jnp.issubdtype(wide, jnp.complexfloating):
        return jnp.promote_types(first.dtype, jnp.complex64), wide
    return first.dtype, wide


def _spread(x: jax.Array, ndim: int) -> jax.Array:
    """``x`` with leading axes of size 1 up to a rank."""
    return x.reshape((1,) * (ndim - x.ndim) + x.shape)
