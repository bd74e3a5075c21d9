"""What XLA's analyses say of a compiled step: memory, operations, what is sent."""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from experiments._harness.guard import Guarded
from experiments._harness.mesh import AXES, state_sharding

_BYTES = {"f64": 8, "s64": 8, "u64": 8, "f32": 4, "s32": 4, "u32": 4, "bf16": 2}
_BYTES |= {"f16": 2, "s16": 2, "u16": 2, "s8": 1, "u8": 1, "pred": 1}
_COLLECTIVE = re.compile(
    r" = (\(.*?\)|\S+) (all-reduce|all-gather|reduce-scatter|all-to-all|"
    r"collective-permute)(?:-start)?\("
)


@dataclasses.dataclass(frozen=True)
class Program:
    """A step to compile: ``init(key)``, ``step(state, batch)``, the rows of a batch."""

    name: str
    init: Callable[[jax.Array], Any]
    step: Callable[[Any, Any], tuple[Any, Any]]
    row: Mapping[str, jax.ShapeDtypeStruct]
    batch_size: int


@dataclasses.dataclass(frozen=True)
class Cost:
    """Bytes on one device, operations of all, bytes that one device sends a step.

    ``sent`` counts a ring for each kind of collective operation.
    """

    devices: int
    rows: int
    state: int
    temporary: int
    flops: float
    sent: Mapping[str, float]

    @property
    def total_sent(self) -> float:
        """Bytes that one device sends in a step."""
        return sum(self.sent.values())


def parameters(program: Program) -> int:
    """The number of parameters, from shapes."""
    params = jax.eval_shape(program.init, jax.random.key(0))["params"]
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def cost(program: Program, mesh: Mesh, rows: int) -> Cost:
    """The cost of the step, compiled for ``mesh`` as the loop does, not run."""
    shapes = jax.eval_shape(program.init, jax.random.key(0))
    state = jax.tree.map(lambda leaf: _shape(leaf, state_sharding(mesh, leaf)), shapes)
    spread = NamedSharding(mesh, PartitionSpec(AXES))
    batch = {
        name: jax.ShapeDtypeStruct((rows, *row.shape), row.dtype, sharding=spread)
        for name, row in program.row.items()
    }
    everywhere = NamedSharding(mesh, PartitionSpec())
    halted = jax.ShapeDtypeStruct((), jnp.int32, sharding=everywhere)
    lowered: Any = Guarded(program.step, state).compiled.lower(state, batch, halted)
    # What is sent and kept does not depend on how well machine code is optimized.
    compiled: Any = lowered.compile(
        compiler_options={"xla_backend_optimization_level": 0},
    )
    memory = compiled.memory_analysis()
    return Cost(
        devices=mesh.size,
        rows=rows,
        state=sum(map(_bytes_here, jax.tree.leaves(state))),
        temporary=memory.temp_size_in_bytes,
        flops=float(lowered.cost_analysis()["flops"]),
        sent=sent(compiled.as_text(), mesh.size),
    )


def _shape(leaf: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _bytes_here(leaf: jax.ShapeDtypeStruct) -> int:
    """The bytes of ``leaf`` on one device."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return 8
    return math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize


def sent(text: str, count: int) -> dict[str, float]:
    """Bytes that each of ``count`` devices sends, by the collectives in an HLO text.

    All of them stand in one ring of ``count`` devices.
    """
    if count == 1:
        return {}
    share = (count - 1) / count
    factors = {
        "all-reduce": 2 * share,
        "all-gather": share,  # of the result
        "reduce-scatter": count * share,  # the result is one part of what is reduced
        "all-to-all": share,
        "collective-permute": 1.0,
    }
    found: dict[str, float] = {}
    for line in text.splitlines():
        match = _COLLECTIVE.search(line)
        if match is None:
            continue
        shapes, kind = match.groups()
        size = sum(
            _BYTES[dtype] * math.prod(int(n) for n in sizes.split(",") if n)
            for dtype, sizes in re.findall(r"(\w+)\[([\d,]*)\]", shapes)
        )
        found[kind] = found.get(kind, 0.0) + factors[kind] * size
    return found
