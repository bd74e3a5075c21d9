"""length_generalization: verdicts that follow the accuracies, and what is left out."""

import numpy as np
import pytest

from experiments._generalization import claims as judging
from experiments._generalization.methods import (
    CAUSAL,
    EQUAL,
    HWFA,
    RANDOM,
    REROPE,
    ROPE,
    WINDOW,
    trainings,
)

SIZES = {"width": 8, "heads": 2, "layers": 2, "hidden": 8}
NAMES = {t: n for n, way in trainings(SIZES, 12).items() for t in way.tests}
LENGTHS, FAR = [16, 128], "128 letters"
JITTER = np.array([0.0, 0.01, -0.01])


def made_up(near=1.0, far=0.5, **tests):
    """Two tasks of chance 1/2 that all learn at N; far accuracies by test."""
    accuracy = {}
    for task in ("even_pairs", "bucket_sort"):
        accuracy[task] = {}
        for number, test in enumerate(NAMES):
            jitter = np.roll(JITTER, number) * (task == "bucket_sort")
            ends = tests.get(test.replace(" ", "_"), far)
            accuracy[task][test] = {
                16: (near + 0 * jitter).tolist(),
                128: (ends + jitter).tolist(),
            }
    blind = {task: {16: 0.5, 128: 0.5} for task in accuracy}
    return judging.Report(LENGTHS, NAMES, accuracy, blind)


def verdicts(report):
    found, left = judging.claims(report)
    return {claim.text: claim.verdict for claim in found}, left


def test_skill_is_the_accuracy_beyond_a_blind_guess() -> None:
    report = made_up(far=0.75)
    np.testing.assert_allclose(report.skill("even_pairs", ROPE, 128), 0.5)
    np.testing.assert_allclose(report.skill("even_pairs", ROPE, 16), 1)


WORLD = {
    ROPE: 0.5,
    REROPE: 0.95,
    RANDOM: 0.9,
    EQUAL: 0.85,
    HWFA: 1.0,
    "log n": 0.6,
    "log n, ReRoPE": 0.98,
    "equal mean, compressed": 0.9,
    CAUSAL + HWFA: 1.0,
}


def world(**changes):
    named = {name.replace(" ", "_"): value for name, value in WORLD.items()}
    return made_up(**{**named, **changes})


def test_all_is_confirmed_where_all_is_as_the_articles_say() -> None:
    report = world()
    for test in (HWFA, CAUSAL + HWFA):
        report.accuracy["bucket_sort"][test][128] = [1.0, 0.99, 1.0]
    found, left = verdicts(report)
    assert set(found.values()) == {"confirmed"} and not left
    assert len(found) == len(judging.questions(report)) + 1


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({ROPE: 1.0}, "RoPE fails at 128 letters"),
        ({WINDOW: 1.0}, "a window of T fails where the answer is far away"),
        ({WINDOW: 0.97}, "ReRoPE sees more than a window of T"),
        ({REROPE: 0.4}, "ReRoPE extrapolates to 128 letters"),
        ({"log n": 0.4}, "log n helps RoPE at 128 letters"),
        ({"log n, ReRoPE": 0.9}, "training with log n helps ReRoPE at 128 letters"),
        ({RANDOM: 0.5}, "random positions extrapolate to 128 letters in an encoder"),
        (
            {EQUAL: 0.45},
            "equal-mean positions extrapolate to 128 letters in an encoder",
        ),
        (
            {"equal mean, compressed": 0.7},
            "equal-mean positions do better compressed into 0 .. T - 1 at the test",
        ),
        (
            {CAUSAL + RANDOM: 1.0},
            "random positions do not extrapolate to 128 letters in a causal model",
        ),
        (
            {CAUSAL + RANDOM: 0.97},
            f"random positions do more in an encoder than in a causal model, {FAR}",
        ),
        ({HWFA: 0.8}, "HWFA has 100 % on even pairs at every length"),
        ({HWFA: 0.4}, "HWFA extrapolates to 128 letters"),
    ],
)
def test_each_claim_is_refuted_where_it_is_false(change, text) -> None:
    named = {name.replace(" ", "_"): value for name, value in change.items()}
    assert verdicts(world())[0][text] != "refuted"
    assert verdicts(world(**named))[0][text] == "refuted"


def test_half_of_the_skill_parts_failing_from_extrapolating() -> None:
    fails, holds = "RoPE fails at 128 letters", "ReRoPE extrapolates to 128 letters"
    for accuracy, expected in ((0.72, "confirmed"), (0.78, "qualified")):
        assert verdicts(world(RoPE=accuracy))[0][fails] == expected
    for accuracy, expected in ((0.72, "qualified"), (0.78, "confirmed")):
        assert verdicts(world(ReRoPE=accuracy))[0][holds] == expected


def test_what_is_below_a_blind_guess_is_not_better_than_what_is_further_below() -> None:
    report, text = world(), "ReRoPE sees more than a window of T"
    report.accuracy["bucket_sort"][REROPE][128] = [0.4, 0.41, 0.39]
    report.accuracy["bucket_sort"][WINDOW][128] = [0.1, 0.1, 0.1]
    assert verdicts(report)[0][text] == "qualified"
    report.accuracy["even_pairs"][REROPE][128] = [0.45, 0.45, 0.45]
    report.accuracy["even_pairs"][WINDOW][128] = [0.2, 0.2, 0.2]
    assert verdicts(report)[0][text] == "refuted"


def test_rerope_that_loses_at_n_is_told() -> None:
    report = world()
    for found in report.accuracy.values():
        found[REROPE][16] = [0.9, 0.9, 0.9]
    assert (
        verdicts(report)[0]["ReRoPE (w = T / 2) loses nothing at N = 16"] == "refuted"
    )


def test_what_was_not_learned_is_not_judged() -> None:
    report = world()
    for task in report.accuracy:
        report.accuracy[task][RANDOM][16] = [1.0, 0.5, 1.0]  # one seed failed
    found, left = verdicts(report)
    assert found["every training learns every task at N = 16"] == "qualified"
    about = [text for text in left if "random" in text]
    assert len(about) == 2 and not any(text in found for text in left)
    assert all("random positions" in why for why in left.values())
    *shown, last = judging.tables(report, left)
    assert len(shown) == 2 and len(last.rows) == len(left)
    cells = {row[0]: row[1] for row in shown[0].rows}
    assert cells[RANDOM] == "not learned" and cells[REROPE] == "yes"
    # A task alone that was not learned is left out of the others' rows.
    report = world()
    report.accuracy["bucket_sort"][ROPE][16] = [0.6, 0.6, 0.6]
    rows = {claim.text: claim for claim in judging.claims(report)[0]}
    assert list(rows["RoPE fails at 128 letters"].measured) == ["even_pairs"]


def test_one_seed_shows_nothing() -> None:
    report = world()
    for found in report.accuracy.values():
        for by_length in found.values():
            for n in LENGTHS:
                by_length[n] = by_length[n][:1]
    assert set(verdicts(report)[0].values()) == {"refuted"}
