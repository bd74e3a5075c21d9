"""Rational transfer functions: kernel = recurrence, stability, the limits of both."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmark.cost import compiled_facts
from kexue_jax.ssm import (
    discretize,
    hippo_matrices,
    rtf_from_matrices,
    rtf_from_reflection,
    rtf_kernel,
    rtf_reflection,
    rtf_scan,
    rtf_step,
    rtf_to_companion,
)
from tests.oracles import rational as oracle
from tests.ssm.convolution import convolved
from tests.ssm.forms import run


def stable(rng, *lead, d):
    """Coefficients with sum |a_j| < 1, and a numerator."""
    a = rng.normal(size=(*lead, d))
    a *= 0.9 * rng.random((*lead, 1)) / np.abs(a).sum(-1, keepdims=True)
    return a, rng.normal(size=(*lead, d))


def radius(a):
    """The largest pole of each denominator [rows, d]."""
    return np.array([np.abs(np.roots([1.0, *row])).max() for row in np.asarray(a)])


@pytest.mark.parametrize("d", [1, 8, 63])
def test_kernel_is_the_companion_recurrence(d) -> None:
    a, b = stable(np.random.default_rng(d), d=d)
    got = run(rtf_kernel, a, b, length=64)
    wanted = oracle.kernel(a, b, length=64)
    assert np.abs(got - wanted).max() < 1e-14 * np.abs(wanted).max()


@pytest.mark.parametrize("d", [64, 256])
def test_float32_kernels_of_length_16384(d) -> None:
    a, b = stable(np.random.default_rng(d), 3, d=d)
    wanted = run(rtf_kernel, a, b, length=16384)
    got = run(rtf_kernel, *(x.astype(np.float32) for x in (a, b)), length=16384)
    assert got.dtype == np.float32
    assert np.abs(got - wanted).max() < 2e-6 * np.abs(wanted).max()


def test_more_states_than_the_length_need_the_fold() -> None:
    a, b = stable(np.random.default_rng(0), d=64)
    wanted = oracle.kernel(a, b, length=64)
    fold = run(rtf_kernel, a, b, length=64)
    assert np.abs(fold - wanted).max() < 1e-14 * np.abs(wanted).max()
    # The article's form cuts [1, a] off at the length: a_64 is lost.
    bottom = np.fft.rfft(np.concatenate([[1.0], a]), 64)
    cut = np.fft.irfft(np.fft.rfft(b, 64) / bottom, 64)
    assert np.abs(cut - wanted).max() > 2e-3 * np.abs(wanted).max()


def test_kernel_is_the_truncated_one_with_c_recovered() -> None:
    # b is the numerator of c (I - A^L): reading b itself gives the infinite kernel.
    a, b = stable(np.random.default_rng(1), 3, d=5)
    a[:, 0] -= 0.9
    matrix, unit, c = map(np.asarray, run(rtf_to_companion, a, b, length=16))
    endless = np.asarray(run(rtf_to_companion, a, b).c)
    x, y, z = unit, [], []
    for _ in range(16):
        y.append((c * x).sum(-1))
        z.append((endless * x).sum(-1))
        x = np.einsum("hij,hj->hi", matrix, x)
    got = run(rtf_kernel, a, b, length=16)
    assert np.abs(got - np.stack(y, -1)).max() < 1e-13 * np.abs(got).max()
    assert np.abs(got - np.stack(z, -1)).max() > 1e-2 * np.abs(got).max()


def test_no_feedback_is_a_shift_register() -> None:
    b = np.arange(1.0, 4.0)[None]
    kernel = run(rtf_kernel, np.zeros((1, 3)), b, length=6)
    np.testing.assert_allclose(kernel[0], [1, 2, 3, 0, 0, 0], atol=1e-15)
    out = run(rtf_scan, np.zeros((1, 3)), b, np.eye(6)[:, :1]).out
    np.testing.assert_array_equal(out[:, 0], [1, 2, 3, 0, 0, 0])


def test_convolution_scan_and_steps_agree_in_value_and_gradient() -> None:
    rng = np.random.default_rng(2)
    a, b = stable(rng, 3, d=6)
    u = rng.normal(size=(2, 20, 3))

    def parallel(a, b, u):
        return convolved(u, rtf_kernel(a, b, length=20))

    def scanned(a, b, u):
        return rtf_scan(a, rtf_to_companion(a, b, length=20).c, u).out

    def stepped(a, b, u):
        c = rtf_to_companion(a, b, length=20).c
        state, out = rtf_scan(a, c, u[:, :17])
        outs = [out]
        for t in range(17, 20):
            state, one = rtf_step(state, a, c, u[:, t])
            outs.append(one[:, None])
        return jnp.concatenate(outs, 1)

    def both(f):
        weights = jnp.cos(jnp.arange(120.0).reshape(2, 20, 3))
        total = lambda *x: (f(*x) * weights).sum()  # noqa: E731
        return run(lambda *x: (f(*x), *jax.grad(total, (0, 1, 2))(*x)), a, b, u)

    wanted = both(parallel)
    for f in (scanned, stepped):
        for mine, theirs in zip(both(f), wanted, strict=True):
            assert np.abs(mine - theirs).max() < 1e-12 * np.abs(theirs).max()


def test_scan_goes_on_from_a_state() -> None:
    rng = np.random.default_rng(3)
    a, c = stable(rng, 3, d=6)
    u = rng.normal(size=(2, 20, 3))
    end, out = run(rtf_scan, a, c, u)
    first = run(rtf_scan, a, c, u[:, :7])
    second = run(rtf_scan, a, c, u[:, 7:], state=first.state)
    np.testing.assert_array_equal(np.concatenate([first.out, second.out], 1), out)
    np.testing.assert_array_equal(second.state, end)


@pytest.mark.parametrize("n", [2, 6, 10])
def test_a_system_in_any_basis_has_these_coefficients(n) -> None:
    a, b = hippo_matrices(measure="legs", n=n, dtype=jnp.float64)
    a, b = map(np.asarray, run(discretize, a, b, dt=0.3))
    rng = np.random.default_rng(n)
    c = rng.normal(size=n)
    powers = [np.linalg.matrix_power(a, k) @ b for k in range(32)]
    rest = np.eye(n) - np.linalg.matrix_power(a, 32)
    coefficients = run(rtf_from_matrices, a, b, c @ rest)
    got = run(rtf_kernel, *coefficients, length=32)
    wanted = np.array([c @ power for power in powers])
    assert np.abs(got - wanted).max() < 1e-10 * np.abs(wanted).max()


def test_every_theta_gives_a_stable_denominator() -> None:
    rng = np.random.default_rng(4)
    for d in (1, 2, 5, 13):
        limit = 0.9 if d < 13 else 0.5  # for the rounding of the roots of np.roots
        scale = rng.choice([0.3, 1.0, 1e3], (250, 1))
        theta = rng.normal(size=(250, d)) * scale
        a = run(rtf_from_reflection, theta, limit=limit)
        assert (radius(a) < 1).all()
        # Schur and Cohn: the way back gives the same coefficients, all below 1.
        back = run(rtf_reflection, a)
        assert np.abs(back - limit * np.tanh(theta)).max() < 1e-6


def test_reflections_decide_stability_both_ways() -> None:
    rng = np.random.default_rng(5)
    a = rng.normal(size=(1000, 4)) * rng.choice([0.2, 0.5, 1.0], (1000, 1))
    inside = radius(a) < 1
    assert 200 < inside.sum() < 800
    told = np.abs(run(rtf_reflection, a)).max(-1) < 1
    np.testing.assert_array_equal(told, inside)


def test_the_sum_below_one_is_only_sufficient() -> None:
    rng = np.random.default_rng(6)
    a = stable(rng, 1000, d=5)[0]
    assert (radius(a) < 1).all()
    # |1 + sum a_j z^j| >= 1 - sum |a_j| on the circle.
    z = np.exp(2j * np.pi * rng.random((1000, 1)) * np.arange(1, 6))
    low = np.abs(1 + (a * z).sum(-1))
    assert (low >= 1 - np.abs(a).sum(-1) - 1e-12).all()
    # Two poles at 0.9: the sum is 2.61, and the system is stable.
    double = np.array([[-1.8, 0.81]])
    assert np.abs(double).sum() > 2.6 and abs(radius(double)[0] - 0.9) < 1e-6
    assert np.abs(run(rtf_reflection, double)).max() < 1
    # The equality case: sum |a_j| = 1 with a pole on the circle.
    edge = np.array([[-0.5, -0.5]])
    assert abs(radius(edge)[0] - 1) < 1e-12
    assert abs(abs(run(rtf_reflection, edge)[0, 0]) - 1) < 1e-12


def test_huge_thetas_stay_inside_with_a_limit() -> None:
    theta = 1e4 * np.array([[1, -1, 1, 1, -1, 1]], np.float32)
    a = run(rtf_from_reflection, theta, limit=0.9)
    assert radius(a.astype(float))[0] < 1 and a.dtype == jnp.float32


def test_cost_does_not_grow_with_the_number_of_states() -> None:
    def facts(d):
        x = jax.ShapeDtypeStruct((8, d), jnp.float32)
        kernel = jax.jit(lambda a, b: rtf_kernel(a, b, length=4096))
        return compiled_facts(kernel.lower(x, x).compile())

    few, many = facts(4), facts(2048)
    assert many["flops"] < 1.3 * few["flops"]
    assert many["bytes"] < 1.3 * few["bytes"]
