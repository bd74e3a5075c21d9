"""The experiment leaderboard_means: its verdicts follow the tables."""

import numpy as np
import pytest

from experiments._leaderboards import claims, measures
from experiments._leaderboards.measures import Curves, Stability
from kexue_jax.evaluation import score_table

NAMES = ("glue_2021", "glue_2019", "superglue_2022", "glue_models")
TABLES = {name: score_table(name=name) for name in NAMES}


def report(tables=TABLES, turned=1, best=7) -> claims.Report:
    """A report on tables, with ranks that are made up."""
    curves = {}
    for name in ("glue_2021", "superglue_2022"):
        ranks = np.full((3, len(tables[name].systems)), best)
        curves[name] = Curves(np.array([-5.0, 0, 5]), ranks, ranks)
    moves = {}
    for name, table in tables.items():
        inversions = np.full((3, 3), turned)
        left = np.full((3, table.official, len(table.systems)), 1)
        moves[name] = Stability(inversions, left, np.zeros((3, len(table.systems))))
    return claims.Report(tables, curves, moves)


def verdict(found, start: str) -> str:
    (row,) = [c for c in claims.all_claims(found) if c.text.startswith(start)]
    return row.verdict


def swapped(name: str, row: int, column: int, score: float):
    scores = TABLES[name].scores.copy()
    scores[row, column] = score
    return {**TABLES, name: TABLES[name]._replace(scores=scores)}


def test_the_published_tables_bear_the_articles_diagnosis() -> None:
    found = report()
    assert verdict(found, "the official tasks alone") == "confirmed"
    assert verdict(found, "from averages rounded") == "confirmed"
    assert verdict(found, "SuperGLUE: the set") == "confirmed"
    assert verdict(found, "the paper's thesis") == "refuted"
    assert verdict(found, "GLUE with unequal tasks") == "qualified"


def test_a_wrong_cell_refutes_what_hangs_on_it() -> None:
    assert verdict(report(swapped("glue_2021", 0, 0, 62.6)), "the official") == (
        "refuted"
    )
    human = TABLES["superglue_2022"].systems.index("Human")
    low = report(swapped("superglue_2022", human, 9, 9.0))
    assert verdict(low, "SuperGLUE: the set") == "refuted"


@pytest.mark.parametrize(
    ("turned", "alike", "never"),
    [(0, "confirmed", "confirmed"), (3, "qualified", "refuted")],
)
def test_turned_pairs_are_counted(turned, alike, never) -> None:
    found = report(turned=turned)
    assert verdict(found, "on one set of tasks the three") == alike
    assert verdict(found, "the choice of mean makes no") == never


def test_a_human_who_rises_somewhere_qualifies_the_fixed_set() -> None:
    assert verdict(report(best=7), "GLUE on one set") == "confirmed"
    assert verdict(report(best=6), "GLUE on one set") == "qualified"


def test_mixed_rows_rank_the_human_as_the_card_says() -> None:
    assert measures.mixed_human(TABLES["glue_2021"]).tolist() == [3, 2, 1]
    assert measures.human_ranks(TABLES["superglue_2022"], 8).tolist() == [5, 5, 6]
