"""What is claimed of starts, wirings and warm-up, each claim with its rule; tables."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from experiments._harness.results import Claim, Table, judge
from experiments._initialization.encoder import Encoder
from experiments._initialization.signal import Signal, ends, slope
from experiments._initialization.training import Outcome, Way

FIRST, SECOND = "kexue.fm/archives/8747", "kexue.fm/archives/8620"


class Report(NamedTuple):
    """Signals by encoder; outcomes of trainings and of the two heads."""

    signals: Mapping[Encoder, Signal]
    outcomes: Mapping[Way, Outcome]
    heads: Mapping[Way, Outcome]


def all_claims(report: Report) -> list[Claim]:
    """The rows, in the order of the report."""
    rows = [
        _identity(report),
        _vanishing(report),
        _pre(report),
        _deepnorm(report),
        _fails(report),
    ]
    rows += [_helps(report, kind) for kind in ("start", "warm-up", "pre", "rezero")]
    return [*rows, _last_scale(report)]


def chosen(report: Report, wiring: str, start: str = "") -> dict[Encoder, Signal]:
    """The signals of a wiring, and of a start if one is asked for."""
    return {
        e: s
        for e, s in report.signals.items()
        if e.wiring == wiring and start in ("", e.start)
    }


def _name(encoder: Encoder) -> str:
    return f"{encoder.wiring}, {encoder.start}, {encoder.layers} layers"


def _identity(report: Report) -> Claim:
    found = {
        _name(e): slope(s.identity) / slope(s.predicted)
        for e, s in chosen(report, "post").items()
    }
    return judge(
        "the gradient along the identity path of Post-LN falls by (1 + s)^(-1/2) a "
        "sublayer, s the variance of its branch",
        found,
        rule="measured over predicted slope of its logarithm; confirmed within 0.05 of "
        "1 for every encoder and seed, qualified within 0.2",
        confirmed=lambda m: _within(m, 0.05),
        qualified=lambda m: _within(m, 0.2),
        reported="2^(-l/2) at s = 1",
        source=FIRST,
    )


def _within(m: Any, bound: float) -> bool:
    return all(bool((np.abs(v - 1) <= bound).all()) for v in m.values())


def _vanishing(report: Report) -> Claim:
    found = {}
    for encoder, signal in chosen(report, "post").items():
        found[f"{_name(encoder)}: whole"] = ends(signal.whole)
        found[f"{_name(encoder)}: identity path"] = ends(signal.identity)
    return judge(
        "the gradient of Post-LN vanishes towards its first layers at the start",
        found,
        rule="gradient by the first over that by the last stream; confirmed if the "
        "whole gradient is below 0.1 in the mean of the seeds for some encoder whose "
        "identity path is, qualified if below 0.3",
        confirmed=lambda m: _vanishes(m, 0.1),
        qualified=lambda m: _vanishes(m, 0.3),
        reported="the gradient vanishes as 2^(-l/2)",
        source=FIRST,
    )


def _vanishes(m: Any, bound: float) -> bool:
    return any(
        np.mean(v) < bound and np.mean(m[k.replace("whole", "identity path")]) < 0.1
        for k, v in m.items()
        if k.endswith("whole")
    )


def _pre(report: Report) -> Claim:
    found: dict[str, Any] = {}
    for encoder, signal in chosen(report, "pre").items():
        found[f"{_name(encoder)}: identity path"] = ends(signal.identity)
        found[f"{_name(encoder)}: whole"] = ends(signal.whole)
    return judge(
        "Pre-LN keeps the identity path, and its early layers have larger gradients",
        found,
        rule="gradient by the first over that by the last stream; confirmed if that of "
        "the identity path is 1 to 1e-3 and the whole one above 1 for every encoder "
        "and seed",
        confirmed=lambda m: all(
            bool((np.abs(v - 1) < 1e-3).all() if "path" in k else (v > 1).all())
            for k, v in m.items()
        ),
        reported="the identity path has no norm in it",
        source=SECOND,
    )


def _deepnorm(report: Report) -> Claim:
    found = {
        _name(e): s.whole.max(1) / s.whole.min(1)
        for e, s in chosen(report, "deepnorm").items()
    }
    return judge(
        "DeepNorm keeps the gradient flat over depth",
        found,
        rule="largest over smallest gradient by a stream; confirmed below 1.1 for "
        "every encoder and seed, qualified below 1.5",
        confirmed=lambda m: all((v < 1.1).all() for v in m.values()),
        qualified=lambda m: all((v < 1.5).all() for v in m.values()),
        reported="stable at any depth",
        source="kexue.fm/archives/8978",
    )


def _plain(report: Report) -> tuple[Way, Outcome]:
    """The training that the article says fails: Post-LN, LeCun, no warm-up."""
    for way, outcome in report.outcomes.items():
        post = way.encoder.wiring == "post" and way.encoder.start == "lecun"
        if post and way.warmup == "none":
            return way, outcome
    raise LookupError("no plain training in the report")


def _best(report: Report) -> float:
    return min(float(np.mean(o.last)) for o in report.outcomes.values())


def _fails(report: Report) -> Claim:
    way, outcome = _plain(report)
    best = _best(report)
    return judge(
        "Post-LN with LeCun's start and no warm-up does not train",
        {way.name: outcome.last, "best of all, mean of seeds": best},
        rule="loss of the last tenth of the steps; confirmed if 0.3 nats over that of "
        "the best training for every seed, qualified if in the mean",
        confirmed=lambda m: bool((m[way.name] > best + 0.3).all()),
        qualified=lambda m: bool(np.mean(m[way.name]) > best + 0.3),
        reported="a plateau, then divergence",
        source=FIRST,
    )


def _rival(report: Report, kind: str) -> tuple[Way, Outcome]:
    def fits(way: Way) -> bool:
        wiring, start = way.encoder.wiring, way.encoder.start
        return {
            "start": wiring == "post" and start == "0.02" and way.warmup == "none",
            "warm-up": wiring == "post" and start == "lecun" and way.warmup == "rate",
            "pre": wiring == "pre",
            "rezero": wiring == "rezero" or way.warmup == "alpha",
        }[kind]

    return next((w, o) for w, o in report.outcomes.items() if fits(w))


REMEDIES = {
    "start": "a start of 0.02 makes Post-LN train without warm-up",
    "warm-up": "warm-up makes Post-LN train from LeCun's start",
    "pre": "Pre-LN trains without warm-up",
    "rezero": "raising the weight of the branches from 0 does in place of warm-up",
}


def _helps(report: Report, kind: str) -> Claim:
    plain, worse = _plain(report)
    way, outcome = _rival(report, kind)
    return judge(
        REMEDIES[kind],
        {way.name: outcome.last, plain.name: worse.last},
        rule="loss of the last tenth of the steps; confirmed if 0.1 nats below that of "
        "Post-LN with LeCun's start and no warm-up for every seed, qualified if lower "
        "in the mean",
        confirmed=lambda m: bool((m[way.name] < m[plain.name] - 0.1).all()),
        qualified=lambda m: bool(np.mean(m[way.name]) < np.mean(m[plain.name])),
        reported="it trains",
        source=FIRST,
    )


def _last_scale(report: Report) -> Claim:
    found = {
        ("with" if w.head else "without") + " a layer in the head": (
            o.scales[:, -1] / np.median(o.scales, axis=1)
        )
        for w, o in report.heads.items()
    }
    return judge(
        "without a layer between encoder and embedding the last norm's scale grows",
        found,
        rule="mean scale of the last norm over the median of all; confirmed if larger "
        "without the layer for every seed by 5 %, qualified if larger in the mean",
        confirmed=lambda m: bool(
            (
                m["without a layer in the head"] > 1.05 * m["with a layer in the head"]
            ).all()
        ),
        qualified=lambda m: bool(
            np.mean(m["without a layer in the head"])
            > np.mean(m["with a layer in the head"])
        ),
        reported="the last scale of released models is clearly larger than the others",
        source=FIRST,
    )


def tables(report: Report) -> list[Table]:
    """Signals of all encoders, losses of all trainings."""
    signals = []
    for e, s in report.signals.items():
        parts = (s.whole, s.identity, s.predicted, s.queries, s.up)
        row = [float(np.mean(ends(part))) for part in parts]
        signals.append([e.wiring, e.start, e.layers, s.stream[:, -1].mean(), *row])
    trained = []
    for way, o in {**report.outcomes, **report.heads}.items():
        ratio = float(np.mean(o.scales[:, -1] / np.median(o.scales, axis=1)))
        spread = float(o.last.std(ddof=1)) if len(o.last) > 1 else None
        trained.append([way.name, float(o.last.mean()), spread, ratio])
    heads = ["wiring", "start", "layers", "RMS of the last stream", "whole gradient"]
    heads += ["identity path", "predicted", "query kernels", "up kernels"]
    return [
        Table(
            "At the start: gradients, first over last, means over seeds", heads, signals
        ),
        Table(
            "Hidden bytes, nats: the last tenth of the steps",
            ["training", "loss", "spread", "last scale over median"],
            trained,
        ),
    ]
