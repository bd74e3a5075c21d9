"""Figures: profiles before and after training, addends, accuracies, losses."""

from typing import Any

import numpy as np

from experiments._harness.figures import bars, curves
from experiments._harness.workdir import Run
from experiments._rnn.claims import Report
from experiments._rnn.networks import UNGATED


def draw(run: Run, report: Report) -> None:
    """All figures of a run."""
    _starts(run, report)
    _trained(run, report)
    _addends(run, report)
    scores = {
        "": {
            _name(cell, bias): report.of("long", cell, bias, "score").tolist()
            for cell in report.long
            for bias in report.biases(cell)
        }
    }
    bars(run.path("accuracy.png"), scores, ylabel="accuracy on the long task")
    gates = {
        task: {
            _name(cell, bias): report.of(task, cell, bias, "keep").tolist()
            for cell in report.long
            if cell not in UNGATED
            for bias in report.biases(cell)
        }
        for task in ("long", "local")
    }
    if gates["long"]:
        bars(run.path("gates.png"), gates, ylabel="mean gate that keeps, trained")


def _name(cell: str, bias: float) -> str:
    return cell if cell in UNGATED else f"{cell} {bias:g}"


def _starts(run: Run, report: Report) -> None:
    """One diagram of all cells, and one of the biases of each."""
    for title, keep in (
        ("profile_start", lambda bias, scale: scale == 1.0 and bias == 0),
        ("profile_scaled", lambda bias, scale: scale != 1.0),
        ("profile_biases", lambda bias, scale: scale == 1.0 and bias > 0),
    ):
        series: dict[str, Any] = {}
        for (cell, bias, scale), profile in report.starts.items():
            if keep(bias, scale):
                name = _name(cell, bias) + (f", U x {scale:g}" if scale != 1 else "")
                steps = np.arange(1, profile.shape[1] + 1)
                series[name] = steps, np.exp(profile.mean(0))
        if series:
            curves(
                run.path(f"{title}.png"),
                series,
                xlabel="steps k between the states, before training",
                ylabel="norm of the derivative",
                log_y=True,
            )


def _trained(run: Run, report: Report) -> None:
    """Profiles after training, beside the product of the forget gates."""
    series: dict[str, Any] = {}
    for cell in report.long:
        bias = max(report.biases(cell), key=lambda b, c=cell: _accuracy(report, c, b))
        profile = report.of("long", cell, bias, "profile").mean(0)
        steps = np.arange(1, len(profile) + 1)
        series[_name(cell, bias)] = steps, np.exp(profile)
        if cell == "lstm":
            log_keep = report.of("long", cell, bias, "log_keep").mean()
            series["product of f"] = steps, np.exp(log_keep * steps)
    curves(
        run.path("profile_trained.png"),
        series,
        xlabel="steps k between the states, trained on the long task, best bias",
        ylabel="norm of the derivative",
        log_y=True,
    )


def _accuracy(report: Report, cell: str, bias: float) -> float:
    return float(report.of("long", cell, bias, "score").mean())


def _addends(run: Run, report: Report) -> None:
    groups: dict[str, dict[str, list[float]]] = {}
    for cell in report.long:
        if cell in UNGATED:
            continue
        for bias in report.biases(cell):
            terms = report.of("long", cell, bias, "terms")
            for number in range(terms.shape[1]):
                row = groups.setdefault(f"term {number + 1}", {})
                row[_name(cell, bias)] = terms[:, number].tolist()
    if groups:
        bars(
            run.path("addends.png"), groups, ylabel="mean size of the addends, trained"
        )
