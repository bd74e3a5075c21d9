"""path_kernel: its rules catch what is wrong."""

import numpy as np
import pytest

from experiments._harness import lists
from experiments._harness.errors import UserError
from experiments._path import claims
from experiments._path.measurement import (
    BATCH_NODES,
    BATCH_RATES,
    NODES,
    TOLD,
    Report,
    Shown,
    _courses,
    _order,
)
from experiments.path_kernel import forms

RATES = [0.04, 0.02, 0.01]


def report() -> Report:
    """What article and papers say, in numbers."""
    found = Report(RATES)
    for form in NODES:
        found.errors[form] = np.full((2, 3), 1e-14)
    found.errors["Riemann"] = np.stack([np.array(RATES)] * 2)
    found.batch_errors = {form: np.full((2, 3), 1e-14) for form in BATCH_NODES}
    found.batch_errors["Riemann"] = np.stack([np.array(BATCH_RATES)] * 2)
    found.full_errors = dict(found.batch_errors)
    shares = {
        "supporting samples": [1.0, 1.0],
        "opposing samples": [0.0, 0.1],
        "nearest in pixels": [0.9, 0.9],
    }
    found.retrieval = {
        n + end: list(v) for n, v in shares.items() for end in ("", TOLD)
    }
    found.residual, found.not_additive = [1e-5, 1e-5], [0.3, 0.4]
    found.accuracy = [0.95, 0.95]
    widths = (16, 64, 256)
    found.moved = {w: np.full((2, 20), w**-0.5) for w in widths}
    found.refit = {w: np.full(2, 0.01) for w in widths}
    found.flow = {w: np.full(2, w**-0.5) for w in widths}
    return found


def verdicts(found: Report) -> list[str]:
    return [claim.verdict for claim in claims.all_claims(found)]


def test_every_claim_is_confirmed_where_all_is_as_the_articles_say() -> None:
    assert set(verdicts(report())) == {"confirmed"}
    assert len(claims.tables(report())) == 4


@pytest.mark.parametrize(
    ("place", "field", "key", "value"),
    [
        (0, "errors", "Riemann", np.full((2, 3), 0.1)),
        (1, "errors", "exact, 4 nodes", np.full((2, 3), 1e-3)),
        (2, "residual", None, [0.1, 0.1]),
        (3, "not_additive", None, [0.0, 0.0]),
        (4, "retrieval", "supporting samples", [0.1, 0.1]),
        (5, "retrieval", "supporting samples", [0.5, 0.5]),
        (5, "retrieval", "nearest in pixels", [1.1, 1.1]),
        (2, "batch_errors", "exact, 4 nodes", np.full((2, 3), 1e-3)),
        (2, "batch_errors", "Riemann", np.full((2, 3), 1e-3)),
        (2, "full_errors", "exact, 4 nodes", np.full((2, 3), 1e-3)),
        (2, "full_errors", "Riemann", np.full((2, 3), 1e-3)),
        (6, "moved", 16, np.full((2, 20), 0.01)),
        (7, "refit", 256, np.full(2, 0.5)),
        (8, "flow", 256, np.full(2, 5.0)),
    ],
)
def test_each_claim_is_refuted_where_it_is_false(place, field, key, value) -> None:
    wrong = report()
    if key is None:
        setattr(wrong, field, value)
    else:
        getattr(wrong, field)[key] = value
    assert verdicts(wrong)[place] == "refuted"


@pytest.mark.parametrize("text", ["", "0.1", "0.1,a", "0,1", "0.1;0.2", "nan,1"])
def test_rates_that_are_none_are_refused_in_one_line(text) -> None:
    with pytest.raises(UserError, match=r"flag --rates=.*wanted two positive"):
        lists.positive("rates", text, below=1e6, fewest=2)


@pytest.mark.parametrize("text", ["", "0", "0,4,9", "a,0,4"])
def test_nodes_that_are_none_are_refused_in_one_line(text) -> None:
    assert forms("4,0") == ["Riemann", "exact, 4 nodes"]
    with pytest.raises(UserError, match=r"flag --nodes=.*wanted 0 and 4"):
        forms(text)


def test_class_told_and_class_of_the_image_are_two_scores() -> None:
    wrong = report()
    wrong.retrieval["supporting samples" + TOLD] = [0.1, 0.1]
    assert verdicts(wrong) == verdicts(report())


def test_table_of_samples_has_what_each_has_added_and_its_label() -> None:
    found = report()
    toward = np.array([[0.25, -0.5, 1.0]])
    found.shown = Shown(
        np.array([7]),
        np.array([3]),
        np.array([5]),
        toward,
        np.array([[2, 0, 1, 2, 0]]),
        np.array([[1, 0, 2, 1, 0]]),
        np.array([5, 8, 9]),
    )
    row = claims.tables(found)[3].rows[0]
    assert row[:5] == [3, 5, 0.75, "+1 (9)", "+0.25 (5)"]
    assert row[8] == "-0.5 (8)"


def test_samples_of_a_course_come_again_when_all_have_come() -> None:
    order = _order(10, 6, 5, 0)
    assert order.shape == (6, 5)
    for turn in order.reshape(3, 10):
        assert sorted(turn) == list(range(10))


def test_rates_stop_when_their_time_is_over() -> None:
    found = _courses([0.2, 0.1], 1.0)
    np.testing.assert_allclose(found.sum(1), 1.0)
    assert found.shape == (2, 10) and (found[0, 5:] == 0).all()
