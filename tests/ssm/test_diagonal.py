"""S4D and DSS: kernels, the convolution without an FFT, what its start comes to."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmark.cost import contraction_flops
from kexue_jax.ssm import (
    discretize_diagonal,
    dss_kernel,
    hippo_matrices,
    nplr,
    s4d_conv,
    s4d_init,
    s4d_kernel,
    s4d_step,
)
from kexue_jax.ssm.diagonal import s4d_kernel_plain
from kexue_jax.ssm.diagonal_conv import toeplitz
from tests.ssm.convolution import convolved
from tests.ssm.forms import run

DT = np.array([0.01, 0.05, 0.1])


def modes(kind="legs", n=12, h=3, dtype=complex):
    rng = np.random.default_rng(0)
    lam, b = (np.tile(x, (h, 1)) for x in s4d_init(kind=kind, n=n, dtype=dtype))
    c = rng.normal(size=(2, h, n // 2))
    return lam, b, np.asarray(c[0] + 1j * c[1], dtype)


def close(got, wanted, bound=1e-12):
    leaves = (map(np.asarray, jax.tree.leaves(tree)) for tree in (got, wanted))
    pairs = zip(*leaves, strict=True)
    return all(np.abs(a - b).max() <= bound * np.abs(b).max() for a, b in pairs)


def with_gradients(f, *inputs):
    """Outputs, and gradients of a weighted sum of them, in one program."""

    def total(*inputs):
        leaves = jax.tree.leaves(f(*inputs))
        weights = (jnp.cos(jnp.arange(x.size)).reshape(x.shape) for x in leaves)
        return sum((x * w).real.sum() for x, w in zip(leaves, weights, strict=True))

    places = tuple(range(len(inputs)))
    run = jax.jit(lambda *x: (f(*x), jax.grad(total, places)(*x)))
    return run(*inputs)


@pytest.mark.parametrize("length", [1, 64, 65, 1000])
def test_two_levels_of_powers_are_the_matrix_of_all(length) -> None:
    inputs = *modes(), DT
    fast, plain = (
        with_gradients(functools.partial(f, length=length), *inputs)
        for f in (s4d_kernel, s4d_kernel_plain)
    )
    assert close(fast, plain)


@pytest.mark.parametrize(("n", "kind"), [(64, "lin"), (64, "legs"), (256, "inv")])
def test_float32_over_16384_steps(n, kind) -> None:
    inputs = *modes(kind, n), DT / 10
    wanted = run(s4d_kernel, *inputs, length=16384)
    low = *(x.astype(np.complex64) for x in inputs[:3]), inputs[3].astype(np.float32)
    got = run(s4d_kernel, *low, length=16384)
    assert got.dtype == jnp.float32
    # The phases themselves are rounded: l dt Im lam 6e-8, while e^(-l dt / 2) is left.
    assert close(got, wanted, 3e-5 if kind == "lin" else 3e-4)


@pytest.mark.parametrize(
    ("length", "block"), [(1, 7), (31, 1), (64, 32), (100, 32), (31, 64)]
)
def test_blocks_are_the_convolution_in_value_and_gradient(length, block) -> None:
    lam, b, c = modes()
    u = np.random.default_rng(1).normal(size=(2, length, 3))

    def blocks(lam, b, c, dt, u):
        return s4d_conv(lam, b, c, dt, u, block=block).out

    def whole(lam, b, c, dt, u):
        return convolved(u, s4d_kernel_plain(lam, b, c, dt, length=length))

    inputs = lam, b, c, DT, u
    assert close(with_gradients(blocks, *inputs), with_gradients(whole, *inputs))


def test_the_state_is_handed_over_between_parts_and_steps() -> None:
    lam, b, c = modes()
    u = np.random.default_rng(2).normal(size=(2, 20, 3))
    conv = functools.partial(s4d_conv, block=8)

    def parts(lam, b, c, u):
        first = conv(lam, b, c, DT, u[:, :11])
        second = conv(lam, b, c, DT, u[:, 11:18], state=first.state)
        state, outs = second.state, [first.out, second.out]
        for t in (18, 19):
            state, one = s4d_step(state, lam, b, c, DT, u[:, t])
            outs.append(one[:, None])
        return jnp.concatenate(outs, 1), state

    def whole(lam, b, c, u):
        state, out = conv(lam, b, c, DT, u)
        return out, state

    inputs = lam, b, c, u
    assert close(with_gradients(parts, *inputs), with_gradients(whole, *inputs))


def test_bilinear_kernels_are_the_powers_of_the_bilinear_step() -> None:
    # A mode at lam dt = -2 has A = 0: no logarithm of it is taken.
    lam, b, c = modes("real", 10)
    lam[2, 4] = -20.0

    def fast(lam, b, c, dt):
        return s4d_kernel(lam, b, c, dt, length=70, method="bilinear")

    def plain(lam, b, c, dt):
        a, push = discretize_diagonal(lam, b, dt, method="bilinear")
        powers = jnp.cumprod(jnp.broadcast_to(a[..., None], (*a.shape, 69)), -1)
        powers = jnp.concatenate([jnp.ones_like(powers[..., :1]), powers], -1)
        return 2 * jnp.einsum("hn,hnl->hl", c * push, powers).real

    got = with_gradients(fast, lam, b, c, DT)
    assert close(got, with_gradients(plain, lam, b, c, DT))
    assert all(np.isfinite(x).all() for x in got[1])


def test_gradients_reach_a_state() -> None:
    lam, b, c = modes()
    u = np.ones((1, 9, 3))
    state = c[None] * 0.3

    def f(state):
        return s4d_conv(lam, b, c, DT, u, state=state, block=4)

    def g(state):
        advance = lambda x, u: tuple(s4d_step(x, lam, b, c, DT, u))  # noqa: E731
        end, out = jax.lax.scan(advance, state, jnp.moveaxis(u, 1, 0))
        return end, jnp.moveaxis(out, 0, 1)

    assert close(with_gradients(f, state), with_gradients(g, state))


def test_toeplitz_is_the_matrix_of_lags() -> None:
    kernel = np.arange(1.0, 5.0)
    wanted = [[1, 2, 3, 4], [0, 1, 2, 3], [0, 0, 1, 2], [0, 0, 0, 1]]
    np.testing.assert_array_equal(run(toeplitz, kernel), wanted)


def test_starts() -> None:
    lam, b = s4d_init(kind="inv", n=8, dtype=complex)
    wanted = [8 / np.pi * (8 / (2 * i + 1) - 1) for i in range(4)]
    assert np.allclose(lam.imag, wanted) and (lam.real == -0.5).all() and (b == 1).all()
    np.testing.assert_array_equal(s4d_init(kind="real", n=8).lam, [-1, -2, -3, -4])
    lam, b = s4d_init(kind="legs", n=8, dtype=complex)
    assert (lam.real == -0.5).all() and (lam.imag > 0).all() and b.shape == (4,)


def test_half_of_b_has_the_gain_of_legs_and_the_whole_b_has_twice_that() -> None:
    # The state's projection on v_0 = e_0's coefficients: DC gain of c = row 0 of v.
    for n in (8, 64):
        a, b = map(np.asarray, hippo_matrices(measure="legs", n=n, dtype=jnp.float64))
        gain = -np.linalg.solve(a, b)[0]
        lam, _, own, v = nplr(measure="legs", n=n, half=True, dtype=complex)
        v, own, lam = map(np.asarray, (v, own, lam))
        diagonal = -2 * (v[0] * own / 2 / lam).sum().real
        assert abs(gain - 1) < 1e-10 and abs(diagonal - gain) < 1e-10
        assert abs(2 * diagonal - gain) > 0.9


def test_integrals_come_near_those_of_legs_and_values_do_not() -> None:
    # Row 0 of LegS is e^-t; the sums of a kernel with the input held are integrals.
    t = np.linspace(0, 4, 4001)
    errors, rough = [], []
    for n in (16, 256):
        _, _, _, v = nplr(measure="legs", n=n, half=True, dtype=complex)
        lam, weights = s4d_init(kind="legs", n=n, dtype=complex)
        kernel = run(s4d_kernel, lam, weights, v[0], dt=1e-3, length=4000)
        sums = np.cumsum(kernel)
        ends = np.array([500, 1000, 1500, 2000, 3000, 4000])
        exact = 1 - np.exp(-ends * 1e-3)
        errors.append(np.abs(sums[ends - 1] - exact).max())
        terms = np.asarray(v[0] * weights)
        values = 2 * (terms[:, None] * np.exp(np.asarray(lam)[:, None] * t)).sum(0).real
        rough.append(np.linalg.norm(values - np.exp(-t)) / np.linalg.norm(np.exp(-t)))
    assert errors[0] > 5e-3 and errors[1] < 1e-3
    assert min(rough) > 0.5, rough


def test_dss_normalizes_and_is_bounded_on_both_sides() -> None:
    rng = np.random.default_rng(3)
    lam = np.asarray([[-0.5 + 2j, 0.7 - 1j], [-0.1 + 0j, 40.0 + 3j]])
    w = rng.normal(size=(2, 2)) + 1j * rng.normal(size=(2, 2))
    form = functools.partial(dss_kernel, dt=0.5, length=64)
    kernel, gradient = with_gradients(form, lam, w)
    assert np.isfinite(kernel).all()
    assert all(np.isfinite(x).all() for x in gradient)
    # Rows of a softmax sum to 1: the sum of the kernel is Re sum w / lam.
    wanted = (w / lam).sum(-1).real
    assert np.abs(kernel.sum(-1) - wanted).max() < 1e-4
    # DSS-exp is S4D with b = 1, c = w / 2.
    one = np.ones_like(w[:1, :1])
    s4d = run(s4d_kernel, lam[:1, :1], one, w[:1, :1] / 2, dt=0.5, length=5)
    powers = np.exp(lam[0, 0] * 0.5 * np.arange(5))
    first = w[0, 0] / lam[0, 0] * (np.exp(lam[0, 0] * 0.5) - 1)
    assert close(s4d[0], (first * powers).real)


def test_flops_are_linear_in_the_length() -> None:
    def flops(length):
        lam, b, c = modes("lin", 64, 8, jnp.complex64)
        dt, u = jnp.ones(8, jnp.float32), jnp.ones((length, 8), jnp.float32)
        return contraction_flops(lambda *x: s4d_conv(*x).out, lam, b, c, dt, u)

    assert 1.9 < flops(4096) / flops(2048) < 2.1
