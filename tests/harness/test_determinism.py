"""The same command gives the same bits, in whatever order Python hashes names."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import orbax.checkpoint
import pytest

from tests.experiments.mains import experiments
from tests.harness.commands import ROOT, complete, left


def test_the_toy_is_deterministic(tmp_path):
    for seed in ("1", "2"):
        complete(tmp_path / seed, PYTHONHASHSEED=seed)
    assert left(tmp_path / "1") == left(tmp_path / "2")


def fingerprint(folder):
    """Hashes of every metrics file, and of every array of the checkpoints."""
    found = {}
    for path in sorted(folder.glob("metrics*.jsonl")):
        found[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    for commit in sorted(folder.glob("checkpoints/**/COMMIT")):
        step = commit.parent
        tree = orbax.checkpoint.v1.load(step / "state")
        for name, array in sorted(flat(tree).items()):
            digest = hashlib.sha256(np.asarray(array).tobytes()).hexdigest()
            found[f"{step.relative_to(folder)}/{name}"] = digest
    return found


def flat(tree, before=""):
    """The arrays of a nested dict by their paths."""
    if not isinstance(tree, dict):
        return {before: tree}
    parts = [flat(part, f"{before}/{name}") for name, part in tree.items()]
    return {name: array for part in parts for name, array in part.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", experiments())
def test_smoke_runs_are_deterministic(tmp_path, name):
    found = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        done = subprocess.run(
            [sys.executable, "-m", f"experiments.{name}", "--preset=smoke"]
            + [f"--workdir={folder}"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found.append(fingerprint(folder))
    assert found[0] == found[1]
    trained = any(name.startswith("checkpoints") for name in found[0])
    assert trained == (tmp_path / "1" / "checkpoints").is_dir()
