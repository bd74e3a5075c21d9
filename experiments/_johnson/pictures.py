"""Tables and figures of experiments.johnson_lindenstrauss."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments._harness.figures import curves
from experiments._harness.results import Table
from experiments._harness.workdir import Run
from experiments._johnson import capacity, sketches
from experiments._johnson.claims import Report
from experiments._johnson.distortions import ONE_HOT, exact_max, exact_mean


def tables(report: Report) -> list[Table]:
    """Distortions, recall, errors of sketches, shares of KL."""
    found = []
    for name, view in report.views.items():
        rows = [
            [family, n, *(float(part.mean()) for part in spread)]
            for family, sizes in view.items()
            for n, spread in sizes.items()
        ]
        columns = ["family", "n", "max |r - 1|", "mean |r - 1|", "std of r"]
        found.append(Table(f"Distortion of {name}, mean of the draws", columns, rows))
    rows = [
        [family, *(float(part.mean()) for part in spread)]
        for family, spread in report.one_hot.items()
    ]
    columns = ["family", "max |r - 1|", "mean |r - 1|", "std of r"]
    found.append(Table(f"Distortion of one-hot points, n = {ONE_HOT}", columns, rows))
    found.append(_by("Recall of the 10 nearest", report.search.recall))
    found.append(_by("Mean error of cosines of 0.5 to 0.95", report.search.bias))
    found.append(_by("Error of rank k, relative to |M|", report.sketches, "k"))
    rows = [
        [name, length, d, float(v[:, 0].mean()), float(v[:, 1].mean())]
        for name, lengths in report.capacity.items()
        for length, sizes in lengths.items()
        for d, v in sizes.items()
    ]
    columns = ["rows", "L", "d", "at the start", "after the fit"]
    found.append(Table("KL over that of uniform attention", columns, rows))
    enough = [
        [name, length, capacity.mark(length), *map(_number, _enough(sizes))]
        for name, lengths in report.capacity.items()
        for length, sizes in lengths.items()
    ]
    columns = ["rows", "L", "8.33 log L", "10 %", "1 %"]
    found.append(Table("d at which a share of the KL is left (mean)", columns, enough))
    return found


def _enough(sizes: Mapping[int, np.ndarray]) -> list[float]:
    return [float(capacity.enough(dict(sizes), at).mean()) for at in (0.1, 0.01)]


def _number(value: float) -> Any:
    return round(value, 1) if np.isfinite(value) else "more"


def _by(title: str, rows: Mapping[str, Any], letter: str = "size") -> Table:
    sizes = sorted({n for row in rows.values() for n in row})
    return Table(
        title,
        ["method", *(f"{letter} {n}" for n in sizes)],
        [
            [name, *(float(row[n].mean()) if n in row else None for n in sizes)]
            for name, row in rows.items()
        ],
    )


def draw(run: Run, report: Report, points: int) -> None:
    """Distortion by n and family, recall by size, errors by k, KL by d."""
    options: dict[str, Any] = {"log_x": True, "log_y": True, "markers": True}
    for name, view in report.views.items():
        for part, exact in (("max", None), ("mean", exact_mean)):
            lines: dict[str, Any] = {
                family: (
                    list(sizes),
                    [float(getattr(s, part).mean()) for s in sizes.values()],
                )
                for family, sizes in view.items()
            }
            ns = list(view["gaussian"])
            word = "exact law" if exact else "union bound, exact law, 1/2"
            law = [exact(n) if exact else exact_max(points, n) for n in ns]
            lines[word] = ns, law
            path = run.path(f"{part}_{name}.png")
            curves(path, lines, xlabel="n", ylabel=f"{part} |r - 1|", **options)
    recall = {
        name: (list(row), [float(v.mean()) for v in row.values()])
        for name, row in report.search.recall.items()
        if name != "sign hash, corrected"
    }
    xlabel = "dimensions, or bits"
    path = run.path("recall.png")
    curves(path, recall, xlabel=xlabel, ylabel="recall of 10", log_x=True, markers=True)
    errors = {
        name: (list(row), [float(v.mean()) for v in row.values()])
        for name, row in report.sketches.items()
        if name != sketches.correct(2)
    }
    path = run.path("sketches.png")
    curves(path, errors, xlabel="rank k", ylabel="relative error", **options)
    for name, lengths in report.capacity.items():
        shares: dict[str, Any] = {
            f"L = {length}": (
                list(sizes),
                [max(float(v[:, 1].mean()), 1e-7) for v in sizes.values()],
            )
            for length, sizes in lengths.items()
        }
        marks = [capacity.mark(length) for length in lengths]
        at = [
            max(float(lengths[n][d][:, 1].mean()), 1e-7)
            for n, d in zip(lengths, marks, strict=True)
        ]
        shares["d = 8.33 log L"] = marks, at
        curves(
            run.path(f"capacity_{name}.png"),
            shares,
            xlabel="d",
            ylabel="share of the KL left",
            points=("d = 8.33 log L",),
            **options,
        )
