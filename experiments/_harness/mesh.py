"""The mesh of a training: which devices, how state and batch are divided over them.

Two axes. The batch is divided over both; the parameters, and all of the state that is
shaped like them, over ``fsdp`` alone. A step gathers its parameters where it uses them
(``whole``) and its gradient is scattered: fully sharded data parallelism by XLA alone.
"""

import math
import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from experiments._harness import processes
from experiments._harness.errors import UserError
from experiments._harness.state_tree import is_key

AXES = ("data", "fsdp")

# An array of fewer entries is cheaper to copy to every device than to gather.
SMALLEST_DIVIDED = 1024


def parse_mesh(text: str) -> dict[str, int] | None:
    """The sizes of the axes in ``--mesh=data:4,fsdp:2``; None for "auto"."""
    if text == "auto":
        return None
    parts = [re.fullmatch(r"(\w+):([1-9]\d{0,5})", part) for part in text.split(",")]
    sizes = {part[1]: int(part[2]) for part in parts if part is not None}
    if len(sizes) != len(parts) or not sizes.keys() <= set(AXES):
        raise UserError(
            f"flag --mesh={text}: wanted auto, or sizes such as data:4,fsdp:2"
        )
    return sizes


def training_mesh(text: str, batch_size: int) -> Mesh:
    """The mesh that ``--mesh`` asks for, over the devices of all processes.

    "auto" gives the data axis every device (one process: the largest number of them
    that divides the batch). UserError if the sizes do not fit devices or batch.
    """
    devices, sizes = jax.devices(), parse_mesh(text)
    if sizes is None:
        count = len(devices)
        if processes.alone():
            most = min(count, batch_size)
            count = next(n for n in range(most, 0, -1) if batch_size % n == 0)
        sizes = {"data": count}
    shape = tuple(sizes.get(axis, 1) for axis in AXES)
    count = math.prod(shape)
    wanted = len(devices)
    if count > wanted or (count < wanted and not processes.alone()):
        raise UserError(
            f"flag --mesh={text}: {count} devices, {wanted} are present"
            + ("" if processes.alone() else ", and all must be used")
        )
    if batch_size % count:
        raise UserError(
            f"flag --mesh={text}: --batch_size={batch_size} does not divide over "
            f"{count} devices"
        )
    axis_types = (AxisType.Auto,) * len(AXES)
    return jax.make_mesh(shape, AXES, axis_types=axis_types, devices=devices[:count])


def spans_processes(mesh: Mesh | None) -> bool:
    """Whether ``mesh`` has devices of several processes."""
    if mesh is None:
        return False
    return len({device.process_index for device in mesh.devices.flat}) > 1


def state_sharding(mesh: Mesh, leaf: Any) -> NamedSharding:
    """Where ``leaf`` (an array or its shape) lies: divided over ``fsdp`` or copied.

    The longest axis that divides is divided, the last of equals. The rule sees the
    shape alone, so that a parameter, its average and its moments lie alike.
    """
    count = mesh.shape.get("fsdp", 1)
    dims = [i for i, size in enumerate(leaf.shape) if size % count == 0 and size]
    if count == 1 or not dims or math.prod(leaf.shape) < SMALLEST_DIVIDED:
        return NamedSharding(mesh, PartitionSpec())
    longest = max(dims, key=lambda i: (leaf.shape[i], i))
    return NamedSharding(mesh, PartitionSpec(*[None] * longest, "fsdp"))


def place_state(mesh: Mesh, state: Any) -> Any:
    """``state`` on ``mesh``; a leaf that lies on this mesh already stays.

    With several processes each of them must give the same state.
    """

    shared = spans_processes(mesh)

    def place(leaf: Any) -> Any:
        sharding = getattr(leaf, "sharding", None)
        if isinstance(sharding, NamedSharding) and sharding.mesh == mesh:
            return leaf
        if not shared:
            return jax.device_put(leaf, state_sharding(mesh, leaf))
        if is_key(leaf):
            numbers = place(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(leaf))
        whole = np.asarray(leaf)
        return jax.make_array_from_callback(
            whole.shape, state_sharding(mesh, whole), lambda index: whole[index]
        )

    return jax.tree.map(place, state)


def whole(params: Any) -> Any:
    """``params`` as a step uses them: gathered over ``fsdp``, so that rows stay apart.

    Without this XLA may divide the activations like the parameters instead, and then
    sends them: for a wide network on long rows a hundred times more. It does nothing
    outside of a step that is compiled for a mesh with such an axis (guard.py).
    """
    if jax.sharding.get_abstract_mesh().shape.get("fsdp", 1) == 1:
        return params
    everywhere = PartitionSpec()
    return jax.tree.map(
        lambda leaf: jax.lax.with_sharding_constraint(leaf, everywhere), params
    )


def init_state(mesh: Mesh, init: Callable[[jax.Array], Any], seed: int) -> Any:
    """``init(key)`` computed where it is to lie: no device ever holds all of it."""
    key = jax.random.key(seed)
    shapes = jax.eval_shape(init, key)
    places = jax.tree.map(lambda leaf: state_sharding(mesh, leaf), shapes)
    return jax.jit(init, out_shardings=places)(key)


def place_batch(mesh: Mesh, batch: Any) -> Any:
    """``batch``, the global one, on ``mesh``, the leading axis of each leaf divided.

    With several processes each asks only for the rows of its own devices.
    """
    spread = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    count = math.prod(mesh.shape.values())

    def place(leaf: Any) -> Any:
        if not leaf.shape or leaf.shape[0] % count:
            raise ValueError(
                f"place_batch: a leaf of shape {leaf.shape} does not divide over "
                f"{count} devices."
            )
        if not spans_processes(mesh):
            return jax.device_put(np.asarray(leaf), spread)
        return jax.make_array_from_callback(
            leaf.shape, spread, lambda index: np.asarray(leaf[index])
        )

    return jax.tree.map(place, batch)


def gathered(tree: Any) -> Any:
    """The arrays of ``tree`` whole, on the default device of each process.

    With several processes all of them must call it.
    """

    def whole(leaf: jax.Array) -> jax.Array:
        here = leaf.is_fully_replicated or leaf.is_fully_addressable
        if isinstance(leaf.sharding, NamedSharding) and not here:
            everywhere = NamedSharding(leaf.sharding.mesh, PartitionSpec())
            leaf = jax.jit(_same, out_shardings=everywhere)(leaf)
        return jax.device_put(np.asarray(leaf))

    return jax.tree.map(whole, tree)


def _same(leaf: jax.Array) -> jax.Array:
    """One function for all calls: a new one would be compiled for every leaf."""
    return leaf
