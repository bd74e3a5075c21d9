"""What a row of the contract battery says, and how its inputs take a dtype.

A row names one public function and gives small awkward inputs in float64 NumPy and an
oracle for them. ``test_contract.py`` runs each row through jit, vmap, three dtypes,
numerical gradients, extreme inputs and malformed calls.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import kexue_jax
from kexue_jax.diffusion.schedules import Schedule

# Relative to the largest entry of the oracle's answer (DESIGN.md, tests).
TOLERANCE = {"float64": 1e-12, "float32": 2e-5, "bfloat16": 3e-2}
GRADIENT_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Static:
    """A positional argument that is never traced, cast or batched."""

    value: Any


@dataclass(frozen=True)
class Bad:
    """A malformed call: positional and keyword arguments to replace, and the fault.

    ``argument`` must be named in the message, beside the function.
    """

    argument: str
    args: Mapping[int, Any] = field(default_factory=dict)
    static: Mapping[str, Any] = field(default_factory=dict)
    traced: bool = True  # the same error must come under jit


@dataclass(frozen=True, eq=False)
class Case:
    """One row of the battery.

    name: "topic.function". inputs: rng -> positional arguments (after the key) in
    float64 or integer NumPy; callables and ``Static`` stay as they are. oracle: the
    same arguments -> float64 NumPy, and ``draws`` if the function takes a key.
    draws: (key, *arguments) -> the noise that the docstring promises. call: adapter
    for names that are not plain functions (a model, an optimizer); default the public
    function itself. titles: other functions that messages may name instead (the
    ``apply`` of a model). grad: whether outputs are differentiable in the floating
    inputs. follows: position of the argument whose dtype the result has, or None where
    the result has a dtype of its own. wide: the result is in at least float32.
    extremes: whether inputs may be scaled to 1e4; extreme_grads: whether gradients
    stay finite there too. data: positions of the pytrees that are scaled as arrays are
    (the entries of others are coefficients). optional: arguments that may be None.
    complexes: arguments that are real here and may be complex as well.
    tolerance, reason: a looser bound for a dtype and the sentence that says why.
    """

    name: str
    inputs: Callable[[np.random.Generator], tuple[Any, ...]]
    oracle: Callable[..., Any]
    static: Mapping[str, Any] = field(default_factory=dict)
    variant: str = ""
    draws: Callable[..., Any] | None = None
    call: Callable[..., Any] | None = None
    titles: tuple[str, ...] = ()
    grad: bool = True
    vmap: bool = True
    jit: bool = True
    follows: int | None = 0
    wide: bool = False
    takes_dtype: bool = False
    extremes: bool = True
    extreme_grads: bool = True
    data: tuple[int, ...] = ()
    optional: tuple[str, ...] = ()
    complexes: tuple[str, ...] = ()
    bad: tuple[Bad, ...] = ()
    tolerance: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""

    def __post_init__(self) -> None:
        loose = [d for d in self.tolerance if self.tolerance[d] > TOLERANCE[d]]
        kept = self.grad, self.vmap, self.jit, self.extremes, self.extreme_grads
        if (loose or not all(kept)) and not self.reason:
            raise ValueError(f"{self.id}: a looser row must say why in a sentence")

    @property
    def id(self) -> str:
        return f"{self.name}[{self.variant}]" if self.variant else self.name

    @property
    def keyed(self) -> bool:
        return self.draws is not None

    def public(self) -> Callable[..., Any]:
        topic, name = self.name.split(".")
        return getattr(getattr(kexue_jax, topic), name)

    def function(self) -> Callable[..., Any]:
        return self.call or self.public()

    def arguments(self, seed: int = 0) -> tuple[Any, ...]:
        return self.inputs(np.random.default_rng(seed))

    def bound(self, dtype: str) -> float:
        return self.tolerance.get(dtype, TOLERANCE[dtype])

    def keywords(self, dtype: str) -> dict[str, Any]:
        extra = {"dtype": jnp.dtype(dtype)} if self.takes_dtype else {}
        return {**self.static, **extra}

    def argument_names(self) -> list[str]:
        """Names of the positional arguments, the key left out."""
        names = [
            p.name
            for p in inspect.signature(self.function()).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        return names[1:] if self.keyed else names


def is_static(argument: Any) -> bool:
    return isinstance(argument, Static) or callable(argument) or argument is None


def plain(argument: Any) -> Any:
    return argument.value if isinstance(argument, Static) else argument


def cast(arguments: tuple[Any, ...], dtype: str) -> tuple[Any, ...]:
    """The arguments as jax arrays: floating ones in ``dtype``, the others as they are.

    Complex ones have parts of ``dtype``, of float32 for bfloat16 (none has such parts).

    A Schedule stays in at least float32, as users have it beside bfloat16 images.
    """

    def leaf(value: Any, target: str) -> jax.Array:
        value = np.asarray(value)
        if np.iscomplexobj(value):
            return jnp.asarray(value, complex_dtype(target))
        floating = jnp.issubdtype(value.dtype, jnp.floating)
        return jnp.asarray(value, target if floating else value.dtype)

    def one(argument: Any) -> Any:
        if is_static(argument):
            return argument
        wide = isinstance(argument, Schedule) and dtype == "bfloat16"
        target = "float32" if wide else dtype
        return jax.tree.map(lambda v: leaf(v, target), argument)

    return tuple(one(argument) for argument in arguments)


def complex_dtype(dtype: str) -> np.dtype:
    """The complex dtype whose parts are of ``dtype``, at least float32."""
    return np.dtype(complex if dtype == "float64" else np.complex64)


def to_float64(tree: Any) -> Any:
    """Jax arrays as NumPy, floating ones in float64, for the oracle."""

    def leaf(value: Any) -> np.ndarray:
        value = np.asarray(value)
        if np.iscomplexobj(value):
            return value.astype(complex)
        floating = jnp.issubdtype(value.dtype, jnp.floating)
        return value.astype(np.float64) if floating else value

    return jax.tree.map(leaf, tree)


def split(arguments: tuple[Any, ...]) -> tuple[list[Any], Callable[..., tuple]]:
    """The dynamic arguments, and how to put them back among the static ones."""
    places = [i for i, a in enumerate(arguments) if not is_static(a)]

    def join(*dynamic: Any) -> tuple[Any, ...]:
        full = [plain(a) for a in arguments]
        for place, value in zip(places, dynamic, strict=True):
            full[place] = value
        return tuple(full)

    return [arguments[i] for i in places], join
