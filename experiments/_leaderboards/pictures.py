"""Ranks over the order of the mean, and with a task left out."""

from typing import Any

import numpy as np

from experiments._harness.figures import bars, curves
from experiments._harness.workdir import Run
from experiments._leaderboards.claims import Report
from experiments._leaderboards.measures import HUMAN, NAMES


def draw(run: Run, report: Report) -> None:
    """All pictures."""
    for name in report.curves:
        for mixed in (False, True):
            _ranks(run, report, name, mixed)
    _human(run, report)
    for name in ("glue_2021", "superglue_2022"):
        _left_out(run, report, name)


def _ranks(run: Run, report: Report, name: str, mixed: bool) -> None:
    """Rank over p, one curve a system, shifted a little so that none hides another."""
    found, table = report.curves[name], report.tables[name]
    ranks = found.mixed if mixed else found.same
    lines: dict[str, Any] = {
        system: (found.orders, ranks[:, i] + 0.06 * (i - len(table.systems) / 2))
        for i, system in enumerate(table.systems)
    }
    kind = "all that a row reports" if mixed else "the official tasks"
    path = run.path(f"ranks_{name}_{'mixed' if mixed else 'same'}.png")
    label = f"rank over {kind}"
    curves(path, lines, xlabel="order p of the mean", ylabel=label, beside=True)


def _human(run: Run, report: Report) -> None:
    """The human's rank over p, on one set of tasks and on mixed sets."""
    lines: dict[str, Any] = {}
    for name, found in report.curves.items():
        for mixed in (False, True):
            label = f"{name}, {'mixed' if mixed else 'same'} tasks"
            lines[label] = found.orders, report.human_curve(name, mixed)
    path = run.path("human.png")
    label = "rank of the human"
    curves(path, lines, xlabel="order p of the mean", ylabel=label, beside=True)


def _left_out(run: Run, report: Report, name: str) -> None:
    """The human's rank with each task left out, by mean."""
    table, left = report.tables[name], report.moves[name].left_out
    place = table.systems.index(HUMAN)
    groups: dict[str, dict[str, Any]] = {
        mean: {
            f"no {task}": np.array([float(left[i, j, place])])
            for j, task in enumerate(table.tasks[: table.official])
        }
        for i, mean in enumerate(NAMES)
    }
    bars(run.path(f"left_out_{name}.png"), groups, ylabel="rank of the human")
