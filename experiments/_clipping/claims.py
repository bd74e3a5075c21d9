"""What is claimed of clipping and smoothness, each claim with the rule that decides."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments._clipping import quartic
from experiments._clipping.training import LINES, METHODS, PROBE, Cell, Cloud, Losses
from experiments._harness import spread
from experiments._harness.results import Claim, Table, judge

ARTICLE = "kexue.fm/archives/7469"
PAPER = "arXiv 1905.11881"
WORST = 20.0  # what stands for the loss of a training that diverged


class Report(NamedTuple):
    """Counts and violations of theta^4; clouds by problem; losses by method.

    The lines of a problem are (l0, l1) above all its pairs, and of least squares.
    """

    counts: Mapping[str, int]
    violations: Mapping[tuple[float, float], Mapping[str, float]]
    clouds: Mapping[str, Sequence[Cloud]]
    losses: Mapping[str, Mapping[Cell, Losses]]
    lines: Mapping[str, Sequence[tuple[float, float]]]
    seeds: Sequence[int]

    def of(self, method: str, rate: float, what: str = "test") -> np.ndarray:
        """The losses of a rate, one a seed."""
        cells = [Cell(rate, seed) for seed in self.seeds]
        found = [getattr(self.losses[method][cell], what) for cell in cells]
        return np.minimum(found, WORST)

    def best(self, method: str) -> float:
        """The rate of the lowest mean loss on the rows that choose."""
        rates = sorted({cell.rate for cell in self.losses[method]})
        return min(rates, key=lambda r: self.of(method, r, "validation").mean())


def all_claims(report: Report) -> list[Claim]:
    """The rows, in the order of the report."""
    first, second = report.clouds
    return [
        _counts(report),
        _bound(report, "quadratic", "(l0 + l1 n) r^2 / 2 bounds theta^4", ARTICLE),
        _bound(
            report,
            "exponential",
            "(l0 + l1 n) (e^(l1 r) - 1 - l1 r) / l1^2 bounds theta^4",
            None,
        ),
        _correlated(report, first),
        _weaker(report, first, second),
        _beats(report),
        _span(report),
    ]


def _counts(report: Report) -> Claim:
    ratios = {
        rule.name: report.counts[rule.name] / rule.wanted for rule in quartic.RULES
    }
    words = "|theta| after 5 steps of descent at {:g}".format
    near, far = map(words, (quartic.OVERSHOOT, quartic.RUNAWAY))
    ratios[near] = quartic.descended(quartic.OVERSHOOT)
    ratios[far] = quartic.descended(quartic.RUNAWAY)
    return judge(
        "clipped descent on theta^4 takes some 500 steps, plain descent 37,789",
        ratios,
        rule="steps from 10 to a gradient below 1e-3, over those of the method card; "
        f"confirmed if each is within 2 %, and after five steps plain descent at "
        f"{quartic.OVERSHOOT:g} is no nearer than its start, {quartic.START:g}, and "
        f"at {quartic.RUNAWAY:g} beyond 1e6",
        confirmed=lambda m: bool(
            all(abs(m[rule.name] - 1) < 0.02 for rule in quartic.RULES)
            and m[near] >= quartic.START * (1 - 1e-9)
            and m[far] > 1e6
        ),
    )


def _bound(report: Report, kind: str, words: str, source: str | None) -> Claim:
    measured = {
        f"violated, l0 = {l0:g}, l1 = {l1:g}": found[kind]
        for (l0, l1), found in report.violations.items()
    }
    return judge(
        words,
        measured,
        rule=f"share of {quartic.DRAWS} random points and steps where the value is "
        "above its bound; confirmed if none",
        confirmed=lambda m: all(v == 0 for v in m.values()),
        source=source,
    )


def _correlated(report: Report, name: str) -> Claim:
    found = np.array([cloud.correlation for cloud in report.clouds[name]])
    return judge(
        f"smoothness grows with the gradient's norm along a training ({name})",
        {"correlation of the logarithms": found},
        rule="confirmed if above 0.5 for every seed, qualified if above 0.2",
        confirmed=lambda m: bool((m["correlation of the logarithms"] > 0.5).all()),
        qualified=lambda m: bool((m["correlation of the logarithms"] > 0.2).all()),
        reported="positively correlated, about linearly",
        source=PAPER,
    )


def _weaker(report: Report, first: str, second: str) -> Claim:
    measured = {
        name: np.array([cloud.correlation for cloud in report.clouds[name]])
        for name in (first, second)
    }
    return judge(
        f"the correlation is weaker for a {second} than for a {first}",
        measured,
        rule="confirmed if the mean correlation is lower",
        confirmed=lambda m: bool(m[second].mean() < m[first].mean()),
    )


def _beats(report: Report) -> Claim:
    plain = report.of("none", report.best("none"))
    measured = {
        f"plain - {method}": plain - report.of(method, report.best(method))
        for method in METHODS[1:]
    }

    return judge(
        "each kind of clipping beats the best rate of unclipped SGD",
        measured,
        rule="test loss after equal steps, each at the rate of its best validation "
        "loss; confirmed if each mean difference exceeds two standard errors over "
        "seeds, qualified if one or more does and none lies as far below 0",
        confirmed=lambda m: spread.everywhere(m.values()),
        qualified=lambda m: spread.somewhere(m.values()),
        reported="clipping converges faster",
        source=PAPER,
    )


def span(report: Report, method: str) -> int:
    """How many rates end within 0.1 of the method's best."""
    rates = sorted({cell.rate for cell in report.losses[method]})
    best = report.of(method, report.best(method)).mean()
    return sum(bool(report.of(method, r).mean() < best + 0.1) for r in rates)


def _span(report: Report) -> Claim:
    measured = {method: float(span(report, method)) for method in METHODS}
    return judge(
        "clipping makes the rate matter less",
        measured,
        rule="rates whose mean test loss is within 0.1 of the method's best; confirmed "
        "if every kind of clipping has more of them than plain SGD, qualified if none "
        "has fewer",
        confirmed=lambda m: all(m[k] > m["none"] for k in METHODS[1:]),
        qualified=lambda m: all(m[k] >= m["none"] for k in METHODS[1:]),
    )


def tables(report: Report) -> list[Table]:
    """Steps on theta^4; lines of the clouds; losses by method and rate."""
    steps = [
        [rule.name, report.counts[rule.name], rule.wanted] for rule in quartic.RULES
    ]
    lines = [
        [name, kind, *line]
        for name, found in report.lines.items()
        for kind, line in zip(LINES, found, strict=True)
    ]
    rows: list[list[Any]] = []
    for method in METHODS:
        for rate in sorted({cell.rate for cell in report.losses[method]}):
            found = report.of(method, rate)
            rows.append([method, rate, float(found.mean()), float(found.std())])
    return [
        Table("theta^4 from 10", ["rule", "steps", "method card"], steps),
        Table(
            "Smoothness as l0 + l1 |g| along softly clipped trainings at a rate of "
            f"{PROBE:g}, all seeds together",
            ["network", "line", "l0", "l1"],
            lines,
        ),
        Table(
            f"Test loss of the GRU (diverged: {WORST:g})",
            ["clipping", "rate", "loss", "std over seeds"],
            rows,
        ),
    ]
