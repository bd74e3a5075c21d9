"""What is claimed of Child-Tuning, each claim with the rule that decides."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments._child.statistics import Moments, Real, predicted
from experiments._child.tuning import Answer, Cell, Method
from experiments._harness import spread
from experiments._harness.grids import EDGE, on_edge
from experiments._harness.results import Claim, Table, judge

ARTICLE = "kexue.fm/archives/8764"
PAPER = "arXiv 2109.05687"
ADAM = "Adam, b1 = 0.9"
MARGIN, DRIFT = 0.01, 0.1  # accuracies, and shares of a drift, that count as equal


class Report(NamedTuple):
    """Moments by optimizer, place, ratio and share; answers by examples and cell."""

    moments: Mapping[tuple[str, str], Mapping[tuple[float, float], Moments]]
    regression: Mapping[tuple[str, str], Mapping[float, Real]]
    answers: Mapping[int, Mapping[Cell, Answer]]
    rates: Sequence[float]
    seeds: Sequence[int]

    def of(self, size: int, what: str, method: Method, rate: float) -> np.ndarray:
        """One value a seed, after tuning on ``size`` examples."""
        cells = [Cell(method, rate, seed) for seed in self.seeds]
        return np.array([getattr(self.answers[size][cell], what) for cell in cells])

    def best(self, size: int, method: Method) -> float:
        """The rate of the best mean accuracy on the rows that choose."""

        def worth(rate: float) -> float:
            return float(self.of(size, "validation", method, rate).mean())

        return max(self.rates, key=worth)

    def on_edge(self, size: int, method: Method) -> bool:
        """Whether the best rate is the largest or the smallest of several."""
        return on_edge(self.best(size, method), self.rates)

    def at_best(self, size: int, what: str, method: Method) -> np.ndarray:
        """One value a seed, at the best rate."""
        return self.of(size, what, method, self.best(size, method))


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
    found = report.regression[ADAM, "gradient"]
    measured = {f"p = {p:g}": found[p].mean for p in shares}
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
    gains, drifts = {}, {}
    for size in report.answers:
        chosen = max(
            (methods[f"{kind}, p = {p:g}"] for p in shares),
            key=lambda m, n=size: report.at_best(n, "validation", m).mean(),
        )
        pair = [
            [report.at_best(size, what, m) for m in (chosen, plain)]
            for what in ("test", "drift")
        ]
        gains[f"accuracy more than plain, {size} examples"] = pair[0][0] - pair[0][1]
        drifts[f"drift over plain, {size} examples"] = pair[1][0] / pair[1][1]
    return judge(
        f"{words} is better than plain fine-tuning on few examples",
        {**gains, **drifts},
        rule=f"p and rate of the best validation accuracy ({EDGE}), test rows; "
        "confirmed if the mean difference exceeds two standard errors over seeds at "
        "every count of examples, qualified if at one or more and lies as far below 0 "
        "at none",
        confirmed=lambda m: spread.everywhere(m[n] for n in gains),
        qualified=lambda m: spread.somewhere(m[n] for n in gains),
        reported="+1.5 to +8.6 on GLUE",
        source=PAPER,
    )


def _control(
    report: Report, methods: Mapping[str, Method], shares: Sequence[float]
) -> Claim:
    accuracy, drift = {}, {}
    for size in report.answers:
        for p in shares:
            pair = [methods[f"F, p = {p:g}"], methods[f"rate * sqrt({p:g})"]]
            tests, drifts = (
                [
                    np.array([report.of(size, what, m, r) for r in report.rates])
                    for m in pair
                ]
                for what in ("test", "drift")
            )
            name = f"p = {p:g}, {size} examples"
            accuracy[f"accuracy more, {name}"] = (tests[0] - tests[1]).mean(0)
            drift[f"drift more, {name}"] = (drifts[0] / drifts[1]).mean(0) - 1
    return judge(
        "Child-Tuning F is no more than plain fine-tuning at a rate sqrt(p) times as "
        "large",
        {**accuracy, **drift},
        rule="F less the control, mean over equal rates; confirmed if every mean "
        f"difference of accuracy and two standard errors stay within {MARGIN:g}, and "
        f"of the relative drift within {DRIFT:g}; qualified if the accuracies do",
        confirmed=lambda m: (
            all(spread.within(m[n], MARGIN) for n in accuracy)
            and all(spread.within(m[n], DRIFT) for n in drift)
        ),
        qualified=lambda m: all(spread.within(m[n], MARGIN) for n in accuracy),
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
    real = []
    for (name, place), found in report.regression.items():
        for p, m in sorted(found.items()):
            adam = name.startswith("Adam") and place == "gradient"
            formula = float(np.sqrt(p)) if adam else 1.0
            row = [name, place, p, m.mean.mean(), formula, m.variance.mean()]
            real.append([*row, m.r.mean(), m.formula.mean()])
    tuned = []
    for size in report.answers:
        for method in methods:
            values = [report.at_best(size, n, method) for n in ("test", "drift")]
            stats = [float(f(v)) for v in values for f in (np.mean, np.std)]
            edge = "yes" if report.on_edge(size, method) else "no"
            best = report.best(size, method)
            tuned.append([size, method.name, best, edge, *stats])
    names = ["examples", "method", "rate", "on the grid's edge"]
    names += ["accuracy", "std", "drift", "std of drift"]
    title = "Updates of a softmax regression on digits"
    more = ["optimizer", "dropout on", "p", "mean over that without dropout", "formula"]
    more += ["variance (SGD: over the mean square of the gradients)"]
    more += ["measured r", "formula of the variance, k (1 - p r) etc., at that r"]
    return [
        Table("Updates of stationary gradients", [*columns, "formula "], rows),
        Table(title, more, real),
        Table("Fine-tuning, rate of the best validation accuracy", names, tuned),
    ]
