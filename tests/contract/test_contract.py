"""Every public function through one battery: see ``case.py`` for what a row says."""

import functools
import inspect
import types
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kexue_jax
from tests.contract.case import (
    GRADIENT_TOLERANCE,
    Bad,
    Case,
    Static,
    cast,
    complex_dtype,
    plain,
    split,
    to_float64,
)
from tests.contract.cases import CASES

pytestmark = pytest.mark.contract

DTYPES = ("float64", "float32", "bfloat16")
TOPICS = [t for t in kexue_jax.__all__ if t != "articles"]


def rows(keep: Callable[[Case], bool] = lambda case: True) -> Any:
    kept = [case for case in CASES if keep(case)]
    return pytest.mark.parametrize("case", kept, ids=[case.id for case in kept])


def key_of(case: Case) -> tuple[jax.Array, ...]:
    return (jax.random.key(7),) if case.keyed else ()


def dynamic_call(
    case: Case, arguments: tuple[Any, ...], dtype: str
) -> tuple[Callable[..., Any], list[Any]]:
    """The function of the dynamic arguments alone (the key first), and those."""
    dynamic, join = split(arguments)
    keys = key_of(case)
    function, static = case.function(), case.keywords(dtype)

    def call(*values: Any) -> Any:
        return function(*values[: len(keys)], *join(*values[len(keys) :]), **static)

    return call, [*keys, *dynamic]


class Program(NamedTuple):
    """A row's function compiled (if it can be), and a list with one entry a trace."""

    run: Callable[..., Any]
    traces: list[int]


# The tests of a row follow one another (see conftest.py): few programs are kept.
@functools.lru_cache(maxsize=2)
def exact_program(case: Case) -> Program:
    """The float64 form of a row, compiled once for all tests that need its values."""
    traces: list[int] = []
    call, _ = dynamic_call(case, cast(case.arguments(), "float64"), "float64")

    def counted(*values: Any) -> Any:
        traces.append(1)
        return call(*values)

    return Program(jax.jit(counted) if case.jit else call, traces)


@functools.lru_cache(maxsize=4)
def narrow_program(case: Case, dtype: str) -> Callable[..., Any]:
    """A row in a narrow dtype: its outputs and, where they stay finite, gradients."""
    arguments = cast(case.arguments(), dtype)
    call, dynamic = dynamic_call(case, arguments, dtype)
    function, values = inexact(call, dynamic)
    wanted = case.extremes and case.extreme_grads and bool(values)
    wanted = wanted and bool(jax.eval_shape(function, *values))

    def both(*dynamic: Any) -> Any:
        function, values = inexact(call, dynamic)
        total = lambda *v: sum(wide_sum(leaf) for leaf in function(*v))  # noqa: E731
        places = tuple(range(len(values)))
        return call(*dynamic), jax.grad(total, places)(*values) if wanted else ()

    return jax.jit(both) if case.jit else both


def expected(case: Case, arguments: tuple[Any, ...]) -> Any:
    """The oracle's answer at the very inputs (rounded to their dtype) that we used."""
    exact = tuple(
        plain(a) if callable(a) or not jax.tree.leaves(a) else to_float64(a)
        for a in (plain(a) for a in arguments)
    )
    extra = {}
    if case.draws is not None:
        draws = case.draws(*key_of(case), *(plain(a) for a in arguments))
        extra["draws"] = to_float64(draws)
    return case.oracle(*exact, **case.static, **extra)


def assert_close(got: Any, wanted: Any, bound: float, what: str) -> None:
    got_leaves = [np.asarray(to_float64(leaf)) for leaf in jax.tree.leaves(got)]
    wanted_leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(wanted)]
    assert len(got_leaves) == len(wanted_leaves), what
    for mine, theirs in zip(got_leaves, wanted_leaves, strict=True):
        assert mine.shape == theirs.shape, f"{what}: {mine.shape} is not {theirs.shape}"
        if not np.issubdtype(theirs.dtype, np.inexact):
            np.testing.assert_array_equal(mine, theirs, err_msg=what)
            continue
        scale = np.abs(theirs).max(initial=0.0)
        error = np.abs(mine - theirs).max(initial=0.0)
        message = f"{what}: error {error:.2e}, scale {scale:.2e}"
        assert np.isfinite(mine).all() and error <= bound * scale + 1e-300, message


def floating(tree: Any) -> list[jax.Array]:
    """The leaves that are real or complex floating-point arrays."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if hasattr(leaf, "dtype")]
    return [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)]


def real_dtype(dtype: Any) -> np.dtype:
    """The dtype of the parts of a complex dtype; any other as it is."""
    is_complex = jnp.issubdtype(dtype, jnp.complexfloating)
    return np.finfo(dtype).dtype if is_complex else jnp.dtype(dtype)


def wide_sum(leaf: jax.Array) -> jax.Array:
    """The sum in float64 of all entries, of both parts where they are complex."""
    total = jnp.sum(jnp.real(leaf).astype(jnp.float64))
    if jnp.iscomplexobj(leaf):
        total += jnp.sum(jnp.imag(leaf).astype(jnp.float64))
    return total


def rows_and_dtypes() -> Any:
    """Every row in every dtype; in one narrow one where none of its inputs leads."""
    kept = [
        pytest.param(case, dtype, id=f"{case.id}-{dtype}")
        for case in CASES
        for dtype in DTYPES
        if case.follows is not None or dtype != "bfloat16"
    ]
    return pytest.mark.parametrize(("case", "dtype"), kept)


@rows_and_dtypes()
def test_value_equals_the_float64_oracle(case: Case, dtype: str) -> None:
    arguments = cast(case.arguments(), dtype)
    _, dynamic = dynamic_call(case, arguments, dtype)
    if dtype == "float64":
        got = exact_program(case).run(*dynamic)
    else:
        got, _ = narrow_program(case, dtype)(*dynamic)
    assert_close(got, expected(case, arguments), case.bound(dtype), dtype)
    if case.follows is not None:
        wanted = real_dtype(floating(arguments[case.follows])[0].dtype)
        if case.wide:
            wanted = jnp.promote_types(wanted, jnp.float32)
        allowed = {wanted, complex_dtype(dtype)}
        assert {leaf.dtype for leaf in floating(got)} <= allowed


@rows(lambda case: case.jit)
def test_jit_equals_eager_and_traces_once(case: Case) -> None:
    arguments = cast(case.arguments(), "float64")
    call, dynamic = dynamic_call(case, arguments, "float64")
    jitted = exact_program(case)
    assert_close(jitted.run(*dynamic), to_float64(call(*dynamic)), 1e-12, "jit")
    _, again = dynamic_call(case, cast(case.arguments(1), "float64"), "float64")
    jitted.run(*again)
    assert len(jitted.traces) == 1


def stack(*values: jax.Array) -> Any:
    """Arrays by NumPy, which compiles nothing; keys, which NumPy does not know."""
    keys = jnp.issubdtype(values[0].dtype, jax.dtypes.prng_key)
    return jnp.stack(values) if keys else np.stack([np.asarray(v) for v in values])


@rows(lambda case: case.vmap)
def test_vmap_equals_loop(case: Case) -> None:
    many = [cast(case.arguments(seed), "float64") for seed in range(3)]
    run = exact_program(case).run
    lists = [dynamic_call(case, arguments, "float64")[1] for arguments in many]
    if case.keyed:
        for values, key in zip(
            lists, jax.random.split(jax.random.key(3), 3), strict=True
        ):
            values[0] = key
    stacked = [jax.tree.map(stack, *values) for values in zip(*lists, strict=True)]
    loop = [to_float64(run(*values)) for values in lists]
    wanted = jax.tree.map(lambda *v: np.stack(v), *loop)
    mapped = jax.vmap(dynamic_call(case, many[0], "float64")[0])
    mapped = jax.jit(mapped) if case.jit else mapped
    assert_close(mapped(*stacked), wanted, 1e-12, "vmap")


def inexact(
    call: Callable[..., Any], dynamic: Sequence[Any]
) -> tuple[Callable[..., Any], list[Any]]:
    """A function of the inexact leaves alone, returning inexact leaves alone."""
    leaves, structure = jax.tree.flatten(list(dynamic))
    places = [i for i, v in enumerate(leaves) if jnp.issubdtype(v.dtype, jnp.inexact)]

    def function(*values: jax.Array) -> list[jax.Array]:
        full = list(leaves)
        for place, value in zip(places, values, strict=True):
            full[place] = value
        return floating(call(*jax.tree.unflatten(structure, full)))

    return function, [leaves[i] for i in places]


def normal(rng: np.random.Generator, like: Any) -> np.ndarray:
    """Normal numbers of a shape and dtype, in both parts where it is complex."""
    drawn = rng.standard_normal(like.shape)
    if np.iscomplexobj(like):
        drawn = drawn + 1j * rng.standard_normal(like.shape)
    return np.asarray(drawn, like.dtype)


def inner(ours: list[Any], theirs: list[Any]) -> float:
    return sum(
        float(np.vdot(a, b).real)
        for a, b in zip(map(np.asarray, ours), map(np.asarray, theirs), strict=True)
    )


STEP = 1e-5  # it balances truncation and rounding of the difference quotient


@rows(lambda case: case.grad)
def test_gradients_equal_numerical_ones(case: Case) -> None:
    arguments = cast(case.arguments(), "float64")
    call, dynamic = dynamic_call(case, arguments, "float64")
    run, values = inexact(exact_program(case).run, dynamic)

    def differentials(dynamic: Any, tangents: Any, weights: Any) -> Any:
        function, values = inexact(call, dynamic)
        _, pushed = jax.jvp(function, tuple(values), tuple(tangents))
        return pushed, jax.vjp(function, *values)[1](weights)

    rng = np.random.default_rng(0)
    values = [np.asarray(value) for value in values]
    tangents = [normal(rng, value) for value in values]
    ahead, behind = (
        [np.asarray(leaf) for leaf in run(*moved)]
        for moved in (
            [v + sign * STEP * t for v, t in zip(values, tangents, strict=True)]
            for sign in (1, -1)
        )
    )
    numerical = [(a - b) / (2 * STEP) for a, b in zip(ahead, behind, strict=True)]
    weights = [normal(rng, leaf) for leaf in ahead]
    both = jax.jit(differentials) if case.jit else differentials
    pushed, pulled = both(dynamic, tangents, [weight.conj() for weight in weights])
    bounds = {"atol": GRADIENT_TOLERANCE, "rtol": GRADIENT_TOLERANCE}
    for mine, wanted in zip(pushed, numerical, strict=True):
        np.testing.assert_allclose(mine, wanted, **bounds)
    got = inner(tangents, [np.conj(leaf) for leaf in pulled])
    np.testing.assert_allclose(got, inner(numerical, weights), **bounds)


EXTREMES = {"zeros": 0.0, "huge": 1.0, "minus huge": -1.0}


def pushed(case: Case, top: float) -> tuple[Any, ...]:
    """The row's arguments with every floating entry of data at 0 or +-``top``."""

    def push(value: Any) -> Any:
        floats = isinstance(value, np.ndarray) and value.dtype == np.float64
        return top * np.sign(value) if floats else value

    return tuple(
        jax.tree.map(push, argument) if place in case.data else push(argument)
        for place, argument in enumerate(case.arguments())
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@rows(lambda case: case.extremes)
def test_values_and_gradients_stay_finite(case: Case, dtype: str) -> None:
    top = {"float32": 1e4, "bfloat16": 1e2}[dtype]
    for extreme, factor in EXTREMES.items():
        arguments = cast(pushed(case, factor * top), dtype)
        found = narrow_program(case, dtype)(*dynamic_call(case, arguments, dtype)[1])
        for leaf in floating(found):
            assert np.isfinite(to_float64(leaf)).all(), extreme


MALFORMED_CALLS = 8
NOT_ARRAYS = (None, [1.0, 2.0], "text", object())
NOT_KEYS = (None, 0, np.zeros(2, np.uint32))
NOT_STATIC: dict[type, tuple[Any, ...]] = {
    bool: (None, "text", 3),
    int: (None, "text", 1.5, -1),
    float: (None, "text", float("nan"), float("inf")),
    str: (None, "no such choice", 3),
}


def automatic(case: Case) -> list[Bad]:
    """Malformed calls that every function must refuse, from its inputs' kinds."""
    found = []
    arguments = case.arguments()
    names = case.argument_names()[: len(arguments)]
    for place, (name, value) in enumerate(zip(names, arguments, strict=True)):
        wrong: tuple[Any, ...] = NOT_ARRAYS
        if isinstance(value, np.ndarray):
            if not (np.iscomplexobj(value) or name in case.complexes):
                wrong += (value.astype(complex),)
            if np.issubdtype(value.dtype, np.inexact):
                wrong += (value.astype(bool),)
        elif isinstance(value, (dict, Static)) or value is None:
            continue
        optional = name in case.optional
        for bad in wrong:
            if not (bad is None and optional):
                traced = isinstance(bad, np.ndarray)
                found.append(Bad(name, args={place: bad}, traced=traced))
    for name, value in case.static.items():
        for bad in NOT_STATIC.get(type(value), ()):
            if not (bad is None and name in case.optional):
                found.append(Bad(name, static={name: bad}))
    return found


@rows()
def test_bad_input_is_refused_by_name(case: Case) -> None:
    function, title = case.function(), case.name.split(".")[1]
    titles = (title, *case.titles)
    arguments = cast(case.arguments(), "float32")

    def call(bad: Bad, jitted: bool) -> None:
        changed = [bad.args.get(i, a) for i, a in enumerate(arguments)]
        static = {**case.keywords("float32"), **bad.static}
        dynamic, join = split(tuple(changed))
        inner = lambda *v: function(*key_of(case), *join(*v), **static)  # noqa: E731
        (jax.jit(inner) if jitted else inner)(*dynamic)

    for bad in [*automatic(case), *case.bad]:
        for jitted in [False, True] if bad.traced and case.jit else [False]:
            with pytest.raises((ValueError, TypeError)) as caught:
                call(bad, jitted)
            message = str(caught.value)
            named = any(message.startswith(f"{name}: ") for name in titles)
            assert named and f"`{bad.argument}" in message, (bad, message)
    for wrong in NOT_KEYS if case.keyed else ():
        with pytest.raises(TypeError, match=rf"{title}: `key`"):
            function(wrong, *(plain(a) for a in arguments), **case.static)


def public_functions() -> list[str]:
    names = []
    for topic in TOPICS:
        module = getattr(kexue_jax, topic)
        names += [
            f"{topic}.{name}"
            for name in module.__all__
            if not inspect.isclass(getattr(module, name))
            and not isinstance(getattr(module, name), types.ModuleType)
        ]
    return names


def test_every_public_function_has_a_row() -> None:
    assert set(public_functions()) == {case.name for case in CASES}


def test_every_public_function_refuses_eight_malformed_calls() -> None:
    counts: dict[str, int] = {}
    for case in CASES:
        if not inspect.signature(case.public()).parameters:
            continue  # there is nothing to get wrong
        counts[case.name] = counts.get(case.name, 0) + len(automatic(case))
        counts[case.name] += len(case.bad) + (len(NOT_KEYS) if case.keyed else 0)
    few = {name: count for name, count in counts.items() if count < MALFORMED_CALLS}
    assert not few


def test_row_ids_are_unique() -> None:
    ids = [case.id for case in CASES]
    assert len(ids) == len(set(ids))
