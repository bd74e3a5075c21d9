"""The experiment of killed.py as processes of the real command line."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from experiments._harness.checkpoint import Checkpointer
from tests.harness import killed, toy

ROOT = Path(killed.__file__).parents[2]
EVERY = 3


def start(folder, *argv, **environment):
    """The process, started, with a save every EVERY steps; its output is kept."""
    command = [sys.executable, "-W", "error", "-m", "tests.harness.killed"]
    return subprocess.Popen(
        [*command, f"--workdir={folder}", f"--save_every={EVERY}", *argv],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """Exit status, stdout and stderr of a started process."""
    out, error = process.communicate(timeout=1800)
    return process.returncode, out, error


def run(folder, *argv, **environment):
    """Exit status, stdout and stderr of the whole process."""
    return finish(start(folder, *argv, **environment))


def complete(folder, *argv, **environment):
    """Run the process to a good end that says nothing."""
    status, _, error = run(folder, *argv, **environment)
    assert (status, error) == (0, "")


def wait_for(process, line):
    """Read what a started process says until it says ``line``."""
    for said in process.stdout:
        if said.strip() == line:
            return
    raise AssertionError(f"it ended without {line!r}: {process.stderr.read()}")


def left(folder, kind="ema"):
    """What a run has left: its last state, what it returned, its metrics."""
    checkpointer = Checkpointer(folder / "checkpoints")
    saved = checkpointer.restore(killed.STATES[kind][0]())
    with np.load(folder / killed.FINAL) as final:
        returned = {name: (a.dtype, a.tobytes()) for name, a in final.items()}
    state = [(a.dtype, a.tobytes()) for a in toy.leaves(saved.state)]
    metrics = (folder / "metrics.jsonl").read_bytes()
    return saved.step, saved.meta, state, returned, metrics
