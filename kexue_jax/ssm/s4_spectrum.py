"""The kernel of S4, from values of its generating function without a singular point."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from kexue_jax._base import checks
from kexue_jax._base.elimination import solved
from kexue_jax.ssm.modes import complex_modes, spread_leading, step_sizes


def s4_kernel(
    lam: jax.Array,
    p: jax.Array,
    b: jax.Array,
    c: jax.Array,
    dt: float | jax.Array,
    *,
    length: int,
    half: bool = False,
    damping: float = 0.5,
) -> jax.Array:
    """The convolution kernel of a bilinear step of normal plus low-rank systems.

    K_l = Re(c A^l B), l < length, where A, B are the bilinear discretization of
    diag(lam) - p p^H, b; the argument is c (I - damping A^length) (``s4_truncate``). At
    z = damping^(1/length) e^(-2 pi i l / length), with R = 1 / ((2/dt)(1 - z) - (1 + z)
    lam) and k_xy = sum_n x_n y_n R_n, the transform of damping^(l/length) K_l is

        2 (k_cb - (1 + z) k_cp (I + (1 + z) k_pp)^-1 k_pb).

    Shapes: lam, b, c [..., n], p [..., n, r], complex; dt a number or [...], real; all
    [...] broadcast -> [..., length], real. With ``half`` the n modes stand for
    themselves and their conjugates, and half of the points do.
    Article: kexue.fm/archives/10162.  Paper: arXiv 2111.00396.
    Differs: c is a row, the article's C^*. The article divides by 1 + z, singular at z
    = -1, and has damping 1, where A^length near I and lam = 0 ("fourier", an odd
    "legt") make c infinite or the terms so; 1/2 costs one bit. y_k = c x_k (article).
    Cost: O(length (n r^2 + log length)) a channel, in the memory of one channel at a
    time on a CPU.
    Raises: TypeError or ValueError for shapes or dtypes that do not fit.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import s4_kernel
        >>> lam, one = jnp.array([-1.0 + 0j]), jnp.array([1.0 + 0j])
        >>> c = one * (1 - 0.5 / 3**4)  # A = 1/3, B = 2/3
        >>> kernel = s4_kernel(lam, 0 * one[:, None], one, c, 1.0, length=4)
        >>> print([f"{k:.3f}" for k in kernel])
        ['0.667', '0.222', '0.074', '0.025']
    """
    name = "s4_kernel"
    low_rank_modes(name, lam, p, b=b, c=c)
    checks.count(name, "length", length)
    checks.flag(name, "half", half)
    check_damping(name, damping)
    dt = step_sizes(name, dt, lam)
    own = {"lam": (lam, 1), "p": (p, 2), "b": (b, 1), "c": (c, 1), "dt": (dt, 0)}
    arrays = spread_leading(name, **own)
    lead = arrays[-1].shape
    flat = [x.reshape(math.prod(lead), *x.shape[len(lead) :]) for x in arrays]
    channel = functools.partial(_kernel, int(length), half, damping)
    kernel = lax.platform_dependent(
        *flat,
        cpu=lambda *x: lax.map(lambda y: jax.checkpoint(channel)(*y), x),
        default=jax.vmap(channel),
    )
    return kernel.reshape(*lead, length)


def _kernel(length: int, half: bool, damping: float, *modes: jax.Array) -> jax.Array:
    """The kernel [length] of one channel."""
    lam, p, b, c, dt = modes
    radius = damping ** (1 / length)
    points = length // 2 + 1 if half else length
    z = radius * np.exp(-2j * np.pi * np.arange(points) / length)
    low, high = jnp.asarray(1 - z, lam.dtype), jnp.asarray(1 + z, lam.dtype)
    left = jnp.concatenate([c[:, None], p.conj()], 1)
    right = jnp.concatenate([b[:, None], p], 1)
    pairs = left[:, :, None] * right[:, None, :]
    sums = _half_sums if half else _sums
    k = sums(lam, pairs.reshape(len(lam), -1), 2 / dt * low, high)
    k = [list(row) for row in k.reshape(-1, *pairs.shape[1:]).transpose(1, 2, 0)]
    for j in range(p.shape[1], 0, -1):
        factor = high / (1 + high * k[j][j])
        for x in range(j):
            for y in range(j):
                k[x][y] = k[x][y] - factor * k[x][j] * k[j][y]
    grown = jnp.asarray(2 * radius ** -np.arange(length), dt.dtype)
    if half:
        return jnp.fft.irfft(k[0][0], length) * grown
    return jnp.fft.ifft(k[0][0]).real * grown


def _sums(lam: Any, pairs: Any, low: Any, high: Any) -> jax.Array:
    """sum_n pairs_n / (low - high lam_n), [points, pairs], all modes given."""
    bottom = low[:, None] - high[:, None] * lam[None]
    return jnp.matmul(_reciprocal(bottom), pairs, precision=lax.Precision.HIGHEST)


def _half_sums(lam: Any, pairs: Any, low: Any, high: Any) -> jax.Array:
    """The same and their conjugate partners: each pair of poles over one bottom."""
    one = low[:, None] - high[:, None] * lam[None]
    two = low[:, None] - high[:, None] * lam.conj()[None]
    both = _reciprocal(one * two)
    tops = jnp.concatenate([pairs.real, (pairs * lam.conj()[:, None]).real], 1)
    dot = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)
    sums = 2 * lax.complex(dot(both.real, tops), dot(both.imag, tops))
    first, second = jnp.split(sums, 2, 1)
    return low[:, None] * first - high[:, None] * second


def _reciprocal(x: jax.Array) -> jax.Array:
    """1 / x of complex numbers of ordinary size, without a complex division."""
    size = x.real * x.real + x.imag * x.imag
    return lax.complex(x.real / size, -x.imag / size)


def s4_truncate(
    lam: jax.Array,
    p: jax.Array,
    c: jax.Array,
    dt: float | jax.Array,
    *,
    length: int,
    half: bool = False,
    damping: float = 0.5,
    inverse: bool = False,
) -> jax.Array:
    """The output row that ``s4_kernel`` takes, from that of the recurrence, or back.

    c (I - damping A^length), A the bilinear step of diag(lam) - p p^H; ``inverse``
    gives the c that has the argument for this, by a solve.

    Shapes: lam, c [..., n], p [..., n, r], dt a number or [...]; all [...] broadcast ->
    [..., n].
    Article: kexue.fm/archives/10162.  Paper: arXiv 2111.00396.
    Differs: the article has damping 1.
    Cost: O(n^3 log length) a channel. A training keeps the truncated row as its
    parameter, and needs this only before and after.
    Raises: TypeError or ValueError for shapes or dtypes that do not fit.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import s4_truncate
        >>> lam, one = jnp.array([-2.0 + 0j]), jnp.array([1.0 + 0j])
        >>> print(s4_truncate(lam, one[:, None], one, 0.4, length=1).real.round(4))
        [0.875]
    """
    name = "s4_truncate"
    low_rank_modes(name, lam, p, c=c)
    checks.count(name, "length", length)
    checks.flag(name, "half", half)
    checks.flag(name, "inverse", inverse)
    check_damping(name, damping)
    dt = step_sizes(name, dt, lam)
    own = {"lam": (lam, 1), "p": (p, 2), "c": (c, 1), "dt": (dt, 0)}
    lam, p, c, dt = spread_leading(name, **own)
    n = lam.shape[-1]
    if half:
        lam, p, c = (
            jnp.concatenate([x, x.conj()], axis)
            for x, axis in ((lam, -1), (p, -2), (c, -1))
        )
    eye = jnp.broadcast_to(
        jnp.eye(lam.shape[-1], dtype=lam.dtype), (*lam.shape, lam.shape[-1])
    )
    product = jnp.einsum("...nr,...mr->...nm", p, p.conj(), precision="highest")
    step = dt[..., None, None] / 2 * (eye * lam[..., None] - product)
    matrix = solved(eye - step, eye + step)
    with jax.default_matmul_precision("highest"):
        rest = eye - damping * jnp.linalg.matrix_power(matrix, int(length))
    if inverse:
        found = solved(rest.mT, c[..., None])[..., 0]
    else:
        found = jnp.einsum("...n,...nm->...m", c, rest, precision="highest")
    return found[..., :n]


def low_rank_modes(function: str, lam: Any, p: Any, **others: Any) -> None:
    """Raise unless lam and the others are modes [..., n] and p is [..., n, r]."""
    complex_modes(function, lam=lam, **others)
    checks.array(function, "p", p, "complex")
    checks.same_dtype(function, lam=lam, p=p)
    checks.shapes(function, p=(p, "... n r"))
    if p.shape[-2] != lam.shape[-1]:
        wanted = f"of shape [..., {lam.shape[-1]}, r] for the modes of `lam`"
        raise checks.fail(function, "p", f"shape {p.shape}", wanted)


def check_damping(function: str, damping: Any) -> None:
    """Raise unless the damping is a number in (0, 1]."""
    checks.number(function, "damping", damping, minimum=0, maximum=1, open_minimum=True)
