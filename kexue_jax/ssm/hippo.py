"""HiPPO matrices: how the coefficients of an expansion of the past move with time.

A warp s -> t_T(s) lays the past before T on an interval, where it is expanded in a
basis g_n. Its coefficients c_n(T) = int u(t_T(s)) g_n(s) ds obey c' = A c + B u ("legs"
and "fourier_all": c' = (A c + B u) / T, their interval being all of the past). All
matrices are built in float64 NumPy and cast once.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks

MEASURES = ("legt", "legs", "lagt", "fourier", "fourier_real", "fourier_all")
NORMS = ("orthonormal", "hippo", "lmu")
LEGENDRE = ("legt", "legs")
WINDOWS = ("legt", "lagt", "fourier", "fourier_real")
COMPLEX = ("fourier", "fourier_all")


class HippoMatrices(NamedTuple):
    """The matrices of c' = A c + B u, or of c' = (A c + B u) / t for all the past.

    a [n, n], b [n]. Article: kexue.fm/archives/10114.
    """

    a: jax.Array
    b: jax.Array


def hippo_matrices(
    *,
    measure: str,
    n: int,
    window: float = 1.0,
    kappa: float = 0.5,
    alpha: float = 0.0,
    power: float = 1.0,
    norm: str = "hippo",
    dtype: Any = jnp.float32,
) -> HippoMatrices:
    """The HiPPO matrices A and B of a measure.

    With r_i = sqrt(2 i + 1) and "orthonormal" coefficients, i and k from 0 to n - 1:
    "legt" A = -(r_i r_k / window) (1 if k < i else (-1)^(i - k)), B = sqrt(2) r_i /
    window; "legs" A = -(r_i r_k if k < i, i + 1 if k = i, 0 if k > i) / power, B =
    sqrt(2) r_i / power; "lagt" A = -(1 if k < i, kappa if k = i, 0 if k > i) / window,
    B = binomial(i + alpha, i) / window; "fourier", i and k from -M to M, n = 2 M + 1,
    A = (2 pi 1j i [i = k] - 2) / window, B = 2 / window, and "fourier_real" the same
    for 1, sqrt(2) cos, sqrt(2) sin, ... in turn; "fourier_all" A = -i / (i - k), k !=
    i, and 1j pi i - 1, B = 1. "legs" and "fourier_all" stand in c' = (A c + B u) / t,
    and "legs" without the 1 / t is S4's matrix.

    c = lambda c~ makes A~ = A lambda_k / lambda_i, B~ = B / lambda_i: for "legt" and
    "legs" ``norm`` "hippo" is lambda = sqrt(2) (B = r_i), "lmu" is lambda_i = sqrt(2 /
    (2 i + 1)) (B = 2 i + 1); "lagt" is divided by the norms of the generalized
    Laguerre polynomials, all 1 at alpha = 0.

    Shapes: -> HippoMatrices(a [n, n], b [n]), complex for "fourier", "fourier_all".
    Article: kexue.fm/archives/10114 (10137).  Paper: arXiv 2008.07669, 2206.12037;
    "lmu": Voelker et al., Legendre Memory Units, NeurIPS 2019.
    Differs: the article closes the Fourier window with u(T - window) = sum c_k, but
    a series there converges to the mean of both ends: 2, as in 2206.12037, stands
    where it prints 1. Its lambda of LMU is sqrt(2) times that of the matrices it
    prints. The original LMU reverses time: S A S, S B with S = diag((-1)^i). Public
    code takes window 2 and calls kappa (1 + beta) / 2. ``power`` p is the warp
    T ((s + 1) / 2)^p, not worked out in the article.
    Cost: O(n^2) in float64 on the host.
    Raises: TypeError or ValueError for bad arguments, an even n of a Fourier measure,
    an argument that the measure does not have.
    Example:
        >>> from kexue_jax.ssm import hippo_matrices
        >>> a, b = hippo_matrices(measure="lagt", n=2, kappa=1.0)
        >>> print(a[1], b)
        [-1. -1.] [1. 1.]
    """
    name = "hippo_matrices"
    check_measure(name, measure, n, norm)
    check_options(name, measure, window=window, kappa=kappa, alpha=alpha, power=power)
    checks.float_dtype(name, "dtype", dtype)
    a, b = plain_matrices(measure, n, kappa, alpha)
    speed = window * power  # a measure has at most one of them
    scale = norm_scale(measure, n, norm, alpha)
    a, b = a * (scale / scale[:, None]) / speed + 0.0, b / scale / speed
    if measure in COMPLEX:
        dtype = jnp.promote_types(jnp.dtype(dtype), jnp.complex64)
    return HippoMatrices(jnp.asarray(a, dtype), jnp.asarray(b, dtype))


def plain_matrices(
    measure: str, n: int, kappa: float, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """A and B of ``hippo_matrices`` for "orthonormal" and window = power = 1."""
    if measure == "lagt":
        return _lagt(n, kappa, alpha)
    return {
        "legt": _legt,
        "legs": _legs,
        "fourier": _fourier,
        "fourier_real": _fourier_real,
        "fourier_all": _fourier_all,
    }[measure](n)


def check_measure(
    function: str, measure: Any, n: Any, norm: Any, argument: str = "n"
) -> None:
    """Raise unless the measure is known, has the norm and a basis of size n.

    ``argument`` is the name of n, or of the array whose last axis it is.
    """
    checks.choice(function, "measure", measure, MEASURES)
    if argument == "n":
        checks.count(function, "n", n)
    elif n < 1:
        raise checks.fail(function, argument, "none", "of at least 1 coefficient")
    checks.choice(function, "norm", norm, NORMS)
    if norm == "lmu" and measure not in LEGENDRE:
        wanted = f"'orthonormal' or 'hippo' (the same) for the measure {measure!r}"
        raise checks.fail(function, "norm", repr(norm), wanted)
    if measure.startswith("fourier") and n % 2 == 0:
        wanted = f"of odd size, 2 M + 1, for the measure {measure!r}"
        raise checks.fail(function, argument, n, wanted)


def check_options(function: str, measure: str, **options: Any) -> None:
    """Raise unless each of window, kappa, alpha, power is a number the measure has."""
    owners = {
        "window": (WINDOWS, 1.0, 0.0),
        "kappa": (("lagt",), 0.5, 0.0),
        "alpha": (("lagt",), 0.0, -1.0),
        "power": (("legs",), 1.0, 0.0),
    }
    for argument, value in options.items():
        measures, default, least = owners[argument]
        limits: dict[str, Any] = {"minimum": least, "open_minimum": True}
        checks.number(function, argument, value, **limits)
        if measure not in measures and value != default:
            wanted = f"{default}, the measure {measure!r} having no {argument}"
            raise checks.fail(function, argument, value, wanted)


def norm_scale(measure: str, n: int, norm: str, alpha: float) -> np.ndarray:
    """lambda_i [n] in c = lambda c~, from the coefficients of the plain matrices.

    For "legt" and "legs" these are the orthonormal ones; for "lagt" the inner products
    with the Laguerre polynomials themselves.
    """
    i = np.arange(n)
    if measure in LEGENDRE:
        if norm == "lmu":
            return np.sqrt(2 / (2 * i + 1))
        return np.full(n, math.sqrt(2) if norm == "hippo" else 1.0)
    if measure == "lagt" and alpha:
        return laguerre_norms(n, alpha)
    return np.ones(n)


def laguerre_norms(n: int, alpha: float) -> np.ndarray:
    """sqrt(Gamma(i + alpha + 1) / i!), the norms of the Laguerre polynomials [n]."""
    logs = [math.lgamma(i + alpha + 1) - math.lgamma(i + 1) for i in range(n)]
    return np.exp(np.array(logs) / 2)


def _legt(n: int) -> tuple[np.ndarray, np.ndarray]:
    i = np.arange(n)
    r = np.sqrt(2 * i + 1)
    signs = np.where(i < i[:, None], 1.0, (-1.0) ** (i[:, None] - i))
    return -np.outer(r, r) * signs, math.sqrt(2) * r


def _legs(n: int) -> tuple[np.ndarray, np.ndarray]:
    i = np.arange(n)
    r = np.sqrt(2 * i + 1)
    return -np.tril(np.outer(r, r), -1) - np.diag(i + 1.0), math.sqrt(2) * r


def _lagt(n: int, kappa: float, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    a = -np.tril(np.ones((n, n)), -1) - kappa * np.eye(n)
    steps = 1 + alpha / np.arange(1, n)  # binomial(i + alpha, i) by factors
    return a, np.cumprod(np.concatenate([[1.0], steps]))


def _fourier(n: int) -> tuple[np.ndarray, np.ndarray]:
    i = np.arange(n) - n // 2
    return 2j * np.pi * np.diag(i) - 2.0, np.full(n, 2.0 + 0j)


def _fourier_real(n: int) -> tuple[np.ndarray, np.ndarray]:
    p = np.zeros(n)
    p[0], p[1::2] = 1.0, math.sqrt(2)
    turn = np.zeros(n - 1)
    turn[1::2] = 2 * np.pi * np.arange(1, n // 2 + 1)
    return np.diag(turn, 1) - np.diag(turn, -1) - 2 * np.outer(p, p), 2 * p


def _fourier_all(n: int) -> tuple[np.ndarray, np.ndarray]:
    i = np.arange(n) - n // 2
    apart = i[:, None] - i + np.eye(n)
    a = -i[:, None] / apart * (1 - np.eye(n)) + np.diag(1j * np.pi * i - 1)
    return a, np.ones(n, complex)
