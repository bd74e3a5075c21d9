"""A process that is killed with SIGKILL, often inside a save, loses nothing.

Each run here is a process of the real command line (killed.py) that kills itself at a
point of its progress, most of them some event of the file system inside a save, orbax's
own among them. It is started again, with nothing cleaned, and killed again; what it
leaves at the end must be the bits of the run that nobody killed.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments._harness.checkpoint import Checkpointer
from tests.harness import killed, toy

ROOT = Path(killed.__file__).parents[2]
EVERY = 3


def start(folder, *argv, **more):
    """The process, started; its output is kept."""
    command = [sys.executable, "-W", "error", "-m", "tests.harness.killed"]
    return subprocess.Popen(
        [*command, f"--workdir={folder}", f"--save_every={EVERY}", *argv],
        env={**os.environ, "PYTHONPATH": str(ROOT), **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """Exit status, stdout and stderr of a started process."""
    out, error = process.communicate(timeout=1800)
    return process.returncode, out, error


def run(folder, *argv, **more):
    """Exit status, stdout and stderr of the whole process."""
    return finish(start(folder, *argv, **more))


def left(folder, kind):
    """What a run has left: its last state, what it returned, its metrics."""
    checkpointer = Checkpointer(folder / "checkpoints")
    saved = checkpointer.restore(killed.STATES[kind][0]())
    with np.load(folder / killed.FINAL) as final:
        returned = {name: (a.dtype, a.tobytes()) for name, a in final.items()}
    state = [(a.dtype, a.tobytes()) for a in toy.leaves(saved.state)]
    metrics = (folder / "metrics.jsonl").read_bytes()
    return saved.step, saved.meta, state, returned, metrics


def drawn(rng, at, inside, last):
    """A point of the progress that a run which goes on from step ``at`` passes."""
    save = at + EVERY
    if last or inside:
        return f"save:{save}:{rng.integers(1, 97 if save > 2 * EVERY else 60)}"
    match rng.integers(4):
        case 0:
            return f"open:{rng.integers(1, 9)}"
        case 1:
            return f"row:{rng.integers(at + 1, save + 1)}"
        case _:
            return f"step:{rng.integers(at + 1, save + 3)}"


def kill_often(folder, argv, kills, seed):
    """Kill a run so often, every second time and the last time in a save; end it."""
    rng = np.random.default_rng(seed)
    saves = 0
    for number in range(kills):
        steps = Checkpointer(folder / "checkpoints").steps()
        point = drawn(rng, max(steps, default=0), number % 2, number == kills - 1)
        status, out, error = run(folder, *argv, f"--kill={point}")
        assert (status, error) == (-9, ""), (point, out)
        said = out.splitlines()[-1]
        assert said.startswith("killed in "), (point, out)
        saves += said.startswith("killed in save:") and not said.endswith(": end")
    assert 2 * saves >= kills
    assert run(folder, *argv)[::2] == (0, "")


def check(folder, kind, kills, seed):
    """Compare a run that is killed ``kills`` times with one that is not."""
    argv = [f"--kind={kind}", f"--num_steps={EVERY * (kills + 1)}"]
    if kind == "skip":
        argv.append("--on_nonfinite=skip")
    kill_often(folder / "killed", argv, kills, seed)
    assert run(folder / "whole", *argv)[::2] == (0, "")
    assert left(folder / "killed", kind) == left(folder / "whole", kind)
    places = [folder / name / "checkpoints" for name in ("killed", "whole")]
    one, other = ([path.name for path in place.iterdir()] for place in places)
    assert sorted(one) == sorted(other)


def test_ten_kills(tmp_path):
    check(tmp_path, "ema", 10, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "ema", "gan", "skip"])
def test_fifty_kills(tmp_path, kind):
    check(tmp_path, kind, 50, seed=1 + killed.KINDS.index(kind))
