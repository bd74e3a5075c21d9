"""Devices: batches divided, states replicated, one trace; JAX prepared first."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments._harness import devices
from experiments._harness.errors import UserError

ROOT = Path(devices.__file__).parents[2]

# What is seen in a fresh process, as JSON on its last line.
PROGRAM = """
import json, sys
from experiments._harness import devices
devices.prepare(**json.loads(sys.argv[1]))
import jax, numpy as np, jax.numpy as jnp
mesh = devices.data_mesh(6)
batch = devices.shard_batch(mesh, {"x": np.arange(12.0).reshape(6, 2)})
state = devices.replicate(mesh, {"w": jnp.zeros(2), "key": jax.random.key(0)})
traces = []
def step(state, batch):
    traces.append(1)
    key, use = jax.random.split(state["key"])
    w = state["w"] + batch["x"].mean(0) + jax.random.normal(use, (2,))
    return {"w": w, "key": key}, {"loss": w.sum()}
compiled = devices.jit_step(step, state)
before = jax.tree.map(lambda a: a.sharding, state)
for _ in range(3):
    state, scalars = compiled(state, batch)
print(json.dumps({
    "count": len(jax.devices()), "mesh": mesh.shape["data"], "traces": len(traces),
    "shards": sorted(str(s.index[0]) for s in batch["x"].addressable_shards),
    "same": before == jax.tree.map(lambda a: a.sharding, state),
    "w": state["w"].tolist(), "cache": jax.config.jax_compilation_cache_dir,
    "cached": bool(jax.config.jax_enable_compilation_cache),
}))
"""


def fresh(environment=(), **options):
    """What PROGRAM prints in a process of its own."""
    kept = ("JAX_", "XLA_", "XDG_")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(kept)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, json.dumps(options)],
        cwd=ROOT,
        env={**clean, **dict(environment)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_one_device_a_core_and_a_cache_of_programs(tmp_path):
    seen = fresh({"XDG_CACHE_HOME": str(tmp_path)})
    assert seen["count"] == devices.usable_cores()
    assert seen["cache"] == str(tmp_path / "kexue_jax" / "xla")
    assert any((tmp_path / "kexue_jax" / "xla").iterdir())


def test_three_devices_compute_what_one_does(tmp_path):
    one = fresh(host_devices=1, compile_cache="off")
    three = fresh(host_devices=3, compile_cache=str(tmp_path))
    assert (one["mesh"], three["mesh"]) == (1, 3)
    assert three["shards"] == [
        "slice(0, 2, None)",
        "slice(2, 4, None)",
        "slice(4, 6, None)",
    ]
    assert three["traces"] == one["traces"] == 1
    assert three["same"]
    assert one["same"]
    assert not one["cached"]
    assert three["cache"] == str(tmp_path)
    np.testing.assert_allclose(one["w"], three["w"], rtol=1e-5)


def test_what_the_environment_says_is_left_alone(tmp_path):
    seen = fresh(
        {
            "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
            "JAX_COMPILATION_CACHE_DIR": str(tmp_path),
        }
    )
    assert (seen["count"], seen["mesh"], seen["cache"]) == (4, 3, str(tmp_path))


def test_a_cache_that_cannot_be_used_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--compile_cache=.*file cannot be used"):
        devices.prepare(compile_cache=str(tmp_path / "file"))


def test_the_mesh_takes_the_largest_number_that_divides():
    present = len(jax.devices())
    for batch in range(1, 13):
        count = devices.data_mesh(batch).shape["data"]
        assert batch % count == 0
        assert all(batch % n for n in range(count + 1, min(present, batch) + 1))


def test_a_number_that_does_not_divide_is_an_error():
    with pytest.raises(
        UserError, match="a batch of 7 cannot be spread over 99 devices"
    ):
        devices.data_mesh(7, devices=99)


def test_a_batch_that_does_not_divide_is_a_bug():
    mesh = devices.data_mesh(4, devices=1)
    with pytest.raises(ValueError, match=r"a leaf of shape \(\)"):
        devices.shard_batch(mesh, {"x": np.float32(1)})


def test_replicate_keeps_what_has_a_place_on_the_mesh():
    mesh = devices.data_mesh(4, devices=1)
    batch = devices.shard_batch(mesh, {"x": np.zeros((4, 2))})
    again = devices.replicate(mesh, {**batch, "y": jnp.zeros(3)})
    assert again["x"] is batch["x"]
    assert again["y"].sharding.mesh == mesh
