"""adax, child_tuning, gradient_clipping, weissi: their measurements and their rules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments._adax import claims as adax_claims
from experiments._adax.training import PLANS, Outcome
from experiments._adax.training import Cell as AdaxCell
from experiments._child import claims as child_claims
from experiments._child.statistics import Moments, _real, predicted
from experiments._child.tuning import Answer, Cell, methods
from experiments._clipping import claims as clipping_claims
from experiments._clipping import quartic
from experiments._clipping.training import METHODS, Cloud, Losses
from experiments._clipping.training import Cell as ClippingCell
from experiments._harness import spread
from experiments._weissi import claims as weissi_claims
from experiments._weissi.balance import COEFFICIENT, RATE, Curves
from experiments._weissi.training import Answer as WeissiAnswer
from experiments._weissi.training import Cell as WeissiCell
from experiments._weissi.training import Setting, coefficients, init, matched, pull

SEEDS = [0, 1, 2]
BAD = (np.inf, np.inf)


def test_the_exponent_of_a_falling_change() -> None:
    steps = np.arange(1, 2001)
    change = np.stack([3 * steps**-1.0, 0.1 * steps**0.0])
    np.testing.assert_allclose(adax_claims.slope(change), [-1, 0], atol=1e-9)
    change[0, 300::2] = 0.0  # float32 did not see these
    np.testing.assert_allclose(adax_claims.slope(change), [-1, 0], atol=1e-9)


@pytest.mark.parametrize(
    ("power", "verdict"), [(-1.6, "confirmed"), (-1.1, "qualified"), (-0.1, "refuted")]
)
def test_freezing_is_more_than_the_fall_of_a_mean(power, verdict) -> None:
    powers = {"AdaX-W": power, "AdaX-W, 10 b2": -2.0, "running mean": -1.0}
    found = {}
    for rule, exponent in {**powers, "AdamW": -0.2}.items():
        cells = [AdaxCell(1e-3, "constant", s) for s in SEEDS]
        cells += [AdaxCell(1e-3, "cosine", s) for s in SEEDS]
        rows = {c: np.arange(1.0, 201.0) ** exponent for c in cells}
        scores = dict.fromkeys(cells, 0.5)
        found["digits", rule] = Outcome(scores, scores, rows, rows, rows)
    claim = adax_claims._freezes(adax_claims.Report(found, SEEDS), "digits")
    assert claim.verdict == verdict


def test_rates_are_chosen_by_the_seeds_that_have_all() -> None:
    settings = [(r, plan) for r in (1e-3, 1e-2, 1e-1) for plan in PLANS]
    scores = {AdaxCell(*s, seed): s[0] for s in settings for seed in SEEDS[:2]}
    scores[AdaxCell(1e-2, "constant", 0)] = 0.4
    scores[AdaxCell(1e-2, "constant", 2)] = -9.0
    scores[AdaxCell(1e-1, "cosine", 1)] = np.nan
    outcome = Outcome(scores, scores, {}, {}, {})
    assert outcome.best() == (1e-2, "constant")
    assert outcome.best(["cosine"]) == (1e-2, "cosine")
    report = adax_claims.Report({("digits", "AdamW"): outcome}, SEEDS)
    assert not report.on_edge("digits", "AdamW")
    assert adax_claims.on_edge(1e-1, outcome.rates)
    assert not adax_claims.on_edge(1e-1, [1e-1])


def adax_report(adaxw: float, adamw: float) -> adax_claims.Report:
    def outcome(score: float, spread: float) -> Outcome:
        cells = [AdaxCell(1e-3, plan, s) for plan in PLANS for s in SEEDS]
        scores = {c: score + 0.01 * c.seed + spread * c.seed**2 for c in cells}
        rows = {c: np.ones(20) for c in cells}
        return Outcome(scores, scores, rows, rows, rows)

    named = {"AdaX-W": (adaxw, 0.004), "AdamW": (adamw, 0.0), "SGDM": (0.8, 0.0)}
    named["running mean"] = named["AdaX-W"]
    found = {("digits", name): outcome(*score) for name, score in named.items()}
    return adax_claims.Report(found, SEEDS)


@pytest.mark.parametrize(
    ("more", "verdict"), [(0.02, "confirmed"), (0.01, "qualified"), (0, "refuted")]
)
def test_better_means_by_two_standard_errors(more, verdict) -> None:
    # Differences by seed: more - 0.01 + (0, 0.004, 0.016).
    report = adax_report(0.79 + more, 0.8)
    claim = adax_claims._better(report, "digits", "AdaX-W", "AdamW", "is better")
    assert claim.verdict == verdict


@pytest.mark.parametrize(
    ("adaxw", "verdict"), [(0.81, "confirmed"), (0.785, "qualified"), (0.7, "refuted")]
)
def test_reaching_means_not_below_by_a_margin(adaxw, verdict) -> None:
    claim = adax_claims._reaches(adax_report(adaxw, 0.8), "digits")
    assert claim.verdict == verdict


def test_one_seed_shows_nothing() -> None:
    one, same = np.array([0.8]), np.zeros(3)
    assert not spread.exceeds(one) and not spread.within(0 * one, 1.0)
    assert spread.deviation(one) is None
    assert spread.deviation(np.array([1.0, 3.0])) == pytest.approx(2**0.5)
    assert not spread.not_below(one, 1.0)
    assert spread.within(same, 0.01) and not spread.exceeds(same)
    assert not spread.within(np.array([0.1, -0.1, 0.0]), 0.05)  # noise is not equality
    assert spread.standard_error(np.array([1.0, 3.0])) == 1.0


def test_predicted_moments_have_their_limits() -> None:
    for name in ("SGD", "SGDM", "Adam, b1 = 0.9"):
        for place in ("gradient", "update"):
            mean, variance = predicted(name, place, 0.5, 1.0)
            k = 1.0 if name == "SGD" else 0.1 / 1.9
            np.testing.assert_allclose([mean**2, variance], [0.5, 0.5 * k])
    assert predicted("Adam, b1 = 0.9", "gradient", 0.5, 0.2) == pytest.approx(
        (np.sqrt(0.1), 0.1 / 1.9 * 0.9)
    )


def test_real_gradients_have_the_variance_of_their_own_formula() -> None:
    # Means and mean squares of updates and gradients; the second gradient is always 0.
    adam = np.array([[[0.3, 0.0], [0.2, 0.0], [2.0, 0.0], [8.0, 0.0]]])
    found = _real("Adam, b1 = 0.9", "gradient", 0.25, adam, 2 * adam[:, 0])
    np.testing.assert_allclose(found.mean, 0.5)
    np.testing.assert_allclose(found.variance, 0.2 - 0.09)
    np.testing.assert_allclose(found.r, 0.5)
    np.testing.assert_allclose(found.formula, 0.1 / 1.9 * (1 - 0.25 * 0.5))
    found = _real("SGD", "gradient", 0.25, adam, adam[:, 0])
    np.testing.assert_allclose(found.variance, 0.11 / 8)
    np.testing.assert_allclose(found.formula, 1 / 0.25 - 0.5)


@pytest.mark.parametrize(
    ("gain", "drift", "verdict"),
    [
        (0.0, 1.0, "confirmed"),
        (0.008, 1.05, "confirmed"),
        (0.008, 1.2, "qualified"),
        (0.05, 1.0, "refuted"),
    ],
)
def test_dropout_is_judged_beside_its_control(gain, drift, verdict) -> None:
    rates, shares = [1e-3], [0.3]
    answers = {}
    for method in methods(shares):
        for seed in SEEDS:
            more = gain if method.name.startswith("F") else 0.0
            noise = 0.001 * (seed - 1) * (method.name.startswith("F"))
            test = 0.8 + more + noise
            far = drift if method.name.startswith("F") else 1.0
            answers[Cell(method, rates[0], seed)] = Answer(test, test, far)
    report = child_claims.Report({}, {}, {100: answers}, rates, SEEDS)
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


def test_descent_comes_nearer_below_the_rate_that_overshoots_only() -> None:
    assert quartic.descended(quartic.OVERSHOOT) >= quartic.START
    assert quartic.descended(0.99 * quartic.OVERSHOOT) < 0.9 * quartic.START
    assert quartic.descended(quartic.RUNAWAY) > 1e6


def test_lines_of_all_clouds_are_tabled() -> None:
    lines = {"text": [(1.0, 2.0), (0.5, 1.0)], "digits": [(3.0, 4.0), (2.0, 3.0)]}
    counts = {rule.name: rule.wanted for rule in quartic.RULES}
    losses = {m: {} for m in METHODS}
    report = clipping_claims.Report(counts, {}, {}, losses, lines, SEEDS)
    assert clipping_claims.tables(report)[1].rows == [
        ["text", "above all", 1.0, 2.0],
        ["text", "least squares", 0.5, 1.0],
        ["digits", "above all", 3.0, 4.0],
        ["digits", "least squares", 2.0, 3.0],
    ]


@pytest.mark.parametrize(
    ("clipped", "verdict"),
    [(1.5, "confirmed"), (2.0, "qualified"), (2.005, "refuted")],
)
def test_clipping_is_judged_at_the_best_rates(clipped, verdict) -> None:
    def losses(value: float) -> dict[ClippingCell, Losses]:
        numbers = {s: value + 0.01 * s * (value < 2) for s in SEEDS}
        first = {ClippingCell(1.0, s): Losses(1.0, v) for s, v in numbers.items()}
        # A rate that is good on the rows that judge only is not chosen.
        wrong = {ClippingCell(2.0, s): Losses(1.5, 0.0) for s in SEEDS}
        return first | wrong | {ClippingCell(9.0, s): Losses(*BAD) for s in SEEDS}

    found = {m: losses(2.0 if m == "none" else clipped) for m in METHODS}
    if verdict == "qualified":
        found["soft"] = losses(1.5)
    report = clipping_claims.Report({}, {}, {}, found, {}, SEEDS)
    assert report.best("none") == 1.0
    assert clipping_claims._beats(report).verdict == verdict


def test_correlation_is_of_logarithms() -> None:
    norms = np.geomspace(1e-3, 1e3, 50)
    assert Cloud(norms, 5 * norms**0.5).correlation == pytest.approx(1)


@pytest.mark.parametrize(
    ("power", "verdict"), [(1, "confirmed"), (0.9, "qualified"), (0, "refuted")]
)
def test_l2s_law_of_the_differences_is_judged(power, verdict) -> None:
    interval, times = 50, np.arange(41)
    shrunk = np.exp(-4 * COEFFICIENT["L2"] * RATE * interval * times)[:, None]
    squares, zeros = 10 + np.array([[1.0, 4.0, 2.0]]) * shrunk**power, np.zeros(41)
    flow = {"L2": Curves(squares, zeros, zeros, zeros, zeros)}
    report = weissi_claims.Report([flow], [], {}, SEEDS)
    assert weissi_claims._shrinks(report, interval).verdict == verdict


def test_penalties_pull_alike_where_a_training_starts() -> None:
    params = init(jax.random.key(0), [20, 16, 16, 4])
    match = matched(params)
    zero = jax.tree.map(jnp.zeros_like, params)

    def length(penalty: str, direction: float) -> float:
        three = coefficients(penalty, WeissiCell(0.1, 0, direction), match)
        pulls = pull(jnp.asarray(three), zero, params)
        return np.mean([float(jnp.linalg.norm(layer["w"])) for layer in pulls.values()])

    wanted = length("L2", 0.0)
    assert 0.8 < length("log", 0.0) / wanted < 1.3
    # The pull on the directions is orthogonal to that on the norms.
    assert 1.1 < length("WEISSI", 1.0) / length("log", 0.0) < 1.8
    assert length("none", 0.0) == 0


def test_the_best_choice_may_lie_on_the_edge_of_the_grid() -> None:
    where = Setting(4, 0.1, True, "SGD", "L2")
    answers = {
        WeissiCell(c, s): WeissiAnswer(v, v, (0, 0, 0), 0, 0, 0)
        for c, v in ((0.1, 0.5), (1.0, 0.9), (9.0, 0.8))
        for s in SEEDS
    }
    report = weissi_claims.Report([], [], {where: answers}, SEEDS)
    assert report.best(where) == (1.0, 0.0) and not report.on_edge(where)
    fewer = {c: a for c, a in answers.items() if c.coefficient < 9}
    assert report._replace(answers={where: fewer}).on_edge(where)
    for best, edge in ((0.1, True), (0.3, False), (1.0, True)):  # of the directions
        answers = {
            WeissiCell(c, s, d): WeissiAnswer(float(d == best) - c % 1, 0, (), 0, 0, 0)
            for c in (0.1, 1.0, 9.1)
            for d in (0.1, 0.3, 1.0)
            for s in SEEDS
        }
        assert report._replace(answers={where: answers}).on_edge(where) == edge
