"""hierarchical_position_mlm: what it compares with what, and its verdicts."""

import jax
import numpy as np
import pytest

from experiments import hierarchical_position_mlm as experiment
from experiments._harness.errors import UserError
from experiments._hierarchical.claims import (
    CHOSEN,
    Course,
    Report,
    claims,
    mean_course,
    tables,
)
from experiments._hierarchical.methods import METHODS, TIMES, extended, network
from experiments._language.judgment import Judge

SIZES = {"width": 16, "heads": 2, "layers": 1}
TEXT = np.random.default_rng(0).integers(0, 256, (5, 3 * 8 + 1)).astype(np.uint8)


def config(**values) -> experiment.Config:
    return experiment.Config(workdir="none", length=8, **SIZES, **values)


@pytest.mark.parametrize("causal", [True, False])
def test_every_method_but_interpolation_reads_short_texts_as_before(causal) -> None:
    short = network(SIZES, 8, causal)
    params = jax.jit(short.init)(jax.random.key(0))
    tokens = TEXT[:, :8].astype(np.int32)
    wanted = short.apply(params, tokens)
    for name, method in METHODS.items():
        alpha = method.alpha if method.live else None
        long = network(SIZES, 8 if method.live else 8 * TIMES, causal, alpha)
        begun = extended(params, method, 8 * TIMES, 0)
        same = np.abs(long.apply(begun, tokens) - wanted).max() < 1e-5
        assert same == (name != "interpolate"), name
        assert long.apply(begun, TEXT[:, :24].astype(np.int32)).shape == (5, 24, 256)


def test_live_rows_begin_where_the_table_does() -> None:
    short = network(SIZES, 8, True)
    params = jax.jit(short.init)(jax.random.key(0))
    text = TEXT[:, :24].astype(np.int32)
    for live, table in (
        ("alpha = 0.4, live", "alpha = 0.4"),
        ("alpha = 0.6, live", "alpha = 0.6"),
        ("tile, live", "tile"),
    ):
        model = network(SIZES, 8, True, METHODS[live].alpha)
        longer = network(SIZES, 24, True)
        begun = extended(params, METHODS[table], 24, 0)
        np.testing.assert_allclose(
            model.apply(params, text), longer.apply(begun, text), atol=1e-5
        )


@pytest.mark.parametrize("objective", ["causal", "masked"])
def test_the_reference_is_asked_for_the_same_bytes(objective) -> None:
    chosen = config(objective=objective)
    text = TEXT if chosen.causal else TEXT[:, :24]
    parts = list(experiment.blocks(text, chosen))
    assert len(parts) == TIMES
    judge = Judge(network(SIZES, 8, chosen.causal), causal=chosen.causal)
    params = jax.jit(judge.model.init)(jax.random.key(0))
    scores = [judge(params, *part) for part in parts]
    longer = Judge(network(SIZES, 24, chosen.causal), causal=chosen.causal)
    begun = extended(params, METHODS["tile"], 24, 0)
    whole = longer(begun, text)
    asked = np.concatenate([s.asked for s in scores], -1)
    np.testing.assert_array_equal(asked, whole.asked)
    if chosen.causal:  # the first block has no other context
        np.testing.assert_allclose(scores[0].loss, whole.loss[:, :8], atol=1e-4)
    total = experiment.mean_of([s.accuracy() for s in scores], scores)
    right = np.concatenate([s.right for s in scores], -1)
    assert total == pytest.approx((right * asked).sum() / asked.sum())


def course(start: float, end: float, loss: float) -> Course:
    accuracy = [start, (start + end) / 2, end]
    return Course([0, 5, 10], accuracy, [3.0, 2.5, loss], [start] * 3, [end] * 3)


def report(**changes) -> Report:
    courses = {name: [course(0.4, 0.6, 2.0)] * 2 for name in METHODS}
    for name, values in changes.items():
        courses[name.replace("_", " ")] = [course(*values)] * 2
    return Report(courses, [0.5, 0.5], [0.0, 0.0], 100)


def verdicts(found: Report) -> dict[str, str]:
    return {claim.text: claim.verdict for claim in claims(found)}


def test_verdicts_follow_the_courses() -> None:
    even = verdicts(report())
    assert even["texts of the pretrained length are read as before"] == "confirmed"
    falls = f"without training, accuracy falls at {TIMES} times the length"
    regains = "a short training regains the accuracy of the short model"
    beats = "hierarchical rows beat tile rows, after the training"
    assert even[falls] == even[regains] == "confirmed"
    assert even[beats] == "refuted"
    assert verdicts(report(tile=(0.4, 0.6, 2.1)))[beats] == "confirmed"
    assert verdicts(report(tile=(0.4, 0.6, 2.004)))[beats] == "qualified"
    for when in ("without training", "after the training"):
        assert even[f"hierarchical rows beat zeros rows, {when}"] == "refuted"
    worse = verdicts(report(zeros=(0.4, 0.6, 2.1)))
    assert worse["hierarchical rows beat zeros rows, after the training"] == "confirmed"
    assert worse["hierarchical rows beat zeros rows, without training"] == "refuted"
    # A mean that passes the bound but for the noise of the seeds shows nothing.
    noisy = report()
    noisy.courses["tile"] = [course(0.4, 0.6, 1.9), course(0.4, 0.6, 2.2)]
    assert verdicts(noisy)[beats] == "refuted"
    slow = report()
    slow.courses[CHOSEN] = [course(0.499, 0.49, 2.0)] * 2
    found = verdicts(slow)
    assert (found[falls], found[regains]) == ("qualified", "qualified")
    slower = report()
    slower.courses["alpha = 0.6"] = [course(0.4, 0.6, 2.1)] * 2
    claim = "an alpha above 1/2 recovers slower than one below"
    assert verdicts(slower)[claim] == "confirmed"
    assert even[claim] == "refuted"
    changed = report()._replace(change=[1e-3, 0.0])
    text = "texts of the pretrained length are read as before"
    assert verdicts(changed)[text] == "refuted"


def test_tables_and_curves() -> None:
    found = report()
    assert len(tables(found)) == 3
    assert all(len(table.rows) == len(METHODS) for table in tables(found))
    for table, overall in zip(tables(found)[:2], (0.4, 0.6), strict=True):
        assert table.columns[1] == "overall"
        assert all(row[1] == pytest.approx(overall) for row in table.rows)
    assert {n for names in experiment.FIGURES.values() for n in names} == set(METHODS)
    assert found.courses["tile"][0].regained(0.5) == 5
    assert found.courses["tile"][0].regained(0.7) is None
    assert mean_course(found.courses["tile"]) == ([0, 5, 10], [0.4, 0.5, 0.6])


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="wanted a divisor"):
        experiment.Config(workdir="none", width=10, heads=3)
