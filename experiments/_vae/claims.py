"""What is claimed of importance-weighted bounds, each with the rule that decides."""

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from experiments._harness import spread
from experiments._harness.results import Claim, Table, judge
from experiments._vae.annealing import Checked
from experiments._vae.measurement import FEW, PARTS, Curve, Measured, sizes
from experiments._vae.training import Way

ARTICLE, OTHER = "kexue.fm/archives/8791", "kexue.fm/archives/5383"
MARGIN = 0.1  # nats an image within which two estimators are called as good


class Report(NamedTuple):
    """All that was measured; ``curves`` and ``checks`` by the fixed network's way."""

    measured: Mapping[Way, Measured]
    curves: Mapping[Way, Curve]
    signals: Mapping[Way, Mapping[str, np.ndarray]]
    scores: Mapping[str, Mapping[str, np.ndarray]]
    checks: Mapping[Way, Checked]
    samples: int

    @property
    def largest(self) -> int:
        """The largest M of a training."""
        return max(way.m for way in self.measured)

    def of(self, m: int, estimator: str) -> Measured:
        """One way's."""
        return self.measured[Way(m, estimator)]


def all_claims(report: Report) -> list[Claim]:
    """The rows, in the order of the report."""
    return [
        _monotone(report),
        *(_gap(report, way) for way in report.curves),
        _better(report),
        _dreg(report),
        _stl(report),
        _encoder(report),
        _units(report),
        *_noise(report),
        _trusted(report),
        _annealed(report),
        *_strangers(report),
    ]


def _monotone(report: Report) -> Claim:
    steps = {
        f"{way.name}: L_{b} - L_{a}": curve.bounds[:, place + 1]
        - curve.bounds[:, place]
        for way, curve in report.curves.items()
        for place, (a, b) in enumerate(itertools.pairwise(sizes(report.samples)))
    }
    return judge(
        "the bound rises with the number of samples, the network being fixed",
        steps,
        rule="L_M over groups of one set of samples, test images; confirmed if every "
        "step up is above 0 by two standard errors of the seeds, qualified if none is "
        "below 0 by as much",
        confirmed=lambda m: spread.everywhere(m.values()),
        qualified=lambda m: not any(spread.exceeds(-v) for v in m.values()),
        reported="L_1 <= L_M <= L_(M + 1) <= log q(x)",
        source="arXiv 1509.00519, theorem 1",
    )


def _gap(report: Report, way: Way) -> Claim:
    last, curve = sizes(report.samples)[-1], report.curves[way]
    name = "gap over V / (2 M)"
    return judge(
        f"the gap of the bound is Var(w / q) / (2 M) once M is large: {way.name}",
        {
            name: curve.gaps[:, -1] / curve.predicted[:, -1],
            "share of V in the largest weights": curve.top,
        },
        rule=f"K = {PARTS * report.samples}, M = {last}: L_K - L_M of the same samples "
        "over V (1 / M - 1 / K) / 2, V of K other samples an image; confirmed if "
        "within 0.15 of 1 by two standard errors, qualified if within 0.3. V is "
        "infinite where bits have bounded logits and a scale of the encoder is below "
        "sqrt(1 / 2); the share of V in the largest weight of each image shows it",
        confirmed=lambda m: spread.within(m[name] - 1, 0.15),
        qualified=lambda m: spread.within(m[name] - 1, 0.3),
        reported="1",
        source="arXiv 1802.07209, section 2",
    )


def _annealed(report: Report) -> Claim:
    above = {w.name: c.high - c.sampled for w, c in report.checks.items()}
    below = {w.name: c.low - c.sampled for w, c in report.checks.items()}

    def enclosed(margin: float) -> bool:
        near = all(spread.not_below(-v, margin) for v in above.values())
        apart = [*(-v for v in above.values()), *below.values()]
        return near and not any(map(spread.exceeds, apart))

    return judge(
        f"{report.samples} samples give the density, by annealing from both ends",
        {f"{name}, bound from above": v for name, v in above.items()}
        | {f"{name}, bound from below": v for name, v in below.items()},
        rule="images drawn by the network itself, so that an exact sample of the "
        f"posterior is known; each bound minus L_{report.samples}; confirmed if the "
        f"one from above is at most {MARGIN} nats higher by two standard errors of the "
        "seeds, and neither is on the wrong side by as much; qualified if at most 0.5",
        confirmed=lambda m: enclosed(MARGIN),
        qualified=lambda m: enclosed(0.5),
        reported="a large M estimates the density",
        source=ARTICLE,
    )


def _better(report: Report) -> Claim:
    m = report.largest
    base = report.of(1, "plain").high
    return judge(
        f"trained with M = {m} a model has a higher density of test images than a VAE",
        {e: report.of(m, e).high - base for e in ("plain", "dreg")},
        rule=f"L_{report.samples} of test images, minus that of M = 1, equal numbers "
        "of steps; confirmed if above 0 by two standard errors of the seeds for both "
        "estimators, qualified if for one and not below 0 for the other",
        confirmed=lambda v: spread.everywhere(v.values()),
        qualified=lambda v: spread.somewhere(v.values()),
        reported="MNIST: 84.78 against 86.76 nats, one stochastic layer, M = 50",
        source="arXiv 1509.00519, table 1",
    )


def _dreg(report: Report) -> Claim:
    words = "at M = {m} the doubly reparametrized gradient trains a better model"
    return _over(report, "plain", words, "DReG is at or above plain", "figure 2")


def _stl(report: Report) -> Claim:
    words = "the bias of STL costs density at M = {m}"
    return _over(report, "stl", words, "STL is biased for M > 1", "section 4")


def _over(report: Report, other: str, words: str, reported: str, place: str) -> Claim:
    """DReG's density over another estimator's at the largest M."""
    m, name = report.largest, f"dreg - {other}"
    gain = report.of(m, "dreg").high - report.of(m, other).high
    return judge(
        words.format(m=m),
        {name: gain},
        rule=f"L_{report.samples} of test images; confirmed if above 0 by two standard "
        f"errors of the seeds, qualified if shown to be at most {MARGIN} below",
        confirmed=lambda v: spread.exceeds(v[name]),
        qualified=lambda v: spread.not_below(v[name], MARGIN),
        reported=reported,
        source=f"arXiv 1810.04152, {place}",
    )


def _encoder(report: Report) -> Claim:
    m = report.largest
    base = report.of(1, "plain").low
    return judge(
        f"trained with M = {m} the encoder is a worse posterior",
        {e: base - report.of(m, e).low for e in ("plain", "dreg")},
        rule="L_1 of test images at M = 1 minus that of the other; confirmed if above "
        "0 by two standard errors of the seeds for both, qualified if for one and not "
        "below 0 for the other",
        confirmed=lambda v: spread.everywhere(v.values()),
        qualified=lambda v: spread.somewhere(v.values()),
        reported="for a good encoder IWAE is not the way",
        source=OTHER,
    )


def _units(report: Report) -> Claim:
    m = report.largest
    base = report.of(1, "plain").units
    return judge(
        "more samples keep more latent units active",
        {e: report.of(m, e).units - base for e in ("plain", "dreg")},
        rule=f"units with a variance of means above 0.01, M = {m} minus M = 1; "
        "confirmed if above 0 by two standard errors of the seeds for both, qualified "
        "if for one and not below 0 for the other",
        confirmed=lambda v: spread.everywhere(v.values()),
        qualified=lambda v: spread.somewhere(v.values()),
        reported="MNIST: 25 units against 19",
        source="arXiv 1509.00519, table 1",
    )


def _noise(report: Report) -> list[Claim]:
    ms = sorted({way.m for way in report.signals})
    first, last = ms[0], ms[-1]

    def change(estimator: str, part: str) -> np.ndarray:
        ends = [report.signals[Way(m, estimator)][part] for m in (last, first)]
        return np.log(ends[0] / ends[1])

    rule = (
        "median over parameters of |mean| / std of the gradient at one network, its "
        f"logarithm at M = {last} minus that at M = {first}; confirmed if the sign is "
        "as claimed by two standard errors of the seeds"
    )
    source = "arXiv 1802.04537, arXiv 1810.04152"
    return [
        judge(
            "the plain gradient of the encoder drowns in noise as M grows, DReG's not",
            {e: change(e, "encoder") for e in ("plain", "dreg")},
            rule=rule + " for both: below 0 and above 0",
            confirmed=lambda v: (
                spread.exceeds(-v["plain"]) and spread.exceeds(v["dreg"])
            ),
            qualified=lambda v: spread.exceeds(-v["plain"]),
            reported="M^(-1/2) and M^(1/2)",
            source=source,
        ),
        judge(
            "the gradient of the decoder gets clearer as M grows",
            {e: change(e, "decoder") for e in ("plain", "dreg")},
            rule=rule + ": above 0 for both",
            confirmed=lambda v: spread.everywhere(v.values()),
            reported="M^(1/2)",
            source=source,
        ),
    ]


def _trusted(report: Report) -> Claim:
    return judge(
        f"{report.samples} samples are enough for the density of a test image",
        {way.name: found.poor for way, found in report.measured.items()},
        rule=f"share of test images whose effective sample size is below {FEW}; "
        "confirmed if none of any network, qualified if below 0.05 in the mean of "
        "every way",
        confirmed=lambda v: all(not np.any(share) for share in v.values()),
        qualified=lambda v: all(np.mean(share) < 0.05 for share in v.values()),
        reported="a large M estimates the density",
        source=ARTICLE,
    )


def _strangers(report: Report) -> list[Claim]:
    found = []
    for kind, by in report.scores.items():
        one, many, ink = by
        found += [
            judge(
                f"the density tells {kind} from test digits 0 to 4",
                dict(by),
                rule="area under the curve of a network that saw digits 0 to 4 alone; "
                f"confirmed if {many} is above 0.5 and above the number of set bits "
                "alone, each by two standard errors of the seeds, qualified if above "
                "0.5",
                confirmed=lambda v, many=many, ink=ink: spread.everywhere(
                    (v[many] - 0.5, v[many] - v[ink])
                ),
                qualified=lambda v, many=many: spread.exceeds(v[many] - 0.5),
                reported="the density is a score of how usual a sample is",
                source=ARTICLE,
            ),
            judge(
                f"more samples tell {kind} better",
                {f"{many} - {one}": by[many] - by[one]},
                rule="difference of both areas; confirmed if above 0 by two standard "
                "errors of the seeds",
                confirmed=lambda v: spread.everywhere(v.values()),
            ),
        ]
    return found


def tables(report: Report) -> list[Table]:
    """All ways, the curves, the noise of gradients, the scores."""
    ways = [
        [
            way.name,
            *(float(np.mean(part)) for part in (f.low, f.own, f.high)),
            spread.standard_error(f.high) if f.high.size > 1 else None,
            *(float(np.mean(part)) for part in (f.error, f.ess, f.poor, f.bias)),
            float(np.mean(f.units)),
            f.seconds,
        ]
        for way, f in report.measured.items()
    ]
    curves = [
        [
            way.name,
            m,
            float(curve.bounds[:, place].mean()),
            float(curve.gaps[:, place].mean()),
            float(curve.predicted[:, place].mean()),
            float(np.mean(curve.gaps[:, place] / curve.predicted[:, place])),
        ]
        for way, curve in report.curves.items()
        for place, m in enumerate(sizes(report.samples))
    ]
    checks = [
        [way.name, *(float(v.mean()) for v in (c.low, c.sampled, c.high, c.accepted))]
        for way, c in report.checks.items()
    ]
    noise = [
        [way.name, *(float(by[part].mean()) for part in ("encoder", "decoder"))]
        for way, by in report.signals.items()
    ]
    heads = list(next(iter(report.scores.values())))
    scores = [
        [kind, *(float(by[name].mean()) for name in heads)]
        for kind, by in report.scores.items()
    ]
    return [
        Table(
            "Nats an image on test bits, means over seeds",
            ["training", "L_1", "L_M", f"L_{report.samples}", "s.e. of seeds"]
            + ["s.e. of images", "ESS", f"ESS < {FEW}", "V / (2 M)", "active units"]
            + ["CPU seconds of all seeds"],
            ways,
        ),
        Table(
            "The bound of one network by the number of samples",
            ["network", "M", "L_M", "gap", "V / (2 M)", "gap over it"],
            curves,
        ),
        Table(
            "Images of the network's own, nats an image, by samples and by annealing",
            ["network", "from below", f"L_{report.samples}", "from above", "accepted"],
            checks,
        ),
        Table("Signal over noise", ["gradient", "encoder", "decoder"], noise),
        Table("Area under the curve", ["strangers", *heads], scores),
    ]
