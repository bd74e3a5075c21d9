"""The cross entropies around Taylor expansions: the card's gradients, traps, limits."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.losses import (
    soft_margin_cross_entropy,
    taylor_cross_entropy,
    truncated_cross_entropy,
)
from kexue_jax.numerics import log_taylor_softmax, taylor_min, taylor_softmax
from tests.oracles import taylor as oracle

COUNT, CLASSES = 1000, 6
DRAW = np.random.default_rng(0)
X = jnp.asarray(DRAW.normal(0, 2.5, (COUNT, CLASSES)))
Y = jnp.asarray(DRAW.integers(0, CLASSES, COUNT))
ONE_HOT = jax.nn.one_hot(Y, CLASSES, dtype=jnp.float64)
ORDERS = (2, 4, 6, 8, 10)


def gap(a, b) -> float:
    return float(np.abs(np.asarray(a) - np.asarray(b)).max())


def slope(loss, x, y, **options) -> jax.Array:
    return jax.grad(lambda x: loss(x, y, **options).sum())(x)


@pytest.mark.parametrize("order", ORDERS)
def test_it_is_minus_the_log_of_the_softmax_at_the_label(order: int) -> None:
    for margin, monotone in itertools.product((0.0, 0.7), (False, True)):
        found = taylor_cross_entropy(
            X, Y, order=order, margin=margin, monotone=monotone
        )
        wanted = oracle.taylor_cross_entropy(
            np.asarray(X), np.asarray(Y), margin, order, monotone
        )
        assert found.shape == (COUNT,) and gap(found, wanted) < 1e-10
    logs = log_taylor_softmax(X, order=order)[np.arange(COUNT), Y]
    assert gap(taylor_cross_entropy(X, Y, order=order), -logs) < 1e-13


@pytest.mark.parametrize("order", ORDERS)
def test_the_finite_gradient_is_ratio_times_p_minus_y(order: int) -> None:
    ratio = oracle.polynomial(X, order - 1) / oracle.polynomial(X, order)
    wanted = ratio * (oracle.softmax(np.asarray(X), order=order) - ONE_HOT)
    assert gap(slope(taylor_cross_entropy, X, Y, order=order), wanted) < 1e-10


@pytest.mark.parametrize("order", ORDERS)
def test_the_infinite_gradient_is_p_minus_y_at_any_margin(order: int) -> None:
    for margin in (0.0, 1.3):
        p = taylor_softmax(X - margin * ONE_HOT, order=order)
        found = slope(
            taylor_cross_entropy, X, Y, order=order, margin=margin, grad_mode="infinite"
        )
        assert gap(found, p - ONE_HOT) < 1e-12


@pytest.mark.parametrize("order", ORDERS)
def test_below_the_minimum_gradients_turn_and_monotone_ones_vanish(order) -> None:
    x_star = taylor_min(order=order).x_star
    low = jnp.asarray(DRAW.uniform(-9, x_star - 0.01, COUNT))
    rest = jnp.asarray(DRAW.uniform(0, 3, (COUNT, 2)))
    x = jnp.concatenate([low[:, None], rest], 1)
    true, wrong = jnp.zeros(COUNT, int), jnp.ones(COUNT, int)
    down = functools.partial(slope, taylor_cross_entropy, x, order=order)
    # Descent moves against the gradient: a wrong class up, the true class down.
    assert (down(y=wrong)[:, 0] < 0).all() and (down(y=true)[:, 0] > 0).all()
    for y in (true, wrong):
        assert (down(y=y, monotone=True)[:, 0] == 0).all()
    # The softmax of the same logits never does this.
    plain = slope(soft_margin_cross_entropy, x, true, margin=0.0)
    assert (plain[:, 0] < 0).all()


def test_a_true_class_below_the_minimum_runs_away() -> None:
    x, y = jnp.asarray([-1.5, 0.3, 0.1]), jnp.asarray(0)
    descend = lambda _, x: x - 0.5 * slope(taylor_cross_entropy, x, y)  # noqa: E731
    x = jax.lax.fori_loop(0, 400, descend, x)
    assert x[0] < -6 and taylor_cross_entropy(x, y) < 0.1  # a spurious optimum


def test_no_margin_is_the_ordinary_cross_entropy_and_more_costs_more() -> None:
    plain = -jax.nn.log_softmax(X)[np.arange(COUNT), Y]
    assert gap(soft_margin_cross_entropy(X, Y, margin=0.0), plain) < 1e-13
    rows = [soft_margin_cross_entropy(X, Y, margin=m) for m in (0.0, 0.5, 1, 3)]
    assert all((b > a).all() for a, b in itertools.pairwise(rows))
    assert (rows[-1] <= rows[0] + 3).all()


def test_the_margin_changes_the_true_logit_alone_and_may_be_traced() -> None:
    traces = []

    @jax.jit
    def loss(margin):
        traces.append(1)
        return (
            soft_margin_cross_entropy(X, Y, margin=margin),
            taylor_cross_entropy(X, Y, order=4, margin=margin),
        )

    for margin in (0.0, 0.4, 2.0):
        soft, taylor = loss(jnp.asarray(margin))
        moved = X - margin * ONE_HOT
        assert gap(soft, soft_margin_cross_entropy(moved, Y, margin=0.0)) < 1e-13
        assert gap(taylor, taylor_cross_entropy(moved, Y, order=4)) < 1e-13
    assert len(traces) == 1
    grad = jax.grad(lambda m: soft_margin_cross_entropy(X, Y, margin=m).sum())
    moved = jax.nn.softmax(X - 0.5 * ONE_HOT)
    assert gap(grad(0.5), (ONE_HOT * (1 - moved)).sum()) < 1e-9


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_losses_and_gradients_stay_finite_at_the_ends_of_a_dtype(dtype) -> None:
    top = float(jnp.finfo(dtype).max)
    for size in (18.0, 400.0, 0.9 * top):
        x = jnp.asarray([[size, -size, 0.0], [-size, -size, size]], dtype)
        y = jnp.asarray([0, 1])
        for order in (2, 6, 10):
            for monotone in (False, True):
                options = {"order": order, "monotone": monotone}
                loss = taylor_cross_entropy(x, y, **options)
                assert loss.dtype == dtype
                assert np.isfinite(np.asarray(loss, np.float32)).all()
                found = slope(taylor_cross_entropy, x, y, **options)
                assert np.isfinite(np.asarray(found, np.float32)).all()


def test_the_truncated_loss_lies_between_its_bounds() -> None:
    full = soft_margin_cross_entropy(X, Y, margin=0.0)
    p = jnp.exp(-full)
    rows = [truncated_cross_entropy(X, Y, terms=t) for t in (1, 2, 3, 10, 2000)]
    assert gap(rows[0], 1 - p) < 1e-14  # one term: the mean absolute error, halved
    assert all((b >= a).all() for a, b in itertools.pairwise(rows))
    assert (rows[-1] <= full + 1e-13).all()
    near = np.asarray(p) > 0.02
    assert gap(np.asarray(rows[-1])[near], np.asarray(full)[near]) < 1e-12
    hopeless = truncated_cross_entropy(jnp.asarray([-50.0, 50.0]), jnp.asarray(0))
    assert hopeless == pytest.approx(1.5)  # 1 + 1/2: bounded
    found = slope(truncated_cross_entropy, X, Y, terms=3)
    weight = (p * sum((1 - p) ** k for k in range(3)))[:, None]
    assert gap(found, weight * (jax.nn.softmax(X) - ONE_HOT)) < 1e-13


def test_the_two_taylor_losses_are_different_things() -> None:
    mine = taylor_cross_entropy(X, Y, order=2)
    theirs = truncated_cross_entropy(X, Y, terms=2)
    assert gap(mine, theirs) > 0.5


def test_labels_lead_the_shapes() -> None:
    x, y = X[:24].reshape(2, 3, 4, CLASSES), Y[:24].reshape(2, 3, 4)
    for loss in (
        taylor_cross_entropy,
        functools.partial(soft_margin_cross_entropy, margin=0.1),
        truncated_cross_entropy,
    ):
        assert loss(x, y).shape == (2, 3, 4)
        assert gap(loss(x, y).ravel(), loss(X[:24], Y[:24])) < 1e-14
        assert loss(x[0, 0, 0], y[0, 0, 0]).shape == ()
        assert loss(x[:0], y[:0]).shape == (0, 3, 4)
