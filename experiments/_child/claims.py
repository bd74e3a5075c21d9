"""What is claimed of Child-Tuning, each claim with the rule that decides."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments._child.statistics import Moments, predicted
from experiments._child.tuning import Answer, Cell, Method
from experiments._harness.results import Claim, Table, judge

ARTICLE = "kexue.fm/archives/8764"
PAPER = "arXiv 2109.05687"
ADAM = "Adam, b1 = 0.9"


class Report(NamedTuple):
    """Moments by optimizer, place, ratio and share; answers by cell."""

    moments: Mapping[tuple[str, str], Mapping[tuple[float, float], Moments]]
    regression: Mapping[float, np.ndarray]
    answers: Mapping[Cell, Answer]
    rates: Sequence[float]
    seeds: Sequence[int]

    def of(self, what: str, method: Method, rate: float) -> np.ndarray:
        """One value a seed."""
        cells = [Cell(method, rate, seed) for seed in self.seeds]
        return np.array([getattr(self.answers[cell], what) for cell in cells])

    def best(self, method: Method) -> float:
        """The rate of the best mean accuracy on the rows that choose."""
        return max(self.rates, key=lambda r: self.of("validation", method, r).mean())


def standard_error(values: np.ndarray) -> float:
    """Of the mean over seeds; infinite for one seed."""
    if values.size < 2:
        return float("inf")
    return float(values.std(ddof=1) / np.sqrt(values.size))


def all_claims(
    report: Report, shares: Sequence[float], methods: Sequence[Method]
) -> list[Claim]:
    """The rows, in the order of the report."""
    lower = [p for p in shares if p < 1]
    by_name = {method.name: method for method in methods}
    found = [
        _mean_falls(report, lower),
        _real_mean(report, lower),
        _variance(report, lower),
        _formula(report, lower),
        _updates(report, lower),
    ]
    for kind, words in (
        ("F", "Child-Tuning F"),
        ("D", "Child-Tuning D"),
        ("update dropout", "dropout on updates"),
    ):
        found.append(_helps(report, by_name, kind, words, lower))
    return [*found, _control(report, by_name, lower)]


def _ratios(report: Report, name: str, place: str, shares: Sequence[float]) -> Any:
    """Mean over that without dropout, by share and ratio."""
    found = report.moments[name, place]
    return {
        f"mean^2 share {ratio:g}, p = {p:g}": found[ratio, p].mean
        / found[ratio, 1.0].mean
        for ratio in sorted({cell[0] for cell in found})
        for p in shares
    }


def _near(measured: Mapping[str, Any], wanted: Mapping[str, float], by: float) -> bool:
    return all(abs(v.mean() / wanted[n] - 1) <= by for n, v in measured.items())


def _mean_falls(report: Report, shares: Sequence[float]) -> Claim:
    measured = _ratios(report, ADAM, "gradient", shares)
    wanted = {n: float(np.sqrt(float(n.split("p = ")[1]))) for n in measured}
    return judge(
        "under Adam dropout on gradients makes the mean update sqrt(p) times as large",
        measured,
        rule="stationary gradients, b1 = 0.9, mean over that without dropout; "
        "confirmed if each is sqrt(p) to 2 %, qualified to 10 %",
        confirmed=lambda m: _near(m, wanted, 0.02),
        qualified=lambda m: _near(m, wanted, 0.10),
        reported="a learning rate of sqrt(p)",
        source=ARTICLE,
    )


def _real_mean(report: Report, shares: Sequence[float]) -> Claim:
    measured = {f"p = {p:g}": report.regression[p] for p in shares}
    wanted = {f"p = {p:g}": float(np.sqrt(p)) for p in shares}
    return judge(
        "the same with the gradients of a softmax regression on digits",
        measured,
        rule="parameters that stand still, projection of the mean update on that "
        "without dropout; confirmed if each is sqrt(p) to 2 %, qualified to 10 %",
        confirmed=lambda m: _near(m, wanted, 0.02),
        qualified=lambda m: _near(m, wanted, 0.10),
        reported="a learning rate of sqrt(p)",
        source=ARTICLE,
    )


def _variance(report: Report, shares: Sequence[float]) -> Claim:
    found = report.moments[ADAM, "gradient"]
    measured = {
        f"mean^2 share {ratio:g}, p = {p:g}": found[ratio, p].variance
        / found[ratio, 1.0].variance
        for ratio in sorted({cell[0] for cell in found})
        for p in shares
    }
    return judge(
        "under Adam dropout on gradients lowers the variance of the update too",
        measured,
        rule="variance over that without dropout, b1 = 0.9; confirmed if all are below "
        "1 for every seed, qualified if their means are",
        confirmed=lambda m: all(bool((v < 1).all()) for v in m.values()),
        qualified=lambda m: all(v.mean() < 1 for v in m.values()),
        reported="it lowers both",
        source=ARTICLE,
    )


def _formula(report: Report, shares: Sequence[float]) -> Claim:
    measured = {}
    for (name, place), found in report.moments.items():
        errors = [
            found[cell].variance / predicted(name, place, *cell)[1] - 1
            for cell in found
            if cell[1] in shares
        ]
        measured[f"{name}, {place}"] = np.abs(np.array(errors)).max(0)
    return judge(
        "the variance is k (1 - p r) under Adam, k (1/p - r) under SGD, with k = "
        "(1 - b1) / (1 + b1) and r = mean^2 / mean square; dropout on updates divides "
        "the mean square by p",
        measured,
        rule="largest relative error over shares and ratios; confirmed if below 5 % "
        "for every seed, qualified if below 15 %",
        confirmed=lambda m: all(bool((v < 0.05).all()) for v in m.values()),
        qualified=lambda m: all(bool((v < 0.15).all()) for v in m.values()),
    )


def _updates(report: Report, shares: Sequence[float]) -> Claim:
    measured = _ratios(report, ADAM, "update", shares)
    return judge(
        "dropout on updates keeps the mean update",
        measured,
        rule="confirmed if each mean over that without dropout is 1 to 2 %",
        confirmed=lambda m: _near(m, dict.fromkeys(m, 1.0), 0.02),
        source=ARTICLE,
    )


def _helps(
    report: Report,
    methods: Mapping[str, Method],
    kind: str,
    words: str,
    shares: Sequence[float],
) -> Claim:
    plain = methods["plain"]
    chosen = max(
        (methods[f"{kind}, p = {p:g}"] for p in shares),
        key=lambda m: report.of("validation", m, report.best(m)).mean(),
    )
    measured = {
        "accuracy more than plain": report.of("test", chosen, report.best(chosen))
        - report.of("test", plain, report.best(plain)),
        "drift over that of plain": report.of("drift", chosen, report.best(chosen))
        / report.of("drift", plain, report.best(plain)),
    }
    name = "accuracy more than plain"
    return judge(
        f"{words} is better than plain fine-tuning on few examples",
        measured,
        rule="p and rate of the best validation accuracy, test rows; confirmed if the "
        "mean difference exceeds two standard errors over seeds, qualified if it is "
        "positive",
        confirmed=lambda m: bool(m[name].mean() > 2 * standard_error(m[name])),
        qualified=lambda m: bool(m[name].mean() > 0),
        reported="+1.5 to +8.6 on GLUE",
        source=PAPER,
    )


def _control(
    report: Report, methods: Mapping[str, Method], shares: Sequence[float]
) -> Claim:
    accuracy, drift = {}, {}
    for p in shares:
        pairs = [(methods[f"F, p = {p:g}"], methods[f"rate * sqrt({p:g})"])]
        rows = [
            [report.of(what, m, r) for m in pair for r in report.rates]
            for pair in pairs
            for what in ("test", "drift")
        ]
        count = len(report.rates)
        tests, drifts = np.array(rows[0]), np.array(rows[1])
        accuracy[f"accuracy more, p = {p:g}"] = (tests[:count] - tests[count:]).mean(0)
        drift[f"drift over, p = {p:g}"] = (drifts[:count] / drifts[count:]).mean(0)
    return judge(
        "Child-Tuning F is no more than plain fine-tuning at a rate sqrt(p) times as "
        "large",
        {**accuracy, **drift},
        rule="test accuracy of F less that of the control, mean over equal rates; "
        "confirmed if no mean difference exceeds two standard errors over seeds, "
        "qualified if none exceeds one point",
        confirmed=lambda m: all(
            abs(m[n].mean()) <= 2 * standard_error(m[n]) for n in accuracy
        ),
        qualified=lambda m: all(abs(m[n].mean()) <= 0.01 for n in accuracy),
        reported="suspected by the article",
        source=ARTICLE,
    )


def tables(report: Report, methods: Sequence[Method]) -> list[Table]:
    """Moments beside their formulas; every method at its best rate."""
    rows = []
    for (name, place), found in report.moments.items():
        for (ratio, p), m in sorted(found.items()):
            mean, variance = predicted(name, place, ratio, p)
            row = [name, place, ratio, p, m.mean.mean(), mean]
            rows.append([*row, m.variance.mean(), variance])
    columns = ["optimizer", "dropout on", "r", "p", "mean", "formula", "variance"]
    tuned = []
    for method in methods:
        rate = report.best(method)
        values = [report.of(n, method, rate) for n in ("test", "drift")]
        stats = [float(f(v)) for v in values for f in (np.mean, np.std)]
        tuned.append([method.name, rate, *stats])
    names = ["method", "rate", "accuracy", "std", "drift", "std of drift"]
    return [
        Table("Updates of stationary gradients", [*columns, "formula "], rows),
        Table("Fine-tuning, rate of the best validation accuracy", names, tuned),
    ]
