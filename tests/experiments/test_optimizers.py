"""adax, child_tuning, gradient_clipping, weissi: their measurements and their rules."""

import numpy as np
import pytest

from experiments._adax import claims as adax_claims
from experiments._adax.training import Cell as AdaxCell
from experiments._adax.training import Outcome
from experiments._child import claims as child_claims
from experiments._child.statistics import Moments, predicted
from experiments._child.tuning import Answer, Cell, methods
from experiments._clipping import claims as clipping_claims
from experiments._clipping import quartic
from experiments._clipping.training import METHODS, Cloud
from experiments._clipping.training import Cell as ClippingCell
from experiments._weissi import claims as weissi_claims
from experiments._weissi.balance import COEFFICIENT, RATE, Curves

SEEDS = [0, 1, 2]


def test_the_exponent_of_a_falling_change() -> None:
    steps = np.arange(1, 2001)
    change = np.stack([3 * steps**-1.0, 0.1 * steps**0.0])
    np.testing.assert_allclose(adax_claims.slope(change), [-1, 0], atol=1e-9)


def adax_report(adaxw: float, adamw: float) -> adax_claims.Report:
    def outcome(score: float) -> Outcome:
        cells = [AdaxCell(1e-3, "constant", s) for s in SEEDS]
        scores = {c: score + 0.01 * c.seed for c in cells}
        rows = {c: np.ones(20) for c in cells}
        return Outcome(scores, scores, rows, rows, rows)

    named = {"AdaX-W": adaxw, "AdamW": adamw}
    found = {("digits", name): outcome(score) for name, score in named.items()}
    return adax_claims.Report(found, SEEDS)


@pytest.mark.parametrize(
    ("adaxw", "adamw", "verdict"),
    [(0.9, 0.8, "confirmed"), (0.9, 0.899, "qualified"), (0.9, 0.9, "refuted")],
)
def test_better_means_by_a_standard_deviation(adaxw, adamw, verdict) -> None:
    report = adax_report(adaxw, adamw)
    claim = adax_claims._better(report, "digits", "AdaX-W", "AdamW", "is better")
    assert claim.verdict == verdict


def test_predicted_moments_have_their_limits() -> None:
    for name in ("SGD", "SGDM", "Adam, b1 = 0.9"):
        for place in ("gradient", "update"):
            mean, variance = predicted(name, place, 0.5, 1.0)
            k = 1.0 if name == "SGD" else 0.1 / 1.9
            np.testing.assert_allclose([mean**2, variance], [0.5, 0.5 * k])
    assert predicted("Adam, b1 = 0.9", "gradient", 0.5, 0.2) == pytest.approx(
        (np.sqrt(0.1), 0.1 / 1.9 * 0.9)
    )


@pytest.mark.parametrize(
    ("gain", "verdict"), [(0.0, "confirmed"), (0.008, "qualified"), (0.05, "refuted")]
)
def test_dropout_is_judged_beside_its_control(gain, verdict) -> None:
    rates, shares = [1e-3], [0.3]
    answers = {}
    for method in methods(shares):
        for seed in SEEDS:
            more = gain if method.name.startswith("F") else 0.0
            noise = 0.001 * (seed - 1) * (method.name.startswith("F"))
            test = 0.8 + more + noise
            answers[Cell(method, rates[0], seed)] = Answer(test, test, 1.0)
    report = child_claims.Report({}, {}, answers, rates, SEEDS)
    by_name = {m.name: m for m in methods(shares)}
    assert child_claims._control(report, by_name, shares).verdict == verdict


def test_a_rising_variance_refutes_the_article() -> None:
    def moments(variance: float) -> Moments:
        return Moments(np.ones(3), np.full(3, variance))

    found = {(0.5, 1.0): moments(1.0), (0.5, 0.3): moments(1.4)}
    report = child_claims.Report(
        {(child_claims.ADAM, "gradient"): found}, {}, {}, [], SEEDS
    )
    assert child_claims._variance(report, [0.3]).verdict == "refuted"


def test_the_quadratic_bound_fails_and_the_exponential_does_not() -> None:
    found = quartic.violations(16.0, 1.0)
    assert found["exponential"] == 0 and found["quadratic"] > 0.2


@pytest.mark.parametrize(
    ("clipped", "verdict"),
    [(1.5, "confirmed"), (1.9995, "qualified"), (2.0, "refuted")],
)
def test_clipping_is_judged_at_the_best_rates(clipped, verdict) -> None:
    def losses(value: float) -> dict[ClippingCell, float]:
        first = {ClippingCell(1.0, s): value + 0.01 * s * (value < 2) for s in SEEDS}
        return first | {ClippingCell(9.0, s): np.inf for s in SEEDS}

    found = {m: losses(2.0 if m == "none" else clipped - 0.01) for m in METHODS}
    if clipped == 2.0:
        found = {m: losses(2.0) for m in METHODS}
    report = clipping_claims.Report({}, {}, {}, found, (1.0, 1.0), SEEDS)
    assert report.best("none") == 1.0
    assert clipping_claims._beats(report).verdict == verdict


def test_correlation_is_of_logarithms() -> None:
    norms = np.geomspace(1e-3, 1e3, 50)
    assert Cloud(norms, 5 * norms**0.5).correlation == pytest.approx(1)


@pytest.mark.parametrize(
    ("power", "verdict"), [(1, "confirmed"), (0.5, "qualified"), (0, "refuted")]
)
def test_l2s_law_of_the_differences_is_judged(power, verdict) -> None:
    interval, times = 100, np.arange(41)
    shrunk = np.exp(-4 * COEFFICIENT["L2"] * RATE * interval * times)[:, None]
    squares, zeros = 10 + np.array([[1.0, 4.0, 2.0]]) * shrunk**power, np.zeros(41)
    flow = {"L2": Curves(squares, zeros, zeros, zeros)}
    report = weissi_claims.Report([flow], {}, SEEDS)
    assert weissi_claims._shrinks(report, interval).verdict == verdict
