"""Bad input to any main: one line, status 1 or 2, no traceback, no folder."""

import os
import subprocess
import sys

import pytest

from experiments._harness.config import launch
from experiments._harness.settings import settings_of
from tests.experiments.mains import NAMES, experiments, module
from tests.house.public import ROOT

MALFORMED = {
    int: ("abc", "1.5", "nan", "", "99999999999999999999"),
    float: ("abc", "nan", "inf", "", "-inf"),
    bool: ("maybe", "2", "", "nan", "yes please"),
    str: ("", " ", "\x00", "a\nb", "x" * 5000),
}


def run(name: str, *argv: str) -> int:
    there = module(name)
    presets = getattr(there, "PRESETS", {})
    return launch(there.main, there.Config, presets, there.__doc__, argv=argv)


def flags() -> list[tuple[str, str]]:
    return [(n, f.name) for n in NAMES for f, _, _ in settings_of(module(n).Config)]


def malformed(name: str, flag: str) -> list[str]:
    field, kind, about = next(
        row for row in settings_of(module(name).Config) if row[0].name == flag
    )
    values = list(MALFORMED[kind])
    if kind is str and (about.choices or flag == "preset"):
        values = ["no such choice", "", "None", field.default.upper() + "x", "1"]
    if kind in (int, float):
        values += [str(about.minimum - 1)] if about.minimum is not None else []
        values += [str(about.maximum * 2 + 1)] if about.maximum is not None else []
    return values


@pytest.mark.parametrize(("name", "flag"), flags(), ids=lambda value: value)
def test_malformed_flag_is_refused_in_one_line(
    name, flag, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    values = malformed(name, flag)
    assert len(values) >= 5
    for value in values:
        assert run(name, f"--{flag}={value}") in (1, 2), value
        said = capsys.readouterr()
        lines = said.err.strip().split("\n")
        assert len(lines) == 1 and f"--{flag}" in lines[0], (value, lines)
        assert "Traceback" not in said.err and not said.out
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "argv", [["stray"], ["--no_such_flag=1"], ["--seed"], ["-x"], ["--", "stray"]]
)
def test_stray_and_unknown_arguments_are_refused(
    name, argv, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(name, *argv) in (1, 2)
    said = capsys.readouterr()
    assert len(said.err.strip().split("\n")) == 1 and "Traceback" not in said.err
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", experiments())
def test_help_names_every_flag(name, capsys) -> None:
    assert run(name, "--help") == 0
    said = capsys.readouterr().out
    for field, _, _ in settings_of(module(name).Config):
        assert f"--{field.name}" in said
    assert {"workdir", "preset", "seed", "resume"} <= {
        field.name for field, _, _ in settings_of(module(name).Config)
    }


WRONG = {
    "ddpm": [
        (["--multipliers=1,x"], "--multipliers=1,x"),
        (["--multipliers=0"], "--multipliers=0"),
        (["--network=paper", "--multipliers=1,2,2,2,2,2"], "divisible"),
        (["--guidance=1"], "--conditional"),
        (["--accumulate=5"], "--accumulate=5"),
        (["--mesh=data:999999"], "--mesh=data:999999"),
        (["--mesh=data:2,data:3"], "--mesh=data:2,data:3"),
        (["--profile_steps=5:4"], "--profile_steps=5:4"),
        (["--dataset=mnist"], "--data_dir"),
        (["--dataset=mnist", "--data_dir=nowhere"], "ubyte"),
        (["--dataset=cifar10", "--data_dir=nowhere"], "data_batch_1.bin"),
        (["--dataset=folder", "--data_dir=nowhere"], "nowhere"),
        (["--mode=sample", "--workdir=nowhere"], "nowhere"),
    ]
}


@pytest.mark.parametrize(
    ("name", "argv", "said"),
    [(name, argv, said) for name, rows in WRONG.items() for argv, said in rows],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_settings_that_do_not_fit_are_refused_before_there_is_a_folder(
    name, argv, said, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(name, *argv) in (1, 2)
    lines = capsys.readouterr().err.strip().split("\n")
    assert len(lines) == 1 and said in lines[0], lines
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("extra", ["sklearn", "matplotlib"])
def test_missing_extra_is_named(extra, tmp_path) -> None:
    code = (
        f"import sys; sys.modules[{extra!r}] = None\n"
        "import runpy; sys.argv = ['ddpm', '--preset=smoke']\n"
        "runpy.run_module('experiments.ddpm', run_name='__main__', alter_sys=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1, done.stderr
    lines = done.stderr.strip().split("\n")
    assert len(lines) == 1 and "kexue_jax[experiments]" in lines[0], lines
    assert os.listdir(tmp_path) == []
