"""What a program costs without a clock: flops, bytes, memory, and how they scale."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax


class Scaling(NamedTuple):
    """Costs of one function at two sizes, and the ratio of the second to the first."""

    flops: tuple[float, float]
    bytes: tuple[float, float]
    flops_ratio: float
    bytes_ratio: float


def compiled_facts(compiled: Any) -> dict[str, float]:
    """XLA's account of a compiled program, over all its devices.

    XLA counts the body of a loop once, whatever the number of turns:
    ``contraction_flops`` does not. ``peak_bytes`` is temporary memory plus results.
    """
    devices = len(
        {d for s in jax.tree.leaves(compiled.input_shardings) for d in s.device_set}
    )
    analysis = compiled.cost_analysis() or {}
    memory = compiled.memory_analysis()
    facts: dict[str, float] = {"devices": max(1, devices)}
    for name, key in (("flops", "flops"), ("bytes", "bytes accessed")):
        if key in analysis:
            facts[name] = float(analysis[key]) * facts["devices"]
    if memory is not None:
        own = memory.temp_size_in_bytes + memory.output_size_in_bytes
        facts["peak_bytes"] = float(own - memory.alias_size_in_bytes)
        facts["peak_bytes"] *= facts["devices"]
    return facts


def contraction_flops(function: Callable[..., Any], *inputs: Any) -> float:
    """Flops of all matrix products and convolutions that ``function(*inputs)`` does.

    Two a multiply-add, padding of convolutions included, as other libraries count.
    A scan counts all its turns; a ``while`` loop of unknown length raises ValueError;
    of a ``cond`` the dearest branch counts.
    """
    return _flops(jax.make_jaxpr(function)(*inputs).jaxpr)


def scaling(
    function: Callable[..., Any], inputs: Callable[[int], tuple[Any, ...]], n: int
) -> Scaling:
    """The compiled flops and bytes of ``function(*inputs(n))`` at n and at 2 n."""
    rows = []
    for size in (n, 2 * n):
        compiled = jax.jit(function).lower(*inputs(size)).compile()
        rows.append(compiled_facts(compiled))
    flops = (rows[0]["flops"], rows[1]["flops"])
    moved = (rows[0]["bytes"], rows[1]["bytes"])
    return Scaling(flops, moved, flops[1] / flops[0], moved[1] / moved[0])


def _flops(jaxpr: Any) -> float:
    return sum(_equation_flops(equation) for equation in jaxpr.eqns)


def _equation_flops(equation: Any) -> float:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        left = equation.invars[0].aval.shape
        return (
            2.0
            * equation.outvars[0].aval.size
            * math.prod(left[axis] for axis in contracted)
        )
    if name == "conv_general_dilated":
        kernel, spec = equation.invars[1].aval.shape, params["dimension_numbers"]
        taps = math.prod(kernel[axis] for axis in spec.rhs_spec[1:])
        return 2.0 * equation.outvars[0].aval.size * taps
    inner = [_flops(jaxpr) for jaxpr in _inner_jaxprs(params)]
    if not any(inner):
        return 0.0
    if name == "while":
        raise ValueError("contraction_flops: a while loop has no known length.")
    if name == "cond":
        return max(inner)
    return sum(inner) * (params["length"] if name == "scan" else 1)


def _inner_jaxprs(params: dict[str, Any]) -> Iterator[Any]:
    """The programs inside an equation, the derivative rules of custom ones left out."""
    for value in params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            inner = getattr(item, "jaxpr", item)
            if hasattr(inner, "eqns"):
                yield inner
