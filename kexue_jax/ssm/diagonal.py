"""Diagonal state spaces, S4D and DSS: where they start, and their kernels."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from kexue_jax._base import checks
from kexue_jax.ssm.discretization import phi_1
from kexue_jax.ssm.modes import (
    check_complex_dtype,
    complex_modes,
    power_rows,
    spread_leading,
    step_sizes,
)
from kexue_jax.ssm.outputs import SsmOutput
from kexue_jax.ssm.s4_nplr import nplr
from kexue_jax.ssm.s4_recurrence import along, check_read, read

KINDS = ("legs", "lin", "inv", "real")
METHODS = ("zoh", "bilinear")
_BLOCK = 64  # powers computed in full; the others are their multiples
Power = Callable[[int], jax.Array]


class S4dInit(NamedTuple):
    """Modes and input weights of one channel, lam, b [n / 2]."""

    lam: jax.Array
    b: jax.Array


def s4d_init(*, kind: str, n: int, dtype: Any = jnp.complex64) -> S4dInit:
    """The modes that S4D starts with, half of n, each with its conjugate understood.

    i = 0 .. n/2 - 1: "lin" -1/2 + i pi i; "inv" -1/2 + i (n/pi)(n / (2 i + 1) - 1);
    "real" -(i + 1), b = 1 each; "legs" the normal part of LegS and half its B.

    Shapes: -> S4dInit(lam [n / 2], b [n / 2]).
    Article: kexue.fm/archives/10162.  Paper: arXiv 2206.11893.
    Differs: no. "legs" approaches the kernels of LegS as n grows, but weakly: their
    integrals over fixed intervals, not their values.
    Cost: O(n), "legs" O(n^3), on the host.
    Raises: TypeError or ValueError for bad arguments or an odd n.
    Example:
        >>> from kexue_jax.ssm import s4d_init
        >>> print(s4d_init(kind="lin", n=4).lam)
        [-0.5+0.j        -0.5+3.1415927j]
    """
    name = "s4d_init"
    checks.choice(name, "kind", kind, KINDS)
    checks.count(name, "n", n, minimum=2)
    check_complex_dtype(name, dtype)
    if n % 2:
        raise checks.fail(name, "n", n, "even, each mode standing for two")
    i = np.arange(n // 2)
    if kind == "legs":
        parts = nplr(measure="legs", n=n, half=True, dtype=dtype)
        return S4dInit(parts.lam, parts.b / 2)
    lam = {
        "lin": -0.5 + 1j * np.pi * i,
        "inv": -0.5 + 1j * n / np.pi * (n / (2 * i + 1) - 1),
        "real": -(i + 1.0) + 0j,
    }[kind]
    return S4dInit(jnp.asarray(lam, dtype), jnp.ones(n // 2, dtype))


def s4d_kernel(
    lam: jax.Array,
    b: jax.Array,
    c: jax.Array,
    dt: float | jax.Array,
    *,
    length: int,
    method: str = "zoh",
) -> jax.Array:
    """The convolution kernel of diagonal systems, modes and their conjugates.

    K_l = 2 Re sum_n c_n B_n A_n^l, l < length, with the input held over each step, A =
    e^z, B = dt phi_1(z) b, z = lam dt, phi_1(z) = (e^z - 1) / z; "bilinear" has A = (1
    + z / 2) / (1 - z / 2), B = dt b / (1 - z / 2). With l = 64 i + j the powers are
    products of two short tables, and the sum over n one real matrix product.

    Shapes: lam, b, c [..., n] complex, dt a number or [...], real; all [...] broadcast
    -> [..., length], real.
    Article: kexue.fm/archives/10162.  Paper: arXiv 2206.11893.
    Differs: the paper sums the matrix of all powers, length n exponentials in place of
    n (64 + length / 64).
    Cost: 4 length n flops a channel; memory O(length), and O(n length / 64).
    Raises: TypeError or ValueError for shapes or dtypes that do not fit, an unknown
    method.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import s4d_kernel
        >>> lam, one = jnp.array([0j]), jnp.array([1.0 + 0j])
        >>> print(s4d_kernel(lam, one, one, 0.5, length=3))
        [1. 1. 1.]
    """
    name = "s4d_kernel"
    complex_modes(name, lam=lam, b=b, c=c)
    checks.count(name, "length", length)
    return mode_sums(*stepped_modes(name, lam, b, c, dt, method), int(length))


def s4d_kernel_plain(
    lam: jax.Array, b: jax.Array, c: jax.Array, dt: float | jax.Array, *, length: int
) -> jax.Array:
    """The readable twin of ``s4d_kernel``: the Vandermonde matrix of all powers."""
    size = step_sizes("s4d_kernel_plain", dt, lam)[..., None]
    rate = size * lam
    times = jnp.arange(length).reshape((1,) * rate.ndim + (length,))
    matrix = jnp.exp(rate[..., None] * times)
    weights = c * b * (size * phi_1(rate))
    return 2 * jnp.einsum("...n,...nl->...l", weights, matrix).real


def s4d_step(
    state: jax.Array,
    lam: jax.Array,
    b: jax.Array,
    c: jax.Array,
    dt: float | jax.Array,
    u: jax.Array,
    *,
    method: str = "zoh",
) -> SsmOutput:
    """The output of one more input, and the state after it, in O(n).

    x <- A x + B u, y = 2 Re(c x), A and B of the method as in ``s4d_kernel``.

    Shapes: state [..., h, n], lam, b, c [h, n] complex, dt a number or [h], u [..., h]
    -> SsmOutput(state [..., h, n], out [..., h]).
    Article: kexue.fm/archives/10162.  Paper: arXiv 2206.11893.
    Differs: no.
    Cost: O(h n).
    Raises: TypeError or ValueError for shapes or dtypes that do not fit, an unknown
    method.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import s4d_step
        >>> one = jnp.ones((1, 1)) + 0j
        >>> print(s4d_step(one, 0 * one, one, one, 0.5, jnp.ones(1)).out)
        [3.]
    """
    name = "s4d_step"
    complex_modes(name, lam=lam, b=b, c=c)
    check_channels(name, lam, b, c, dt)
    check_read(name, state, c, u)
    drive, power = stepped_modes(name, lam, b, jnp.ones_like(c), dt, method)
    wide = u.astype(drive.real.dtype)
    new = along(power(1), state) * state + along(drive, state) * wide[..., None]
    return SsmOutput(new, read(c, new, True).astype(u.dtype))


def dss_kernel(
    lam: jax.Array, w: jax.Array, dt: float | jax.Array, *, length: int
) -> jax.Array:
    """The kernel of a diagonal state space with powers normalized over the length.

    K_l = Re sum_n w_n / lam_n * softmax_l(lam_n dt l), the softmax of complex numbers
    over l < length: modes on either side of the axis are bounded.

    Shapes: lam, w [..., n] complex, dt a number or [...], real; all [...] broadcast ->
    [..., length], real.
    Article: kexue.fm/archives/10162.  Paper: arXiv 2203.14343.
    Differs: powers of Re lam > 0 count from the end, as in the paper's code, and the
    normalizer is a closed form. DSS-exp is ``s4d_kernel`` with b = 1, c = w / 2.
    Cost: as ``s4d_kernel``.
    Raises: TypeError or ValueError for shapes or dtypes that do not fit.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import dss_kernel
        >>> one = jnp.array([1.0 + 0j])
        >>> print(dss_kernel(-one, -one, jnp.log(2.0), length=2).round(4))
        [0.6667 0.3333]
    """
    name = "dss_kernel"
    complex_modes(name, lam=lam, w=w)
    checks.count(name, "length", length)
    size = step_sizes(name, dt, lam)
    own = {"lam": (lam, 1), "w": (w, 1), "dt": (size, 0)}
    lam, w, size = spread_leading(name, **own)
    rate = size[..., None] * lam
    rising = rate.real > 0
    falling = jnp.where(rising, -rate, rate)
    # sum_l e^(l z) = L phi_1(L z) / phi_1(z), and what is near 0 is kept off it.
    total = length * phi_1(length * falling) / phi_1(falling)
    weights = w * _bounded_reciprocal(lam * total)
    none = jnp.zeros_like(weights)

    def power(j: int) -> jax.Array:
        return jnp.exp(j * falling)

    early = mode_sums(jnp.where(rising, none, weights), power, int(length))
    late = mode_sums(jnp.where(rising, weights, none), power, int(length))
    return (early + late[..., ::-1]) / 2


def stepped_modes(
    function: str, lam: Any, b: Any, c: Any, dt: Any, method: str
) -> tuple[jax.Array, Power]:
    """c B and j -> A^j of one step, [..., n] each, j a Python integer."""
    checks.choice(function, "method", method, METHODS)
    size = step_sizes(function, dt, lam)
    own = {"lam": (lam, 1), "b": (b, 1), "c": (c, 1), "dt": (size, 0)}
    lam, b, c, size = spread_leading(function, **own)
    size = size[..., None]
    z = size * lam
    if method == "zoh":
        return c * b * (size * phi_1(z)), lambda j: jnp.exp(j * z)
    decay = (1 + z / 2) / (1 - z / 2)
    return c * b * (size / (1 - z / 2)), lambda j: decay**j


def mode_sums(weights: jax.Array, power: Power, length: int) -> jax.Array:
    """2 Re sum_n weights_n A_n^l, [..., n] -> [..., length], in two levels."""
    block = min(_BLOCK, 2 ** math.ceil(math.log2(max(length, 2)) / 2))
    count = -(-length // block)
    inner = power_rows(jnp.ones_like(weights), power(1), block)
    # Rows of the conjugate hold Re and -Im: products of rows are Re of products.
    outer = power_rows(weights.conj(), power(block).conj(), count)
    sums = jnp.einsum(
        "i...m,j...m->...ij", outer, inner, precision=lax.Precision.HIGHEST
    )
    return 2 * sums.reshape(*sums.shape[:-2], count * block)[..., :length]


def check_channels(function: str, lam: Any, b: Any, c: Any, dt: Any) -> None:
    """Raise unless lam, b, c are [h, n] and dt a number or [h]."""
    checks.shapes(function, lam=(lam, "h n"), b=(b, "h n"), c=(c, "h n"))
    if checks.is_array(dt) and dt.ndim:
        checks.shapes(function, lam=(lam, "h n"), dt=(dt, "h"))


def _bounded_reciprocal(x: jax.Array) -> jax.Array:
    """conj(x) / (|x|^2 + 1e-7), the paper's, which is finite at 0."""
    size = x.real * x.real + x.imag * x.imag
    return x.conj() / (size + 1e-7)
