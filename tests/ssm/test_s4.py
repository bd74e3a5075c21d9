"""S4: normal plus low rank in every convention, the kernel's spectrum, the step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmark.cost import compiled_facts
from kexue_jax.ssm import (
    hippo_matrices,
    nplr,
    s4_kernel,
    s4_step,
    s4_step_matrices,
    s4_truncate,
)
from tests.oracles import state_space as oracle
from tests.oracles.discretization import discretize
from tests.ssm.convolution import convolved
from tests.ssm.forms import run

CONVENTIONS = (
    ("legs", {}),
    ("legs", {"power": 0.5}),
    ("legs", {"norm": "orthonormal"}),
    ("legs", {"norm": "lmu"}),
    ("legt", {"window": 2.0}),
    ("legt", {"norm": "lmu"}),
    ("lagt", {}),
    ("lagt", {"kappa": 1.0, "window": 3.0}),
    ("lagt", {"kappa": 0.7, "alpha": 0.5}),
    ("fourier", {"window": 2.0}),
    ("fourier_real", {"window": 2.0}),
    ("fourier_all", {}),
)
wide_nplr = functools.partial(nplr, dtype=jnp.complex128)


def system(measure: str, n: int, dt: float, **options):
    """Dense bilinear A, B, in float64, and an output row of a real system."""
    parts = hippo_matrices(measure=measure, n=n, dtype=jnp.float64, **options)
    a, b = discretize(*map(np.asarray, parts), dt, method="bilinear")
    c = np.random.default_rng(n).normal(size=n)
    if measure in ("fourier", "fourier_all"):
        c = c + c[::-1]
    return a, b, c


@functools.cache
def powers_of_legs(n, dt, length):
    """c A^l B of LegS, and c."""
    a, b, c = system("legs", n, dt)
    return by_powers(a, b, c, length), c


def by_powers(a, b, c, length):
    out, x = [], b
    for _ in range(length):
        out.append((c @ x).real)
        x = a @ x
    return np.array(out)


def spectral(measure, n, dt, length, c, *, half=False, damping=0.5, dtype=complex):
    parts = wide_nplr(measure=measure, n=n, half=half)
    lam, p, b, v = map(np.asarray, parts)
    options = {"length": length, "half": half, "damping": damping}
    row = oracle.truncate(lam, p, c @ v, dt, **options)
    parts = (np.asarray(x, dtype) for x in (lam, p, b, row))
    return np.asarray(run(s4_kernel, *parts, dt=dt, **options))


@pytest.mark.parametrize(("measure", "options"), CONVENTIONS)
@pytest.mark.parametrize("n", [1, 5, 8, 33])
def test_normal_less_low_rank_is_the_hippo_matrix(measure, options, n) -> None:
    if measure.startswith("fourier") and n % 2 == 0:
        n += 1
    parts = hippo_matrices(measure=measure, n=n, dtype=jnp.float64, **options)
    a, b = map(np.asarray, parts)
    parts = wide_nplr(measure=measure, n=n, **options)
    lam, p, own, v = map(np.asarray, parts)
    rank = 2 if measure == "legt" else 1
    assert p.shape == (n, rank)
    found = v @ (np.diag(lam) - p @ p.conj().T)
    scale = np.abs(a).max() * np.abs(v).max()
    assert np.abs(found - a @ v).max() < 2e-14 * n * scale
    assert np.abs(v @ own - b).max() < 1e-14 * n * np.abs(b).max()


def test_legs_skew_part_needs_exactly_this_rank_one_and_shift() -> None:
    a, _ = hippo_matrices(measure="legs", n=16, dtype=jnp.float64)
    r = np.sqrt(2 * np.arange(16) + 1)[:, None]
    skew = lambda scale, shift: np.asarray(a) + scale * r @ r.T + shift * np.eye(16)  # noqa: E731
    size = lambda s: np.abs(s + s.T).max()  # noqa: E731
    assert size(skew(0.5, 0.5)) < 1e-14 * 31
    assert size(skew(1.0, 0.5)) > 1 and size(skew(0.5, 0.0)) > 0.9


def test_legs_frequencies() -> None:
    for n, top, low in (
        (8, None, 0.427),
        (16, 80.97, 0.352),
        (32, 325.43, 0.301),
        (64, 1303.27, 0.264),
    ):
        lam = np.asarray(wide_nplr(measure="legs", n=n).lam)
        assert np.allclose(lam.real, -0.5, atol=0) and np.allclose(
            lam.imag, -lam.imag[::-1], atol=1e-11
        )
        assert abs(np.abs(lam.imag).min() - low) < 6e-4
        if top:
            assert abs(lam.imag.max() - top) < 6e-3
            assert abs(lam.imag.max() - (n**2 / np.pi - 0.52)) < 0.05
    odd = np.asarray(wide_nplr(measure="legs", n=9).lam)
    assert np.abs(odd.imag).min() < 1e-12
    # Half of the modes are the others' conjugates.
    all_modes = np.asarray(wide_nplr(measure="legs", n=16).lam)
    half = np.asarray(wide_nplr(measure="legs", n=16, half=True).lam)
    np.testing.assert_array_equal(half, all_modes[8:])


def test_the_eigenvectors_of_legs_itself_are_useless() -> None:
    a, _ = hippo_matrices(measure="legs", n=16, dtype=jnp.float64)
    _, vectors = np.linalg.eig(np.asarray(a))
    assert np.linalg.cond(vectors) > 1e9
    assert np.linalg.cond(wide_nplr(measure="legs", n=16).v) < 1 + 1e-12


KERNELS = (
    (1e-3, 1024, True, 0.5),
    (1e-3, 1024, False, 1.0),
    (1e-2, 999, True, 1.0),
    (1e-2, 999, False, 0.5),
    (1e-1, 16384, True, 0.5),
    (1e-1, 16384, False, 1.0),
)


@pytest.mark.parametrize(("dt", "length", "half", "damping"), KERNELS)
def test_kernel_is_the_powers_of_the_bilinear_step(dt, length, half, damping) -> None:
    wanted, c = powers_of_legs(64, dt, length)
    options = {"half": half, "damping": damping}
    got = spectral("legs", 64, dt, length, c, **options)
    assert np.abs(got - wanted).max() < 5e-14
    low = spectral("legs", 64, dt, length, c, dtype=jnp.complex64, **options)
    assert low.dtype == np.float32
    assert np.abs(low - wanted).max() < 4e-6 * np.abs(wanted).max()


@pytest.mark.parametrize("dt", [1e-3, 1e-2])
def test_kernel_of_256_modes_over_16384_steps(dt) -> None:
    wanted, c = powers_of_legs(256, dt, 16384)
    top = np.abs(wanted).max()
    got = spectral("legs", 256, dt, 16384, c, half=True)
    low = spectral("legs", 256, dt, 16384, c, half=True, dtype=np.complex64)
    assert np.abs(got - wanted).max() < 2e-13 * top
    assert np.abs(low - wanted).max() < 2e-5 * top


@pytest.mark.parametrize(
    ("measure", "n"),
    [("legt", 8), ("legt", 9), ("lagt", 9), ("fourier", 9), ("fourier_real", 9)],
)
def test_kernels_of_other_measures(measure, n) -> None:
    a, b, c = system(measure, n, 0.05)
    wanted = by_powers(a, b, c, 64)
    got = spectral(measure, n, 0.05, 64, c)
    assert np.abs(got - wanted).max() < 5e-14 * np.abs(wanted).max()
    if measure == "fourier":  # lam = 0 is on the circle: the article's row has no value
        assert np.isnan(spectral(measure, n, 0.05, 64, c, damping=1.0)).any()


def test_no_low_rank_part_leaves_a_diagonal_system() -> None:
    lam, p, b, v = map(np.asarray, wide_nplr(measure="legs", n=6, half=True))
    none, c = p[:, :0], np.random.default_rng(0).normal(size=6) @ v
    options = {"length": 9, "half": True}
    kernels = [
        run(lambda p: s4_kernel(lam, p, b, c, 0.1, **options), p) for p in (none, 0 * p)
    ]
    assert np.abs(kernels[0] - kernels[1]).max() < 1e-15 * np.abs(kernels[0]).max()


def test_the_form_of_the_article_is_singular_at_minus_one() -> None:
    dt, length = 0.1, 8
    _, _, c = system("legs", 4, dt)
    lam, p, b, v = map(np.asarray, wide_nplr(measure="legs", n=4))
    row = oracle.truncate(lam, p, c @ v, dt, length=length, damping=1.0)
    z = np.array([-1.0])  # the point l = length / 2, exactly
    with np.errstate(all="ignore"):
        omega = 2 / dt * (1 - z) / (1 + z)
        sums = [
            (x * y / (omega[:, None] - lam)).sum(-1)
            for x in (row, p[:, 0].conj())
            for y in (b, p[:, 0])
        ]
        article = 2 / (1 + z) * (sums[0] - sums[1] * sums[2] / (1 + sums[3]))
    assert not np.isfinite(article).any()
    kernel = spectral("legs", 4, dt, length, c, damping=1.0)
    at_minus_one = (kernel * (-1.0) ** np.arange(length)).sum()
    # There (1 - z) / dt is all that is left: 2 c b / (4 / dt).
    assert abs(at_minus_one - (row @ b).real * dt / 2) < 1e-13


def test_doubling_the_real_part_of_half_of_the_modes_is_wrong_in_the_spectrum() -> None:
    dt, length = 0.1, 32
    _, _, c = system("legs", 8, dt)
    lam, p, b, v = map(np.asarray, wide_nplr(measure="legs", n=8, half=True))
    options = {"length": length, "damping": 1.0}
    row = oracle.truncate(lam, p, c @ v, dt, half=True, **options)
    z = np.exp(-2j * np.pi * np.arange(length // 2 + 1) / length)[:, None]
    r = 1 / (2 / dt * (1 - z) - (1 + z) * lam)
    k = [(x * y * r).sum(-1) for x in (row, p[:, 0].conj()) for y in (b, p[:, 0])]
    k = [2 * x.real for x in k]
    wrong = 2 * (k[0] - (1 + z[:, 0]) * k[1] * k[2] / (1 + (1 + z[:, 0]) * k[3]))
    right = spectral("legs", 8, dt, length, c, half=True, damping=1.0)
    assert np.abs(np.fft.irfft(wrong, length) - right).max() > 0.1 * np.abs(right).max()


def test_the_row_is_truncated_and_recovered() -> None:
    for half, damping, bound in ((False, 0.5, 1e-13), (True, 1.0, 1e-11)):
        parts = wide_nplr(measure="legs", n=64, half=half)
        lam, p, _, v = map(np.asarray, parts)
        c = np.random.default_rng(0).normal(size=64) @ v
        top = np.abs(c).max()
        options = {"length": 64, "half": half, "damping": damping}
        row = run(s4_truncate, lam, p, c, dt=1e-2, **options)
        wanted = oracle.truncate(lam, p, c, 1e-2, **options)
        assert np.abs(row - wanted).max() < 1e-13 * top
        back = run(s4_truncate, lam, p, row, dt=1e-2, inverse=True, **options)
        assert np.abs(back - c).max() < bound * top


def test_step_matrices_are_the_dense_bilinear_ones() -> None:
    for measure in ("legs", "legt"):
        a, b, _ = system(measure, 16, 0.05)
        lam, p, own, v = map(np.asarray, wide_nplr(measure=measure, n=16))
        found = run(s4_step_matrices, lam, p, own, dt=0.05)
        d, e, p, q, step_b = map(np.asarray, found)
        a1 = np.diag(d) - q @ p.conj().T @ np.diag(d)
        a0 = np.diag(e) - p @ p.conj().T
        assert np.abs(v @ a1 @ a0 @ v.conj().T - a).max() < 1e-13
        assert np.abs(v @ step_b - b).max() < 1e-13


@pytest.mark.parametrize("half", [False, True])
def test_steps_are_the_convolution_in_value_and_gradient(half) -> None:
    rng = np.random.default_rng(1)
    lam, p, b, v = map(np.asarray, wide_nplr(measure="legt", n=6, half=half))
    c = rng.normal(size=(2, 6)) @ v
    dt, u = np.array([0.05, 0.1]), rng.normal(size=(3, 8, 2))
    lam, p, b = (np.stack([x, x]) for x in (lam, p, b))
    options = {"length": 8, "half": half}

    def kernel(lam, p, b, c, dt, u):
        row = s4_truncate(lam, p, c, dt, **options)
        return convolved(u, s4_kernel(lam, p, b, row, dt, **options))

    def stepped(lam, p, b, c, dt, u):
        step = s4_step_matrices(lam, p, b, dt, half=half)
        advance = lambda x, u: tuple(s4_step(x, step, c, u, half=half))  # noqa: E731
        state = jnp.zeros((3, *c.shape), complex)
        out = jax.lax.scan(advance, state, jnp.moveaxis(u, 1, 0))[1]
        return jnp.moveaxis(out, 0, 1)

    def both(f):
        weights = np.cos(np.arange(48.0).reshape(3, 8, 2))
        total = lambda *x: (f(*x) * weights).sum()  # noqa: E731
        both = lambda *x: (f(*x), *jax.grad(total, tuple(range(6)))(*x))  # noqa: E731
        return map(np.asarray, run(both, lam, p, b, c, dt, u))

    for mine, theirs in zip(both(kernel), both(stepped), strict=True):
        assert np.abs(mine - theirs).max() < 1e-12 * np.abs(theirs).max()


def test_the_continuous_kernel_has_its_closed_form() -> None:
    # (e^{tA} B)_n = sqrt(2 n + 1) e^-t P_n(2 e^-t - 1); a fine step comes near it.
    n, dt, length = 16, 1e-4, 20_000
    got = spectral("legs", n, dt, length, np.eye(n)[5], half=True) / dt
    t = (np.arange(length) + 0.5) * dt
    legendre = np.polynomial.legendre.legval(2 * np.exp(-t) - 1, np.eye(6)[5])
    wanted = np.sqrt(11) * np.exp(-t) * legendre
    assert np.abs(got - wanted).max() < 1e-5 * np.abs(wanted).max()


def test_cost_is_linear_in_modes_and_length() -> None:
    def flops(n, length):
        modes = jax.ShapeDtypeStruct((n,), jnp.complex64)
        rank = jax.ShapeDtypeStruct((n, 1), jnp.complex64)
        dt = jax.ShapeDtypeStruct((), jnp.float32)
        kernel = jax.jit(functools.partial(s4_kernel, length=length, half=True))
        program = kernel.lower(modes, rank, modes, modes, dt).compile()
        return compiled_facts(program)["flops"]

    base = flops(64, 1024)
    assert 1.7 < flops(128, 1024) / base < 2.1
    assert 1.8 < flops(64, 2048) / base < 2.1


def test_oracle_of_the_battery_is_the_dense_step() -> None:
    lam, p, b, _ = map(np.asarray, wide_nplr(measure="legs", n=6))
    a, new = oracle.bilinear(lam, p, b, 0.1)
    d, e, p, q, step_b = oracle.s4_step_matrices(lam, p, b, 0.1)
    product = (np.diag(d) - q @ p.conj().T @ np.diag(d)) @ (np.diag(e) - p @ p.conj().T)
    assert np.abs(product - a).max() < 1e-14 and np.abs(step_b - new).max() < 1e-14
