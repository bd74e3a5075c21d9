"""Results: verdicts by rule alone, strict JSON, reports that say what was measured."""

import json

import numpy as np
import pytest

from experiments._harness.errors import UserError
from experiments._harness.report import results_page, write_report
from experiments._harness.results import (
    Claim,
    Table,
    judge,
    read_results,
    write_results,
)
from experiments._harness.workdir import open_run
from tests.harness import toy


def above(limit):
    return lambda m: bool(np.all(m > limit))


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [(3.0, "confirmed"), (2.0, "qualified"), (1.0, "refuted"), ([3, 2.6], "confirmed")],
)
def test_the_verdict_is_what_the_rule_says(measured, verdict):
    claim = judge(
        "it is large",
        measured,
        rule="confirmed above 2.5, qualified above 1.5",
        confirmed=above(2.5),
        qualified=above(1.5),
    )
    assert claim.verdict == verdict


@pytest.mark.parametrize("bad", [np.nan, np.inf, [1.0, np.nan], {"a": 1, "b": np.nan}])
def test_what_is_not_finite_confirms_nothing(bad):
    claim = judge("c", bad, rule="r", confirmed=lambda m: True)
    assert claim.verdict == "refuted"


def test_measured_values_reach_the_rule_by_name_and_seed():
    seen = []
    judge(
        "c",
        {"a": [1, 2], "b": 3},
        rule="r",
        confirmed=lambda m: bool(seen.append(m)),
        qualified=lambda m: bool(m["a"].sum() == m["b"]),
    )
    [m] = seen
    assert m["a"].tolist() == [1.0, 2.0]
    assert m["b"] == 3.0
    assert type(m["b"]) is float


def test_a_row_has_mean_and_spread_over_seeds():
    row = judge(
        "c", [1.0, 3.0], rule="r", confirmed=above(0), reported=2, source="the article"
    ).row()
    assert row == {
        "claim": "c",
        "reported": "2",
        "source": "the article",
        "measured": {"": {"mean": 2.0, "std": 2**0.5, "values": [1.0, 3.0]}},
        "rule": "r",
        "verdict": "confirmed",
    }
    assert judge("c", 1.0, rule="r", confirmed=above(0)).row()["reported"] is None


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"reported": 3}, ValueError, "source"),
        ({"rule": " "}, ValueError, "rule"),
        ({"measured": []}, ValueError, "number a seed"),
        ({"measured": {}}, ValueError, "empty"),
        ({"measured": np.zeros((2, 2))}, ValueError, "number a seed"),
        ({"confirmed": lambda m: "yes"}, TypeError, "must return a bool"),
        ({"confirmed": lambda m: 1}, TypeError, "must return a bool"),
    ],
)
def test_a_row_that_says_too_little_is_a_bug(arguments, error, said):
    given = {"measured": 1.0, "rule": "r", "confirmed": above(0), **arguments}
    with pytest.raises(error, match=said):
        judge("c", given.pop("measured"), **given)


def test_a_verdict_cannot_be_typed():
    with pytest.raises(TypeError, match="verdict"):
        Claim(text="c", measured={}, rule="r", reported=None, source=None, verdict="x")


@pytest.fixture
def finished(tmp_path):
    """A run with results."""
    run = open_run(toy.config(tmp_path / "toy", num_steps=3))
    claims = [
        judge("a | b", [1.0, 2.0], rule="r1", confirmed=above(0)),
        judge("c", np.float32(np.nan), rule="r2", confirmed=above(0)),
    ]
    table = Table("Losses", ["step", "loss"], [[1, 0.123456], ["end", np.nan]])
    write_results(run, claims, [table], {"accuracy": np.float64(0.75), "n": 3})
    (run.folder / "samples.png").write_bytes(b"")
    return run.folder


def test_results_are_strict_json_with_all_that_reproduces_them(finished):
    def refuse(constant):
        raise ValueError(constant)

    text = (finished / "results.json").read_text()
    content = json.loads(text, parse_constant=refuse)
    assert content["command"] == "python -m experiments.toy --num_steps=3"
    assert content["config"]["num_steps"] == 3
    assert content["config"]["seed"] == 0
    wanted = {"python", "jax", "jaxlib", "flax", "optax", "numpy", "kexue_jax"}
    assert content["versions"].keys() == wanted
    assert content["device"].keys() >= {"platform", "kind", "count"}
    assert content["wall_seconds"] >= 0
    assert len(content["date"]) == 10
    assert [c["verdict"] for c in content["claims"]] == ["confirmed", "refuted"]
    assert content["claims"][1]["measured"][""]["mean"] is None
    assert content["tables"][0]["rows"][1] == ["end", None]
    assert content["facts"] == {"accuracy": 0.75, "n": 3}


def test_the_report_shows_claims_tables_figures_command_and_versions(finished):
    text = write_report(finished).read_text()
    for part in (
        "# toy",
        "    python -m experiments.toy --num_steps=3",
        "| a \\| b | none | 1.5 ± 0.7071 (n = 2) | r1 | **confirmed** |",
        "| c | none | – | r2 | **refuted** |",
        "## Losses",
        "| 1 | 0.1235 |",
        "| end | – |",
        "| accuracy | 0.75 |",
        "![samples](samples.png)",
        "jax ",
    ):
        assert part in text
    assert write_report(finished).read_text() == text


def test_all_results_on_one_page(finished):
    place = finished.parent / "deep" / "RESULTS.md"
    page = results_page(finished.parent, place)
    assert "2 claims: 1 confirmed, 0 qualified, 1 refuted" in page
    assert "## toy" in page
    assert "[Report](../toy/report.md)" in page
    assert page == results_page(finished.parent, place)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"experiment": "x"}', '{"claims": [{}]}']
)
def test_what_is_no_result_is_refused_by_name(tmp_path, text):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(UserError, match=r"results\.json"):
        read_results(tmp_path)


def test_a_verdict_of_no_rule_is_refused(finished):
    path = finished / "results.json"
    path.write_text(path.read_text().replace('"refuted"', '"proved"'))
    with pytest.raises(UserError, match="without a verdict"):
        read_results(finished)


def test_a_table_with_a_short_row_is_a_bug():
    with pytest.raises(ValueError, match="a row of 1 entries under 2 columns"):
        Table("t", ["a", "b"], [[1]])
