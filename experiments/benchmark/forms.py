"""Functions of the house made into forms: compiled once, with XLA's account of them."""

import time
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec

from experiments._harness.devices import data_mesh
from experiments.benchmark.case import Form, Prepared
from experiments.benchmark.cost import compiled_facts


def build_form(function: Callable[..., Any] | Prepared, inputs: tuple) -> Form:
    """The form of a pure function (compiled) or of what a Prepared builds."""
    if isinstance(function, Prepared):
        return function.build(*inputs)
    return jitted(function, *inputs)


def jitted(function: Callable[..., Any], *inputs: Any) -> Form:
    """``function(*inputs)`` under jit; its value is the result."""
    compiled, facts = compile_timed(jax.jit(function), *inputs)
    return Form(
        lambda: jax.block_until_ready(compiled(*inputs)),
        jax.block_until_ready(compiled(*inputs)),
        facts=facts,
    )


def in_turn(
    first: Callable[..., Any], second: Callable[[Any], Any], *inputs: Any
) -> Form:
    """``second(first(*inputs))``, two programs: what is between them is allocated by
    the runtime, which keeps its pages, and not inside of one program's memory."""
    one, facts = compile_timed(jax.jit(first), *inputs)
    between = one(*inputs)
    two, more = compile_timed(jax.jit(second), between)
    both = {"devices": facts["devices"]}
    for key in ("compile_seconds", "flops", "bytes"):
        if key in facts and key in more:  # XLA may not say
            both[key] = facts[key] + more[key]
    if "peak_bytes" in facts and "peak_bytes" in more:
        held = sum(leaf.nbytes for leaf in jax.tree.leaves(between))
        both["peak_bytes"] = max(facts["peak_bytes"], more["peak_bytes"] + held)
    return Form(
        lambda: jax.block_until_ready(two(one(*inputs))),
        jax.block_until_ready(two(between)),
        facts=both,
    )


def with_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """``f(*inputs, weights)``: the output, and gradients of sum(weights * output)."""

    def run(*inputs: Any) -> Any:
        out, pull = jax.vjp(function, *inputs[:-1])
        return out, *pull(inputs[-1])

    return run


def spread(function: Callable[..., Any], size: int, specs: Any, out: Any) -> Prepared:
    """A function with an axis of ``size`` of its arrays divided over the devices.

    ``specs`` is a PartitionSpec an input, or one for all of them.
    """

    def build(*inputs: Any) -> Form:
        mesh, each = data_mesh(size), specs
        if isinstance(specs, PartitionSpec):
            each = (specs,) * len(inputs)
        run = jax.shard_map(function, mesh=mesh, in_specs=each, out_specs=out)
        placed = (
            jax.device_put(x, NamedSharding(mesh, spec))
            for x, spec in zip(inputs, each, strict=True)
        )
        return jitted(run, *placed)

    return Prepared(build)


def stepping(
    step: Any,
    state: Any,
    *inputs: Any,
    gate: Callable[[Any, Any], Any] = lambda state, aux: aux,
    donate: bool = True,
) -> Form:
    """``state, aux = step(state, *inputs)``, each call going on from the last.

    ``step`` is a function, or is jitted already. The value is ``gate(state, aux)``
    after the first call; the timed calls go on from there.
    """
    if not hasattr(step, "lower"):
        step = jax.jit(step, donate_argnums=0 if donate else ())
    compiled, facts = compile_timed(step, state, *inputs)
    kept = list(compiled(state, *inputs))
    value = jax.device_get(gate(*kept))

    def call() -> None:
        kept[0], kept[1] = compiled(kept[0], *inputs)
        jax.block_until_ready(kept)

    return Form(call, value, facts=facts)


def compile_timed(jitted_function: Any, *inputs: Any) -> tuple[Any, dict[str, Any]]:
    """The compiled program, and seconds of trace and compilation beside its facts."""
    begun = time.perf_counter()
    compiled = jitted_function.lower(*inputs).compile()
    seconds = time.perf_counter() - begun
    return compiled, {"compile_seconds": seconds, **compiled_facts(compiled)}
