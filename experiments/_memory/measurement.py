"""All that is measured of the memories on one series."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._memory import memories
from experiments._memory.memories import ENDLESS, HELD, MEASURES, STEPS, relative
from kexue_jax import ssm

PARTS = 5
REPEATS = (1, 3)
SINGLE = ("forward", "bilinear", "trapezoid", "exact")
Errors = np.ndarray  # one a channel


class Report(NamedTuple):
    """Errors by what they are of; n are sizes, the largest where none is named.

    fits: (measure, n), of the read-out over its reach. steps: (method, n), of the
    coefficients of LegS against the projection; held: (measure, method, n), of those
    of a window. parts: measure, of the read-out by parts of the history, oldest first
    [PARTS, channels]. older: measure, the share of the influence of samples older than
    the window. rates: (memory, repeats), the change of the coefficients where each
    sample is held longer. fourier: (factor, n), of the coefficients. single: method,
    whether LegS in float32 ended finite, one a channel.
    """

    fits: dict[tuple[str, int], Errors]
    steps: dict[tuple[str, int], Errors]
    held: dict[tuple[str, str, int], Errors]
    parts: dict[str, np.ndarray]
    older: dict[str, float]
    rates: dict[tuple[str, int], Errors]
    fourier: dict[tuple[int, int], Errors]
    single: dict[str, Errors]
    influence: dict[str, np.ndarray]
    reads: dict[tuple[str, int], np.ndarray]


def measure(signals: np.ndarray, sizes: Sequence[int], window: int) -> Report:
    """Everything, in float64 but for ``single``."""
    single = _single(signals, max(sizes))
    with jax.enable_x64(True):
        report = Report({}, {}, {}, {}, {}, {}, {}, single, {}, {})
        for n in sizes:
            _of_size(report, signals, n, window)
        _rates(report, signals, max(sizes), window)
    return report


def _of_size(report: Report, signals: np.ndarray, n: int, window: int) -> None:
    length = signals.shape[-1]
    best = np.asarray(memories.projected(jnp.asarray(signals), n=n))
    for method in STEPS:
        found = memories.legs_end(jnp.asarray(signals), n=n, method=method)
        report.steps[method, n] = relative(np.asarray(found) - best, best)
    for measure in MEASURES:
        method = "exact" if measure == "legs" else "zoh"
        kept = memories.memory(measure, n, length, window, method)
        read = kept.reads(signals)
        exact = signals[:, length - kept.reach :]
        report.fits[measure, n] = relative(read - exact, exact)
        report.reads[measure, n] = read
        report.influence[measure] = kept.influence()
        energy = kept.influence() ** 2
        report.older[measure] = float(energy[window:].sum() / energy.sum())
        if measure in ENDLESS:
            read = kept._replace(reach=length).reads(signals)
        report.parts[measure] = _by_parts(read, signals)
    for measure in ("legt", "fourier_real"):
        size = memories.size_of(measure, n)
        target = signals[:, -window:] @ memories.window_projection(
            measure, size, window
        )
        for method in HELD:
            kept = memories.memory(measure, n, length, window, method)
            with np.errstate(over="ignore", invalid="ignore"):
                error = kept.coefficients(signals) - target
                report.held[measure, method, n] = relative(error, target)
        if measure == "fourier_real":
            report.fourier[2, n] = report.held[measure, "zoh", n]
            one = memories.article_fourier(n, length, window)
            error = one.coefficients(signals) - target
            report.fourier[1, n] = relative(error, target)


def _by_parts(read: np.ndarray, signals: np.ndarray) -> np.ndarray:
    """Errors by part of the history; what is before a window is read as 0."""
    whole = np.zeros_like(signals)
    whole[:, signals.shape[-1] - read.shape[-1] :] = read
    pairs = zip(
        np.array_split(whole - signals, PARTS, -1),
        np.array_split(signals, PARTS, -1),
        strict=True,
    )
    return np.stack([relative(*pair) for pair in pairs])


def _rates(report: Report, signals: np.ndarray, n: int, window: int) -> None:
    """LegS, and LegT at one clock, on the series at a slower and slower pace."""
    ends = {}
    for repeats in REPEATS:
        slow = np.repeat(signals, repeats, -1)
        for method in ("exact", "trapezoid"):
            end = np.asarray(memories.legs_end(jnp.asarray(slow), n=n, method=method))
            ends[f"LegS, {method}", repeats] = end
        kept = memories.memory("legt", n, slow.shape[-1], window, "zoh")
        ends["LegT, zoh", repeats] = kept.coefficients(slow)
    for (name, repeats), end in ends.items():
        if repeats > 1:
            first = ends[name, 1]
            report.rates[name, repeats] = relative(end - first, first)


def _single(signals: np.ndarray, n: int) -> dict[str, Errors]:
    """Whether every coefficient of LegS stayed finite in float32, 1 or 0 a channel."""
    low = jnp.asarray(signals, jnp.float32)
    scan = jax.jit(ssm.legs_scan, static_argnames=("n", "method"))
    coefs = {m: np.asarray(scan(low, n=n, method=m).coef) for m in SINGLE}
    return {m: np.isfinite(c).all((-2, -1)).astype(float) for m, c in coefs.items()}
