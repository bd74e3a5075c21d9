"""Checks of arguments that name the function, the argument, what came, what was wanted.

Every check works on shapes, dtypes and static Python values only, so that it runs at
trace time, costs nothing in the compiled program and is the same under jit. A value
that is traced (a hyperparameter that is a jax array inside jit) is checked for shape
and dtype, never for its value.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Letters = dict[str, int | tuple[int, ...]]

_KINDS = {
    "floating": jnp.floating,
    "integer": jnp.integer,
    "boolean": jnp.bool_,
    "complex": jnp.complexfloating,
    "inexact": jnp.inexact,
    "number": jnp.number,
}


def fail(function: str, argument: str, got: object, wanted: str) -> ValueError:
    """The ValueError of this house: ``f: `x` must be WANTED, got GOT.``"""
    return ValueError(f"{function}: `{argument}` must be {wanted}, got {got}.")


def fail_type(function: str, argument: str, got: object, wanted: str) -> TypeError:
    """The TypeError of this house, for a value of the wrong kind."""
    return TypeError(f"{function}: `{argument}` must be {wanted}, got {got}.")


def is_array(value: object) -> bool:
    """Whether ``value`` is a jax or NumPy array (or a NumPy scalar)."""
    return isinstance(value, (jax.Array, np.ndarray, np.generic))


def array(function: str, argument: str, value: Any, kind: str = "floating") -> None:
    """Raise TypeError unless ``value`` is an array whose dtype is of ``kind``.

    ``kind`` is "floating", "complex", "inexact" (either of them), "integer",
    "boolean" or "number".
    """
    if not is_array(value):
        raise fail_type(
            function, argument, f"a {type(value).__name__}", "a jax or NumPy array"
        )
    if not jnp.issubdtype(value.dtype, _KINDS[kind]):
        raise fail_type(
            function, argument, f"dtype {value.dtype}", f"an array of {kind} dtype"
        )


def shapes(function: str, **arguments: tuple[Any, str]) -> Letters:
    """Bind the letters of shape patterns to sizes, one argument after the other.

    ``shapes("f", q=(q, "... n d"), v=(v, "... n m"))`` returns ``{"...": (8,), "n": 5,
    "d": 3, "m": 2}`` or raises a ValueError that names the argument. A pattern is a
    row of letters or numbers; at most one of them may be ``...`` (free leading axes)
    or start with a star (``*d``: any number of axes); ``_`` fits any one axis. A
    letter, a star or ``...`` that is bound already must fit again exactly. ``None`` is
    skipped, for optional arguments. Put the argument that binds the free axes first:
    ``t=(t, "..."), x=(x, "... *d")`` takes a ``t`` whose shape starts that of ``x``.
    """
    letters: Letters = {}
    for argument, (value, pattern) in arguments.items():
        if value is None:
            continue
        shape = tuple(np.shape(value))
        wanted = f"of shape [{', '.join(pattern.split())}]"
        if letters:
            known = ", ".join(f"{k} = {_show(v)}" for k, v in letters.items())
            wanted += f" with {known}"
        if not _match(pattern.split(), shape, letters):
            raise fail(function, argument, f"shape {shape}", wanted)
    return letters


def _show(size: int | tuple[int, ...]) -> str:
    return str(list(size)) if isinstance(size, tuple) else str(size)


def _match(tokens: list[str], shape: tuple[int, ...], letters: Letters) -> bool:
    """Match ``shape`` against ``tokens`` from the left, binding letters; or False."""
    rest = shape
    for place, token in enumerate(tokens):
        if token == "..." or token.startswith("*"):
            length = _free_length(token, tokens[place + 1 :], rest, letters)
            if (
                length is None
                or letters.setdefault(token, rest[:length]) != (rest[:length])
            ):
                return False
            rest = rest[length:]
        elif not rest or not _fits(token, rest[0], letters):
            return False
        else:
            rest = rest[1:]
    return not rest


def _fits(token: str, size: int, letters: Letters) -> bool:
    if token.isdigit():
        return size == int(token)
    return token == "_" or letters.setdefault(token, size) == size


def _free_length(
    token: str, later: list[str], rest: tuple[int, ...], letters: Letters
) -> int | None:
    """How many axes a free token takes: those bound before, or all that are left."""
    bound = letters.get(token)
    if isinstance(bound, tuple):
        return len(bound)
    length = len(rest)
    for other in later:
        taken = letters.get(other) if not other[0].isalnum() else 1
        if taken is None:
            return None
        length -= len(taken) if isinstance(taken, tuple) else 1
    return length if length >= 0 else None


def broadcastable(
    function: str, argument: str, value: Any, shape: tuple[int, ...]
) -> None:
    """Raise unless the array ``value`` broadcasts to ``shape``."""
    try:
        fits = np.broadcast_shapes(value.shape, shape) == tuple(shape)
    except ValueError:
        fits = False
    if not fits:
        got, wanted = f"shape {value.shape}", f"broadcastable to {tuple(shape)}"
        raise fail(function, argument, got, wanted)


def leading(function: str, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """The common shape of leading axes; the fault is the first that does not fit."""
    common: tuple[int, ...] = ()
    for argument, shape in shapes.items():
        try:
            common = np.broadcast_shapes(common, shape)
        except ValueError:
            got = f"leading axes {list(shape)}"
            wanted = f"of leading axes that fit {list(common)}"
            raise fail(function, argument, got, wanted) from None
    return common


def state(
    function: str, value: Any, kind: type, like: Mapping[str, tuple[int, ...]]
) -> None:
    """Raise unless ``value``, the argument `state`, is of ``kind``, a NamedTuple.

    ``like`` has the shape of each part; all must be of a floating dtype.
    """
    if not isinstance(value, kind):
        wanted = f"a {kind.__name__}"
        raise fail_type(function, "state", f"a {type(value).__name__}", wanted)
    for part, shape in like.items():
        found = getattr(value, part)
        array(function, f"state.{part}", found)
        if found.shape != shape:
            got, wanted = f"shape {found.shape}", f"of shape {shape}"
            raise fail(function, f"state.{part}", got, wanted)


def same_dtype(function: str, **arguments: Any) -> None:
    """Raise TypeError unless all arrays (None is skipped) have one dtype."""
    first: tuple[str, Any] | None = None
    for name, value in arguments.items():
        if value is None:
            continue
        if first is None:
            first = (name, value.dtype)
        elif value.dtype != first[1]:
            wanted = f"of dtype {first[1]} as `{first[0]}` is"
            raise fail_type(function, name, f"dtype {value.dtype}", wanted)


def number(
    function: str,
    argument: str,
    value: Any,
    *,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    open_minimum: bool = False,
    open_maximum: bool = False,
    traced: bool = False,
) -> None:
    """Raise unless ``value`` is a finite real number within the bounds.

    With ``traced`` a scalar jax array is taken too (an ``eta`` that is swept under
    one compilation); its value is not looked at.
    """
    if traced and isinstance(value, jax.Array):
        if value.shape != () or not jnp.issubdtype(value.dtype, jnp.floating):
            got = f"shape {value.shape}, dtype {value.dtype}"
            raise fail(function, argument, got, "a floating-point scalar")
        return
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, (int, float, np.integer, np.floating)
    ):
        raise fail_type(function, argument, f"a {type(value).__name__}", "a number")
    low = value > minimum if open_minimum else value >= minimum
    high = value < maximum if open_maximum else value <= maximum
    if not (math.isfinite(value) and low and high):
        left = "(" if open_minimum or minimum == -math.inf else "["
        right = ")" if open_maximum or maximum == math.inf else "]"
        wanted = f"a finite number in {left}{minimum}, {maximum}{right}"
        raise fail(function, argument, value, wanted)


def count(function: str, argument: str, value: Any, *, minimum: int = 1) -> None:
    """Raise unless ``value`` is a static Python integer of at least ``minimum``."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        got = f"a {type(value).__name__}"
        raise fail_type(function, argument, got, "a Python integer")
    if value < minimum:
        raise fail(function, argument, value, f"an integer of at least {minimum}")


def float_dtype(function: str, argument: str, value: Any) -> None:
    """Raise TypeError unless ``value`` names a floating dtype."""
    try:
        floating = jnp.issubdtype(jnp.dtype(value), jnp.floating)
    except TypeError:
        floating = False
    if value is None or not floating:
        raise fail_type(function, argument, repr(value), "a floating dtype")


def flag(function: str, argument: str, value: Any) -> None:
    """Raise TypeError unless ``value`` is a Python bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise fail_type(function, argument, f"a {type(value).__name__}", "a bool")


def choice(function: str, argument: str, value: Any, options: Sequence[str]) -> None:
    """Raise unless ``value`` is one of the strings ``options``."""
    if not isinstance(value, str):
        wanted = f"one of {', '.join(map(repr, options))}"
        raise fail_type(function, argument, f"a {type(value).__name__}", wanted)
    if value not in options:
        wanted = f"one of {', '.join(map(repr, options))}"
        raise fail(function, argument, repr(value), wanted)


def function(function_: str, argument: str, value: Callable[..., Any] | Any) -> None:
    """Raise TypeError unless ``value`` can be called."""
    if not callable(value):
        got = f"a {type(value).__name__}"
        raise fail_type(function_, argument, got, "a callable")


def key(function: str, argument: str, value: Any) -> None:
    """Raise TypeError unless ``value`` is one typed PRNG key (``jax.random.key``)."""
    if not isinstance(value, jax.Array) or not jnp.issubdtype(
        value.dtype, jax.dtypes.prng_key
    ):
        got = f"dtype {value.dtype}" if is_array(value) else f"a {type(value).__name__}"
        wanted = "a typed key made by jax.random.key"
        raise fail_type(function, argument, got, wanted)
    if value.shape != ():
        raise fail(function, argument, f"shape {value.shape}", "one key, of shape ()")


def known(array: Any) -> np.ndarray | None:
    """The values of an array, or None if it is traced or lies on other hosts."""
    try:
        if isinstance(array, jax.Array) and not array.is_fully_addressable:
            return None
        return np.asarray(array)
    except jax.errors.ConcretizationTypeError:
        return None
    except jax.errors.TracerArrayConversionError:
        return None


def concrete(function: str, argument: str, value: Any, kind: str) -> np.ndarray:
    """``value`` as a NumPy array; raise TypeError if it is traced or of another kind.

    For static arrays that decide the shape or the order of a computation (a list of
    time steps, say). Lists and tuples of numbers are taken.
    """
    try:
        result = np.asarray(value)
    except jax.errors.TracerArrayConversionError:
        wanted = "known at trace time"
        raise fail_type(function, argument, "a traced array", wanted) from None
    except (TypeError, ValueError):
        result = np.asarray(None)
    if not jnp.issubdtype(result.dtype, _KINDS[kind]):
        got = f"a {type(value).__name__} of dtype {result.dtype}"
        raise fail_type(function, argument, got, f"{kind} numbers")
    return result
