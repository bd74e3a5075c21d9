"""path_kernel: its rules catch what is wrong."""

import numpy as np
import pytest

from experiments._harness import lists
from experiments._harness.errors import UserError
from experiments._path import claims
from experiments._path.measurement import NODES, Report

RATES = [0.04, 0.02, 0.01]


def report() -> Report:
    """What article and papers say, in numbers."""
    found = Report(RATES)
    for form in NODES:
        found.errors[form] = np.full((2, 3), 1e-14)
    found.errors["Riemann"] = np.stack([np.array(RATES)] * 2)
    found.retrieval = {
        "supporting samples": [1.0, 1.0],
        "opposing samples": [0.0, 0.1],
        "nearest in pixels": [0.9, 0.9],
    }
    found.residual, found.not_additive = [1e-5, 1e-5], [0.3, 0.4]
    found.accuracy = [0.95, 0.95]
    found.moved = {w: np.full((2, 20), w**-0.5) for w in (16, 64, 256)}
    return found


def verdicts(found: Report) -> list[str]:
    return [claim.verdict for claim in claims.all_claims(found)]


def test_every_claim_is_confirmed_where_all_is_as_the_articles_say() -> None:
    assert set(verdicts(report())) == {"confirmed"}
    assert len(claims.tables(report())) == 3


@pytest.mark.parametrize(
    ("place", "field", "key", "value"),
    [
        (0, "errors", "Riemann", np.full((2, 3), 0.1)),
        (1, "errors", "exact, 4 nodes", np.full((2, 3), 1e-3)),
        (2, "residual", None, [0.1, 0.1]),
        (3, "not_additive", None, [0.0, 0.0]),
        (4, "retrieval", "supporting samples", [0.1, 0.1]),
        (5, "retrieval", "supporting samples", [0.5, 0.5]),
        (6, "moved", 16, np.full((2, 20), 0.01)),
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
