"""What is claimed of the path kernel, each claim with the rule that decides."""

import numpy as np

from experiments._harness.results import Claim, Table, judge
from experiments._path.measurement import NODES, TOP, Report

ARTICLE, DOMINGOS, EXACT = (
    "kexue.fm/archives/8009",
    "arXiv 2012.00152",
    ("arXiv 2308.00824"),
)


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
    return judge(
        "that holds for mini-batches and logits too, each sample counted when it is "
        "visited",
        {"residual over change": report.residual},
        rule="float32, 2 nodes; confirmed if at most 1e-3 for every seed, qualified if "
        "at most 1e-2",
        confirmed=lambda m: bool((m["residual over change"] <= 1e-3).all()),
        qualified=lambda m: bool((m["residual over change"] <= 1e-2).all()),
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
    return judge(
        "the samples that support a prediction are of its class",
        {name: report.retrieval[name] for name in names},
        rule=f"share of the {TOP} samples that have raised (lowered) the predicted "
        "logit most whose label it is; confirmed if above 0.9 for supporting samples "
        "for every seed, qualified if above 0.5; chance is 0.1",
        confirmed=lambda m: bool((m[names[0]] > 0.9).all()),
        qualified=lambda m: bool((m[names[0]] > 0.5).all()),
        reported="a prediction is a sum over similar samples",
        source=DOMINGOS,
    )


def _neighbors(report: Report) -> Claim:
    names = ("supporting samples", "nearest in pixels")
    return judge(
        "the path kernel finds samples of the predicted class better than distance in "
        "pixels does",
        {name: report.retrieval[name] for name in names},
        rule=f"the same share for the {TOP} nearest training images; confirmed if "
        "lower for every seed, qualified if not higher by more than 0.02 in the mean "
        "(a sample raises the logit of its own class by the sign of the loss alone)",
        confirmed=lambda m: bool((m[names[0]] > m[names[1]]).all()),
        qualified=lambda m: m[names[0]].mean() >= m[names[1]].mean() - 0.02,
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
        source="arXiv 1806.07572",
    )


def tables(report: Report) -> list[Table]:
    """Errors by rate and form; retrieval; the kernel by width."""
    errors = [
        [
            form,
            *map(float, report.errors[form].mean(0)),
            float(report.slope(form).mean()),
        ]
        for form in NODES
    ]
    retrieval = [[name, float(np.mean(v))] for name, v in report.retrieval.items()]
    moved = [
        [
            width,
            float(found[:, found.shape[1] // 10].mean()),
            float(found[:, -1].mean()),
        ]
        for width, found in sorted(report.moved.items())
    ]
    return [
        Table(
            "Residual over the change of a prediction",
            ["", *(f"rate {rate:g}" for rate in report.rates), "exponent"],
            errors,
        ),
        Table(
            f"Share of {TOP} samples of the predicted class", ["", "share"], retrieval
        ),
        Table(
            "How far the tangent kernel has moved",
            ["width", "after a tenth of the steps", "at the end"],
            moved,
        ),
    ]
