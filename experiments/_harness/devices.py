"""Devices: start JAX well on this host, spread a batch over a mesh.

XLA runs convolutions, batched products and loop bodies on one CPU thread. On a host
with nothing but CPU cores there is therefore one JAX device per core, and the batch is
sharded over them (about twice as fast on two cores for a convolution).
"""

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from experiments._harness.errors import UserError

DATA_AXIS = "data"


def prepare(host_devices: int = 0, compile_cache: str = "auto") -> None:
    """Set JAX up before its first use: devices of the host, cache of programs.

    ``host_devices`` 0 means one a core, unless XLA_FLAGS or JAX_NUM_CPU_DEVICES says a
    number already. Host devices are used only where there is no accelerator.
    ``compile_cache`` is a folder, "off", or "auto": JAX_COMPILATION_CACHE_DIR where
    that is set, else ``kexue_jax/xla`` in the user's cache folder.
    """
    _set_cache(compile_cache)
    asked_elsewhere = (
        "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
        or "JAX_NUM_CPU_DEVICES" in os.environ
    )
    if host_devices or not asked_elsewhere:
        jax.config.update("jax_num_cpu_devices", host_devices or usable_cores())


def _set_cache(compile_cache: str) -> None:
    if compile_cache == "off":
        jax.config.update("jax_enable_compilation_cache", False)
        return
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    if compile_cache == "auto" and "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    folder = cache_folder() if compile_cache == "auto" else Path(compile_cache)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if compile_cache == "auto":  # a home without room is no reason to stop
            return
        reason = error.strerror or error
        raise UserError(f"--compile_cache={folder} cannot be used: {reason}") from None
    jax.config.update("jax_compilation_cache_dir", str(folder))


def usable_cores() -> int:
    """The number of CPU cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cache_folder() -> Path:
    """Where compiled programs of this user are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "kexue_jax" / "xla"


def data_mesh(batch_size: int, *, devices: int | None = None) -> Mesh:
    """A mesh with one axis, ``data``, over devices of this process.

    It takes the largest number of devices (at most ``devices``) that divides
    ``batch_size``. UserError names the numbers where ``devices`` is given and does
    not divide. The mesh of a training is ``mesh.training_mesh``.
    """
    present = jax.local_devices()
    if devices is not None and (devices > len(present) or batch_size % devices):
        raise UserError(
            f"a batch of {batch_size} cannot be spread over {devices} devices "
            f"({len(present)} present): wanted a count that divides it"
        )
    most = devices if devices is not None else min(len(present), batch_size)
    count = next(n for n in range(most, 0, -1) if batch_size % n == 0)
    return jax.make_mesh(
        (count,), (DATA_AXIS,), axis_types=(AxisType.Auto,), devices=present[:count]
    )


def shard_batch(mesh: Mesh, batch: Any) -> Any:
    """``batch`` on the devices of ``mesh``, the leading axis of every leaf divided."""
    count = mesh.shape[DATA_AXIS]
    for leaf in jax.tree.leaves(batch):
        if not leaf.shape or leaf.shape[0] % count:
            raise ValueError(
                f"shard_batch: a leaf of shape {leaf.shape} does not divide over "
                f"{count} devices."
            )
    return jax.device_put(batch, NamedSharding(mesh, PartitionSpec(DATA_AXIS)))


def replicate(mesh: Mesh, tree: Any) -> Any:
    """``tree`` with a copy on every device of ``mesh``.

    A leaf that already has a NamedSharding on this mesh keeps it.
    """
    everywhere = NamedSharding(mesh, PartitionSpec())

    def place(leaf: Any) -> Any:
        sharding = getattr(leaf, "sharding", None)
        if isinstance(sharding, NamedSharding) and sharding.mesh == mesh:
            return leaf
        return jax.device_put(leaf, everywhere)

    return jax.tree.map(place, tree)


def by_rows(
    function: Callable[..., Any], params: Any, arrays: tuple[Any, ...], *, at_once: int
) -> list[np.ndarray]:
    """The arrays of ``function(params, *arrays)``, a tuple by rows, part by part.

    A part of ``at_once`` rows goes over the devices of this process; the last rows are
    computed twice rather than in a program of their own.
    """
    total = len(arrays[0])
    count = min(at_once, total)
    mesh, parts = data_mesh(count), []
    params = replicate(mesh, params)
    for first in range(0, total, count):
        part = slice(min(first, total - count), min(first, total - count) + count)
        batch = shard_batch(mesh, tuple(x[part] for x in arrays))
        parts.append((part, function(params, *batch)))
    found = [np.empty((total, *x.shape[1:]), x.dtype) for x in parts[0][1]]
    for part, results in parts:
        for whole, result in zip(found, results, strict=True):
            whole[part] = np.asarray(result)
    return found


def jit_step(step: Callable[..., Any], state: Any) -> Callable[..., Any]:
    """``step(state, batch) -> (state, metrics)`` compiled with its state donated.

    The state that comes out is placed exactly as ``state`` is, so that the second
    step runs the program of the first.
    """
    placed = jax.tree.map(lambda leaf: leaf.sharding, state)
    return jax.jit(step, donate_argnums=0, out_shardings=(placed, None))


def device_facts() -> dict[str, Any]:
    """The devices in use: platform, kind and count, for config.json."""
    devices = jax.devices()
    return {
        "platform": devices[0].platform,
        "kind": devices[0].device_kind,
        "count": len(devices),
        "cores": usable_cores(),
        "processor": _processor(),
    }


def _processor() -> str:
    """The name of the host's CPU, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    named = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return named[0] if named else platform.machine()
