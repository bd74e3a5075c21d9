"""Several processes as one run: joining, one leader, decisions that all share.

Process 0 leads: it owns the folder, the log and the figures. Everything here does
nothing when there is one process. What crosses processes goes through JAX's own
collectives, never through a channel of our own.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from experiments._harness.errors import Finished, UserError

# A process that is gone is noticed after so many seconds, and the others end.
_HEARTBEAT = 30
_FAILED, _FINISHED = 1, 2


def join(coordinator: str, num_processes: int, process_id: int) -> None:
    """Make this process one of several, before the first use of JAX's devices.

    ``coordinator`` is "none" (one process), "auto" (the cluster says: SLURM, Open MPI,
    Kubernetes, a TPU pod) or host:port of process 0; then ``num_processes`` and
    ``process_id`` are needed. UserError if that does not fit or nobody answers.
    """
    if coordinator == "none":
        if num_processes > 1 or process_id >= 0:
            raise UserError(
                "flag --coordinator=none: wanted host:port of process 0 beside "
                "--num_processes and --process_id, or auto"
            )
        return
    options: dict[str, Any] = {
        "heartbeat_timeout_seconds": _HEARTBEAT,
        "shutdown_timeout_seconds": 7 * 24 * 3600,  # the leader judges and draws last
    }
    if coordinator != "auto":
        host, _, port = coordinator.rpartition(":")
        if not host or not port.isdecimal():
            raise UserError(f"flag --coordinator={coordinator}: wanted host:port")
        if not 0 <= process_id < num_processes:
            raise UserError(
                f"flag --process_id={process_id}: wanted a number from 0 to "
                f"--num_processes - 1 = {num_processes - 1}"
            )
        options |= {
            "coordinator_address": coordinator,
            "num_processes": num_processes,
            "process_id": process_id,
        }
    try:
        jax.distributed.initialize(**options)
    except (RuntimeError, ValueError) as error:
        first = str(error).split("\n")[0]
        message = f"flag --coordinator={coordinator}: cannot join: {first}"
        raise UserError(message) from None


def alone() -> bool:
    """Whether this is the only process."""
    return jax.process_count() == 1


def leader() -> bool:
    """Whether this process owns the folder, the log and the figures."""
    return jax.process_index() == 0


@functools.cache
def _everyone() -> tuple[NamedSharding, Any]:
    """One place a device of all processes, and the greatest of what lies there."""
    mesh = Mesh(np.array(jax.devices()), ("all",), axis_types=(AxisType.Auto,))
    everywhere = NamedSharding(mesh, PartitionSpec())
    greatest = jax.jit(jnp.max, out_shardings=everywhere)
    return NamedSharding(mesh, PartitionSpec("all")), greatest


def submit(value: int) -> jax.Array:
    """The greatest ``value`` of all processes, which each of them must submit.

    It is an array that is still being computed: ``int(...)`` waits for it.
    """
    spread, greatest = _everyone()
    count = len(jax.devices())
    mine = jax.make_array_from_callback(
        (count,), spread, lambda index: np.full((1,), value, np.int32)
    )
    return greatest(mine)


def from_leader(value: int) -> int:
    """The ``value`` (at least 0) that process 0 has; every process waits for it."""
    if alone():
        return value
    return int(submit(value if leader() else -1))


def led(action: Callable[[], Any]) -> None:
    """Let process 0 do ``action``, the others wait; if it fails, all of them fail."""
    if alone():
        action()
        return
    error: BaseException | None = None
    if leader():
        try:
            action()
        except (Exception, KeyboardInterrupt) as raised:
            error = raised
    status = 0
    if error is not None:
        status = _FINISHED if isinstance(error, Finished) else _FAILED
    status = from_leader(status)
    if error is not None:
        raise error
    if status == _FINISHED:
        raise Finished("process 0 says that the run is finished")
    if status == _FAILED:
        raise UserError("process 0 stopped: see its message")
