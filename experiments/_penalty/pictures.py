"""Figures: ratios of both sides, penalties of trained networks, orders of descent."""

from typing import Any

import numpy as np

from experiments._harness.figures import curves
from experiments._harness.workdir import Run
from experiments._penalty.claims import Report
from experiments._penalty.flow import KINDS
from experiments._penalty.networks import NORMS


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
        points = [
            (a, b)
            for t in chosen
            for a, b in zip(t.measured.by_parameters, t.measured.by_input, strict=True)
        ]
        penalties[kind] = tuple(zip(*sorted(points), strict=True))
    curves(
        run.path("penalties.png"),
        penalties,
        xlabel="mean |gradient by parameters|^2 of an example",
        ylabel="mean |gradient by input|^2",
        log_x=True,
        log_y=True,
        markers=True,
    )
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
