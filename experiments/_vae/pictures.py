"""Figures: bounds by M with their prediction, gradient noise, samples, scores."""

from typing import Any

import jax
import numpy as np

from experiments._harness.figures import bars, curves, image_strip
from experiments._harness.workdir import Run
from experiments._vae import networks
from experiments._vae.claims import Report
from experiments._vae.measurement import sizes
from experiments._vae.networks import Bits
from experiments._vae.training import Trained, Way
from kexue_jax.models import Vae


def draw(run: Run, report: Report) -> None:
    """All figures but the samples."""
    ms = sizes(report.samples)
    bound, gap = {}, {}
    for way, curve in report.curves.items():
        mean = curve.bounds.mean(0)
        bound[f"L_M, {way.name}"] = ms, mean
        whole = (mean + curve.gaps.mean(0))[-1]
        bound[f"all samples, {way.name}"] = [ms[0], ms[-1]], [whole] * 2
        gap[f"gap, {way.name}"] = ms, curve.gaps.mean(0)
        gap[f"V / (2 M), {way.name}"] = ms, curve.predicted.mean(0)
    curves(
        run.path("bounds.png"),
        bound,
        xlabel="M",
        ylabel="nats an image",
        log_x=True,
    )
    curves(
        run.path("gap.png"),
        gap,
        xlabel="M",
        ylabel="L_K - L_M, nats an image",
        log_x=True,
        log_y=True,
        points=[label for label in gap if label.startswith("gap")],
    )
    trained = sorted({way.m for way in report.signals})
    signal: dict[str, Any] = {}
    for part in ("encoder", "decoder"):
        for e in dict.fromkeys(way.estimator for way in report.signals):
            values = [report.signals[Way(m, e)][part].mean() for m in trained]
            signal[f"{part}, {e}"] = trained, values
    curves(
        run.path("signal.png"),
        signal,
        xlabel="M",
        ylabel="median |mean| / std of the gradient",
        log_x=True,
        log_y=True,
        markers=True,
    )
    densities = {
        name: {way.name: getattr(f, field) for way, f in report.measured.items()}
        for name, field in (("L_1", "low"), (f"L_{report.samples}", "high"))
    }
    bars(run.path("densities.png"), densities, ylabel="nats an image", zero=False)
    scores: dict[str, Any] = {
        name: {kind: by[name] for kind, by in report.scores.items()}
        for name in next(iter(report.scores.values()))
    }
    bars(
        run.path("strangers.png"),
        scores,
        ylabel="area under the curve",
        zero=False,
    )


def samples(run: Run, model: Vae, trained: dict[Way, Trained], data: Bits) -> None:
    """A row of test bits and one of samples for each of some trainings."""
    count, rows = 12, {"test bits": data.test[:12]}
    for way, found in trained.items():
        params = jax.tree.map(lambda leaf: leaf[0], found.params)
        drawn = networks.drawn(model, params, jax.random.key(0), count)
        rows[way.name] = np.asarray(drawn)
    strips = [
        np.resize(images, (count, images.shape[1])).reshape(count, *data.shape)
        for images in rows.values()
    ]
    image_strip(run.path("samples.png"), 2 * np.stack(strips) - 1, row_labels=[*rows])
