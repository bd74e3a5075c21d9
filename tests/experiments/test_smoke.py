"""The smoke preset of every experiment runs offline and leaves what it promises."""

import json

import pytest

from experiments._harness.config import launch
from experiments._harness.results import VERDICTS, read_results
from tests.experiments.mains import experiments, module


@pytest.mark.parametrize("name", experiments())
def test_smoke_preset_writes_results_report_and_figures(name, tmp_path, capsys) -> None:
    there = module(name)
    folder = tmp_path / "run"
    argv = ["--preset=smoke", f"--workdir={folder}"]
    status = launch(there.main, there.Config, there.PRESETS, there.__doc__, argv=argv)
    assert status == 0, capsys.readouterr().err
    content = read_results(folder)
    assert content["command"].startswith(f"python -m experiments.{name}")
    assert content["claims"]
    for claim in content["claims"]:
        assert claim["verdict"] in VERDICTS and claim["rule"] and claim["measured"]
    json.loads((folder / "config.json").read_text())
    report = (folder / "report.md").read_text()
    escaped = [claim["claim"].replace("|", "\\|") for claim in content["claims"]]
    assert all(text in report for text in escaped)
    figures = list(folder.glob("*.png"))
    assert figures and all(path.stat().st_size < 400_000 for path in figures)

    assert launch(there.main, there.Config, there.PRESETS, None, argv=argv) == 0
    assert "finished" in capsys.readouterr().out
