"""What is claimed of GELU's approximations, each claim with the rule that decides."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments._gelu.constants import FORMS, ROOT, Errors
from experiments._gelu.training import ACTIVATIONS, Answer, Cell
from experiments._harness import spread
from experiments._harness.results import Claim, Table, judge
from kexue_jax.numerics import FitResult

ARTICLE = "kexue.fm/archives/7309"
MARGIN = 0.005  # accuracies that count as equal


class Report(NamedTuple):
    """Constants, errors by form, fits by criterion, answers by activation and cell."""

    constants: Mapping[str, float]
    errors: Mapping[str, Errors]
    fits: Mapping[str, FitResult]
    answers: Mapping[str, Mapping[Cell, Answer]]
    rates: Sequence[float]
    seeds: Sequence[int]

    def best(self, name: str) -> float:
        """The rate of the best mean validation accuracy."""

        def worth(rate: float) -> float:
            cells = [Cell(rate, seed) for seed in self.seeds]
            return float(np.mean([self.answers[name][c].validation for c in cells]))

        return max(self.rates, key=worth)

    def test(self, name: str) -> np.ndarray:
        """Test accuracies at the best rate, one a seed."""
        rate = self.best(name)
        return np.array([self.answers[name][Cell(rate, s)].test for s in self.seeds])

    def swapped(self, name: str) -> np.ndarray:
        """[seeds]: accuracy with ``name`` put into networks of the exact form."""
        rate, place = self.best("exact"), list(ACTIVATIONS).index(name)
        found = [self.answers["exact"][Cell(rate, s)] for s in self.seeds]
        return np.array([answer.swapped[place] for answer in found])


def all_claims(report: Report) -> list[Claim]:
    """The rows, in the order of the report."""
    return [
        _constants(report),
        _errors(report),
        _only_minimax(report),
        _same(report, "tanh", "the tanh form trains as the exact one does"),
        _same(report, "sigmoid, 1.702", "sigmoid(1.702 x) costs nothing in training"),
        _same(report, "SiLU", "SiLU does as well as GELU"),
        _swap(report, "tanh"),
        _swap(report, "sigmoid, 1.702"),
    ]


def _constants(report: Report) -> Claim:
    wanted = {"tanh": 0.044715, "logistic": 1.702}
    return judge(
        "least largest errors give the constants in use, 0.044715 and 1.702",
        {name: report.constants[name] for name in wanted},
        rule="fits in float64; confirmed if both are within 1e-3, relatively",
        confirmed=lambda m: all(abs(m[n] / v - 1) < 1e-3 for n, v in wanted.items()),
        reported="0.04471491123850965, 1.7017449256323682",
        source=ARTICLE,
    )


def _errors(report: Report) -> Claim:
    ratios = {form.name: report.errors[form.name].most / form.card for form in FORMS}
    return judge(
        "the largest errors of the forms are those of the method card",
        ratios,
        rule="on 60,001 points to 6, float32, over the card's; confirmed if each is "
        "within 0.2 %",
        confirmed=lambda m: all(abs(v - 1) < 2e-3 for v in m.values()),
    )


def _only_minimax(report: Report) -> Claim:
    found = {n: float(fit.theta[1] / fit.theta[0]) for n, fit in report.fits.items()}
    mine = "largest error"
    return judge(
        "of the criteria only the least largest error, slope kept, gives 0.044715",
        found,
        rule="confirmed if it is within 1e-6 and every other is off by 1e-4 or more",
        confirmed=lambda m: bool(
            abs(m[mine] - 0.044715) < 1e-6
            and all(abs(v - 0.044715) > 1e-4 for n, v in m.items() if n != mine)
        ),
    )


def _same(report: Report, name: str, words: str) -> Claim:
    measured = {n: report.test(n) for n in ("exact", name)}
    return _equal(
        words, measured, "test accuracy at the rate of the best validation accuracy"
    )


def _swap(report: Report, name: str) -> Claim:
    return _equal(
        f"networks trained with the exact form do not mind {name} in its place",
        {"exact": report.test("exact"), name: report.swapped(name)},
        "accuracy after the exchange",
    )


def _equal(words: str, measured: dict[str, np.ndarray], label: str) -> Claim:
    first, second = measured
    return judge(
        words,
        measured,
        rule=f"{label}; confirmed if the mean difference and two standard errors stay "
        f"within {MARGIN:g}, qualified if the mean difference does",
        confirmed=lambda m: spread.within(m[second] - m[first], MARGIN),
        qualified=lambda m: bool(abs((m[second] - m[first]).mean()) <= MARGIN),
    )


def tables(report: Report) -> list[Table]:
    """Errors of forms; fits; accuracies."""
    forms = [[form.name, *report.errors[form.name], form.card] for form in FORMS]
    fits = [
        [name, fit.theta[0], fit.theta[1] / fit.theta[0], fit.max_error, fit.rms_error]
        for name, fit in report.fits.items()
    ]
    rows = []
    for name in ACTIVATIONS:
        test, other = report.test(name), report.swapped(name)
        rows.append([name, report.best(name), test.mean(), test.std(), other.mean()])
    return [
        Table("Errors of GELU", ["form", "largest", "at", "rms to 5", "card"], forms),
        Table(
            f"tanh(a x + b x^3) for erf(x / sqrt(2)); sqrt(2/pi) = {ROOT:.7f}",
            ["criterion", "a", "b / a", "largest error", "rms"],
            fits,
        ),
        Table(
            "Test accuracy",
            ["activation", "rate", "mean", "std over seeds", "put into exact networks"],
            rows,
        ),
    ]
