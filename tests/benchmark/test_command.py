"""The command: list, choose, measure, write, go on; bad input in one line."""

import json

import pytest

from experiments._harness.config import launch
from experiments.benchmark import __main__ as benchmark
from experiments.benchmark import registry
from tests.benchmark import toy

EASY = 1e9  # no clock decides whether the goal is met
CASES = {
    case.name: case
    for case in (
        toy.case(
            "toy.one", peers=[toy.MISSING, toy.working(toy.numpy_square)], goal=EASY
        ),
        toy.case("toy.two", about="another"),
        toy.case("other.red", fast=lambda x: x),
    )
}
QUICK = ("--rounds=2", "--seconds=0")


@pytest.fixture(autouse=True)
def few_cases(monkeypatch):
    monkeypatch.setattr(registry, "all_cases", lambda: CASES)


def run(*argv):
    return launch(
        benchmark.main,
        benchmark.Config,
        benchmark.PRESETS,
        benchmark.__doc__,
        argv=argv,
    )


def strict(path):
    def refuse(word):
        raise ValueError(word)

    return json.loads(path.read_text(), parse_constant=refuse)


def test_list_names_the_cases_and_makes_no_folder(tmp_path, capsys):
    folder = tmp_path / "run"
    assert run("--list", f"--workdir={folder}") == 0
    assert capsys.readouterr().out.split("\n")[:3] == [
        "toy.one",
        "toy.two: another",
        "other.red",
    ]
    assert run("--list", "--cases=toy.*") == 0
    assert "other.red" not in capsys.readouterr().out
    assert not folder.exists()


def test_results_are_strict_json_and_a_readable_report(tmp_path, capsys):
    assert run("--cases=toy.*", *QUICK, f"--workdir={tmp_path / 'run'}") == 0
    folder = tmp_path / "run"
    results = strict(folder / "results.json")
    assert results["experiment"] == "benchmark"
    assert results["command"].startswith(
        "python -m experiments.benchmark '--cases=toy.*' --rounds=2"
    )
    assert {"jax", "jaxlib", "numpy"} <= results["versions"].keys()
    assert results["device"]["cores"] >= 1
    assert results["date"]
    [claim] = results["claims"]
    assert claim["verdict"] == "confirmed"
    assert "load average before" in results["facts"]
    assert strict(folder / "cases" / "toy.one.json")["status"] == "measured"
    report = (folder / "report.md").read_text()
    assert "not installed: pip install 'kexue_jax[bench]'" in report
    assert "| toy.two | twin |" in report
    header = next(line for line in report.splitlines() if "| median ms |" in line)
    body = [line for line in report.splitlines() if line.startswith("| toy.")]
    assert {line.count(" | ") for line in body if line.count(" | ") > 7} == {
        header.count(" | ")
    }
    assert report in capsys.readouterr().out


def test_a_red_case_ends_in_status_1_after_the_others_are_written(tmp_path, capsys):
    folder = tmp_path / "run"
    assert run(*QUICK, f"--workdir={folder}") == 1
    shown = capsys.readouterr()
    assert shown.err.strip().split("\n") == [
        "benchmark: the forms of other.red disagree: no times for them"
    ]
    results = strict(folder / "results.json")
    red = [row for row in results["tables"][0]["rows"] if row[0] == "other.red"]
    assert len(red) == 1
    assert red[0][1].startswith("gate red")
    assert set(red[0][2:]) == {None}


def test_an_interrupted_run_goes_on_with_the_missing_cases(tmp_path, monkeypatch):
    folder, measured = tmp_path / "run", []
    whole = benchmark.runner.measure

    def interrupted(case, **values):
        if len(measured) == 1:
            raise KeyboardInterrupt
        measured.append(case.name)
        return whole(case, **values)

    monkeypatch.setattr(benchmark.runner, "measure", interrupted)
    argv = ("--cases=toy.*", *QUICK, f"--workdir={folder}")
    assert run(*argv) == 130
    monkeypatch.setattr(
        benchmark.runner,
        "measure",
        lambda case, **v: measured.append(case.name) or whole(case, **v),
    )
    assert run(*argv) == 0
    assert measured == ["toy.one", "toy.two"]
    assert len(strict(folder / "results.json")["tables"][0]["rows"]) == 6


BAD = {
    "cases": ["", "nothing", "toy.one,nothing", "a\nb", "toy.[", "TOY.ONE"],
    "rounds": ["0", "-1", "x", "1.5", "", "1001"],
    "seconds": ["-1", "nan", "inf", "", "x"],
    "list": ["maybe", "2", "", "yes!", "None"],
}


@pytest.mark.parametrize(("flag", "value"), [(f, v) for f in BAD for v in BAD[f]])
def test_bad_input_is_one_line_and_makes_no_folder(tmp_path, capsys, flag, value):
    folder = tmp_path / "run"
    assert run(f"--{flag}={value}", f"--workdir={folder}") in (1, 2)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert flag in error
    assert not folder.exists()
