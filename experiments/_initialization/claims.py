"""What is claimed of starts, wirings and warm-up, each claim with its rule; tables."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from experiments._harness import spread
from experiments._harness.results import Claim, Table, judge
from experiments._initialization.encoder import Encoder
from experiments._initialization.signal import Signal, ends, slope
from experiments._initialization.training import Outcome, Way

FIRST, SECOND = "kexue.fm/archives/8747", "kexue.fm/archives/8620"


BELOW = 0.3  # nats below the unigram entropy, from where a training has succeeded


class Report(NamedTuple):
    """Signals by encoder; outcomes of trainings and of the two heads.

    ``unigram`` [seeds] is the entropy of the hidden bytes alone: the loss of a model
    that has learned how often each byte comes, and nothing of its neighbors;
    ``head_unigram`` that of the longer trainings of the two heads. ``start`` says in
    words which trainings ``outcomes`` are of.
    """

    signals: Mapping[Encoder, Signal]
    outcomes: Mapping[Way, Outcome]
    heads: Mapping[Way, Outcome]
    unigram: np.ndarray
    head_unigram: np.ndarray
    start: str

    def succeeded(self, way: Way) -> np.ndarray:
        """1 for each seed whose last losses are finite and below the level, else 0."""
        last = {**self.heads, **self.outcomes}[way].last
        return (last < self.level(way)).astype(float)

    def level(self, way: Way) -> np.ndarray:
        """The loss below which a training has succeeded, by seed."""
        unigram = self.head_unigram if way in self.heads else self.unigram
        return unigram - BELOW


def all_claims(report: Report) -> list[Claim]:
    """The rows, in the order of the report."""
    rows = [
        _identity(report),
        _vanishing(report),
        _pre(report),
        _deepnorm(report),
    ]
    if _deepest(report):
        rows.append(_queries(report))
    rows.append(_fails(report))
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
        "whole gradient is below 0.1, the mean of the seeds and two standard errors, "
        "for some encoder whose identity path is, qualified if below 0.3",
        confirmed=lambda m: _vanishes(m, 0.1),
        qualified=lambda m: _vanishes(m, 0.3),
        reported="the gradient vanishes as 2^(-l/2)",
        source=FIRST,
    )


def _vanishes(m: Any, bound: float) -> bool:
    return any(
        spread.exceeds(bound - v)
        and spread.exceeds(0.1 - m[k.replace("whole", "identity path")])
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


def _deepest(report: Report) -> dict[str, Signal]:
    """The deepest Post-LN encoders by start, LeCun's among them, or nothing."""
    found = chosen(report, "post")
    deepest = max(e.layers for e in found)
    by_start = {e.start: s for e, s in found.items() if e.layers == deepest}
    return by_start if "lecun" in by_start else {}


def _queries(report: Report) -> Claim:
    measured = {}
    for start, signal in _deepest(report).items():
        measured[f"{start}: query kernels"] = ends(signal.queries)
        measured[f"{start}: up kernels"] = ends(signal.up)
        measured[f"{start}: cosine of two tokens at the end"] = signal.alike
    layers = max(e.layers for e in chosen(report, "post"))
    names = [f"lecun: {what}" for what in ("query kernels", "up kernels")]
    return judge(
        "in a deep Post-LN encoder with LeCun's start tokens become alike, and what "
        "its last layers attend to stops to matter",
        measured,
        rule=f"gradient by the first over that by the last kernel, {layers} layers; "
        "confirmed if above 1e4 for the query kernels and within a factor of 10 of 1 "
        "for the up kernels, at LeCun's start and every seed, qualified if above 10 "
        "and within 10",
        confirmed=lambda m: _apart(m[names[0]], m[names[1]], 1e4),
        qualified=lambda m: _apart(m[names[0]], m[names[1]], 10),
    )


def _apart(queries: np.ndarray, up: np.ndarray, bound: float) -> bool:
    return bool((queries > bound).all() and (np.abs(np.log10(up)) < 1).all())


def _plain(report: Report) -> tuple[Way, Outcome]:
    """The training that the article says fails: Post-LN, LeCun, no warm-up."""
    for way, outcome in report.outcomes.items():
        post = way.encoder.wiring == "post" and way.encoder.start == "lecun"
        if post and way.warmup == "none":
            return way, outcome
    raise LookupError("no plain training in the report")


def _scores(report: Report, *ways: Way) -> dict[str, Any]:
    """Successes and last losses of trainings, and the level that decides."""
    found: dict[str, Any] = {}
    for way in ways:
        found[f"{way.name}: successes"] = report.succeeded(way)
        found[f"{way.name}: loss"] = report.outcomes[way].last
    return {**found, "level": report.unigram - BELOW}


LEVEL = (
    "a training succeeds if the mean loss of its last tenth of steps is finite and "
    f"below the level, the unigram entropy of the hidden bytes less {BELOW:g} nats"
)


def _fails(report: Report) -> Claim:
    way, _ = _plain(report)
    others = [w for w in report.outcomes if w != way]
    best = max(others, key=lambda w: report.succeeded(w).mean())
    names = [f"{w.name}: successes" for w in (way, best)]
    return judge(
        "Post-LN with LeCun's start and no warm-up does not train",
        _scores(report, way, best),
        rule=f"{report.start}; {LEVEL}; beside it the training with the most "
        "successes; confirmed if no seed succeeds and all of the other do, qualified "
        "if fewer succeed",
        confirmed=lambda m: bool(not m[names[0]].any() and m[names[1]].all()),
        qualified=lambda m: bool(m[names[0]].sum() < m[names[1]].sum()),
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
    plain, _ = _plain(report)
    way, _ = _rival(report, kind)
    names = [f"{w.name}: successes" for w in (way, plain)]
    return judge(
        REMEDIES[kind],
        _scores(report, way, plain),
        rule=f"{report.start}; {LEVEL}; confirmed if every seed succeeds, and none of "
        "Post-LN with LeCun's start and no warm-up, qualified if more do than of that",
        confirmed=lambda m: bool(m[names[0]].all() and not m[names[1]].any()),
        qualified=lambda m: bool(m[names[0]].sum() > m[names[1]].sum()),
        reported="it trains",
        source=FIRST,
    )


def _last_scale(report: Report) -> Claim:
    found, pairs, successes = {}, [], []
    for rate in dict.fromkeys(way.rate for way in report.heads):
        names = [f"{w} a layer, rate {rate:g}" for w in ("with", "without")]
        for way, o in report.heads.items():
            if way.rate == rate:
                name = names[not way.head]
                found[name] = o.scales[:, -1] / np.median(o.scales, axis=1)
                found[f"{name}: successes"] = report.succeeded(way)
        pairs.append(names)
        successes += [f"{name}: successes" for name in names]
    return judge(
        "without a layer between encoder and embedding the last norm's scale grows",
        found,
        rule=f"mean scale of the last norm over the median of all; {LEVEL}; confirmed "
        "if all succeed and at every rate it is larger without the layer by 5 %, the "
        "mean difference over the seeds less two standard errors, qualified if it is "
        "larger at one rate or a training does not succeed, which shows nothing",
        confirmed=lambda m: (
            all(m[name].all() for name in successes)
            and all(spread.exceeds(m[b] - 1.05 * m[a]) for a, b in pairs)
        ),
        qualified=lambda m: (
            not all(m[name].all() for name in successes)
            or any(spread.exceeds(m[b] - m[a]) for a, b in pairs)
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
        last = float(s.stream[:, -1].mean())
        row = [last, *row, float(s.alike.mean())]
        signals.append([e.wiring, e.start, e.layers, *row])
    trained = []
    for way, o in {**report.outcomes, **report.heads}.items():
        ratio = float(np.mean(o.scales[:, -1] / np.median(o.scales, axis=1)))
        count = f"{report.succeeded(way).sum():.0f} of {len(o.last)}"
        level = float(report.level(way).mean())
        apart = spread.deviation(o.last)
        row = [way.name, float(o.last.mean()), apart, level, count, ratio]
        trained.append(row)
    heads = ["wiring", "start", "layers", "RMS of the last stream", "whole gradient"]
    heads += ["identity path", "predicted", "query kernels", "up kernels"]
    heads += ["cosine of two tokens"]
    return [
        Table(
            "At the start: gradients, first over last, means over seeds", heads, signals
        ),
        Table(
            "Hidden bytes, nats: the last tenth of the steps",
            ["training", "loss", "spread", "level", "successes"]
            + ["last scale over median"],
            trained,
        ),
    ]
