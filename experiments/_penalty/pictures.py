"""Figures: ratios of both sides, penalties of trained networks, orders of descent."""

from typing import Any

import numpy as np

from experiments._harness.figures import curves
from experiments._harness.workdir import Run
from experiments._penalty.claims import Report
from experiments._penalty.flow import KINDS
from experiments._penalty.networks import NORMS

PENALTIES = {
    "mean |gradient by input|^2": "by_input",
    "mean |gradient by parameters|^2": "by_parameters",
}


def draw(run: Run, report: Report) -> None:
    """All figures of a run."""
    for state in dict.fromkeys(k[0] for k in report.ratios):
        series: dict[str, Any] = {}
        for norm in NORMS:
            values = [
                v for k, v in report.ratios.items() if k[0] == state and k[-1] == norm
            ]
            ordered = np.sort(np.concatenate(values))
            kept = np.linspace(0, len(ordered) - 1, 200).astype(int)
            series[norm] = (kept / max(len(ordered) - 1, 1), ordered[kept])
        series["bound"] = ([0, 1], [1, 1])
        curves(
            run.path(f"ratios_{state}.png"),
            series,
            xlabel=f"share of examples and networks ({state})",
            ylabel="left over right side",
            log_y=True,
        )
    penalties: dict[str, Any] = {}
    for kind, wanted in (("all rows, by rate", True), ("minibatches, by size", False)):
        chosen = [t for w, t in report.trained.items() if wanted == (w.batch_size == 0)]
        penalties[kind] = tuple(
            np.concatenate([getattr(t.measured, name)[t.reached] for t in chosen])
            for name in ("by_parameters", "by_input")
        )
    curves(
        run.path("penalties.png"),
        penalties,
        xlabel="mean |gradient by parameters|^2 of an example",
        ylabel="mean |gradient by input|^2",
        log_x=True,
        log_y=True,
        points=tuple(penalties),
    )
    by_rate(run, report)
    mean = {k: np.mean([d[k] for d in report.distances], axis=0) for k in KINDS}
    curves(
        run.path("flows.png"),
        {kind: (list(report.rates), values) for kind, values in mean.items()},
        xlabel="rate",
        ylabel="relative distance of descent from",
        log_x=True,
        log_y=True,
        markers=True,
    )


def by_rate(run: Run, report: Report) -> None:
    """Penalties at one loss by the rate, over those of the same seeds at the first."""
    ways = sorted(way for way in report.trained if not way.batch_size)
    series: dict[str, Any] = {}
    for label, name in PENALTIES.items():
        found = np.stack([getattr(report.trained[w].measured, name) for w in ways])
        found = np.where([report.trained[w].reached for w in ways], found, np.nan)
        ratios = found / found[0]
        rates = [way.rate for way in ways]
        series[label] = rates, ratios.mean(1)
        each = f"{label}, each seed"
        series[each] = np.repeat(rates, ratios.shape[1]), ratios.ravel()
    curves(
        run.path("by_rate.png"),
        series,
        xlabel="rate of descent on all rows",
        ylabel="at the same loss, over that at the first rate",
        log_x=True,
        log_y=True,
        points=[label for label in series if label.endswith("each seed")],
    )
