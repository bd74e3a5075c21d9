"""LegS: the figures of the method card, and the errors of articles and public code."""

import functools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from kexue_jax.ssm import legs_project, legs_scan, reconstruct
from kexue_jax.ssm.legs_projection import exact_step, shrinkage
from tests.oracles import hippo
from tests.oracles import legs as oracle

# Relative error of the coefficients by method: the card's table, N = 64.
CARD = {
    1000: {
        "forward": 9.4e-2,
        "backward": 7.8e-2,
        "bilinear": 1.2e-2,
        "frozen_bilinear": 6.5e-3,
        "ln_weight": 1.8e-3,
        "trapezoid": 5.1e-4,
        "log_bilinear": 4.7e-4,
    },
    4000: {"bilinear": 4.6e-3, "trapezoid": 3.5e-5, "log_bilinear": 3.0e-5},
}


def signal(length, dtype=float):
    """The card's test signal."""
    t = np.arange(length) / length
    return np.asarray(np.sin(6 * np.pi * t) + 0.5 * np.cos(14 * np.pi * t), dtype)


@functools.partial(jax.jit, static_argnames=("n", "method"))
def last(u, n, method):
    return legs_scan(u, n=n, method=method).state.x


def relative(got, wanted) -> float:
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))


@pytest.mark.parametrize("length", CARD)
def test_errors_of_every_method_are_those_of_the_card(length) -> None:
    u = jnp.asarray(signal(length))
    wanted = np.asarray(legs_project(u, n=64))
    for method, error in CARD[length].items():
        got = relative(last(u, 64, method), wanted)
        assert abs(got / error - 1) < 0.06, (method, got)


def test_trapezoid_is_20_to_150_times_better_than_the_articles_form() -> None:
    for length, at_least in ((1000, 20), (4000, 100)):
        u = jnp.asarray(signal(length))
        wanted = np.asarray(legs_project(u, n=64))
        article, ours = (
            relative(last(u, 64, m), wanted) for m in ("bilinear", "trapezoid")
        )
        assert article > at_least * ours


def test_orders_of_convergence() -> None:
    # The left-endpoint weight is of first order, the trapezoid and the log of second.
    for method, low, high in (
        ("bilinear", 0.6, 1.3),
        ("ln_weight", 0.6, 1.3),
        ("trapezoid", 1.7, 2.3),
        ("log_bilinear", 1.7, 2.3),
    ):
        errors = []
        for length in (1000, 4000):
            u = jnp.asarray(signal(length))
            errors.append(relative(last(u, 64, method), legs_project(u, n=64)))
        order = np.log(errors[0] / errors[1]) / np.log(4)
        assert low < order < high, (method, order)


def test_what_preserves_constants() -> None:
    u = np.ones(1000)
    wanted = np.eye(64)[0]
    for method in ("trapezoid", "log_bilinear", "frozen_bilinear", "exact", "backward"):
        assert np.abs(last(u, 64, method) - wanted).max() < 1e-12, method
    for method in ("bilinear", "ln_weight"):
        assert np.abs(last(u, 64, method) - wanted).max() > 1e-4, method


@pytest.mark.parametrize(
    ("n", "length", "bound"), [(16, 200, 5e-14), (64, 1000, 1e-12)]
)
def test_exact_steps_equal_the_projection(n, length, bound) -> None:
    u = signal(length)
    scale = hippo.norm_scale(n, "hippo")  # the card's numbers are orthonormal
    got = np.asarray(last(jnp.asarray(u), n, "exact")) * scale
    assert np.abs(got - oracle.project(u, n=n, norm="orthonormal")).max() < bound


@pytest.mark.parametrize(("n", "bound"), [(32, 1e-4), (64, 1e-4), (256, 2e-4)])
def test_exact_steps_hold_in_float32(n, bound) -> None:
    # The card measured 4e-5, 2e-4, 8e-4; distances from the ends keep the last two low.
    u = signal(1000, np.float32)
    wanted = oracle.project(u.astype(float), n=n)
    assert relative(last(jnp.asarray(u), n, "exact"), wanted) < bound


def test_exact_flow_is_the_exponential() -> None:
    n = 64
    a, _ = hippo.matrices("legs", n)
    for k in (1, 7, 500):
        r = shrinkage(jnp.asarray(float(k)), 1.0)
        flow = jax.jit(exact_step)(jnp.eye(n), jnp.zeros(n), r).T
        wanted = scipy.linalg.expm(np.log((k + 1) / k) * a)
        assert np.abs(flow - wanted).max() < 6e-14


def test_flows_multiply_to_polynomials_of_m_over_n() -> None:
    # Exact rational entries: sqrt factors cancel in P(r (s + 1) - 1) = sum E~ P.
    n = 5
    product = jnp.eye(n)
    for k in range(3, 8):
        r = shrinkage(jnp.asarray(float(k)), 1.0)
        product = jax.jit(exact_step)(product, jnp.zeros(n), r)
    r = Fraction(3, 8)
    size = np.sqrt(2 * np.arange(n) + 1)
    for j in range(n):
        # <P_i(r (s + 1) - 1), P_j> r (2 j + 1) / 2, from integer polynomials in s.
        for i in range(n):
            moved = np.polynomial.legendre.Legendre.basis(i)(
                np.polynomial.Polynomial([float(r) - 1, float(r)])
            )
            pair = moved * np.polynomial.Polynomial(
                np.polynomial.legendre.leg2poly(np.eye(n)[j])
            )
            inner = pair.integ()(1.0) - pair.integ()(-1.0)
            wanted = float(r) * inner * size[i] * size[j] / 2
            assert abs(float(product[j, i]) - wanted) < 1e-13


def test_repeating_every_sample_changes_nothing() -> None:
    u = signal(150)
    once, thrice = (last(jnp.asarray(x), 16, "exact") for x in (u, np.repeat(u, 3)))
    assert relative(thrice, once) < 1e-13
    u = signal(1000)
    once, slow = (last(jnp.asarray(x), 64, "trapezoid") for x in (u, np.repeat(u, 4)))
    assert relative(slow, once) < 1e-3  # to the error of the step


def test_forward_steps_explode_as_the_card_says() -> None:
    def transient(n, dtype):
        u = jnp.asarray(signal(1000, dtype))
        scan = functools.partial(legs_scan, n=n, method="forward", norm="orthonormal")
        return np.abs(jax.jit(scan)(u).coef).max()

    assert 3.5e19 < transient(32, float) < 4.5e19
    assert not np.isfinite(transient(64, np.float32))
    assert 1.5e92 < transient(128, float) < 1.7e92


def test_default_is_stable_in_float32_over_16384_samples() -> None:
    length = 16384
    for n, bound in ((64, 2e-5), (256, 2e-5)):
        u = signal(length, np.float32)
        exact = last(jnp.asarray(u, jnp.float64), n, "trapezoid")
        assert relative(last(jnp.asarray(u), n, "trapezoid"), exact) < bound


def test_power_warp_is_followed_too() -> None:
    u = signal(800)
    for power in (0.5, 2.0):
        wanted = oracle.project(u, n=16, power=power)
        for method, bound in (("exact", 1e-12), ("log_bilinear", 0.06)):
            scan = functools.partial(legs_scan, n=16, method=method, power=power)
            out = jax.jit(scan)(jnp.asarray(u))
            assert relative(out.state.x, wanted) < bound, (power, method)


def test_a_thousand_histories_and_the_best_approximation() -> None:
    # The coefficients are the projection: no other polynomial is nearer, and the
    # energy of the past is that of the coefficients and of the rest.
    rng = np.random.default_rng(0)
    u = jnp.asarray(rng.normal(size=(1000, 40)))
    scan = functools.partial(legs_scan, n=6, method="exact", norm="orthonormal")
    c = jax.jit(scan)(u).state.x
    wanted = oracle.project(np.asarray(u), n=6, norm="orthonormal")
    assert np.abs(c - wanted).max() < 1e-13
    energy = np.sum(np.asarray(u) ** 2, -1) * 2 / 40
    assert (np.sum(np.asarray(c) ** 2, -1) <= energy * (1 + 1e-12)).all()
    full = np.asarray(jax.jit(scan)(np.ones((1000, 40))).state.x[0])
    assert abs(np.sum(full**2) - 2.0) < 1e-13  # a polynomial reaches it


def test_reconstruction_of_a_long_past_after_a_hand_over() -> None:
    u = signal(2000)
    scan = jax.jit(functools.partial(legs_scan, n=48))
    half = scan(jnp.asarray(u[:1000])).state
    c = scan(jnp.asarray(u[1000:]), state=half).state.x
    s = jnp.asarray((np.arange(2000) + 0.5) / 1000 - 1)
    got = jax.jit(functools.partial(reconstruct, measure="legs"))(c, s)
    assert np.sqrt(np.mean((got - u) ** 2) / np.mean(u**2)) < 0.02
