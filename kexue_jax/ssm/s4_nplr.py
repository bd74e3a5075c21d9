"""HiPPO matrices as a normal matrix less one of low rank, in the normal one's basis."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks
from kexue_jax.ssm.hippo import (
    check_measure,
    check_options,
    norm_scale,
    plain_matrices,
)
from kexue_jax.ssm.modes import check_complex_dtype


class Nplr(NamedTuple):
    """A v = v (diag(lam) - p p^H) and B = v b: lam, b [n], p [n, r], v [N, n].

    All n = N modes, or of each conjugate pair that with the positive imaginary part.
    """

    lam: jax.Array
    p: jax.Array
    b: jax.Array
    v: jax.Array


def nplr(
    *,
    measure: str,
    n: int,
    window: float = 1.0,
    kappa: float = 0.5,
    alpha: float = 0.0,
    power: float = 1.0,
    norm: str = "hippo",
    half: bool = False,
    dtype: Any = jnp.complex64,
) -> Nplr:
    """The normal and low-rank parts of a HiPPO matrix, in the normal part's basis.

    A = v (diag(lam) - p p^H) v^-1. With l l^T + s I added A is skew: "legs" l = r /
    sqrt(2), r_i = sqrt(2 i + 1), s = 1/2; "legt" l of two columns, r at even and at odd
    i (rank 2), s = 0; "lagt" l = 1 / sqrt(2), s = kappa - 1/2; the Fourier windows l =
    sqrt(2) (1, sqrt(2), 0, sqrt(2), 0, ...) or, complex, sqrt(2), s = 0; "fourier_all"
    l = 1 / sqrt(2), s = 1/2. lam = -s + i (eigenvalues of the skew part), p = v^H l.
    v is unitary but for a ``norm`` that scales rows differently ("lmu", "lagt" with
    alpha): then v = lambda^-1 v. An output c x of the HiPPO state is (c v) x here.

    Shapes: -> Nplr(lam [m], p [m, r], b [m], v [n, m]), m = n, or n / 2 with ``half``.
    Article: kexue.fm/archives/10162.  Paper: arXiv 2111.00396, 2206.12037.
    Differs: the article has LegS; that "fourier_all" is of the form too, with rank 1,
    is noted in neither. One eigh in float64 on the host (jnp.linalg.eig exists on CPU
    alone); never of A itself, whose eigenvectors lose 19 digits at n = 32.
    Cost: O(n^3) on the host.
    Raises: TypeError or ValueError for bad arguments, ``half`` for an odd n.
    Example:
        >>> from kexue_jax.ssm import nplr
        >>> lam, p, b, v = nplr(measure="legs", n=4, half=True)
        >>> print(lam.real, p.shape, v.shape)
        [-0.5 -0.5] (2, 1) (4, 2)
    """
    name = "nplr"
    check_measure(name, measure, n, norm)
    check_options(name, measure, window=window, kappa=kappa, alpha=alpha, power=power)
    checks.flag(name, "half", half)
    check_complex_dtype(name, dtype)
    if half and n % 2:
        wanted = "False for an odd n, which has a mode without a partner"
        raise checks.fail(name, "half", "True", wanted)
    rank, shift = _low_rank(measure, n, kappa)
    frequencies, v = np.linalg.eigh(-1j * _skew(measure, n))
    if half:
        frequencies, v = frequencies[n // 2 :], v[:, n // 2 :]
    scale = power * window  # a measure has at most one of them
    lam = (-shift + 1j * frequencies) / scale
    p = v.conj().T @ rank / math.sqrt(scale)
    weights = norm_scale(measure, n, norm, alpha)
    b = v.conj().T @ plain_matrices(measure, n, kappa, alpha)[1] / scale
    if np.ptp(weights) == 0:
        b = b / weights[0]  # v stays unitary
    else:
        v = v / weights[:, None]
    return Nplr(*(jnp.asarray(part, dtype) for part in (lam, p, b, v)))


def _skew(measure: str, n: int) -> np.ndarray:
    """A + l l^T + s I for window = power = 1: its lower triangle, and less that."""
    i, k = np.arange(n)[:, None], np.arange(n)
    r = np.sqrt(2 * i + 1)
    if measure == "legs":
        lower = -r * r.T / 2
    elif measure == "legt":
        lower = -r * r.T * ((i + k) % 2)
    elif measure == "lagt":
        lower = np.full((n, n), -0.5)
    elif measure == "fourier_real":
        lower = -2 * np.pi * (i // 2) * ((k == i - 1) & (i % 2 == 0))
    elif measure == "fourier":
        return 2j * np.pi * np.diag(k - n // 2)
    else:
        m = i - n // 2
        off = 0.5 - m / (i - k + np.eye(n))
        return off * (1 - np.eye(n)) + 1j * np.pi * np.diag(m[:, 0])
    lower = np.tril(lower, -1)
    return lower - lower.T


def _low_rank(measure: str, n: int, kappa: float) -> tuple[np.ndarray, float]:
    """l [n, r] and s such that A + l l^T + s I is skew, for window = power = 1."""
    r = np.sqrt(2 * np.arange(n) + 1)
    if measure == "legs":
        return r[:, None] / math.sqrt(2), 0.5
    if measure == "legt":
        return r[:, None] * (np.arange(n)[:, None] % 2 == np.arange(2)), 0.0
    if measure == "lagt":
        return np.full((n, 1), math.sqrt(0.5)), kappa - 0.5
    if measure == "fourier_all":
        return np.full((n, 1), math.sqrt(0.5)), 0.5
    ones = np.ones((n, 1))
    if measure == "fourier_real":
        ones[1::2], ones[2::2] = math.sqrt(2), 0.0
    return math.sqrt(2) * ones, 0.0
