"""Averages of parameters: two conventions, float32 accumulators, donation."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kexue_jax.optim import ema
from tests.oracles import lamb as oracle

CONVENTIONS = ("zero_debias", "initial")


def trajectory(steps: int, dtype: str = "float64") -> list[dict[str, jax.Array]]:
    rng = np.random.default_rng(0)
    walk = 3 + np.cumsum(0.1 * rng.normal(size=(steps + 1, 2, 3)), axis=0)
    return [{"a": {"w": jnp.asarray(p, dtype)}} for p in walk]


def run(convention: str, decay: float, params, steps: int | None = None):
    average = ema(decay, convention=convention)
    update = jax.jit(average.update)
    state, history = average.init(params[0]), []
    for p in params[1:steps]:
        state = update(state, p)
        history.append(np.asarray(state.params["a"]["w"], np.float64))
    return state, history


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 0.9999])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_equals_the_float64_oracle_at_every_step(convention, decay) -> None:
    params = trajectory(300)
    values = [np.asarray(p["a"]["w"]) for p in params]
    _, history = run(convention, decay, params)
    if convention == "initial":
        wanted = oracle.ema_initial(values[0], values[1:], decay)
    else:
        wanted = oracle.ema_zero_debias(values[1:], decay)
    np.testing.assert_allclose(history, wanted, rtol=1e-11)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_equals_optax_in_float64(convention) -> None:
    params = trajectory(50)
    _, history = run(convention, 0.99, params)
    other = optax.ema(0.99, debias=convention == "zero_debias")
    state = other.init(params[0])
    if convention == "initial":
        state = state._replace(ema=params[0])
    for p, mine in zip(params[1:], history, strict=True):
        theirs, state = other.update(p, state)
        np.testing.assert_allclose(mine, theirs["a"]["w"], rtol=1e-9)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_constant_parameters_are_averaged_to_themselves_in_float32(convention) -> None:
    with jax.enable_x64(False):
        average = ema(0.9999, convention=convention)
        params = {"w": jnp.full(4, 0.7, jnp.float32)}

        def step(state, _):
            return average.update(state, params), None

        start = average.init({"w": jnp.zeros(4, jnp.float32)})
        once, _ = jax.lax.scan(step, start, length=1)
        state, _ = jax.lax.scan(step, start, length=200_000)
        if convention == "zero_debias":
            np.testing.assert_allclose(once.params["w"], 0.7, rtol=2e-6)
        # A float32 sum stops rising where a step is below half a unit: 6e-4 at most.
        np.testing.assert_allclose(state.params["w"], 0.7, rtol=1e-3)


def test_float32_follows_float64() -> None:
    params = trajectory(2000, "float32")
    with jax.enable_x64(False):
        _, low = run("zero_debias", 0.999, params)
    _, high = run("zero_debias", 0.999, [jax.tree.map(np.float64, p) for p in params])
    np.testing.assert_allclose(low[-1], high[-1], rtol=2e-5)
    np.testing.assert_allclose(low[0], high[0], rtol=2e-5)


def test_bfloat16_parameters_get_float32_averages_and_read_back_as_bfloat16() -> None:
    params = trajectory(3, "bfloat16")
    average = ema(0.9)
    state = average.update(average.init(params[0]), params[1])
    assert state.params["a"]["w"].dtype == jnp.float32
    assert average.read(state, params[0])["a"]["w"].dtype == jnp.bfloat16


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_before_the_first_update_it_reads_the_initial_parameters(convention) -> None:
    params = trajectory(1)[0]
    average = ema(0.9, convention=convention)
    read = average.read(average.init(params), params)
    np.testing.assert_array_equal(read["a"]["w"], params["a"]["w"])


def test_parameters_and_average_can_be_donated_together() -> None:
    average = ema(0.9, convention="initial")
    params = {"w": jnp.ones(5, jnp.float32)}
    state = average.init(params)

    def step(params, state):
        return jax.tree.map(lambda p: p + 1, params), average.update(state, params)

    params, state = jax.jit(step, donate_argnums=(0, 1))(params, state)
    np.testing.assert_allclose(state.params["w"], 1.0)


def test_average_is_dtype_stable_without_recompiling() -> None:
    average, traces = ema(0.9), []

    @jax.jit
    def step(state, params):
        traces.append(1)
        return jax.lax.cond(
            params["w"][0] > 0, average.update, lambda s, _: s, state, params
        )

    params = {"w": jnp.ones(2, jnp.bfloat16), "none": None, "empty": {}}
    state = average.init(params)
    for _ in range(3):
        state = step(state, params)
    assert len(traces) == 1 and state.count == 3
    assert state.params["none"] is None and state.params["empty"] == {}


def test_complex_parameters_are_averaged() -> None:
    average = ema(0.5, convention="initial")
    state = average.init({"w": jnp.array([1 + 2j], jnp.complex64)})
    state = average.update(state, {"w": jnp.array([3 - 2j], jnp.complex64)})
    assert state.params["w"].dtype == jnp.complex64
    np.testing.assert_allclose(state.params["w"], [2 + 0j])


@pytest.mark.parametrize(
    ("decay", "convention", "named"),
    [
        (1.0, "initial", "decay"),
        (-0.1, "initial", "decay"),
        (float("nan"), "initial", "decay"),
        ("0.9", "initial", "decay"),
        (None, "initial", "decay"),
        (0.9, "debias", "convention"),
        (0.9, None, "convention"),
    ],
)
def test_bad_hyperparameters_are_refused_by_name(decay, convention, named) -> None:
    with pytest.raises((ValueError, TypeError), match=f"ema: `{named}`"):
        ema(decay, convention=convention)


@pytest.mark.parametrize("leaf", [1.0, "w", np.arange(3), np.ones(3, bool)])
def test_leaves_that_are_no_parameters_are_refused(leaf) -> None:
    with pytest.raises(TypeError, match="ema: `params`"):
        ema(0.9).init({"w": leaf})
