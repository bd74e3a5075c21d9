"""A step that never lets NaN or infinity into the state.

The compiled step looks at its metrics: if one is not finite, the state stays as it was.
A step that reports the norm of its gradient is therefore safe from all of it. ``stop``
leaves the state so in all later steps as well: when the host reads the metrics, some
steps late, it still has the state before the first bad step. ``skip`` goes on with the
next batch.
"""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from experiments._harness.state_tree import place

MODES = ("stop", "skip")

Step = Callable[[Any, Any], tuple[Any, Mapping[str, Any]]]


class Outcome(NamedTuple):
    """What the host learns of a step: its metrics, and which quantity went bad.

    ``fault`` is 0 or the number, from 1, of the first bad one in the order of names.
    """

    scalars: Mapping[str, Any]
    fault: jax.Array


class Guarded:
    """``state, outcome, halted = guarded(state, batch, halted)``, compiled once.

    ``halted`` is the fault of an earlier step, 0 at the start (``go``). The state is
    donated, and comes out placed as ``state`` (arrays, or their shapes and places) is.
    """

    def __init__(self, step: Step, state: Any, on_nonfinite: str = "stop") -> None:
        self.step, self.skip = step, on_nonfinite == "skip"
        placed = jax.tree.map(place, state)
        first = jax.tree.leaves(placed)[0]
        self._mesh: Any = contextlib.nullcontext
        if isinstance(first, NamedSharding):  # so that the second call fits the first
            abstract = first.mesh.abstract_mesh
            self._mesh = lambda: jax.sharding.use_abstract_mesh(abstract)
            first = NamedSharding(first.mesh, PartitionSpec())
        self.compiled = jax.jit(
            self._run, donate_argnums=0, out_shardings=(placed, first, first)
        )

    def __call__(self, state: Any, batch: Any, halted: Any) -> tuple[Any, Outcome, Any]:
        return self.compiled(state, batch, halted)

    def _run(self, state: Any, batch: Any, halted: Any) -> tuple[Any, Outcome, Any]:
        with self._mesh():  # what the step may ask for its mesh
            new, scalars = self.step(state, batch)
        bad = [~jnp.all(jnp.isfinite(value)) for _, value in sorted(scalars.items())]
        flags = jnp.stack([jnp.zeros((), bool), *bad])
        fault = jnp.argmax(flags).astype(jnp.int32)
        go_on = (fault == 0) & (halted == 0)
        kept = jax.tree.map(lambda n, o: jnp.where(go_on, n, o), new, state)
        if not self.skip:
            halted = jnp.where(halted == 0, fault, halted)
        return kept, Outcome(scalars, fault), halted


def go() -> jax.Array:
    """``halted`` before the first step."""
    return jnp.zeros((), jnp.int32)
