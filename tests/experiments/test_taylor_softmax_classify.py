"""taylor_softmax_classify: splits, noise, scores and rules on cases that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments._harness.config import launch
from experiments._harness.data import load_images
from experiments._taylor import claims, judgment, training
from experiments._taylor.training import Answers, Cell, Head, Split
from tests.experiments.mains import module

NOISE = 0.3
SEEDS = [0, 1, 2]


def test_the_split_is_disjoint_and_complete() -> None:
    parts = training.split(load_images("digits"), 900, 297)
    rows = [np.asarray(images) for images, _ in (parts.train, parts.validation)]
    rows.append(parts.test[0])
    assert [len(r) for r in rows] == [900, 297, 600] and parts.classes == 10
    data = load_images("digits")
    whole = np.concatenate([data.train_images, data.test_images]).reshape(1797, -1)
    order = lambda x: x[np.lexsort(x.T)]  # noqa: E731
    assert (order(np.concatenate(rows)) == order(whole)).all()


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.9])
def test_exactly_the_asked_share_of_labels_is_wrong(rate: float) -> None:
    labels = np.arange(900, dtype=np.int32) % 10
    wrong = training.noisy(labels, rate, 10, 3)
    assert (wrong != labels).sum() == round(rate * 900)
    assert wrong.min() >= 0 and wrong.max() <= 9 and wrong.dtype == labels.dtype
    if rate:
        assert (training.noisy(labels, rate, 10, 4) != wrong).any()
        shifts = np.bincount((wrong - labels) % 10, minlength=10)
        assert (shifts[1:] > 0).all()


def test_scores_of_known_probabilities() -> None:
    p = np.array([[0.9, 0.1], [0.6, 0.4], [0.6, 0.4], [0.2, 0.8]])
    found = judgment.score(np.log(p), np.array([0, 0, 1, 1]))
    assert found.accuracy == 0.75
    assert found.confidence == pytest.approx(0.725)
    assert found.nll == pytest.approx(-np.log([0.9, 0.6, 0.4, 0.8]).mean())
    # Bins 13 (0.9 sure, right), 9 (0.6 sure, half right) and 12 (0.8 sure, right).
    assert found.ece == pytest.approx(0.25 * 0.1 + 0.5 * 0.1 + 0.25 * 0.2)
    sure = judgment.score(np.log(np.array([[1.0, 1e-300]])), np.array([0]))
    assert sure.ece == 0 and sure.confidence == 1


def test_the_loss_is_that_of_the_head() -> None:
    logits = jnp.asarray(np.random.default_rng(0).normal(0, 2, (50, 10)))
    labels = jnp.arange(50) % 10
    for head in (Head(0, False), Head(2, False), Head(4, True)):
        logs = training.log_probabilities(head, logits)
        loss = training.loss(head, logits, labels, jnp.zeros(()))
        assert np.abs(loss + logs[np.arange(50), labels]).max() < 1e-12
        more = training.loss(head, logits, labels, jnp.asarray(1.0))
        assert more.mean() > loss.mean()


def test_cells_trained_together_equal_cells_trained_alone() -> None:
    parts = training.split(load_images("digits"), 100, 297)
    plan = training.Plan(8, 0.4, 2, 20, 1e-2)
    cells = [Cell(0.0, 0.0, 0), Cell(NOISE, 1.0, 1)]
    with jax.enable_x64(False):
        both = training.train(Head(2, False), cells, parts, plan)
        for cell in cells:
            one = training.train(Head(2, False), [cell], parts, plan)
            assert np.abs(one.test[cell] - both.test[cell]).max() < 1e-4
        first, second = (both.test[cell] for cell in cells)
        assert np.abs(first - second).max() > 1e-3


def made(sharpness: dict[tuple[Head, float], float]) -> judgment.Scores:
    """Scores of made-up models: right on a share of the rows that grows with it."""
    labels = np.arange(600) % 10
    rows = (np.zeros((600, 4)), labels)
    answers = {}
    for head in [Head(0, False), *(Head(n, m) for n in (2, 4) for m in (False, True))]:
        cells = {}
        for noise in (0.0, NOISE):
            for margin in (0.0, 1.0):
                for seed in SEEDS:
                    level = sharpness.get((head, noise), 0.5)
                    draw = np.random.default_rng(seed)
                    right = draw.uniform(size=600) < level
                    said = np.where(right, labels, (labels + 1) % 10)
                    p = np.full((600, 10), (1 - level) / 9)
                    p[np.arange(600), said] = level
                    cells[Cell(noise, margin, seed)] = np.log(p)
        answers[head] = Answers(cells, cells)
    large = Head(2, True, large=True)
    answers[large] = answers[Head(2, True)]
    return judgment.judged(answers, Split(rows, rows, rows, 10), SEEDS)


def verdicts(sharpness: dict[tuple[Head, float], float]) -> dict[str, str]:
    rows = claims.all_claims(made(sharpness), (2, 4), (1.0,), NOISE)
    return {row.text: row.verdict for row in rows}


def test_the_rules_confirm_what_holds_and_refute_what_does_not() -> None:
    rising = {(Head(0, False), n): 0.8 for n in (0.0, NOISE)}
    rising |= {(Head(2, False), n): 0.5 for n in (0.0, NOISE)}
    rising |= {(Head(4, False), n): 0.7 for n in (0.0, NOISE)}
    found = verdicts(rising)
    for text, verdict in found.items():
        if "less confident" in text or "stationary" in text:
            assert verdict == "confirmed"
        elif "right than softmax" in text or "accuracy with" in text:
            assert verdict == "refuted"
    falling = {key: 1.3 - value for key, value in rising.items()}
    for text, verdict in verdicts(falling).items():
        if "less confident" in text:
            assert verdict == "refuted"
        elif "right than softmax" in text or "accuracy with" in text:
            assert verdict == "confirmed"


def test_a_gain_within_the_error_of_the_test_rows_is_not_sure() -> None:
    values = np.array([0.002, 0.003, 0.0025, 0.0025])
    assert claims.Gain(values, 0.0).sure
    assert not claims.Gain(values, 0.003).sure
    assert not claims.Gain(values[:1], 0.0).sure


@pytest.mark.parametrize(
    ("rows_error", "verdict"),
    [(0.0, "confirmed"), (0.002, "qualified"), (0.003, "refuted")],
)
def test_a_gain_within_one_standard_error_is_refuted(rows_error, verdict) -> None:
    values = np.array([0.002, 0.003, 0.0025, 0.0025])
    gains = {"sure": claims.Gain(values, 0.0), "gain": claims.Gain(values, rows_error)}
    assert claims._difference("it gains", gains).verdict == verdict
    single = {"gain": claims.Gain(values[:1], 0.0)}
    assert claims._difference("it gains", single).verdict == "refuted"


class Numbers:
    """Scores that are given, one a seed, by head."""

    def __init__(self, values: dict[Head, list[float]]) -> None:
        self.values = values

    def of(self, what: str, head: Head, noise: float) -> np.ndarray:
        return np.array(self.values[head])


RISING = {
    Head(2, False): [0.5, 0.6, 0.7],
    Head(4, False): [0.61, 0.70, 0.81],
    Head(0, False): [0.72, 0.8, 0.9],
}


def test_orders_are_compared_seed_by_seed() -> None:
    """Steps of a tenth are sure although the seeds lie as far apart."""
    falling = {head: [1 - v for v in values] for head, values in RISING.items()}
    for judged, ordered in ((claims._confidence, RISING), (claims._falling, falling)):
        found = judged(Numbers(ordered), (2, 4), 0.0)
        assert found.verdict == "confirmed" and len(found.measured) == 2
        opposed = falling if ordered is RISING else RISING
        assert judged(Numbers(opposed), (2, 4), 0.0).verdict == "refuted"
        single = {head: values[:1] for head, values in ordered.items()}
        assert judged(Numbers(single), (2, 4), 0.0).verdict == "refuted"


def test_orders_whose_means_alone_are_in_order_are_not_sure() -> None:
    last = Head(0, False)
    for judged, sign, middle in (
        (claims._confidence, 1, [0.5, 0.7, 0.65]),
        (claims._falling, -1, [0.72, 0.75, 0.95]),
    ):
        near = {**RISING, Head(4, False): middle}
        noisy = {head: [sign * v for v in values] for head, values in near.items()}
        assert judged(Numbers(noisy), (2, 4), 0.0).verdict == "qualified"
        noisy[last] = [sign * v for v in (0.5, 0.6, 1.1)]
        assert judged(Numbers(noisy), (2, 4), 0.0).verdict == "refuted"


@pytest.mark.parametrize(
    "flag",
    ["--orders=3", "--orders=2,x", "--orders=26", "--orders=", "--margins=-1"],
)
def test_bad_lists_are_refused_in_one_line(flag: str, tmp_path, capsys) -> None:
    there = module("taylor_softmax_classify")
    argv = [flag, f"--workdir={tmp_path / 'run'}"]
    status = launch(there.main, there.Config, there.PRESETS, None, argv=argv)
    said = capsys.readouterr().err
    assert status in (1, 2) and len(said.splitlines()) == 1
    assert flag.split("=")[0] in said
    assert not (tmp_path / "run").exists()
