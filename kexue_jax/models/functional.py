"""The one seam to flax: a module's constructor becomes a pair of pure functions.

flax.nnx supplies the bookkeeping of layers and nothing else. Parameters leave this file
as plain nested dicts with string keys, which optax masks, checkpoints, safetensors and
surgery on layers all take as they are. No random stream, no running statistic and no
optimizer lives inside a module: what is not a ``Param`` is refused.
"""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from kexue_jax._base import checks

Params = dict[str, Any]
Path = tuple[str | int, ...]


def uniform_param(shape: tuple[int, ...], *, bound: float) -> nnx.Param:
    """A parameter that ``init`` draws uniformly from (-bound, bound); zeros until then.

    All of a network's are drawn in one call of the generator: sixty calls of their own
    take XLA about ten seconds to compile on a CPU, one takes a fraction of a second.
    """
    return nnx.Param(jnp.zeros(shape, jnp.float32), uniform=bound)


class Model(NamedTuple):
    """A network as two pure functions.

    ``init(key) -> params`` draws the parameters, a plain nested dict with string keys.
    ``apply(params, *inputs, key=None)`` is the forward pass; without a key there is no
    dropout. Both are free of side effects, and both can be jitted, mapped and
    differentiated.

    Article: none; Paper: none (how this library holds a network).
    """

    init: Callable[[jax.Array], Params]
    apply: Callable[..., Any]


def functional(constructor: Callable[..., nnx.Module]) -> Model:
    """The module built by ``constructor`` as a pair of pure functions.

    ``init(key)`` is the parameters of ``constructor(rngs=nnx.Rngs(key))``, where those
    of ``uniform_param`` are drawn, and ``apply(params, *inputs, key=key)`` is the call
    of the module with ``params`` put in place.

    The module is traced once, abstractly, when this function is called; ``init`` and
    ``apply`` then cost what the layers cost. A ``key`` is handed on if the module's
    ``__call__`` takes one and ignored otherwise.

    Shapes: a typed key [] -> params, a nested dict; params, inputs -> outputs.
    Article: none; Paper: none (how this library holds a network).
    Differs: lists of modules get the keys "0", "1", ... where flax has integers.
    Cost: one abstract trace of the constructor, no memory.
    Raises: TypeError if ``constructor`` is no callable, returns no ``nnx.Module``, or
    its module holds anything but ``nnx.Param`` (a random stream, running statistics);
    ``apply`` raises ValueError with the first path of ``params`` that is missing,
    unknown or of another shape, TypeError with that of no floating array.
    Example:
        >>> import jax
        >>> from flax import nnx
        >>> from kexue_jax.models import functional
        >>> model = functional(lambda rngs: nnx.Linear(2, 3, rngs=rngs))
        >>> params = model.init(jax.random.key(0))
        >>> {name: value.shape for name, value in sorted(params.items())}
        {'bias': (3,), 'kernel': (2, 3)}
    """
    checks.function("functional", "constructor", constructor)
    captured: list[Any] = []

    def split(key: jax.Array) -> Any:
        module = constructor(rngs=nnx.Rngs(key))
        if not isinstance(module, nnx.Module):
            got = f"one of a {type(module).__name__}"
            wanted = "a constructor of an nnx.Module"
            raise checks.fail_type("functional", "constructor", got, wanted)
        return module, *nnx.split(module, nnx.Param, ..., graph=True)

    def trace(key: jax.Array) -> Any:
        module, graph, params, other = split(key)
        _refuse_state(other)
        flat = dict(nnx.to_flat_state(params))
        bounds = {path: leaf.get_metadata("uniform", 0) for path, leaf in flat.items()}
        captured.extend((graph, _takes_key(module), bounds))
        return [leaf[...] for leaf in flat.values()]

    abstract = jax.eval_shape(trace, jax.eval_shape(jax.random.key, 0))
    graph, takes_key, bounds = captured
    shapes = {p: leaf.shape for p, leaf in zip(bounds, abstract, strict=True)}
    drawn = {path: shapes[path] for path, bound in bounds.items() if bound}

    def init(key: jax.Array) -> Params:
        checks.key("init", "key", key)
        flat = {path: leaf[...] for path, leaf in nnx.to_flat_state(split(key)[2])}
        for path, numbers in _uniform(key, drawn):
            flat[path] = numbers * bounds[path]
        return _nested({tuple(map(str, path)): leaf for path, leaf in flat.items()})

    def apply(params: Params, *inputs: Any, key: jax.Array | None = None) -> Any:
        if key is not None:
            checks.key("apply", "key", key)
        module = nnx.merge(graph, _state(params, shapes))
        return module(*inputs, key=key) if takes_key else module(*inputs)

    return Model(init, apply)


def _takes_key(module: nnx.Module) -> bool:
    """Whether the module's ``__call__`` has a parameter named ``key``."""
    return callable(module) and "key" in inspect.signature(module).parameters


def _refuse_state(other: nnx.State) -> None:
    for path, leaf in nnx.to_flat_state(other):
        wanted = "a constructor of a module that holds nothing but nnx.Param"
        got = f"a {type(leaf).__name__} at {_dotted(path)}"
        raise checks.fail_type("functional", "constructor", got, wanted)


def _uniform(
    key: jax.Array, shapes: dict[Path, tuple[int, ...]]
) -> Iterator[tuple[Path, jax.Array]]:
    """Uniform numbers in [-1, 1) for every path, all from one call of the generator."""
    ends = np.cumsum([math.prod(shape) for shape in shapes.values()])
    if not ends.size:
        return
    # Folded with a number of its own: flax folds the same key with 0, 1, 2, ...
    key = jax.random.fold_in(key, 0x6B657875)
    pool = jax.random.uniform(key, (int(ends[-1]),), jnp.float32, -1.0, 1.0)
    parts = jnp.split(pool, ends[:-1])
    for (path, shape), part in zip(shapes.items(), parts, strict=True):
        yield path, part.reshape(shape)


def _leaves(tree: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Pairs of path and leaf of a nested mapping, in the order of its keys."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), value


def _nested(flat: dict[Any, Any]) -> dict[Any, Any]:
    """The nested dict of a dict by paths."""
    tree: dict[Any, Any] = {}
    for path, leaf in flat.items():
        branch = tree
        for name in path[:-1]:
            branch = branch.setdefault(name, {})
        branch[path[-1]] = leaf
    return tree


def _dotted(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path))


def _state(params: Params, shapes: dict[Path, tuple[int, ...]]) -> dict[Any, Any]:
    """The nested dict that flax expects, or a ValueError naming the offending path."""
    if not isinstance(params, Mapping):
        got = f"a {type(params).__name__}"
        raise checks.fail_type("apply", "params", got, "a nested dict")
    given = {tuple(map(str, path)): leaf for path, leaf in _leaves(params)}
    state: dict[Path, Any] = {}
    for path, shape in shapes.items():
        leaf = given.pop(tuple(map(str, path)), None)
        if leaf is None or np.shape(leaf) != shape:
            got = "nothing there" if leaf is None else f"shape {np.shape(leaf)}"
            wanted = f"a tree with {_dotted(path)} of shape {shape}"
            raise checks.fail("apply", "params", got, wanted)
        if not (checks.is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating)):
            got = f"{getattr(leaf, 'dtype', type(leaf).__name__)} at {_dotted(path)}"
            raise checks.fail_type("apply", "params", got, "a tree of floating arrays")
        state[path] = leaf
    for path in given:
        wanted = "a tree with the names that init gives and no others"
        raise checks.fail("apply", "params", f"{_dotted(path)} too", wanted)
    return _nested(state)
