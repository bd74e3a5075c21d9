"""Run a case on several meshes of 8 CPU devices: what is seen, as JSON on stdout.

python -m tests.distributed.meshes CASE DTYPE
"""

import json
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 8)
    jax.config.update("jax_enable_x64", sys.argv[2] == "float64")

from experiments._harness import loop
from experiments._harness.data import Batches
from experiments._harness.guard import Guarded
from experiments._harness.mesh import gathered, init_state, place_batch, training_mesh
from tests.distributed.cases import BATCH, CASES, STEPS, Case, apart

MESHES = ("data:8", "data:4,fsdp:2", "data:1,fsdp:8")


class Watched(Guarded):
    """A step that refuses implicit transfers and notes where its state lies."""

    def __init__(self, step: Any, state: Any) -> None:
        self.traces, self.programs, self.places = 0, 0, [places(state)]
        jax.monitoring.register_event_duration_secs_listener(self._note)
        self._inside = False

        def traced(state: Any, batch: Any) -> Any:
            self.traces += 1
            return step(state, batch)

        super().__init__(traced, state)

    def __call__(self, state: Any, batch: Any, halted: Any) -> Any:
        self._inside = True
        with jax.transfer_guard("disallow"):
            found = super().__call__(state, batch, halted)
        self._inside = False
        self.places.append(places(found[0]))
        return found

    def _note(self, event: str, seconds: float, **about: Any) -> None:
        self.programs += self._inside and event.endswith("backend_compile_duration")


def places(state: Any) -> list[Any]:
    """The sharding of every leaf."""
    return [leaf.sharding for leaf in jax.tree.leaves(state)]


def trained(case: Case, sizes: str) -> tuple[Any, dict[str, Any]]:
    """The state after the steps on a mesh, on the host, and what was seen."""
    mesh = training_mesh(sizes, BATCH)
    state = init_state(mesh, case.init, 0)
    step = Watched(case.step, state)
    state = loop.run(
        step,
        state,
        Batches(case.data, BATCH, 0),
        num_steps=STEPS,
        options=loop.Options(progress=False),
        mesh=mesh,
    )
    before, *after = step.places
    divided = [place for place in before if "fsdp" in place.spec]
    seen = {
        "devices": mesh.size,
        "traces": step.traces,
        "programs": step.programs,
        "kept": all(found == before for found in after),
        "divided": len(divided),
        "smallest": min(
            leaf.addressable_shards[0].data.size / leaf.size
            for leaf in jax.tree.leaves(state["params"])
        ),
    }
    named = {name: leaf for name, leaf in state.items() if name != "key"}
    return gathered(named), seen


def refuses_implicit_transfers() -> bool:
    """Whether the guard of Watched sees an array that was not placed."""
    try:
        with jax.transfer_guard("disallow"):
            jax.jit(jnp.mean)(np.ones(BATCH, np.float32))
    except jax.errors.JaxRuntimeError as error:
        return "Disallowed host-to-device transfer" in str(error)
    return False


def rows_of(sizes: str) -> dict[str, Any]:
    """For 1, 2, 4, 8 processes of equal parts of the devices: the rows that each gets.

    The devices of process p are those which JAX numbers together.
    """
    mesh = training_mesh(sizes, BATCH)
    asked = place_batch(mesh, {"row": np.arange(BATCH)})["row"].addressable_shards
    found = {shard.device.id: shard.data.tolist() for shard in asked}
    devices = sorted(found)
    return {
        count: [
            [row for device in part for row in found[int(device)]]
            for part in np.split(np.array(devices), count)
        ]
        for count in (1, 2, 4, 8)
    }


def least(part: str, dtype: str) -> float:
    """The size to which a difference is related at least.

    Parameters are of the order of 1, but what starts at 0 (the offset of a norm before
    a kernel of zeros) has taken a few steps of Adam only, of full size even where the
    gradient of the first steps is rounding alone. In float64 that does not show.
    """
    return 1.0 if dtype == "float32" and part in ("params", "average") else 1e-300


def main(name: str, dtype: str) -> None:
    """Print, mesh by mesh, what was seen and how far it is from one device."""
    case = CASES[name](dtype)
    whole, alone = trained(case, "data:1")
    start = gathered(init_state(training_mesh("data:1", BATCH), case.init, 0)["params"])
    found = {"data:1": {**alone, "moved": apart(start, whole["params"])}}
    for sizes in MESHES:
        state, seen = trained(case, sizes)
        types = [str(leaf.dtype) for leaf in jax.tree.leaves(state["params"])]
        worst = {
            part: apart(state[part], whole[part], least=least(part, dtype))
            for part in sorted(whole)
        }
        found[sizes] = {**seen, "dtypes": sorted(set(types)), "apart": worst}
        found[sizes]["rows"] = rows_of(sizes)
    found["guarded"] = refuses_implicit_transfers()
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
