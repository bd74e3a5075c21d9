"""A projected optimizer is the same optimizer with a projection after each step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kexue_jax.optim import projected, sqrt_decay
from kexue_jax.theory import online_sgd

BALL = 1.0


def ball(tree):
    return optax.projections.projection_l2_ball(tree, BALL)


def loss(params, batch):
    return jnp.vdot(params["w"], batch) + params["b"]


def test_equals_projected_descent_of_the_theory() -> None:
    rng = np.random.default_rng(0)
    params = {"w": jnp.asarray(rng.normal(size=3) / 3), "b": jnp.array(0.1)}
    batches, rate = jnp.asarray(rng.normal(size=(30, 3))), sqrt_decay(alpha=0.7)
    optimizer = projected(optax.sgd(rate), ball)

    def step(carry, batch):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params, batch), state, params)
        return (optax.apply_updates(params, updates), state), None

    (mine, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), batches)
    trace = online_sgd(loss, params, batches, schedule=rate, projection=ball)
    for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(trace.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)
    assert jnp.sum(mine["w"] ** 2) + mine["b"] ** 2 <= BALL**2 + 1e-12


@pytest.mark.parametrize("inner", [optax.adam(0.5), optax.sgd(2.0, momentum=0.9)])
def test_any_optimizer_is_kept_in_the_set(inner) -> None:
    optimizer = projected(inner, ball)
    params = jnp.array([0.5, 0.5])
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    for _ in range(5):
        updates, state = update(jnp.array([-3.0, 1.0]), state, params)
        params = optax.apply_updates(params, updates)
        assert jnp.linalg.norm(params) <= BALL + 1e-9
    assert params[0] > 0.7


def test_hands_on_extra_arguments_and_keeps_dtypes() -> None:
    seen = []

    def update(updates, state, params=None, *, value=None):
        seen.append(value)
        return updates, state

    inner = optax.GradientTransformationExtraArgs(optax.init_empty_state, update)
    params = {"w": jnp.ones(2, jnp.bfloat16), "frozen": None}
    optimizer = projected(inner, lambda tree: jax.tree.map(jnp.tanh, tree))
    updates, _ = optimizer.update(params, optimizer.init(params), params, value=7)
    assert seen == [7] and updates["frozen"] is None
    assert updates["w"].dtype == jnp.bfloat16
