"""Pictures of games: samples, distances over steps, slopes."""

from typing import Any

import numpy as np

from experiments._gan.claims import Report
from experiments._gan.measures import MAIN
from experiments._gan.training import POINTS, RADII, Cell
from experiments._harness.figures import bars, curves, image_strip
from experiments._harness.workdir import Run

SIDE, EDGE, SHOWN = 56, 3.0, 12


def draw(run: Run, report: Report, shape: tuple[int, ...], num_steps: int) -> None:
    """All of them; curves and slopes of the last loss."""
    for task in report.tasks:
        if task == "ring":
            ring_samples(run, report)
        else:
            image_samples(run, report, shape)
        over_steps(run, report, task, num_steps)
        all_scores(run, report, task)
        slopes(run, report, task)


def density(samples: np.ndarray) -> np.ndarray:
    """Points as an image: [-1, 1], dark where many are."""
    edges = np.linspace(-EDGE, EDGE, SIDE + 1)
    inside = samples[np.isfinite(samples).all(1)]
    counts = np.histogram2d(inside[:, 1], inside[:, 0], (edges, edges))[0][::-1]
    return (1 - 2 * np.minimum(counts / 4, 1))[..., None]


def ring_samples(run: Run, report: Report) -> None:
    """Rows of methods, columns of losses, of the first seed."""
    rows = [
        [
            density(
                report.outcomes["ring", method].samples[Cell(loss, report.seeds[0])]
            )
            for loss in report.losses
        ]
        for method in report.methods
    ]
    image_strip(
        run.path("ring_samples.png"),
        np.array(rows),
        row_labels=report.methods,
        column_labels=list(report.losses),
    )


def image_samples(run: Run, report: Report, shape: tuple[int, ...]) -> None:
    """Rows of methods, of the last loss and the first seed."""
    cell = Cell(report.losses[-1], report.seeds[0])
    rows = [
        report.outcomes["images", method].samples[cell][:SHOWN].reshape(-1, *shape)
        for method in report.methods
    ]
    path = run.path("image_samples.png")
    image_strip(path, np.array(rows), row_labels=report.methods)


def over_steps(run: Run, report: Report, task: str, num_steps: int) -> None:
    """Mean energy distance over training."""
    steps = np.arange(1, POINTS + 1) * max(1, num_steps // POINTS)
    lines: dict[str, Any] = {}
    for method in report.methods:
        found = report.outcomes[task, method].energy
        cells = [Cell(report.losses[-1], seed) for seed in report.seeds]
        mean = np.mean([found[cell] for cell in cells], axis=0)
        lines[method] = steps, np.maximum(mean, 1e-4)
    curves(
        run.path(f"{task}_energy.png"),
        lines,
        xlabel=f"step of the generator, loss {report.losses[-1]}",
        ylabel="energy distance, mean of seeds",
        log_y=True,
    )


def all_scores(run: Run, report: Report, task: str) -> None:
    """Every game's main score."""
    groups: dict[str, Any] = {
        loss: {
            method: np.log10(np.maximum(report.values(task, method, loss), 1e-4))
            for method in report.methods
        }
        for loss in report.losses
    }
    label = f"log10 of {MAIN[task]} distance"
    path = run.path(f"{task}_scores.png")
    bars(path, groups, ylabel=label, zero=False)


def slopes(run: Run, report: Report, task: str) -> None:
    """Histograms of gradients and quotients between real and fake points."""
    edges = np.geomspace(1e-3, 30, 61)
    middles = np.sqrt(edges[1:] * edges[:-1])
    cells = [Cell(report.losses[-1], seed) for seed in report.seeds]
    kinds = {
        "gradients": ("norm of the gradient", lambda o, c: o.norms[c][1]),
        "quotients": (
            f"difference quotient over {RADII[0]:g}",
            lambda o, c: o.quotients[c][0],
        ),
    }
    for name, (label, part) in kinds.items():
        lines: dict[str, Any] = {}
        for method in report.methods:
            outcome = report.outcomes[task, method]
            values = np.concatenate([part(outcome, cell).ravel() for cell in cells])
            counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
            lines[method] = middles, counts / counts.sum()
        curves(
            run.path(f"{task}_{name}.png"),
            lines,
            xlabel=f"{label}, loss {report.losses[-1]}",
            ylabel="share",
            log_x=True,
        )
