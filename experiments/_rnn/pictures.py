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
    """One diagram of all cells, one of larger U, one of biases, one of an LSTM."""
    for title, keep in (
        ("profile_start", lambda bias, scale: scale == 1.0 and bias == 0),
        ("profile_scaled", lambda bias, scale: scale != 1.0),
        ("profile_biases", lambda bias, scale: scale == 1.0 and bias > 0),
    ):
        series: dict[str, Any] = {}
        for (cell, bias, scale), start in report.starts.items():
            if keep(bias, scale):
                name = _name(cell, bias) + (f", U x {scale:g}" if scale != 1 else "")
                series[name] = _curve(start.profile)
        _norms(run, title, series, "before training")
    series = {}
    for (cell, bias, _), start in report.starts.items():
        if cell == "lstm":
            series |= _beside(_name(cell, bias), *start[:3])
    _norms(run, "gates_start", series, "before training")


def _curve(logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps k and the geometric mean over seeds."""
    return np.arange(1, logs.shape[1] + 1), np.exp(logs.mean(0))


def _beside(name: str, profile: Any, product: Any, alone: Any) -> dict[str, Any]:
    """A profile beside the two products of gates."""
    return {
        name: _curve(profile),
        f"{name}: product of mean f": _curve(product),
        f"{name}: f alone, unit by unit": _curve(alone),
    }


def _norms(run: Run, title: str, series: dict[str, Any], when: str) -> None:
    if not series:
        return
    curves(
        run.path(f"{title}.png"),
        series,
        xlabel=f"steps k between the states, {when}",
        ylabel="norm of the derivative",
        log_y=True,
    )


def _trained(run: Run, report: Report) -> None:
    """Profiles after training; those of an LSTM beside products of its gates."""
    series: dict[str, Any] = {}
    for cell in report.long:
        bias = report.best(cell)
        series[_name(cell, bias)] = _curve(report.of("long", cell, bias, "profile"))
    _norms(run, "profile_trained", series, "trained on the long task")
    series = {}
    for bias in report.biases("lstm") if "lstm" in report.long else []:
        fields = ("profile", "product", "alone")
        found = [report.of("long", "lstm", bias, field) for field in fields]
        series |= _beside(_name("lstm", bias), *found)
    _norms(run, "gates_trained", series, "trained on the long task")


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
        bars(run.path("addends.png"), groups, ylabel="norms of the addends, trained")
