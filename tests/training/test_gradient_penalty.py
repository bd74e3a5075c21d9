"""Penalties on gradients: the rank-one form and its twin, implicit regularization."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.training import (
    dirichlet_energy,
    implicit_gradient_loss,
    input_gradient_penalty,
    mlp_parameter_penalty,
    parameter_gradient_penalty,
)


def loss(h, y):
    return jnp.sum(jnp.square(h - y)) / 2 + jnp.sum(jnp.sin(h))


def network(params, example):
    h = example["x"]
    for w, b in params:
        z = w @ h
        h = jnp.tanh(z if b is None else z + b)
    return loss(h, example["y"])


def rank_one(params, batch):
    y = batch["y"]
    return mlp_parameter_penalty(params, batch["x"], loss, jnp.tanh, targets=y).mean()


def twin(params, batch):
    return parameter_gradient_penalty(network, params, batch, group=1)


def case(sizes, n, dtype="float64", last_bias=True):
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), dtype)  # noqa: E731
    pairs = list(itertools.pairwise(sizes))
    params = [(draw(b, a) / a**0.5, draw(b)) for a, b in pairs]
    if not last_bias:
        params[-1] = (params[-1][0], None)
    return params, {"x": draw(n, sizes[0]), "y": draw(n, sizes[-1])}


@pytest.mark.parametrize("last_bias", [True, False])
def test_rank_one_form_is_its_twin_in_value_and_gradient(last_bias) -> None:
    params, batch = case((4, 5, 3), 6, last_bias=last_bias)
    both = [
        jax.jit(jax.value_and_grad(f, (0, 1)))(params, batch) for f in (rank_one, twin)
    ]
    mine, theirs = (jax.tree.leaves(found) for found in both)
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * np.abs(b).max())


def test_trained_rank_one_form_takes_less_than_a_tenth_of_the_memory() -> None:
    # Four layers of 512, 256 examples: the goal of the plan. Compiled on shapes alone,
    # nothing is run. Of the value without its gradient XLA keeps no gradient of an
    # example in either form: it folds them into their norms.
    shapes = jax.eval_shape(lambda: case((512,) * 5, 256, "float32"))

    def memory(f):
        program = jax.jit(jax.value_and_grad(f)).lower(*shapes).compile()
        return program.memory_analysis().temp_size_in_bytes

    mine, theirs = memory(rank_one), memory(twin)
    assert mine < 2**24
    assert theirs > 10 * mine


def scale(s):
    return s / (1 + s * s)


def point(params, example):
    return jnp.sum(jnp.sin(params * example)) + scale(jnp.sum(params))


def test_the_penalty_falls_as_groups_grow() -> None:
    # |mean of gradients|^2 <= mean of |gradients|^2, on a thousand batches.
    rng = np.random.default_rng(1)
    params, batch = (jnp.asarray(rng.normal(size=(1000, *s))) for s in ((3,), (8, 3)))

    @jax.jit
    @jax.vmap
    def all_groups(params, batch):
        penalty = functools.partial(parameter_gradient_penalty, point, params, batch)
        return [penalty(group=g) for g in (1, 2, 4, 8)] + [penalty()]

    one, two, four, eight, whole = all_groups(params, batch)
    np.testing.assert_allclose(eight, whole, rtol=1e-9, atol=1e-14)
    for small, large in ((one, two), (two, four), (four, eight)):
        assert (large <= small * (1 + 1e-12)).all()
        assert (large < 0.9 * small).mean() > 0.5
    # The equality case: all examples alike.
    same = jnp.ones((4, 3))
    values = [
        parameter_gradient_penalty(point, params[0], same, group=g) for g in (1, 4)
    ]
    np.testing.assert_allclose(values[0], values[1], rtol=1e-12)


def test_energy_of_a_linear_map_is_its_frobenius_norm_from_either_side() -> None:
    rng = np.random.default_rng(2)
    for shape in ((2, 5), (5, 2)):
        a = jnp.asarray(rng.normal(size=shape))
        x = jnp.asarray(rng.normal(size=(3, shape[1])))
        found = dirichlet_energy(lambda x, a=a: a @ x, x)
        np.testing.assert_allclose(found, np.sum(a**2), rtol=1e-12)
    scalar = lambda x: jnp.sum(jnp.sin(x))  # noqa: E731
    np.testing.assert_allclose(
        dirichlet_energy(scalar, x), input_gradient_penalty(scalar, x).mean()
    )


def test_input_penalty_takes_targets() -> None:
    x, y = jnp.arange(6.0).reshape(3, 2), jnp.array([1.0, 0.0, 2.0])
    found = input_gradient_penalty(lambda x, y: y * jnp.sum(x**2), x, targets=y)
    np.testing.assert_allclose(found, 4 * y**2 * jnp.sum(x**2, -1))


# Implicit regularization, on L = curve * theta^2 / 2 with curve = 1.7, exactly.

CURVE = 1.7


def rate_errors(weight=1.0):
    """|rate of descent - rate of the modified flow| at steps of 0.1, 0.05, 0.025."""
    found = []
    for step in (0.1, 0.05, 0.025):
        modified = implicit_gradient_loss(
            lambda theta: CURVE * theta**2 / 2, learning_rate=weight * step
        )
        flow = float(jax.grad(modified)(jnp.array(1.0)))
        found.append(abs(-math.log(1 - step * CURVE) / step - flow))
    return np.array(found)


def test_descent_follows_the_modified_flow_to_second_order() -> None:
    errors = rate_errors()
    np.testing.assert_allclose(errors, [1.88e-2, 4.37e-3, 1.06e-3], rtol=3e-3)
    leading = np.array([0.1, 0.05, 0.025]) ** 2 * CURVE**3 / 3
    np.testing.assert_allclose(errors, leading, rtol=0.15)


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
def test_any_other_weight_than_a_quarter_leaves_an_error_of_first_order(weight) -> None:
    def orders(weight):
        errors = rate_errors(weight)
        return np.log2(errors[:-1] / errors[1:])

    assert (orders(weight) < 1.3).all() and (orders(1.0) > 1.8).all()


def test_the_term_of_third_order_is_absent_from_the_series() -> None:
    # (e^{hD} - 1) theta = -h g gives theta' = -(1 - hD/2 + h^2 D^2/12 - h^4 D^4/720) g;
    # comments on 7787 corrected a term in h^3. On exponentials D is minus the rate.
    steps = np.array([0.2, 0.1])
    rate = -np.log1p(-steps * CURVE) / steps
    d = -rate * steps

    def orders(third):
        series = 1 - d / 2 + d**2 / 12 + third * d**3 - d**4 / 720
        errors = np.abs(rate - CURVE * series)
        return np.log2(errors[0] / errors[1])

    assert orders(0.0) > 5.5
    assert all(orders(third) < 3.7 for third in (1 / 24, -1 / 24, 1 / 720))


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.9])
def test_momentum_has_a_larger_penalty_than_the_time_of_its_step(kept) -> None:
    """The card has rate / (1 - m), the time of a step, "to leading order".

    The penalty's is (1 + m) / (1 - m) times that, 19 times at m = 0.9.
    """

    def error(step, weight):
        time, half = step / (1 - kept), (1 + kept - step * CURVE) / 2
        slow = half + math.sqrt(half**2 - kept)  # z + m / z = 1 + m - step curve
        loss = implicit_gradient_loss(
            lambda p: CURVE * p**2 / 2, learning_rate=weight * time
        )
        flow = float(jax.grad(loss)(jnp.array(1.0)))
        return abs(-math.log(slow) / time - flow)

    def order(weight):
        small = 1e-3 * (1 - kept) ** 2
        return math.log2(error(2 * small, weight) / error(small, weight))

    assert order((1 + kept) / (1 - kept)) > 1.8
    assert kept == 0 or order(1.0) < 1.3


def test_shared_weights_and_skips_break_the_inequality() -> None:
    """The gradient by the parameters may vanish where that by the input does not."""
    a, w = jnp.array([1.0, 2.0]), jnp.array([0.5, -1.0])

    def shared(w, x):
        return w @ x[0] + w @ x[1]

    def skip(w, x):
        return jnp.sum(x) + jax.nn.relu(w @ x - 100)

    for f, x, size in ((shared, jnp.stack([a, -a])[None], 2.5), (skip, a[None], 2.0)):
        assert float(parameter_gradient_penalty(f, w, x, group=1)) == 0
        found = input_gradient_penalty(lambda v, f=f: f(w, v), x)
        np.testing.assert_allclose(found, size)
