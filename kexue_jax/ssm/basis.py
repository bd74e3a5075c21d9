"""The functions that HiPPO expands the past in, and the past read off coefficients."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from kexue_jax._base import checks, numerics
from kexue_jax.ssm.hippo import (
    COMPLEX,
    LEGENDRE,
    MEASURES,
    check_measure,
    check_options,
    norm_scale,
)

WARPS = (*MEASURES, "s4")


def basis_eval(
    s: jax.Array,
    *,
    measure: str,
    n: int,
    kappa: float = 0.5,
    alpha: float = 0.0,
    norm: str = "hippo",
) -> jax.Array:
    """The functions h_0, ..., h_{n-1} of u(t_T(s)) = sum_i c_i h_i(s) at s.

    "legt", "legs": lambda_i sqrt((2 i + 1) / 2) P_i(s), s in [-1, 1] from the oldest
    to now, so sqrt(2 i + 1) P_i for the norm "hippo" and P_i for "lmu"; "lagt":
    s^alpha e^(-(1 - kappa) s) L_i^(alpha)(s) / norm_i, s >= 0 the age; "fourier",
    "fourier_all": e^(2 pi 1j i s), i from -M to M, and "fourier_real": 1, sqrt(2)
    cos(2 pi s), sqrt(2) sin(2 pi s), ..., s in [0, 1].

    Shapes: s [...] -> [..., n], complex for "fourier", "fourier_all".
    Article: kexue.fm/archives/10114 (10137).  Paper: arXiv 2008.07669.
    Differs: these are the dual functions of those that define c_i, with which the
    article's general Laguerre case (kappa not 1/2) reconstructs.
    Cost: O(n) an entry, by the three-term recurrences.
    Raises: TypeError or ValueError for bad arguments, an even n of a Fourier measure,
    an argument that the measure does not have.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import basis_eval
        >>> print(basis_eval(jnp.array(0.5), measure="legs", n=3, norm="lmu"))
        [ 1.     0.5   -0.125]
    """
    name = "basis_eval"
    checks.array(name, "s", s)
    check_measure(name, measure, n, norm)
    check_options(name, measure, kappa=kappa, alpha=alpha)
    dtype = numerics.accumulation_dtype(s)
    rows = _rows(jnp.asarray(s, dtype), measure, n, kappa, alpha, norm)
    values = jnp.moveaxis(rows, 0, -1)
    return values if measure in COMPLEX else values.astype(s.dtype)


def reconstruct(
    coef: jax.Array,
    s: jax.Array,
    *,
    measure: str,
    kappa: float = 0.5,
    alpha: float = 0.0,
    norm: str = "hippo",
) -> jax.Array:
    """The signal at places s of the past, from its coefficients.

    u(t_T(s)) = sum_i c_i h_i(s), h of ``basis_eval``; ``basis_coordinate`` gives the s
    of an age.

    Shapes: coef [..., n], complex for "fourier" and "fourier_all"; s [q] or [..., q]
    -> [..., q] of the dtype of coef.
    Article: kexue.fm/archives/10114.  Paper: arXiv 2008.07669.
    Differs: no. The Fourier sum of a real signal is real but for rounding and
    truncation: take its ``.real``.
    Cost: O(n q) for each row of coef, the functions once for an s [q].
    Raises: TypeError or ValueError for shapes that do not fit, dtypes that do not
    suit the measure, an argument that the measure does not have.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import reconstruct
        >>> c, s = jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.0, 1.0])
        >>> print(reconstruct(c, s, measure="legs", norm="lmu"))
        [1. 2. 3.]
    """
    name = "reconstruct"
    checks.choice(name, "measure", measure, MEASURES)
    checks.array(name, "coef", coef, "complex" if measure in COMPLEX else "floating")
    checks.array(name, "s", s)
    shared = np.ndim(s) == 1
    pattern = "q" if shared else "*lead q"
    checks.shapes(name, coef=(coef, "*lead n"), s=(s, pattern))
    n = coef.shape[-1]
    check_measure(name, measure, n, norm, "coef")
    check_options(name, measure, kappa=kappa, alpha=alpha)
    dtype = jnp.finfo(numerics.accumulation_dtype(coef)).dtype
    rows = _rows(jnp.asarray(s, dtype), measure, n, kappa, alpha, norm)
    letters = "...n,nq->...q" if shared else "...n,n...q->...q"
    wide = coef.astype(rows.dtype)
    sums = jnp.einsum(letters, wide, rows, precision=lax.Precision.HIGHEST)
    return sums.astype(coef.dtype)


def basis_coordinate(
    lag: jax.Array, *, measure: str, window: float = 1.0, power: float = 1.0
) -> jax.Array:
    """The place s on a measure's interval of what lies ``lag`` before now.

    "legt" 1 - 2 lag / window; "legs" 2 (1 - lag / window)^(1 / power) - 1, window the
    time T since the start; "s4" (the matrix of "legs" without the 1 / t) 2 e^(-lag /
    window) - 1; "lagt" lag / window; "fourier", "fourier_real" and "fourier_all" 1 -
    lag / window, window T in the last.

    Shapes: lag [...] -> [...].
    Article: kexue.fm/archives/10114 (10137).  Paper: arXiv 2008.07669.
    Differs: no.
    Cost: O(1) an entry.
    Raises: TypeError or ValueError for bad arguments, a power of another measure than
    "legs".
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import basis_coordinate
        >>> print(basis_coordinate(jnp.array([0.0, 0.5, 1.0]), measure="legt"))
        [ 1.  0. -1.]
    """
    name = "basis_coordinate"
    checks.array(name, "lag", lag)
    checks.choice(name, "measure", measure, WARPS)
    for argument, value in (("window", window), ("power", power)):
        checks.number(name, argument, value, minimum=0, open_minimum=True)
    if power != 1 and measure != "legs":
        wanted = f"1.0, the measure {measure!r} having no power"
        raise checks.fail(name, "power", power, wanted)
    age = jnp.asarray(lag, numerics.accumulation_dtype(lag)) / window
    if measure == "lagt":
        s = age
    elif measure == "s4":
        s = 2 * jnp.exp(-age) - 1
    elif measure.startswith("fourier"):
        s = 1 - age
    elif power == 1:
        s = 1 - 2 * age
    else:
        inside = age < 1
        rest = jnp.where(inside, 1 - age, 1) ** (1 / power)
        s = jnp.where(inside, 2 * rest - 1, -1)
    return s.astype(lag.dtype)


def _rows(
    s: jax.Array, measure: str, n: int, kappa: float, alpha: float, norm: str
) -> jax.Array:
    """The basis functions ``[n, ...]`` at s, in at least float32."""
    if measure in COMPLEX:
        return jnp.exp(2j * _outer(np.arange(n) - n // 2, jnp.pi * s))
    if measure == "fourier_real":
        return _real_fourier(s, n)
    scale = norm_scale(measure, n, norm, alpha)
    i = np.arange(n)
    if measure in LEGENDRE:
        return legendre_rows(s, n, scale * np.sqrt((2 * i + 1) / 2))
    start = jnp.exp(-(1 - kappa) * s) if kappa != 1 else jnp.ones_like(s)
    start = start * s**alpha if alpha else start
    steps = (-1 / (i + 1), (2 * i + 1 + alpha) / (i + 1), (i + alpha) / (i + 1))
    return _times(_recurrence(s, start, *steps), 1 / scale)


def legendre_rows(s: jax.Array, n: int, factors: np.ndarray) -> jax.Array:
    """factors_i P_i(s), ``[n, ...]``, in the dtype of s."""
    left = s < 0
    return legendre_from_ends(jnp.where(left, 1 + s, 1 - s), left, n, factors)


def legendre_from_ends(
    distance: jax.Array, left: jax.Array, n: int, factors: np.ndarray
) -> jax.Array:
    """factors_i P_i at a distance from the end 1, or from -1 where ``left``.

    By the differences d_i = P_{i+1} - P_i at 1 - distance, (i + 1) d_i = i d_{i-1} -
    (2 i + 1) distance P_i: near the ends, where P_n changes by n^2 / 2 times the
    change of s, the rounding of s would cost its square more digits than this.
    """

    def step(pair: Any, numbers: Any) -> Any:
        value, change = pair
        back, slope = numbers
        change = back * change - slope * distance * value
        return (value + change, change), value

    i = np.arange(n)
    numbers = (i / (i + 1), (2 * i + 1) / (i + 1))
    numbers = tuple(jnp.asarray(part, distance.dtype) for part in numbers)
    start = jnp.ones_like(distance), jnp.zeros_like(distance)
    rows = _times(lax.scan(step, start, numbers)[1], factors)
    return jnp.where(left[None], _times(rows, (-1.0) ** i), rows)


def _recurrence(
    s: jax.Array, start: jax.Array, slope: Any, shift: Any, back: Any
) -> jax.Array:
    """f_0 = start, f_{i+1} = (slope_i s + shift_i) f_i - back_i f_{i-1}, stacked."""

    def step(pair: Any, numbers: Any) -> Any:
        last, before = pair
        a, b, c = numbers
        return ((a * s + b) * last - c * before, last), last

    numbers = tuple(jnp.asarray(part, s.dtype) for part in (slope, shift, back))
    return lax.scan(step, (start, jnp.zeros_like(start)), numbers)[1]


def _real_fourier(s: jax.Array, n: int) -> jax.Array:
    angle = _outer(np.arange(1, n // 2 + 1), 2 * jnp.pi * s)
    pairs = jnp.stack([jnp.cos(angle), jnp.sin(angle)], 1) * math.sqrt(2)
    return jnp.concatenate([jnp.ones_like(s)[None], pairs.reshape(n - 1, *s.shape)])


def _outer(numbers: np.ndarray, s: jax.Array) -> jax.Array:
    return _times(jnp.broadcast_to(s, (len(numbers), *s.shape)), numbers)


def _times(rows: jax.Array, factors: np.ndarray) -> jax.Array:
    column = jnp.asarray(factors, rows.dtype)
    return rows * column.reshape(-1, *(1,) * (rows.ndim - 1))
