"""Taylor softmax: theorems on random instances, the card's limits, masks, gradients."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from experiments.benchmark.cost import scaling
from kexue_jax.numerics import (
    log_taylor_exp,
    log_taylor_softmax,
    taylor_softmax,
)
from tests.oracles import taylor as oracle

ORDERS = (2, 4, 6, 8, 10)


def logits(seed: int = 0, deviation: float = 2.0, shape=(1000, 7)) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(0, deviation, shape))


def gap(a, b) -> float:
    return float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max())


@pytest.mark.parametrize("monotone", [False, True])
@pytest.mark.parametrize("order", [*ORDERS, 16, 24])
def test_a_thousand_rows_are_probabilities_that_move_with_the_entries(
    order: int, monotone: bool
) -> None:
    x = logits()
    p = taylor_softmax(x, order=order, monotone=monotone)
    assert float(p.min()) > 0 and gap(p.sum(-1), 1) < 1e-14
    assert gap(p, oracle.softmax(np.asarray(x), order=order, monotone=monotone)) < 1e-9
    swap = np.random.default_rng(1).permutation(7)
    moved = taylor_softmax(x[:, swap], order=order, monotone=monotone)
    assert gap(moved, p[:, swap]) < 1e-14
    logs = log_taylor_softmax(x, order=order, monotone=monotone)
    assert gap(jnp.exp(logs), p) < 1e-9  # the twin


def test_it_tends_to_softmax() -> None:
    # The card's largest differences are of a draw of its own: they must lie among ours.
    card = {2: 0.12, 4: 0.028, 6: 4.5e-3, 8: 4.6e-4, 10: 3.1e-5}
    x = logits(3, shape=(1000, 10))
    wanted = jax.nn.softmax(x)
    medians = []
    for order, value in card.items():
        found = np.abs(np.asarray(taylor_softmax(x, order=order) - wanted)).max(-1)
        assert 0.02 < (found < value).mean() < 0.98, order
        medians.append(float(np.median(found)))
    assert all(b < a / 2 for a, b in itertools.pairwise(medians)), medians
    assert gap(taylor_softmax(x, order=24), wanted) < 1e-4


def test_shifts_change_it() -> None:
    x = logits()
    for order in ORDERS:
        moved = taylor_softmax(x + 3, order=order)
        assert gap(moved, taylor_softmax(x, order=order)) > 1e-2
    assert gap(jax.nn.softmax(x + 3), jax.nn.softmax(x)) < 1e-14


def test_subtracting_the_maximum_gives_another_answer() -> None:
    # The fixed-slope trap of softmax code: what is stable there is wrong here.
    x = jnp.asarray([1.0, 5.0, 9.0])
    trick = taylor_softmax(x - x.max())
    assert gap(trick, taylor_softmax(x)) > 0.1
    assert trick[0] > trick[1]  # and it even turns the order


def test_scaled_up_it_is_even_and_never_one_hot() -> None:
    x = logits()
    for order in ORDERS:
        share = np.abs(np.asarray(x)) ** order
        share = share / share.sum(-1, keepdims=True)
        for factor in (1e6, 1e30, 1e150):
            p = taylor_softmax(factor * x, order=order)
            assert gap(p, share) < 1e-3 and np.isfinite(np.asarray(p)).all()
            assert gap(p, taylor_softmax(-factor * x, order=order)) < 1e-3
    assert gap(share, jax.nn.one_hot(share.argmax(-1), 7)) > 0.1


def test_the_cards_example_of_a_negative_logit() -> None:
    x = jnp.asarray([-6.0, 0.0, 6.0])
    assert gap(taylor_softmax(x), [0.333, 0.026, 0.641]) < 5e-4
    clipped = taylor_softmax(x, monotone=True)
    assert clipped[0] < clipped[1] < clipped[2]


@pytest.mark.parametrize("order", ORDERS)
def test_monotone_keeps_the_order_of_the_logits(order: int) -> None:
    x = jnp.sort(logits(deviation=8.0), -1)
    p = taylor_softmax(x, order=order, monotone=True)
    assert float(jnp.diff(p, axis=-1).min()) >= -1e-12
    plain = taylor_softmax(x, order=order)
    assert float(jnp.diff(plain, axis=-1).min()) < -0.1


@pytest.mark.parametrize("order", [2, 6, 24])
@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16"])
def test_no_magnitude_makes_nan_in_values_or_gradients(order: int, dtype: str) -> None:
    base = np.array([-1.0, 0.3, 0.0, 1.0, -0.7])
    top = float(jnp.finfo(dtype).max)
    weight = jnp.asarray([1.0, -2, 3, 0.5, 1])
    for size in (0.0, 1e-6, 18.0, 400.0, 6e4, 1e18, 0.9 * top):
        if size > top:
            continue
        x = jnp.asarray(size * base, dtype)
        wanted = np.asarray(x, np.float64) / max(size, 1e-300)
        for monotone in (False, True):
            f = functools.partial(taylor_softmax, order=order, monotone=monotone)
            p, pull = jax.vjp(f, x)
            assert p.dtype == dtype and np.isfinite(np.asarray(p, np.float32)).all()
            assert abs(float(p.astype(jnp.float32).sum()) - 1) < 2e-2
            assert np.isfinite(np.asarray(pull(weight.astype(dtype))[0], float)).all()
            logs = functools.partial(log_taylor_softmax, order=order, monotone=monotone)
            values, pull = jax.vjp(logs, x)
            assert np.isfinite(np.asarray(values, np.float32)).all()
            assert np.isfinite(np.asarray(pull(weight.astype(dtype))[0], float)).all()
        if size >= 1e18:
            share = np.abs(wanted) ** order
            limit = taylor_softmax(x, order=order).astype(jnp.float32)
            assert gap(limit, share / share.sum()) < 2e-2


@pytest.mark.parametrize("order", [2, 4, 10])
def test_the_gradient_is_the_cards(order: int) -> None:
    # d(-log p_y)/dx_i = f_{n-1}(x_i) / f_n(x_i) (p_i - y_i), 1,000 instances.
    x = logits(5)
    y = np.random.default_rng(6).integers(0, 7, 1000)
    form = lambda x: -log_taylor_softmax(x, order=order)[np.arange(1000), y].sum()  # noqa: E731
    ratio = oracle.polynomial(x, order - 1) / oracle.polynomial(x, order)
    wanted = ratio * (oracle.softmax(np.asarray(x), order=order) - np.eye(7)[y])
    assert gap(jax.grad(form)(x), wanted) < 1e-10

    def direct(x):
        p = taylor_softmax(x, order=order)
        return -jnp.log(p[np.arange(1000), y]).sum()

    assert gap(jax.grad(direct)(x), wanted) < 1e-9


def test_infinite_mode_gives_the_gradient_of_softmax() -> None:
    x = logits(7)
    form = lambda x: -log_taylor_softmax(x, grad_mode="infinite")[:, 0].sum()  # noqa: E731
    wanted = taylor_softmax(x) - jnp.eye(7)[:1]
    assert gap(jax.grad(form)(x), wanted) < 1e-13


@pytest.mark.parametrize("order", [2, 6])
def test_gradients_and_their_gradients_in_both_modes(order: int) -> None:
    x = logits(8, shape=(3, 4))
    where = jnp.asarray([[1, 1, 1, 1], [0, 1, 0, 1], [0, 0, 0, 0]], bool)
    for options in ({}, {"where": where}, {"monotone": True}, {"axis": 0}):
        form = functools.partial(taylor_softmax, order=order, **options)
        check_grads(form, (x,), order=2, atol=1e-6, rtol=1e-6)
        if "where" not in options:
            logs = functools.partial(log_taylor_softmax, order=order, **options)
            check_grads(logs, (x,), order=2, atol=1e-6, rtol=1e-6)


def test_where_drops_entries_and_empty_rows_are_0_without_gradient() -> None:
    x = logits(9, shape=(1000, 6))
    where = np.random.default_rng(10).uniform(size=(1000, 6)) < 0.6
    where[:5] = False
    p = taylor_softmax(x, where=jnp.asarray(where))
    assert gap(p, oracle.softmax(np.asarray(x), where)) < 1e-14
    assert (p[~where] == 0).all() and (p[:5] == 0).all()
    logs = log_taylor_softmax(x, where=jnp.asarray(where))
    assert (logs[~where] == -jnp.inf).all()
    assert gap(jnp.exp(logs), p) < 1e-14
    for form in (
        lambda x: jnp.sin(taylor_softmax(x, where=where)).sum(),
        lambda x: jnp.where(where, log_taylor_softmax(x, where=where), 0).sum(),
    ):
        slope = np.asarray(jax.grad(form)(x))
        assert np.isfinite(slope).all() and (slope[~where] == 0).all()
        assert (slope[:5] == 0).all()
    # What is masked may be anything, infinite too.
    spoiled = jnp.where(where, x, jnp.nan)
    assert (taylor_softmax(spoiled, where=where) == p).all()
    broad = taylor_softmax(x, where=jnp.asarray([True, False] * 3))
    assert (
        gap(broad, oracle.softmax(np.asarray(x), np.array([True, False] * 3))) < 1e-14
    )


def test_a_large_negative_logit_is_no_mask() -> None:
    # The pitfall: -1e9 gets all of the weight instead of none.
    x = jnp.asarray([0.5, -1e9, 0.1])
    assert taylor_softmax(x)[1] > 0.99
    assert taylor_softmax(x, where=x > -1e8)[1] == 0


def test_temperature_changes_the_shape() -> None:
    # For softmax a temperature is a power of the odds; here it is not.
    x = logits(11)
    for form, power in ((jax.nn.softmax, True), (taylor_softmax, False)):
        hot, cold = form(x), form(2 * x)
        doubled = hot**2 / (hot**2).sum(-1, keepdims=True)
        assert (gap(doubled, cold) < 1e-12) == power


@pytest.mark.parametrize("size", [0, 1, 2])
def test_short_axes(size: int) -> None:
    x = jnp.ones((3, size))
    assert taylor_softmax(x).shape == log_taylor_softmax(x).shape == (3, size)
    if size == 1:
        assert (taylor_softmax(x) == 1).all() and (log_taylor_softmax(x) == 0).all()


def test_any_axis_and_one_axis_at_a_time() -> None:
    x = logits(12, shape=(3, 4, 5))
    for axis in (0, 1, -2, -1):
        wanted = oracle.softmax(np.asarray(x), order=4, axis=axis)
        assert gap(taylor_softmax(x, order=4, axis=axis), wanted) < 1e-13
        assert gap(log_taylor_softmax(x, order=4, axis=axis), np.log(wanted)) < 1e-12


def test_log_of_the_plain_ratio_overflows_in_half_precision() -> None:
    # The pitfall, and what common code does: |x| = 18 at order 6.
    x = jnp.asarray([18.0, 0.0, -18.0], jnp.float16)
    powers = [x**k / np.float16(np.prod(np.arange(1.0, k + 1))) for k in range(7)]
    plain = sum(powers[1:], powers[0])
    assert not np.isfinite(np.asarray(jnp.log(plain / plain.sum()), float)).all()
    logs = log_taylor_softmax(x, order=6)
    wanted = np.log(oracle.softmax(np.asarray(x, np.float64), order=6))
    assert gap(logs, wanted) < 1e-2


def test_cost_is_linear_in_entries_and_no_exponential_is_taken() -> None:
    found = scaling(taylor_softmax, lambda n: (jnp.ones((n, 64), jnp.float32),), 64)
    assert found.flops_ratio == pytest.approx(2, rel=0.02)
    assert found.bytes_ratio == pytest.approx(2, rel=0.02)
    assert "exp" not in str(jax.make_jaxpr(taylor_softmax)(jnp.ones(3)))
    steep = [
        scaling(
            functools.partial(log_taylor_exp, order=n),
            lambda m: (jnp.ones((m, 64), jnp.float32),),
            64,
        ).flops[0]
        for n in (2, 12, 24)
    ]
    assert steep[2] - steep[1] < 1.5 * (steep[1] - steep[0])
