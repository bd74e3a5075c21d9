"""Every transformation of ``optim`` through what optax asks of its own.

One compiled program a transformation runs it beside itself with injected
hyperparameters, under MultiSteps, masks, schedules and lax.cond.
"""

import functools
import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kexue_jax import optim
from tests.optim.battery import ENTRIES, STEPS, Entry, gradients, parameters

DTYPES = ("float16", "bfloat16", "float32", "float64")
every = pytest.mark.parametrize("entry", ENTRIES, ids=[e.name for e in ENTRIES])


def test_every_transformation_is_in_the_battery() -> None:
    names = set()
    for name in optim.__all__:
        function = getattr(optim, name)
        if inspect.isfunction(function):
            returned = inspect.signature(function).return_annotation
            if returned in (
                optax.GradientTransformation,
                optax.GradientTransformationExtraArgs,
            ):
                names.add(name)
    # adax stands there as "adax, L2", others with their options.
    assert names == {entry.name.split(",")[0] for entry in ENTRIES}


@every
def test_a_thousand_steps_equal_the_float64_twin(entry: Entry) -> None:
    opt, params, given = entry.build(), parameters(), gradients(STEPS)

    def step(carry: Any, gradient: Any) -> Any:
        params, state = carry
        updates, state = opt.update(gradient, state, params)
        params = jax.tree.map(lambda p, u: p - entry.applied * u, params, updates)
        return (params, state), params

    got = jax.jit(lambda p, g: jax.lax.scan(step, (p, opt.init(p)), g)[1])(
        params, given
    )
    flat = {n: np.asarray(p) for n, p in params.items()}
    rows = [{n: g[k] for n, g in given.items()} for k in range(STEPS)]
    wanted = entry.wanted(flat, rows)
    for name, values in got.items():
        theirs = np.stack([row[name] for row in wanted])
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(values, theirs, rtol=0, atol=1e-9 * scale)


@every
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_are_stable(entry: Entry, dtype: str) -> None:
    opt, params = entry.build(), parameters(dtype)
    state = jax.eval_shape(opt.init, params)

    def update(gradient: Any, state: Any, params: Any) -> Any:
        return jax.lax.cond(
            params["bias"][0] > 100,
            lambda: (gradient, state),
            lambda: opt.update(gradient, state, params),
        )

    updates, after = jax.eval_shape(update, params, state, params)
    assert {leaf.dtype for leaf in jax.tree.leaves(updates)} == {jnp.dtype(dtype)}
    assert jax.tree.structure(after) == jax.tree.structure(state)
    for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(after), strict=True):
        assert (old.shape, old.dtype) == (new.shape, new.dtype)
        # What is summed over steps is kept in at least float32.
        assert not jnp.issubdtype(old.dtype, jnp.floating) or old.dtype.itemsize >= 4


def exercise(entry: Entry, params: Any, given: Any) -> dict[str, Any]:
    """The updates of one transformation in all settings."""
    opt = optax.with_extra_args_support(entry.build())
    state, first = opt.init(params), given[0]
    plain, after = jax.lax.cond(
        params["bias"][0] > 100,
        lambda: (first, state),
        lambda: opt.update(first, state, params, value=1.0),
    )
    second, _ = opt.update(given[1], after, params)
    injected = optax.inject_hyperparams(entry.make, static_args=tuple(entry.fixed()))
    injected = injected(**entry.fixed(), **entry.numbers)
    hyper, hyper_state = injected.update(first, injected.init(params), params)
    again, _ = injected.update(given[1], hyper_state, params)
    # The mean of a gradient with itself is itself: the same step at the second turn.
    several = optax.MultiSteps(opt, every_k_schedule=2)
    waiting, between = several.update(first, several.init(params), params)
    stepped, _ = several.update(first, between, params)
    mask = {"kernel": True, "bias": False, "scalar": True}
    masked = optax.masked(opt, mask)
    passed, _ = masked.update(first, masked.init(params), params)

    def rising(count: Any) -> Any:
        return 0.1 * (count + 1)

    if entry.rate:
        scheduled = optax.inject_hyperparams(
            entry.make, static_args=tuple(entry.fixed())
        )(**{**entry.fixed(), **entry.numbers, entry.rate: rising})
    else:
        scheduled = optax.chain(opt, optax.scale_by_learning_rate(rising))
    _, middle = scheduled.update(first, scheduled.init(params), params)
    planned, _ = scheduled.update(given[1], middle, params)
    return {
        "plain": (plain, second),
        "injected": (hyper, again),
        "waiting": waiting,
        "stepped": stepped,
        "masked": passed,
        "scheduled": planned,
    }


@every
def test_works_with_the_wrappers_of_optax(entry: Entry) -> None:
    traces = []

    @jax.jit
    def program(params: Any, given: Any) -> Any:
        traces.append(1)
        return exercise(entry, params, given)

    params, stacked = parameters("float32"), gradients(2, "float32")
    given = [{n: g[k] for n, g in stacked.items()} for k in range(2)]
    found = program(params, given)
    program(found["plain"][1], given)
    assert len(traces) == 1
    plain, second = found["plain"]
    close = functools.partial(np.testing.assert_allclose, rtol=2e-5, atol=1e-7)
    jax.tree.map(close, found["injected"], found["plain"])
    jax.tree.map(close, found["stepped"], plain)
    assert all((np.asarray(u) == 0).all() for u in jax.tree.leaves(found["waiting"]))
    np.testing.assert_array_equal(found["masked"]["bias"], given[0]["bias"])
    assert (np.asarray(found["masked"]["kernel"]) != given[0]["kernel"]).any()
    scale = 0.2 / entry.numbers[entry.rate] if entry.rate else -0.2
    jax.tree.map(lambda a, b: close(a, scale * b), found["scheduled"], second)


@every
def test_takes_empty_trees_none_leaves_and_maps_over_its_state(entry: Entry) -> None:
    fixed = {**entry.fixed()}
    if "mask" in fixed:
        fixed["mask"] = {"bias": np.array([True, False]), "none": None}
        if entry.name == "adaxw":
            fixed["mask"] = {"bias": True, "none": None}
    opt = entry.make(**fixed, **entry.numbers)
    params = {"bias": jnp.ones(2, jnp.float32), "none": None}
    state = jax.eval_shape(opt.init, params)
    updates, after = jax.eval_shape(opt.update, params, state, params)
    assert updates["none"] is None and updates["bias"].shape == (2,)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    mapped = optax.tree.map_params(opt, lambda leaf: "seen", state)
    assert jax.tree.structure(mapped) == jax.tree.structure(state)
    # Whatever has the shape of a parameter is mapped, and nothing else.
    pairs = zip(jax.tree.leaves(mapped), jax.tree.leaves(state), strict=True)
    assert all((leaf == "seen") == (old.shape == (2,)) for leaf, old in pairs)
    if "mask" in fixed:
        opt = entry.make(**{**fixed, "mask": {}}, **entry.numbers)
    updates, _ = jax.eval_shape(opt.update, {}, jax.eval_shape(opt.init, {}), {})
    assert updates == {}
