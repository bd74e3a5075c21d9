"""What is claimed of the path kernel, each claim with the rule that decides."""

from typing import Any

import numpy as np

from experiments._harness.results import Claim, Table, judge
from experiments._path.measurement import (
    BATCH_NODES,
    BATCH_RATES,
    BATCH_SIZE,
    SHOWN,
    TOLD,
    TOP,
    Report,
)

ARTICLE, DOMINGOS = "kexue.fm/archives/8009", "arXiv 2012.00152"
EXACT, TANGENT = "arXiv 2308.00824", "arXiv 1806.07572"


def all_claims(report: Report) -> list[Claim]:
    """The rows, in the order of the report."""
    return [
        _riemann(report),
        _exact(report),
        _batches(report),
        _additive(report),
        _labels(report),
        _neighbors(report),
        _lazy(report),
        _refit(report),
        _flow(report),
    ]


def _riemann(report: Report) -> Claim:
    slope, last = report.slope("Riemann"), report.errors["Riemann"][:, -1]
    return judge(
        "a network trained by gradient descent is a kernel machine to first order in "
        "the rate",
        {"exponent of the rate": slope, "error at the smallest rate": last},
        rule="largest residual over the largest change of a prediction; confirmed if "
        "the exponent is between 0.9 and 1.1 for every seed, qualified if above 0.7",
        confirmed=lambda m: bool((np.abs(m["exponent of the rate"] - 1) <= 0.1).all()),
        qualified=lambda m: bool((m["exponent of the rate"] > 0.7).all()),
        reported="approximately, for a rate going to 0",
        source=f"{ARTICLE}, {DOMINGOS}",
    )


def _exact(report: Report) -> Claim:
    measured = {
        f"4 nodes, rate {rate:g}": report.errors["exact, 4 nodes"][:, k]
        for k, rate in enumerate(report.rates)
    }
    return judge(
        "with the test gradient integrated along each step it is one exactly",
        measured,
        rule="as above, float64; confirmed if at most 1e-10 at every rate and for "
        "every seed, qualified if at most 1e-6",
        confirmed=lambda m: all((v <= 1e-10).all() for v in m.values()),
        qualified=lambda m: all((v <= 1e-6).all() for v in m.values()),
        reported="machine precision",
        source=EXACT,
    )


def _batches(report: Report) -> Claim:
    form = "exact, 4 nodes"
    measured = {
        "float32, 2 nodes": report.residual,
        "float64, 4 nodes, largest of the rates": report.batch_errors[form].max(1),
        "float64, exponent of the rate": report.batch_slope("Riemann"),
        "full batches, 4 nodes, largest of the rates": report.full_errors[form].max(1),
        "full batches, exponent of the rate": report.full_slope("Riemann"),
    }
    low, *others = measured

    def holds(m: Any, single: float, double: float, off: float) -> bool:
        highs, slopes = others[::2], others[1::2]
        return bool(
            (m[low] <= single).all()
            and all((m[high] <= double).all() for high in highs)
            and all((np.abs(m[slope] - 1) <= off).all() for slope in slopes)
        )

    return judge(
        "that holds for mini-batches and logits too, each sample counted when it is "
        "visited",
        measured,
        rule="residual over change for ten digits in mini-batches, and in full "
        f"batches of {BATCH_SIZE} images in float64; confirmed if at most 1e-3 in "
        "float32 and 1e-10 in float64 and the exponent of the Riemann sum's within "
        "0.1 of 1, for every seed, qualified if at most 1e-2, 1e-6 and within 0.3",
        confirmed=lambda m: holds(m, 1e-3, 1e-10, 0.1),
        qualified=lambda m: holds(m, 1e-2, 1e-6, 0.3),
        reported="noise on the path, otherwise unchanged",
        source=ARTICLE,
    )


def _additive(report: Report) -> Claim:
    return judge(
        "the kernel machines of two data sets do not add up to that of both",
        {"distance over change": report.not_additive},
        rule="of f trained on both from f of one + f of the other - f before; "
        "confirmed if above 0.05 for every seed, qualified if above 0.01",
        confirmed=lambda m: bool((m["distance over change"] > 0.05).all()),
        qualified=lambda m: bool((m["distance over change"] > 0.01).all()),
        reported="they do not (the author to a reader)",
        source=ARTICLE,
    )


def _labels(report: Report) -> Claim:
    names = ("supporting samples", "opposing samples")
    shown = (*names, names[0] + TOLD, names[1] + TOLD)
    return judge(
        "the samples that support a prediction are of the image's class",
        {name: report.retrieval[name] for name in shown},
        rule=f"share of the {TOP} samples that have raised (lowered) the largest logit "
        "most with the test image's label; confirmed if above 0.9 for supporting "
        "samples for every seed, qualified if above 0.5; chance is 0.1",
        confirmed=lambda m: bool((m[names[0]] > 0.9).all()),
        qualified=lambda m: bool((m[names[0]] > 0.5).all()),
        reported="a prediction is a sum over similar samples",
        source=DOMINGOS,
    )


def _neighbors(report: Report) -> Claim:
    names = ("supporting samples", "nearest in pixels")
    return judge(
        "the path kernel finds samples of the image's class better than distance in "
        "pixels does",
        {name: report.retrieval[name] for name in names},
        rule=f"the same share for the {TOP} nearest training images; confirmed if "
        "lower for every seed, qualified if not higher by more than 0.02 in the mean "
        "(of the class told the path kernel has an advantage that says nothing: a "
        "sample raises the logit of its own class by the sign of the loss alone)",
        confirmed=lambda m: bool((m[names[0]] > m[names[1]]).all()),
        qualified=lambda m: bool(m[names[0]].mean() >= m[names[1]].mean() - 0.02),
    )


def _lazy(report: Report) -> Claim:
    widths = sorted(report.moved)
    ends = {f"width {w}": report.moved[w][:, -1] for w in widths}
    means = [float(report.moved[w][:, -1].mean()) for w in widths]
    slope = float(np.polyfit(np.log(widths), np.log(means), 1)[0])
    return judge(
        "the wider the network, the less its kernel moves",
        {**ends, "exponent of the width": slope},
        rule="|K - K_0| / |K_0| at the end of training; confirmed if the exponent is "
        "between -0.7 and -0.3, qualified if below -0.1",
        confirmed=lambda m: -0.7 <= m["exponent of the width"] <= -0.3,
        qualified=lambda m: m["exponent of the width"] < -0.1,
        reported="width^(-1/2)",
        source=TANGENT,
    )


def _refit(report: Report) -> Claim:
    widths = sorted(report.refit)
    last = f"width {widths[-1]}"
    return judge(
        "with coefficients that do not depend on x the path kernel makes the network's "
        "predictions",
        {f"width {w}": report.refit[w] for w in widths},
        rule="path kernel frozen, alpha and beta fitted to the trained network on its "
        "samples, f_0 added; distance from f_T over that of f_0 on test digits; "
        "confirmed if below 0.1 for every width and seed, qualified if so for the "
        "largest width",
        confirmed=lambda m: all((v < 0.1).all() for v in m.values()),
        qualified=lambda m: bool((m[last] < 0.1).all()),
        reported="approximately a kernel machine (alpha and beta may depend on x)",
        source=f"{ARTICLE}, {DOMINGOS}",
    )


def _flow(report: Report) -> Claim:
    widths = sorted(report.flow)
    means = [float(report.flow[w].mean()) for w in widths]
    slope = float(np.polyfit(np.log(widths), np.log(means), 1)[0])
    last = f"width {widths[-1]}"
    return judge(
        "the wider the network, the nearer it is to gradient flow with its first "
        "kernel",
        {f"width {w}": report.flow[w] for w in widths} | {"exponent of width": slope},
        rule="distance from f_T over that of f_0 on test digits; confirmed if the "
        "exponent is below -0.3 and the largest width below 0.1 for every seed, "
        "qualified if the exponent is below -0.1",
        confirmed=lambda m: bool(
            m["exponent of width"] < -0.3 and (m[last] < 0.1).all()
        ),
        qualified=lambda m: m["exponent of width"] < -0.1,
        reported="equal for infinite width",
        source=TANGENT,
    )


def tables(report: Report) -> list[Table]:
    """Errors by rate and form; retrieval; samples; the kernel by width."""
    errors = [
        [form, *report.errors[form].mean(0).tolist(), float(report.slope(form).mean())]
        for form in report.forms
    ]
    ten = {
        "mini-batches": (report.batch_errors, report.batch_slope),
        f"full batches of {BATCH_SIZE} images": (report.full_errors, report.full_slope),
    }
    batches = [
        [f"{kind}: {form}", *found[form].mean(0).tolist(), float(slope(form).mean())]
        for kind, (found, slope) in ten.items()
        for form in BATCH_NODES
    ]
    kinds = [name for name in report.retrieval if not name.endswith(TOLD)]
    retrieval = [
        [name, *(float(np.mean(report.retrieval[name + end])) for end in ("", TOLD))]
        for name in kinds
    ]
    widths = [
        [
            width,
            float(found[:, found.shape[1] // 10].mean()),
            float(found[:, -1].mean()),
            float(report.refit[width].mean()),
            float(report.flow[width].mean()),
        ]
        for width, found in sorted(report.moved.items())
    ]
    residual, rates = "residual over the change of a prediction", "rate {:g}".format
    return [
        Table(
            f"Two digits, full batch: {residual}",
            ["", *map(rates, report.rates), "exponent"],
            errors,
        ),
        Table(
            f"Ten digits: {residual}",
            ["", *map(rates, BATCH_RATES), "exponent"],
            batches,
        ),
        Table(
            f"Share of {TOP} samples of the class",
            ["", "of the test image", "told"],
            retrieval,
        ),
        *_samples(report),
        Table(
            "By width: the tangent kernel's move, two kernel machines' distance",
            ["width", "after a tenth", "at the end", "refitted path kernel"]
            + ["flow with the first kernel"],
            widths,
        ),
    ]


def _samples(report: Report) -> list[Table]:
    """What the samples of the figure have added to the logit told."""
    shown = report.shown
    if shown is None:
        return []
    rows = []
    for k in range(min(SHOWN, len(shown.chosen))):
        ids = [*shown.support[k], *shown.against[k]]
        cells = [f"{shown.toward[k, i]:+.3g} ({shown.labels[i]})" for i in ids]
        whole = float(shown.toward[k].sum())
        rows.append([int(shown.wanted[k]), int(shown.told[k]), whole, *cells])
    sides = [f"{sign}{n + 1}" for sign in "+-" for n in range(TOP)]
    title = "What the samples that count most have added to the logit told (label)"
    return [Table(title, ["label", "told", "of all", *sides], rows)]
