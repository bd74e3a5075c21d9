"""A whole experiment as in the harness's docstring: run, rerun, interrupt, repeat."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments._harness import loop
from experiments._harness.config import launch
from experiments._harness.devices import data_mesh
from experiments._harness.figures import curves
from experiments._harness.guard import Guarded
from experiments._harness.mesh import place_state
from experiments._harness.metrics import read_metrics, series
from experiments._harness.report import write_report
from experiments._harness.results import Table, judge, write_results
from experiments._harness.workdir import open_run
from tests.harness import toy

ROOT = Path(loop.__file__).parents[2]


def main(config, step=toy.step):
    """A main as experiments write it."""
    run = open_run(config)
    mesh = data_mesh(8, devices=1)
    loop.run(
        step,
        place_state(mesh, toy.start()),
        toy.batches(config.seed),
        num_steps=config.num_steps,
        mesh=mesh,
        checkpointer=run.checkpointer(),
        metrics=run.metrics(),
        options=loop.Options(log_every=config.log_every, progress=False),
    )
    found = series(read_metrics(run.path("metrics.jsonl")), ["loss"])
    steps, losses = found["loss"]
    curves(run.path("loss.png"), found)
    claim = judge(
        "the loss falls",
        {"first": losses[0], "last": losses[-1]},
        rule="confirmed if the last row's loss is below the first's",
        confirmed=lambda m: m["last"] < m["first"],
    )
    rows = list(zip(steps, losses, strict=True))
    write_results(run, [claim], [Table("Loss", ["step", "loss"], rows)])
    write_report(run.folder)


def command(folder, *argv, main=main):
    arguments = [f"--workdir={folder}", "--num_steps=12", *argv]
    return launch(main, toy.Config, toy.PRESETS, __doc__, argv=arguments)


def contents(folder):
    """What a run leaves, without the time and the folder's name."""
    results = json.loads((folder / "results.json").read_text())
    results.pop("wall_seconds")
    results.pop("resumed")
    files = {n: (folder / n).read_bytes() for n in ("metrics.jsonl", "loss.png")}
    return results, files


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("once") / "run"
    assert command(folder) == 0
    return folder


def test_it_leaves_everything(once):
    names = {path.name for path in once.iterdir()}
    assert names == {
        ".lock",
        "checkpoints",
        "config.json",
        "loss.png",
        "metrics.jsonl",
        "report.md",
        "results.json",
    }
    assert "| the loss falls | none | first: " in (once / "report.md").read_text()
    assert "**confirmed**" in (once / "report.md").read_text()


def test_the_same_command_again_says_that_it_is_finished(once, capsys):
    before = {p: p.read_bytes() for p in once.rglob("*") if p.is_file()}
    assert command(once) == 0
    out, error = capsys.readouterr()
    assert out.startswith(f"toy: the run in {once} is finished")
    assert (out.count("\n"), error) == (1, "")
    assert before == {p: p.read_bytes() for p in once.rglob("*") if p.is_file()}


def test_twice_the_same_command_gives_the_same_numbers(once, tmp_path):
    assert command(tmp_path / "again") == 0
    assert contents(tmp_path / "again") == contents(once)
    assert command(tmp_path / "other", "--seed=1") == 0
    assert contents(tmp_path / "other") != contents(once)


def test_another_flag_on_the_same_folder_is_one_line(once, capsys):
    assert command(once, "--decay=0.25") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "decay (saved 0.5, now 0.25)" in error


def test_interrupted_and_resumed_it_ends_the_same(once, tmp_path, capsys):
    def hook(state):
        if state["seen"] == 8 * 4:
            os.kill(os.getpid(), signal.SIGINT)

    mesh = data_mesh(8, devices=1)
    compiled = Guarded(toy.step, place_state(mesh, toy.start()))
    interrupted = toy.Hooked(compiled, hook)
    assert command(tmp_path, main=lambda c: main(c, interrupted)) == 130
    error = capsys.readouterr().err
    assert error.startswith("toy: stopped at step 5 of 12 and saved in ")
    assert error.count("\n") == 1
    assert command(tmp_path) == 0
    assert contents(tmp_path) == contents(once)


def test_a_diverging_run_is_one_line(tmp_path, capsys):
    def diverging(state, batch):
        return state, {"loss": np.float32("nan")}

    assert command(tmp_path, main=lambda c: main(c, diverging)) == 1
    error = capsys.readouterr().err
    assert error.startswith("toy: loss became nan at step 1: stopped; the state before")
    assert error.count("\n") == 1
    assert not (tmp_path / "results.json").exists()


def test_the_real_command_line(tmp_path):
    """In a process of its own: -m, the file's name as NAME, nothing on stderr."""
    folder = tmp_path / "tests_of"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "plain.py").write_text(
        '"""A plain experiment."""\n'
        "from experiments._harness.config import launch\n"
        "from experiments._harness.workdir import open_run\n"
        "from tests.harness.toy import Config\n"
        "class Plain(Config):\n"
        '    """The toy\'s settings in this module."""\n'
        "def main(config):\n"
        "    print(open_run(config).folder)\n"
        "if __name__ == '__main__':\n"
        "    launch(main, Plain, {}, __doc__)\n"
    )

    def run(*argv):
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "tests_of.plain", *argv],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"},
            capture_output=True,
            text=True,
            check=False,
        )

    bad = run("--seed=x", "--workdir=made")
    assert (bad.returncode, bad.stdout) == (2, "")
    said = "plain: flag --seed=x: wanted an integer from 0 to 4294967295\n"
    assert bad.stderr == said
    assert not (tmp_path / "made").exists()
    good = run()
    assert (good.returncode, good.stdout, good.stderr) == (0, "runs/plain\n", "")
    assert (tmp_path / "runs" / "plain" / "config.json").is_file()
