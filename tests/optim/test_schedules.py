"""The author's learning rate: straight lines between multiples of one rate."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kexue_jax.optim import piecewise_linear
from tests.oracles import lamb as oracle

AUTHOR = {0: 0, 4000: 1, 20000: 0.5, 40000: 0.1}


def test_the_authors_points_are_reached_and_the_end_is_constant() -> None:
    rate = piecewise_linear(AUTHOR, base=1e-3)
    for step, multiplier in AUTHOR.items():
        np.testing.assert_allclose(rate(step), 1e-3 * multiplier, rtol=1e-15)
    np.testing.assert_allclose(rate(10**7), 1e-4, rtol=1e-15)


@pytest.mark.parametrize(
    "multipliers",
    [AUTHOR, {100: 0.3}, {5: 2.0, 6: 0.0}, {40: 0.1, 10: 1, 0: 0.5}],
    ids=["author", "one point", "cliff", "unsorted"],
)
def test_equals_the_oracle_at_every_kind_of_step(multipliers) -> None:
    rate = jax.jit(piecewise_linear(multipliers, base=0.5))
    last = max(multipliers)
    for step in {0, 1, 5, 6, 7, last - 1, last, last + 1, 3 * last, last // 2, 1000}:
        wanted = 0.5 * oracle.piecewise_linear(max(step, 0), multipliers)
        np.testing.assert_allclose(rate(max(step, 0)), wanted, rtol=1e-12, atol=1e-15)


def test_takes_arrays_of_steps_and_traces_once() -> None:
    traces = []
    rate = piecewise_linear(AUTHOR, base=1e-3)

    @jax.jit
    def counted(step):
        traces.append(1)
        return rate(step)

    steps = jnp.arange(0, 50_000, 777, dtype=jnp.int32)
    one_by_one = np.array([counted(step) for step in steps])
    np.testing.assert_allclose(jax.vmap(rate)(steps), one_by_one, rtol=1e-12)
    np.testing.assert_allclose(rate(steps), one_by_one, rtol=1e-12)
    assert len(traces) == 1


def test_serves_as_an_optax_schedule_and_keeps_dtypes() -> None:
    opt = optax.sgd(piecewise_linear({0: 0, 2: 1}, base=0.5))
    params = {"w": jnp.ones(3, jnp.bfloat16)}
    state, seen = opt.init(params), []
    for _ in range(4):
        updates, state = opt.update(params, state, params)
        assert updates["w"].dtype == jnp.bfloat16
        seen.append(-float(updates["w"][0]))
    assert seen == [0.0, 0.25, 0.5, 0.5]


def test_base_may_be_traced() -> None:
    swept = jax.jit(lambda base: piecewise_linear(AUTHOR, base=base)(2000))
    np.testing.assert_allclose(swept(jnp.asarray(2.0)), 1.0)


@pytest.mark.parametrize(
    ("multipliers", "base", "named"),
    [
        (None, 1.0, "multipliers"),
        ([(0, 1)], 1.0, "multipliers"),
        ({}, 1.0, "multipliers"),
        ({-1: 1.0}, 1.0, "multipliers"),
        ({0.5: 1.0}, 1.0, "multipliers"),
        ({0: float("nan")}, 1.0, "multipliers"),
        ({0: -1.0}, 1.0, "multipliers"),
        ({0: "1"}, 1.0, "multipliers"),
        (AUTHOR, -1.0, "base"),
        (AUTHOR, float("inf"), "base"),
        (AUTHOR, None, "base"),
        (AUTHOR, jnp.ones(2), "base"),
    ],
)
def test_bad_input_is_refused_by_name(multipliers, base, named) -> None:
    with pytest.raises((ValueError, TypeError), match=f"piecewise_linear: `{named}`"):
        piecewise_linear(multipliers, base=base)
