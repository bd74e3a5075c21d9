"""The command ``python -m experiments.report``."""

import subprocess
from pathlib import Path

from experiments import report
from experiments._harness.config import launch
from experiments._harness.metrics import MetricsWriter
from experiments._harness.report import results_page
from experiments._harness.results import judge, write_results
from experiments._harness.workdir import open_run
from tests.harness import toy

ROOT = Path(report.__file__).parents[1]


def command(*argv):
    return launch(report.main, report.Config, {}, report.__doc__, argv=argv)


def a_run(folder):
    run = open_run(toy.config(folder))
    for step in (1, 2):
        run.metrics().write(step, {"loss": 1 / step})
    write_results(run, [judge("c", 1.0, rule="r", confirmed=lambda m: m > 0)])
    return folder


def test_all_results_into_one_page(tmp_path, capsys):
    for name in ("beta", "alpha"):
        a_run(tmp_path / name)
    page = tmp_path / "RESULTS.md"
    assert command(f"--results={tmp_path}", f"--output={page}") == 0
    text = page.read_text()
    assert text == results_page(tmp_path, page)
    assert text.index("## alpha") < text.index("## beta")
    assert capsys.readouterr().out == f"wrote {page}\n"


def test_help(capsys):
    assert command("--help") == 0
    out = capsys.readouterr().out
    assert "  --workdir=\n" in out
    assert "  --results=experiments/results\n" in out
    assert "preset" not in out


def test_one_run_again_with_its_curves(tmp_path):
    folder = a_run(tmp_path / "run")
    assert command(f"--workdir={folder}") == 0
    assert "![metrics](metrics.png)" in (folder / "report.md").read_text()
    assert (folder / "metrics.png").stat().st_size > 1000


def test_a_run_without_results_is_one_line(tmp_path, capsys):
    MetricsWriter(tmp_path / "metrics.jsonl").write(1, {"loss": 1.0})
    for argv in ([f"--workdir={tmp_path}"], [f"--results={tmp_path / 'none'}"]):
        assert command(*argv) == 1
        assert capsys.readouterr().err.count("\n") == 1


def test_the_committed_page_is_what_the_committed_results_give():
    listed = subprocess.run(
        ["git", "ls-files", "experiments/results/*/results.json", "RESULTS.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    results = [name for name in listed if name != "RESULTS.md"]
    assert ("RESULTS.md" in listed) == bool(results)
    if results:
        page = ROOT / "RESULTS.md"
        text = results_page(ROOT / "experiments" / "results", page)
        assert page.read_text(encoding="utf-8") == text
