"""Figures: stream, whole and identity-path gradient by layer; losses; scales."""

from typing import Any

import numpy as np

from experiments._harness.figures import curves
from experiments._harness.workdir import Run
from experiments._initialization.claims import BELOW, Report


def draw(run: Run, report: Report) -> None:
    """All figures of a run."""
    deepest = max(e.layers for e in report.signals)
    starts = dict.fromkeys(e.start for e in report.signals)
    for start in starts:
        found = {
            e.wiring: s
            for e, s in report.signals.items()
            if e.start == start and e.layers == deepest
        }
        label = start.replace(".", "_")
        for part, name in (
            ("stream", "root mean square of the stream"),
            ("whole", "gradient by the stream over that by the last"),
            ("identity", "the same by the identity path alone"),
        ):
            series: dict[str, Any] = {}
            for wiring, signal in found.items():
                mean = getattr(signal, part).mean(0)
                values = mean if part == "stream" else mean / mean[-1]
                series[wiring] = (np.arange(len(values)), values)
            curves(
                run.path(f"{part}_{label}.png"),
                series,
                xlabel=f"sublayer (start {start}, {deepest} layers)",
                ylabel=name,
                log_y=True,
            )
    losses: dict[str, Any] = {}
    ends = np.zeros(2, int)
    for way, outcome in report.outcomes.items():
        mean = smooth(outcome.losses.mean(0))
        losses[way.name] = (np.arange(len(mean)), mean)
        ends = np.array([0, len(mean) - 1])
    level = float(report.unigram.mean())
    losses["unigram entropy"] = ends, np.full(2, level)
    losses["level of success"] = ends, np.full(2, level - BELOW)
    curves(run.path("losses.png"), losses, ylabel="loss of hidden bytes, nats")
    scales: dict[str, Any] = {}
    for way, outcome in report.heads.items():
        mean = outcome.scales.mean(0)
        name = "with" if way.head else "without"
        label = f"{name} a layer in the head, rate {way.rate:g}"
        scales[label] = (np.arange(len(mean)), mean)
    curves(
        run.path("scales.png"),
        scales,
        xlabel="norm, first to last",
        ylabel="its mean scale after training",
        markers=True,
    )


def smooth(values: np.ndarray) -> np.ndarray:
    """Running means over a fortieth of the steps."""
    width = max(1, len(values) // 40)
    return np.convolve(values, np.ones(width) / width, mode="valid")
