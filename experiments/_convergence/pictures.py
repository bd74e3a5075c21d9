"""Figures: regret and bounds by step for each schedule, and what no theorem covers."""

from typing import Any

import numpy as np

from experiments._convergence.claims import Report, slope
from experiments._harness.figures import curves
from experiments._harness.workdir import Run

CURVES = {
    "average regret": "regret",
    "bound of the run": "trajectory",
    "theorem": "theorem",
}

STEPS = "steps of the longest horizon (exponents: over horizons, at their ends)"


def draw(run: Run, report: Report) -> None:
    """All figures of a run."""
    places = points(report.horizon)
    together: dict[str, Any] = {}
    for name in report.runs:
        last = report.last(name)
        shown: dict[str, Any] = {}
        for label, kind in CURVES.items():
            values = getattr(last, kind).mean(0)[places]
            fitted = slope(report.runs[name], kind).mean()
            shown[f"{label}, T^{fitted:.2f}"] = positive(places + 1, values)
        fitted = slope(report.runs[name], "regret").mean()
        regret = last.regret.mean(0)[places]
        together[f"{name}, T^{fitted:.2f}"] = positive(places + 1, regret)
        curves(
            run.path(f"regret_{name}.png"),
            shown,
            xlabel=STEPS,
            ylabel=f"{name}: average excess loss",
            log_x=True,
            log_y=True,
        )
    reference = places + 1, report.last(next(iter(report.runs))).theorem.mean(0)[-1]
    scale = np.sqrt(report.horizon / (places + 1))
    together["T^(-1/2)"] = reference[0], reference[1] * scale
    curves(
        run.path("regret.png"),
        together,
        xlabel=STEPS,
        ylabel="average regret, mean of the seeds",
        log_x=True,
        log_y=True,
    )
    outside: dict[str, Any] = {}
    for name, found in report.networks.items():
        own = points(len(found.losses))
        outside[f"{name}: mean loss"] = own + 1, found.losses[own]
        outside[f"{name}: bound of the run"] = positive(own + 1, found.trajectory[own])
        outside[f"{name}: regret"] = positive(own + 1, found.regret[own])
    curves(
        run.path("network_not_convex.png"),
        outside,
        xlabel="steps (two layers: outside the assumptions)",
        ylabel="nats",
        log_x=True,
        log_y=True,
    )


def points(length: int) -> np.ndarray:
    """Places 0..length - 1, evenly spread over their logarithm."""
    return np.unique(np.geomspace(1, length, 200).astype(int)) - 1


def positive(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The curve with gaps where a logarithm has none."""
    return x, np.where(y > 0, y, np.nan)
