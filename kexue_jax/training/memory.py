"""What a function and its gradient keep and cost, from programs that are never run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from kexue_jax._base import checks

# What is one of these of an argument or a named value is still that argument or value,
VIEWS = ("reshape", "squeeze", "expand_dims", "optimization_barrier")
# and these of a named value, which ``jax.checkpoint`` puts behind what it keeps.
COPIES = ("reduce_precision", "device_put", "copy")


class Residual(NamedTuple):
    """An array that stands between forward and backward pass.

    ``source`` is "argument", "constant", "name: ..." where ``checkpoint_name`` gave it
    one (the rounding or copying that ``jax.checkpoint`` puts behind it included), or
    the operation that made it.

    Article: kexue.fm/archives/7367.
    """

    shape: tuple[int, ...]
    dtype: str
    bytes: int
    source: str


class MemoryReport(NamedTuple):
    """Bytes and operations of a compiled program, and what its gradient keeps.

    Bytes and flops are XLA's own, None where a backend does not tell.
    ``residual_bytes`` leaves out arguments and constants, which are there anyway.
    """

    temp_bytes: int | None
    argument_bytes: int | None
    output_bytes: int | None
    flops: float | None
    residual_bytes: int
    residuals: tuple[Residual, ...]


def memory_report(
    fn: Callable[..., Any],
    args: Sequence[Any],
    *,
    argnums: int | Sequence[int] = 0,
    gradient: bool = True,
    compiled: bool = True,
    compiler_options: Mapping[str, Any] | None = None,
) -> MemoryReport:
    """Bytes and flops of a function's compiled value and gradient, and its residuals.

    The program is value_and_grad(fn, argnums)(*args), or fn(*args) alone with
    ``gradient`` False. Residuals are the results of the forward pass that the pullback
    jax.vjp(fn, *args)[1] holds: they depend on no compiler and no backend. Without
    ``compiled`` they are all that is found out. ``compiler_options`` are XLA's own;
    {"xla_backend_optimization_level": 0} changes no byte on the CPU and takes a third
    of the time.

    Shapes: args arrays or ``jax.ShapeDtypeStruct`` (nothing is run) -> a MemoryReport.
    Article: kexue.fm/archives/7367.  Paper: arXiv 1604.06174.
    Differs: ``jax.ad_checkpoint.print_saved_residuals`` prints; this returns. XLA's
    CPU compiler drops what keeps recomputation apart, so unrolled layers save no
    ``temp_bytes`` there while loops do; it counts the body of a loop once in ``flops``.
    Cost: two traces and a compilation.
    Raises: TypeError or ValueError for a bad argument, or where fn(*args) is no
    floating scalar and the gradient is asked for.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.training import memory_report
        >>> x = jax.ShapeDtypeStruct((8,), jnp.float32)
        >>> memory_report(lambda x: jnp.exp(x).sum(), (x,)).residuals
        (Residual(shape=(8,), dtype='float32', bytes=32, source='exp'),)
    """
    name = "memory_report"
    checks.function(name, "fn", fn)
    checks.flag(name, "gradient", gradient)
    checks.flag(name, "compiled", compiled)
    if not isinstance(compiler_options, (Mapping, type(None))):
        got = f"a {type(compiler_options).__name__}"
        raise checks.fail_type(name, "compiler_options", got, "a mapping or None")
    places = _places(name, args, argnums)
    run, residuals = fn, ()
    if gradient:
        _check_scalar(name, fn, args)
        run = jax.value_and_grad(fn, argnums=places if len(places) > 1 else places[0])
        residuals = _residuals(fn, args, places)
    computed = (r for r in residuals if r.source not in ("argument", "constant"))
    kept = sum(r.bytes for r in computed)
    if not compiled:
        return MemoryReport(None, None, None, None, kept, residuals)
    chosen: Any = compiler_options
    chosen = None if chosen is None else dict(chosen)
    program: Any = jax.jit(run).lower(*args).compile(compiler_options=chosen)
    memory, cost = program.memory_analysis(), program.cost_analysis() or {}
    flops = cost.get("flops")
    sizes = [
        getattr(memory, f"{kind}_size_in_bytes", None)
        for kind in ("temp", "argument", "output")
    ]
    work = None if flops is None else float(flops)
    return MemoryReport(sizes[0], sizes[1], sizes[2], work, kept, residuals)


def _residuals(
    fn: Callable[..., Any], args: Sequence[Any], places: tuple[int, ...]
) -> tuple[Residual, ...]:
    def pullback(*values: Any) -> Any:
        def inner(*moving: Any) -> Any:
            full = list(values)
            for place, value in zip(places, moving, strict=True):
                full[place] = value
            return fn(*full)

        return jax.vjp(inner, *(values[place] for place in places))[1]

    jaxpr = jax.make_jaxpr(pullback)(*args).jaxpr
    sources = dict.fromkeys(jaxpr.invars, "argument")
    sources |= dict.fromkeys(jaxpr.constvars, "constant")
    for equation in jaxpr.eqns:
        sources |= zip(equation.outvars, _labels(equation, sources), strict=True)
    return tuple(_described(jaxpr.outvars, sources))


def _labels(equation: Any, sources: dict[Any, str]) -> list[str]:
    """The source of each result of an operation."""
    label = equation.primitive.name
    if label == "name":
        label = f"name: {equation.params['name']}"
    if label not in VIEWS + COPIES:
        return [label] * len(equation.outvars)
    found = []
    for variable in equation.invars[: len(equation.outvars)]:
        origin = label if hasattr(variable, "val") else sources.get(variable, label)
        same = label in VIEWS and origin in ("argument", "constant")
        found.append(origin if same or origin.startswith("name: ") else label)
    return found


def _described(variables: Sequence[Any], sources: dict[Any, str]) -> Iterator[Residual]:
    """Each variable once; numbers written into the program are left out."""
    seen = set()
    for variable in variables:
        if hasattr(variable, "val") or variable in seen:
            continue
        seen.add(variable)
        shape, dtype = variable.aval.shape, variable.aval.dtype
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        yield Residual(tuple(shape), str(dtype), size, sources[variable])


def _places(name: str, args: Any, argnums: Any) -> tuple[int, ...]:
    if not isinstance(args, (tuple, list)):
        got = f"a {type(args).__name__}"
        raise checks.fail_type(name, "args", got, "a tuple of arguments")
    places = tuple(argnums) if isinstance(argnums, (tuple, list)) else (argnums,)
    for place in places:
        checks.count(name, "argnums", place, minimum=0)
        if place >= len(args):
            wanted = f"places of args, at most {len(args) - 1}"
            raise checks.fail(name, "argnums", place, wanted)
    if not places:
        raise checks.fail(name, "argnums", argnums, "one place or more")
    return places


def _check_scalar(name: str, fn: Any, args: Sequence[Any]) -> None:
    out = jax.tree.leaves(jax.eval_shape(fn, *args))
    shapes = [f"{leaf.dtype}{list(leaf.shape)}" for leaf in out]
    if len(out) != 1 or out[0].shape != () or "float" not in str(out[0].dtype):
        got = f"one that returns {shapes}"
        raise checks.fail(name, "fn", got, "a function to a floating scalar")
