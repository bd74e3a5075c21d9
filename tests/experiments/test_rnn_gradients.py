"""rnn_gradients: its rules catch what is wrong, its models are those of the library."""

from typing import Any

import numpy as np
import pytest

from experiments._harness.errors import UserError
from experiments._rnn import claims
from experiments._rnn.claims import Report
from experiments._rnn.networks import CELLS, UNGATED, Model, Outcome, Task, _order
from experiments.rnn_gradients import Config, _streams, chosen

BIASES, SEEDS, STEPS = (0.0, 3.0), 2, 64


def line(slope: float) -> np.ndarray:
    return slope * np.arange(1, STEPS + 1.0)


def outcome(task: str, cell: str, bias: float) -> dict[str, Any]:
    """What the article says, in numbers."""
    slope = -0.5 if cell in UNGATED else -0.02 - 0.08 * (bias == 0)
    keep = 0.95 if task == "long" else 0.6
    return {
        "score": 0.4 if cell in UNGATED else 0.9 + bias / 100,
        "profile": line(slope),
        "keep": keep,
        "log_keep": slope,
        "terms": np.array([0.9, 0.05, 0.03, 0.02]),
        "losses": np.zeros(3),
    }


def report() -> Report:
    found = Report({}, {}, {})
    for cell in CELLS:
        biases = (0.0,) if cell in UNGATED else BIASES
        models = [Model(cell, b, s) for b in biases for s in range(SEEDS)]
        for task, kept in (("long", found.long), ("local", found.local)):
            rows = [outcome(task, cell, m.bias) for m in models]
            fields = {f: np.stack([r[f] for r in rows]) for f in Outcome._fields}
            kept[cell] = models, Outcome(**fields)
        for bias in biases:
            slope = -0.45 if bias == 0 else -0.01 - 0.01 * (cell != "lstm")
            slope += 0.02 * (cell == "lstm" and bias == 0)
            found.starts[cell, bias, 1.0] = np.stack([line(slope)] * SEEDS)
    return found


def verdicts(found: Report) -> list[str]:
    return [claim.verdict for claim in claims.all_claims(found)]


def test_every_claim_is_confirmed_where_all_is_as_the_article_says() -> None:
    assert set(verdicts(report())) == {"confirmed"}


@pytest.mark.parametrize(
    ("place", "task", "cell", "field", "value"),
    [
        (2, "long", "lstm", "log_keep", 0.5),
        (3, "long", "rnn", "score", 1.0),
        (4, "long", "rnn", "profile", 0.0),
        (5, "local", "gru", "keep", 0.99),
        (6, "long", "gru", "terms", 0.2),
    ],
)
def test_each_claim_is_refuted_where_it_is_false(
    place, task, cell, field, value
) -> None:
    wrong = report()
    getattr(getattr(wrong, task)[cell][1], field)[:] = value
    if place == 4:  # all decay alike but the worst, which does not at all
        for other in CELLS:
            scores = wrong.long[other][1].score
            scores[:] = 0.1 if other == "rnn" else 0.9
    assert verdicts(wrong)[place] == "refuted"


@pytest.mark.parametrize(
    ("place", "cell", "bias", "slope"),
    [(0, "lstm", 0.0, -0.01), (1, "gru", 3.0, -1.0), (7, "lstm", 0.0, -2.0)],
)
def test_claims_of_the_start_are_refuted_where_they_are_false(
    place, cell, bias, slope
) -> None:
    wrong = report()
    wrong.starts[cell, bias, 1.0] = np.stack([line(slope)] * SEEDS)
    if place == 7:
        wrong.starts[cell, 3.0, 1.0] = np.stack([line(slope)] * SEEDS)
    assert verdicts(wrong)[place] == "refuted"


def test_streams_go_on_where_they_ended() -> None:
    rows = _streams(np.arange(100, dtype=np.uint8), 9)
    assert rows.shape == (11, 10)
    assert (rows[1:, 0] == rows[:-1, -1]).all()
    task = Task("", "next", rows, rows, 256, 256)
    order = _order(task, 0, 5, 3)
    assert ((order[1:] - order[:-1]) % len(rows) == 1).all()


def test_settings_that_are_none_are_refused_in_one_line() -> None:
    assert chosen(Config())[1] == [0.0, 1.0, 3.0]
    for wrong in ({"cells": "rnn,mgu"}, {"keep_bias": "0,a"}, {"keep_bias": "nan"}):
        with pytest.raises(UserError, match=r"flag --.*: wanted"):
            chosen(Config(**wrong))
