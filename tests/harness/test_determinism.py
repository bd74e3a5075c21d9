"""The same command gives the same bits, in whatever order Python hashes names."""

import hashlib
import json
import os
import subprocess
import sys

import jax
import pytest

from experiments._harness.checkpoint import Checkpointer
from tests.experiments.mains import experiments
from tests.harness import toy
from tests.harness.commands import ROOT, complete, left


def test_the_toy_is_deterministic(tmp_path):
    for seed in ("1", "2"):
        complete(tmp_path / seed, PYTHONHASHSEED=seed)
    assert left(tmp_path / "1") == left(tmp_path / "2")


def arrays(folder):
    """The newest arrays in a folder of checkpoints, by the names they were saved by."""
    checkpointer = Checkpointer(folder)
    place = folder / f"{checkpointer.latest():06d}"
    leaves = json.loads((place / "meta.json").read_text())["leaves"]
    saved = {
        name: jax.random.key(0)
        if kind.startswith("key")
        else jax.ShapeDtypeStruct(shape, kind)
        for name, (kind, shape) in leaves.items()
    }
    return checkpointer.restore(saved).state


def fingerprint(folder):
    """What two runs must share: metrics, judged claims, a hash of every array."""
    results = json.loads((folder / "results.json").read_text())
    found = {"claims": results["claims"], "tables": results["tables"]}
    for path in sorted(folder.glob("metrics*.jsonl")):
        found[path.name] = path.read_bytes()
    for place in {path.parents[1] for path in folder.glob("checkpoints/**/COMMIT")}:
        for name, array in arrays(place).items():
            digest = hashlib.sha256(toy.leaves(array)[0].tobytes()).hexdigest()
            found[f"{place.relative_to(folder)}/{name}"] = digest
    return found


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
