"""A process that is killed with SIGKILL, often inside a save, loses nothing.

Each run here is a process of the real command line (killed.py) that kills itself at a
point of its progress, half of them at some change of the disk inside a save, those that
orbax makes among them. It is started again, with nothing cleaned, and killed again;
what it leaves at the end must be the bits of the run that nobody killed.
"""

import itertools

import numpy as np
import pytest

from experiments._harness.checkpoint import Checkpointer
from experiments._harness.metrics import read_metrics
from tests.harness import killed, toy
from tests.harness.commands import EVERY, complete, left, run

# A save changes the disk so often: 18 times until it is in its place; then what is old
# goes, if there is any, file by file.
CHANGES, PLACED = 28, 18


def inside(rng, kills):
    """For so many saves a change each at which to kill, all parts of a save alike.

    The one that puts the step in its place is always among them.
    """
    edges = np.linspace(1, CHANGES + 1, kills + 1)
    found = [int(rng.uniform(*pair)) for pair in itertools.pairwise(edges)]
    found[kills * (PLACED - 1) // CHANGES] = PLACED
    found = list(rng.permutation(found))
    # What is popped last is in every save, whatever was old.
    last = next(i for i, change in enumerate(found) if change <= PLACED)
    found[0], found[last] = found[last], found[0]
    return found


def between(rng, at):
    """A point outside saves that a run which goes on from step ``at`` passes."""
    match rng.integers(4):
        case 0:
            return f"open:{rng.integers(1, 7)}"
        case 1:
            return f"row:{rng.integers(at + 1, at + EVERY + 1)}"
        case _:
            return f"step:{rng.integers(at + EVERY + 1, at + 2 * EVERY)}"


def kill_often(folder, argv, kills, seed):
    """Kill a run so often, every second time and the last time in a save; end it."""
    rng = np.random.default_rng(seed)
    changes, saves = inside(rng, kills // 2), 0
    for number in range(kills):
        at = max(Checkpointer(folder / "checkpoints").steps(), default=0)
        point = between(rng, at)
        if number % 2:
            point = f"save:{at + EVERY}:{changes.pop()}"
        elif 2 * saves < number:  # a save had so few changes that it ended
            point = f"save:{at + EVERY}:{rng.integers(1, PLACED)}"
        status, out, error = run(folder, *argv, f"--kill={point}")
        assert (status, error) == (-9, ""), (point, out)
        said = out.splitlines()[-1]
        assert said.startswith("killed in "), (point, out)
        saves += said.startswith("killed in save:") and not said.endswith(": end")
    assert 2 * saves >= kills
    complete(folder, *argv)


def check(folder, kind, kills, seed):
    """Compare a run that is killed ``kills`` times with one that is not."""
    argv = [f"--kind={kind}", f"--num_steps={EVERY * (kills + 1)}"]
    if kind == "skip":
        argv.append("--on_nonfinite=skip")
    kill_often(folder / "killed", argv, kills, seed)
    complete(folder / "whole", *argv)
    assert left(folder / "killed", kind) == left(folder / "whole", kind)
    places = [folder / name / "checkpoints" for name in ("killed", "whole")]
    one, other = ([path.name for path in place.iterdir()] for place in places)
    assert sorted(one) == sorted(other)


def test_ten_kills(tmp_path):
    check(tmp_path, "ema", 10, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", killed.KINDS)
def test_fifty_kills(tmp_path, kind):
    check(tmp_path, kind, 50, seed=1 + killed.KINDS.index(kind))


def test_skipped_updates_are_counted_across_kills(tmp_path):
    check(tmp_path, "skip", 2, seed=0)
    data = toy.batches()
    lost = [next(data)["y"][0] < killed.LOST for _ in range(3 * EVERY)]
    assert 0 < sum(lost) < len(lost)
    rows = read_metrics(tmp_path / "killed" / "metrics.jsonl")
    assert [row["step"] for row in rows] == [4, 8, 9]
    assert [row["skipped"] for row in rows] == [sum(lost[:n]) for n in (4, 8, 9)]
