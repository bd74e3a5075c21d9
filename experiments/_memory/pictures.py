"""Figures: what is read back, errors by n and by age, influence, eigenvalues."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments._harness.figures import curves
from experiments._harness.workdir import Run
from experiments._memory.measurement import PARTS, Report
from experiments._memory.memories import MEASURES, NAMES, STEPS
from kexue_jax import ssm


def draw(run: Run, report: Report, signals: np.ndarray) -> None:
    """All figures of a run."""
    sizes = sorted({n for _, n in report.fits})
    _read_back(run, report, signals[0], sizes)
    curves(
        run.path("error_by_n.png"),
        {
            NAMES[m]: (sizes, [report.fits[m, n].mean() for n in sizes])
            for m in MEASURES
        },
        xlabel="coefficients n",
        ylabel="relative error of the read-out",
        log_y=True,
        markers=True,
    )
    steps = {
        method: (sizes, [_capped(report.steps[method, n]) for n in sizes])
        for method in STEPS
        if method != "exact"
    }
    curves(
        run.path("error_by_step.png"),
        steps,
        xlabel="coefficients n",
        ylabel="relative error of LegS's coefficients",
        log_y=True,
        markers=True,
    )
    parts = list(range(1, PARTS + 1))
    curves(
        run.path("error_by_age.png"),
        {NAMES[m]: (parts, report.parts[m].mean(-1).tolist()) for m in MEASURES},
        xlabel=f"part of the history (1 oldest, {PARTS} newest)",
        ylabel="relative error of the read-out",
        markers=True,
    )
    influence: dict[str, Any] = {
        NAMES[m]: (
            np.arange(len(v)) + 1,
            np.where(v < 1e-6 * v.max(), np.nan, v / v.max()),
        )
        for m, v in report.influence.items()
    }
    curves(
        run.path("influence.png"),
        influence,
        xlabel="age of a sample",
        ylabel="influence on the coefficients (largest = 1)",
        log_y=True,
    )
    _eigenvalues(run, min(max(sizes), 16))


def _capped(values: np.ndarray) -> float:
    """The mean, or a gap in the curve where it is beyond the picture."""
    mean = float(values.mean())
    return mean if mean < 10 else np.nan


def _read_back(run: Run, report: Report, signal: np.ndarray, sizes: list[int]) -> None:
    """The first channel, and what two sizes read back of it, one file a measure."""
    time, top = np.arange(len(signal)), 1.2 * np.abs(signal).max()
    for measure in MEASURES:
        series: dict[str, Any] = {"series": (time, signal)}
        for n in (sizes[len(sizes) // 2], sizes[-1]):
            read = report.reads[measure, n][0]
            series[f"n = {n}"] = (
                time[len(time) - len(read) :],
                np.clip(read, -top, top),
            )
        short = measure.removesuffix("_real")
        curves(
            run.path(f"reads_{short}.png"),
            series,
            xlabel="sample",
            ylabel=f"read off {NAMES[measure]}",
        )


def _eigenvalues(run: Run, n: int) -> None:
    """The eigenvalues of A in the complex plane, each measure at its own scale."""
    series: dict[str, Any] = {}
    for measure in ("legs", "legt", "lagt", "fourier_real", "fourier_all"):
        size = n + 1 if measure.startswith("fourier") else n
        with jax.enable_x64(True):
            a, _ = ssm.hippo_matrices(measure=measure, n=size, dtype=jnp.float64)
        values = np.linalg.eigvals(np.asarray(a))
        apart = np.full((size, 2), np.nan + 0j)  # a gap after each: points, no line
        apart[:, 0] = values
        name = {**NAMES, "fourier_all": "Fourier, all history"}[measure]
        series[name] = apart.real.ravel(), apart.imag.ravel()
    curves(
        run.path("eigenvalues.png"),
        series,
        xlabel=f"real part of the eigenvalues of A, n = {n}",
        ylabel="imaginary part",
        markers=True,
    )
