"""Figures: residuals by rate, digits with the samples that made them, the kernel."""

from typing import Any

import numpy as np

from experiments._harness.data import ImageData
from experiments._harness.figures import curves, image_strip
from experiments._harness.workdir import Run
from experiments._path.measurement import (
    BATCH_NODES,
    BATCH_RATES,
    SHOWN,
    Report,
    Shown,
)


def draw(run: Run, report: Report, data: ImageData, every: int) -> None:
    """All figures of a run; ``every`` the steps between two points of the kernel."""
    errors: dict[str, Any] = {
        form: (report.rates, report.errors[form].mean(0)) for form in report.forms
    }
    batches: dict[str, Any] = {
        form: (BATCH_RATES, report.batch_errors[form].mean(0)) for form in BATCH_NODES
    }
    for name, series, kind in (
        ("residual", errors, "two digits, full batch"),
        ("residual_batches", batches, "ten digits, mini-batches"),
    ):
        curves(
            run.path(f"{name}.png"),
            series,
            xlabel=f"learning rate, the same time of training: {kind}",
            ylabel="residual over change of a prediction",
            log_x=True,
            log_y=True,
            markers=True,
        )
    moved: dict[str, Any] = {
        f"width {width}": (every * np.arange(1, found.shape[1] + 1), found.mean(0))
        for width, found in sorted(report.moved.items())
    }
    curves(
        run.path("kernel_moves.png"),
        moved,
        ylabel="|K - K_0| / |K_0|",
        log_x=True,
        log_y=True,
        markers=True,
    )
    widths = np.array(sorted(report.moved))
    machines: dict[str, Any] = {
        "path kernel, refitted": (widths, [report.refit[w].mean() for w in widths]),
        "flow with the first kernel": (widths, [report.flow[w].mean() for w in widths]),
    }
    curves(
        run.path("machines.png"),
        machines,
        xlabel="width",
        ylabel="distance from f_T over that of f_0",
        log_x=True,
        log_y=True,
        markers=True,
    )
    if report.shown is not None:
        _samples(run, report.shown, data)


def _samples(run: Run, shown: Shown, data: ImageData) -> None:
    """Each row: a test digit, the samples that support it, those that oppose it."""
    rows, labels = [], []
    for k in range(min(SHOWN, len(shown.chosen))):
        ids = [*shown.support[k], *shown.against[k]]
        pictures = [data.test_images[shown.chosen[k]], *data.train_images[ids]]
        rows.append(np.stack(pictures))
        labels.append(f"{shown.wanted[k]}, told {shown.told[k]}")
    number = shown.support.shape[1]
    heads = ["test", *(f"+{n + 1}" for n in range(number))]
    heads += [f"-{n + 1}" for n in range(number)]
    strips = np.stack(rows)
    image_strip(run.path("samples.png"), strips, row_labels=labels, column_labels=heads)
