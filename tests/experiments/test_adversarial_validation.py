"""The experiment adversarial_validation: its shifts are those it says, its verdicts."""

import numpy as np
import pytest

from experiments._harness.errors import UserError
from experiments._validation import claims
from experiments._validation.data import Data, Sizes, load, shifted
from experiments._validation.study import (
    CALIBRATED,
    INSIDE,
    KNOWN,
    LOOSE,
    OVERLAP,
    RANDOM,
    RATIO,
    RESAMPLED,
    SCORES,
    SINGLE,
    Outcome,
)

SEEDS = 6


def made(errors: dict[str, float], noise: float = 0.0) -> Outcome:
    """An outcome whose scores are off by so much."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.5, 0.9, (SEEDS, 12))
    scores = np.stack([truth + errors[name] for name in SCORES], 1)
    scores += noise * rng.normal(size=(SEEDS, 1, 1))
    model = rng.uniform(0.5, 0.9, (SEEDS, 3))
    half = np.full(SEEDS, 0.5)
    return Outcome(truth, scores, half, half, half, model, model + 0.01)


GOOD = {
    RANDOM: 0.1,
    OVERLAP: 0.05,
    RATIO: 0.01,
    CALIBRATED: 0.008,
    RESAMPLED: 0.012,
    SINGLE: 0.06,
    INSIDE: 0.03,
    LOOSE: 0.04,
    KNOWN: 0.005,
}


def verdict(outcome: Outcome, start: str) -> str:
    report = claims.Report({"some": outcome, claims.NONE: outcome})
    (row,) = [c for c in claims.all_claims(report) if c.text.startswith(start)]
    return row.verdict


def test_scores_as_the_article_has_them_confirm_it() -> None:
    good = made(GOOD)
    for start in (
        f"gap to the test accuracy: {RATIO} beats {RANDOM}",
        f"gap to the test accuracy: {RESAMPLED} beats {SINGLE}",
        f"gap to the test accuracy: {KNOWN}",
        "the weights are right in theory",
        f"{OVERLAP} are biased halfway",
        "weights in the training loss",
    ):
        assert verdict(good, start) == "confirmed", start


@pytest.mark.parametrize("name", [RATIO, OVERLAP])
def test_scores_the_other_way_around_refute_it(name) -> None:
    bad = made({**GOOD, name: 0.3})
    start = {
        RATIO: f"gap to the test accuracy: {RATIO} beats {RANDOM}",
        OVERLAP: f"{OVERLAP} are biased halfway",
    }[name]
    assert verdict(bad, start) == "refuted"


def test_equal_scores_confirm_nothing() -> None:
    flat = made(dict.fromkeys(SCORES, 0.1))
    start = f"gap to the test accuracy: {RATIO} beats {RANDOM}"
    assert verdict(flat, start) == "refuted"
    assert verdict(flat, f"{RATIO} rank the candidates") == "refuted"
    assert verdict(flat, "the weights are right in theory") == "refuted"


def test_a_discriminator_that_sees_a_shift_where_there_is_none_is_harmful() -> None:
    good = made({**GOOD, RATIO: 0.1})
    assert verdict(good, "without a shift") == "confirmed"
    seen = good._replace(auc=np.full(SEEDS, 0.6))
    assert verdict(seen, "without a shift") == "qualified"
    worse = made({**GOOD, RATIO: 0.2})._replace(auc=np.full(SEEDS, 0.6))
    assert verdict(worse, "without a shift") == "refuted"


def many(count: int = 60_000) -> Data:
    z = np.random.default_rng(1).choice([-1.0, 0.5, 1.0], count)
    zeros = np.zeros((count, 1), np.float32)
    return Data(zeros, np.zeros(count, np.int32), {"some": z}, "made")


def test_shifts_have_the_ratio_that_they_say() -> None:
    data, strength = many(), 1.5
    parts = shifted(data, "some", strength, 3, Sizes(5000, 5000, 8000))
    ours = np.concatenate([parts.train, parts.validation])
    assert not set(ours) & set(parts.test) and len(set(ours)) == 10_000
    z = data.traits["some"]
    values = np.unique(z)
    p, q = ([(z[rows] == v).mean() for v in values] for rows in (ours, parts.test))
    logs = np.log(np.divide(q, p)) - strength * values
    # Errors of the logarithms are about 0.03.
    assert np.ptp(logs) < 0.2
    assert np.ptp(np.log(np.divide(q, p))) > 2.5


def test_a_shift_is_the_same_for_a_seed_and_another_for_the_next() -> None:
    data, sizes = many(3000), Sizes(200, 200, 200)
    one, same, other = (shifted(data, "some", 1.0, s, sizes) for s in (0, 0, 1))
    np.testing.assert_array_equal(one.train, same.train)
    assert (one.test != other.test).any()


def test_too_few_rows_are_an_error() -> None:
    with pytest.raises(UserError, match="smaller --share"):
        shifted(many(300), "some", 1.0, 0, Sizes(100, 100, 10))


def test_reviews_are_read_without_copies(tmp_path) -> None:
    lines = [f"酒店房间{i}不错\t1" for i in range(60)]
    lines += [f"这本书{i}不好\t0" for i in range(60)] * 2
    (tmp_path / "sentiment.train.data").write_text("\n".join(lines), "utf-8")
    (tmp_path / "sentiment.valid.data").write_text(lines[0] + "\nbroken", "utf-8")
    data = load("reviews", str(tmp_path), 1000)
    assert len(data.y) == 120 and data.y.sum() == 60 and data.classes == 2
    np.testing.assert_array_equal(data.traits["domain"] == -1, data.y == 1)
    np.testing.assert_allclose(data.x.mean(0), 0, atol=1e-5)
    with pytest.raises(UserError, match="needs sentiment"):
        load("reviews", str(tmp_path / "nowhere"), 1000)
