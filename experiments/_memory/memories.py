"""What each memory keeps of a series, and what can be read off it afterwards.

A memory is linear: its n coefficients after the last sample are a matrix [length, n]
times the series. That matrix says all: the coefficients, how much each sample of the
past still counts, and what a read-out gives.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax import ssm

STEPS = (
    "forward",
    "backward",
    "bilinear",
    "frozen_bilinear",
    "ln_weight",
    "trapezoid",
    "log_bilinear",
    "exact",
)
HELD = ("forward", "backward", "bilinear", "zoh")
MEASURES = ("legs", "legt", "lagt", "fourier_real", "s4")
ENDLESS = ("lagt", "s4")  # whose functions reach back beyond the window
NAMES = {
    "legs": "LegS",
    "legt": "LegT",
    "lagt": "LagT",
    "fourier_real": "Fourier",
    "s4": "S4 (LegS, fixed clock)",
}


class Memory(NamedTuple):
    """The matrix [length, n] of a memory, and how to read it.

    ``reach`` is the age in samples that its read-out goes back to.
    """

    measure: str
    matrix: np.ndarray
    window: float
    reach: int

    def coefficients(self, signals: np.ndarray) -> np.ndarray:
        """[channels, n] of signals [channels, length]."""
        return signals @ self.matrix

    def influence(self) -> np.ndarray:
        """How far one unit at an age moves the coefficients, youngest first."""
        return np.linalg.norm(self.matrix, axis=1)[::-1]

    def reads(self, signals: np.ndarray) -> np.ndarray:
        """The last ``reach`` samples as read off the coefficients, oldest first."""
        ages = jnp.asarray(np.arange(self.reach)[::-1] + 0.5)
        s = ssm.basis_coordinate(ages, measure=self.measure, window=self.window)
        measure = "legs" if self.measure == "s4" else self.measure
        coef = jnp.asarray(self.coefficients(signals))
        return np.asarray(_read(coef, s, measure=measure))


_read = jax.jit(ssm.reconstruct, static_argnames="measure")
_zoh = jax.jit(ssm.discretize, static_argnames="method")


@functools.partial(jax.jit, static_argnames="length")
def _powers(a: jax.Array, b: jax.Array, *, length: int) -> jax.Array:
    """a^l b, the youngest sample last: [length, n]."""
    _, rows = jax.lax.scan(lambda x, _: (a @ x, x), b, length=length)
    return rows[::-1]


@functools.partial(jax.jit, static_argnames=("n", "method"))
def legs_end(u: jax.Array, *, n: int, method: str) -> jax.Array:
    """The coefficients of LegS after the last sample of u [..., length]."""
    return ssm.legs_scan(u, n=n, method=method).state.x


@functools.partial(jax.jit, static_argnames="n")
def projected(u: jax.Array, *, n: int) -> jax.Array:
    """The best coefficients of the history u [..., length]."""
    return ssm.legs_project(u, n=n)


def clock(measure: str, n: int, window: float) -> float:
    """The window or time scale in samples that ``n`` functions are given.

    For LagT a share 1 / n of the window: its functions reach to about 4 n time scales,
    so that they fade out over four windows. For S4, the Legendre functions of e^-age,
    whose n zeros lie up to about 2 ln n back, the window over ln n.
    """
    if measure == "lagt":
        return window / n
    if measure == "s4":
        return float(window / np.log(n))
    return float(window)


def size_of(measure: str, n: int) -> int:
    """The number of coefficients: odd for a Fourier basis."""
    return n + 1 if measure.startswith("fourier") else n


def memory(measure: str, n: int, length: int, window: int, method: str) -> Memory:
    """The memory of a measure, kept up to date by ``method``."""
    if measure == "legs":
        eye = jnp.eye(length)
        whole = projected(eye, n=n) if method == "exact" else None
        if whole is None:
            whole = legs_end(eye, n=n, method=method)
        return Memory(measure, np.asarray(whole), length, length)
    matrices: Any = {"measure": "legs" if measure == "s4" else measure}
    a, b = ssm.hippo_matrices(n=size_of(measure, n), dtype=jnp.float64, **matrices)
    return _held(measure, a, b, clock(measure, n, window), length, window, method)


def article_fourier(n: int, length: int, window: int) -> Memory:
    """The Fourier window as the article prints it, with 1 in the place of 2."""
    a, b = ssm.hippo_matrices(measure="fourier_real", n=n + 1, dtype=jnp.float64)
    one_a, one_b = a + jnp.outer(b, b) / 4, b / 2  # A = rotation - b b^T / 2
    return _held("fourier_real", one_a, one_b, float(window), length, window, "zoh")


def _held(
    measure: str, a: Any, b: Any, scale: float, length: int, window: int, method: str
) -> Memory:
    found = _zoh(a, b, 1 / scale, method=method)
    matrix = _powers(found.a, found.b, length=length)
    return Memory(measure, np.asarray(matrix), scale, window)


def window_projection(measure: str, n: int, window: int) -> np.ndarray:
    """The matrix [window, n] of the best coefficients of LegT or the Fourier window."""
    if measure == "legt":
        return np.asarray(projected(jnp.eye(window), n=n))
    edges = np.arange(window + 1) / window
    order = np.arange(1, n // 2 + 1)
    angle = 2 * np.pi * np.outer(edges, order)
    waves = np.stack([np.sin(angle), -np.cos(angle)], -1) / (2 * np.pi * order)[:, None]
    integrals = np.sqrt(2) * waves.reshape(len(edges), -1)
    return np.diff(np.concatenate([edges[:, None], integrals], 1), axis=0)


def relative(error: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Root mean square of the error over that of what is exact, one a channel."""
    return np.sqrt((error**2).mean(-1) / (exact**2).mean(-1))
