"""Bytes flipped, files cut short or lost: refused by name or skipped, never loaded."""

import os
import shutil

import jax
import numpy as np
import pytest

from experiments._harness import loop
from experiments._harness.checkpoint import Checkpointer
from experiments._harness.config import launch
from experiments._harness.errors import UserError
from experiments._harness.guard import Guarded
from experiments._harness.workdir import open_run
from tests.harness import toy


class Break(Exception):
    """The crash of a test."""


@pytest.fixture(scope="module")
def compiled():
    return Guarded(toy.step, toy.start())


def command(folder, compiled, stop=0):
    """Exit status of 12 steps of the toy, which breaks before its call ``stop``."""
    calls, last = [], []

    def hook(state):
        calls.append(None)
        if len(calls) == stop:
            raise Break

    def main(config):
        run = open_run(config)
        state = loop.run(
            toy.Hooked(compiled, hook),
            toy.start(),
            toy.batches(),
            num_steps=config.num_steps,
            options=loop.Options(log_every=2, save_every=3, progress=False),
            checkpointer=run.checkpointer(),
            metrics=run.metrics(),
        )
        last.append(state)

    argv = [f"--workdir={folder}", "--num_steps=12"]
    try:
        status = launch(main, toy.Config, {}, None, argv=argv)
    except Break:
        status = None
    return status, last


@pytest.fixture(scope="module")
def broken(compiled, tmp_path_factory):
    """A run of 12 steps that broke before step 11; steps 6 and 9 are saved."""
    folder = tmp_path_factory.mktemp("broken") / "run"
    assert command(folder, compiled, stop=11) == (None, [])
    assert Checkpointer(folder / "checkpoints").steps() == [6, 9]
    return folder


@pytest.fixture(scope="module")
def states(compiled):
    """The state after each step, and what a checkpoint keeps of the data."""
    state, data, halted, found = toy.start(), toy.batches(), loop.go(), {}
    for number in range(1, 13):
        state, _, halted = compiled(state, next(data), halted)
        found[number] = (jax.tree.map(np.asarray, toy.leaves(state)), data.state())
    return found


@pytest.fixture
def copy(broken, tmp_path):
    """A copy of the run, to damage."""
    return shutil.copytree(broken, tmp_path / "run")


def files(folder):
    """Every file under ``folder`` with its bytes."""
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def damaged(rng, path, content):
    """Flip a byte of the file, cut it short, or delete it; say which."""
    act = ("flip", "cut", "delete")[rng.integers(3)]
    if act == "delete" or not content:
        path.unlink()
        return "delete"
    place = int(rng.integers(len(content)))
    if act == "cut":
        os.truncate(path, place)
    else:
        other = content[place] ^ int(rng.integers(1, 256))
        path.write_bytes(content[:place] + bytes([other]) + content[place + 1 :])
    return act


def test_two_hundred_damages_of_a_checkpoint(copy, states, capsys):
    checkpointer = Checkpointer(copy / "checkpoints")
    before, rng, touched = files(checkpointer.folder), np.random.default_rng(0), []
    for _ in range(200):
        several = rng.choice(len(before), size=rng.choice([1, 1, 1, 2]), replace=False)
        hit = [list(before)[number] for number in several]
        acts = {path: damaged(rng, path, before[path]) for path in hit}
        wrong = {int(path.relative_to(checkpointer.folder).parts[0]) for path in hit}
        check(checkpointer, wrong, states, acts, capsys)
        for path in hit:
            path.write_bytes(before[path])
        touched += hit
    assert set(touched) == set(before)
    assert checkpointer.restore(toy.start()).step == 9


def check(checkpointer, wrong, states, acts, capsys):
    """What is loaded is a step that is whole, and the others are named."""
    good = [step for step in (9, 6) if step not in wrong]
    try:
        saved = checkpointer.restore(toy.start())
    except UserError as error:
        assert not good, acts
        assert f"every checkpoint in {checkpointer.folder} is damaged" in str(error)
        looked = [9, 6]
    else:
        assert saved.step == good[0], acts
        state, position = states[saved.step]
        for one, other in zip(toy.leaves(saved.state), state, strict=True):
            assert one.dtype == other.dtype and one.tobytes() == other.tobytes(), acts
        assert saved.meta["batches"] == position
        looked = [step for step in (9, 6) if step > saved.step]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(looked), (acts, lines)
    for step, line in zip(looked, lines, strict=True):
        assert line.startswith(f"checkpoint {checkpointer.folder / f'{step:06d}'} is")


def test_a_step_under_the_name_of_another_is_damage(copy, capsys):
    checkpointer = Checkpointer(copy / "checkpoints")
    shutil.rmtree(checkpointer.folder / "000009")
    shutil.copytree(checkpointer.folder / "000006", checkpointer.folder / "000009")
    assert checkpointer.restore(toy.start()).step == 6
    assert "(it is step 6 under another name)" in capsys.readouterr().err


def again(broken, folder, compiled, capsys, rng=None, path=None):
    """Go on with a copy of the run, damaged: the act, status, last state, lines."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(broken, folder)
    act = damaged(rng, path, path.read_bytes()) if path else "none"
    capsys.readouterr()
    status, last = command(folder, compiled)
    return act, status, last, capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl"])
def test_forty_damages_of_another_file(
    broken, tmp_path, compiled, states, name, capsys
):
    """Refused in one line that names it, or of no account for the result, or told."""
    folder = tmp_path / "run"
    path, rng, refused = folder / name, np.random.default_rng(0), 0
    assert again(broken, folder, compiled, capsys)[1:2] == (0,)
    whole = (folder / "metrics.jsonl").read_bytes()
    for _ in range(40):
        act, status, last, lines = again(broken, folder, compiled, capsys, rng, path)
        if status:
            refused += 1
            assert (status, last, len(lines)) == (1, [], 1)
            named = f"--workdir={folder} holds a run ", "(no config.json)", str(path)
            assert any(words in lines[0] for words in named), lines
            continue
        pairs = zip(toy.leaves(last[0]), states[12][0], strict=True)
        assert all(one.tobytes() == other.tobytes() for one, other in pairs)
        if (folder / "metrics.jsonl").read_bytes() == whole:
            assert lines == []
        else:
            assert act in ("delete", "cut") and path.name == "metrics.jsonl"
            lost = "was empty or gone: the rows up to step 9 are lost"
            assert lines == [f"{path} {lost}"]
    assert refused > 0
