"""Figures: residuals by rate, digits with the samples that made them, the kernel."""

from typing import Any

import numpy as np

from experiments._harness.data import ImageData
from experiments._harness.figures import curves, image_strip
from experiments._harness.workdir import Run
from experiments._path.measurement import NODES, Report

SHOWN = 16


def draw(run: Run, report: Report, data: ImageData) -> None:
    """All figures of a run."""
    errors: dict[str, Any] = {
        form: (report.rates, report.errors[form].mean(0)) for form in NODES
    }
    curves(
        run.path("residual.png"),
        errors,
        xlabel="learning rate, the same time of training",
        ylabel="residual over change of a prediction",
        log_x=True,
        log_y=True,
        markers=True,
    )
    moved: dict[str, Any] = {
        f"width {width}": (np.arange(1, found.shape[1] + 1), found.mean(0))
        for width, found in sorted(report.moved.items())
    }
    curves(
        run.path("kernel_moves.png"),
        moved,
        ylabel="|K - K_0| / |K_0|",
        log_x=True,
        log_y=True,
    )
    _samples(run, report, data)


def _samples(run: Run, report: Report, data: ImageData) -> None:
    """Each row: a test digit, the samples that support it, those that oppose it."""
    chosen, support, against, toward, guess = report.shown
    count = min(SHOWN, len(chosen))
    rows, labels = [], []
    for k in range(count):
        ids = [*support[k], *against[k]]
        pictures = [data.test_images[chosen[k]], *data.train_images[ids]]
        rows.append(np.stack(pictures))
        labels.append(f"told {guess[k]}: {toward[k].sum():.1f}")
    number = support.shape[1]
    heads = ["test", *(f"+{n + 1}" for n in range(number))]
    heads += [f"-{n + 1}" for n in range(number)]
    strips = np.stack(rows)
    image_strip(run.path("samples.png"), strips, row_labels=labels, column_labels=heads)
