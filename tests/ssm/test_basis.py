"""Bases and constructions: every measure and norm says the same of the past."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.ssm import (
    basis_coordinate,
    basis_eval,
    change_basis,
    chebyshev_from_legendre,
    hippo_from_basis,
    hippo_matrices,
    reconstruct,
)
from tests.contract.rows_ssm_basis import all_history, legendre
from tests.oracles import basis as oracle
from tests.oracles import hippo
from tests.oracles.discretization import held
from tests.ssm.forms import run


def f64(x):
    return jnp.asarray(x, jnp.float64)


def signal(t):
    """The card's test signal on [0, 1]."""
    return np.sin(6 * np.pi * t) + 0.5 * np.cos(14 * np.pi * t)


def system(measure, clock, **options):
    n = 15 if measure.startswith("fourier") else 12
    kind = "legs" if measure == "s4" else measure
    found = hippo_matrices(measure=kind, n=n, dtype=jnp.float64, **options)
    scale = clock if measure == "s4" else 1.0
    return tuple(np.asarray(part) / scale for part in found)


def smooth(t):
    return np.cos(1.3 * t + 0.4) + 0.3 * np.sin(2.1 * t)


def followed(a, b, steps=1500, until=3.0, over_t=False):
    """Coefficients at ``until``, the input held at its middle over short steps."""
    x, dt = np.zeros(len(b), a.dtype), until / steps
    if not over_t:
        push, inject = held(a, b, dt)
        for k in range(steps):
            x = push @ x + inject * smooth((k + 0.5) * dt)
        return x
    x = np.linalg.solve(a, -b) * smooth(0.5 * dt)  # what a constant past has
    eye = np.eye(len(b))
    for k in range(1, steps):
        h = np.log((k + 1) / k)  # in ln t the system does not change
        right = (eye + h / 2 * a) @ x + h * b * smooth((k + 0.5) * dt)
        x = np.linalg.solve(eye - h / 2 * a, right)
    return x


CASES = [
    ("legt", {"norm": norm, "window": 2.0}, {"norm": norm}, 2.0)
    for norm in ("orthonormal", "hippo", "lmu")
]
CASES += [
    ("legs", {"norm": norm}, {"norm": norm}, 3.0)
    for norm in ("orthonormal", "hippo", "lmu")
]
CASES += [("fourier", {"window": 2.0}, {}, 2.0), ("fourier_real", {}, {}, 1.0)]
CASES += [("fourier_all", {}, {}, 3.0), ("s4", {"norm": "lmu"}, {"norm": "lmu"}, 0.8)]


@pytest.mark.parametrize(("measure", "matrices", "reads", "window"), CASES)
def test_followed_coefficients_reconstruct_the_past(
    measure, matrices, reads, window
) -> None:
    over_t = measure in ("legs", "fourier_all")
    x = followed(*system(measure, window, **matrices), over_t=over_t)
    edge = 0.0 if measure.startswith("leg") else 0.25  # a Fourier series wants middles
    lags = np.linspace(edge * window, (1 - edge) * window, 41)
    s = run(basis_coordinate, lags, measure=measure, window=window)
    kind = "legs" if measure == "s4" else measure
    got = np.asarray(run(reconstruct, x, s, measure=kind, **reads)).real
    bound = {"legt": 6e-3, "legs": 1e-3}.get(measure, 0.12)
    assert np.abs(got - smooth(3.0 - lags)).max() < bound


@pytest.mark.parametrize(("kappa", "alpha"), [(0.5, 0.0), (1.0, 0.0), (0.8, 1.0)])
def test_laguerre_coefficients_reconstruct_a_decaying_past(kappa, alpha) -> None:
    # u(T - s) = s^alpha e^(-(1 - kappa) s) (1 + s - s^2 / 4): a finite sum.
    def past(s):
        return s**alpha * np.exp(-(1 - kappa) * s) * (1 + s - s**2 / 4)

    a, b = hippo_matrices(measure="lagt", n=5, kappa=kappa, alpha=alpha, dtype=float)
    dt, length = 0.002, 30.0
    push, inject = held(np.asarray(a), np.asarray(b), dt)
    x = np.zeros(5)
    for age in np.arange(length, 0, -dt):
        x = push @ x + inject * past(age - dt / 2)
    s = np.linspace(0.1, 4, 20)
    options = {"measure": "lagt", "kappa": kappa, "alpha": alpha}
    got = run(reconstruct, x, s, **options)
    assert np.abs(got - past(s)).max() < 2e-5


@pytest.mark.parametrize("measure", ["legt", "legs", "lagt", "fourier", "fourier_real"])
def test_functions_equal_the_oracle_at_n_64(measure) -> None:
    n = 63 if measure.startswith("f") else 20 if measure == "lagt" else 64
    s = np.linspace(0 if measure == "lagt" else -1, 1, 33)
    got = run(basis_eval, s, measure=measure, n=n)
    assert np.abs(got - oracle.functions(s, measure=measure, n=n)).max() < 1e-11


def test_legendre_functions_are_orthonormal_and_float32_holds_at_n_256() -> None:
    s, w = np.polynomial.legendre.leggauss(300)
    functions = functools.partial(basis_eval, measure="legs", n=256, norm="orthonormal")
    h = np.asarray(run(functions, s))
    assert np.abs(h.T @ (w[:, None] * h) - np.eye(256)).max() < 1e-12
    low = run(functions, s.astype(np.float32))
    exact = np.asarray(run(functions, np.float32(s).astype(float)))
    assert np.abs(low - exact).max() < 2e-4 * np.abs(exact).max()


def projected(u, n):
    """Orthonormal coefficients of u, linear on [0, 0.37] and beyond; a fine grid."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    sizes = np.repeat([0.37, 0.63], n)
    t = np.concatenate([0.37 * (nodes + 1) / 2, 0.37 + 0.63 * (nodes + 1) / 2])
    g = oracle.functions(2 * t - 1, measure="legs", n=n, norm="orthonormal")
    return g.T @ (u(t) * np.tile(weights, 2) * sizes), np.linspace(-1, 1, 6001)[1::2]


def rmse(u, n):
    """Relative and absolute root mean square error of the best approximation."""
    if u is signal:
        s, w = np.polynomial.legendre.leggauss(200)
        g = oracle.functions(s, measure="legs", n=n, norm="orthonormal")
        c, s = g.T @ (w * u((s + 1) / 2)), np.linspace(-1, 1, 5000)
    else:
        c, s = projected(u, n)
    got = run(reconstruct, c, s, measure="legs", norm="orthonormal")
    exact = u((s + 1) / 2)
    error = np.sqrt(np.mean((got - exact) ** 2))
    return error / np.sqrt(np.mean(exact**2)), error


def test_errors_of_approximation_are_those_of_the_card() -> None:
    card = {8: 0.65, 16: 0.37, 24: 6.4e-2, 32: 1.4e-4, 40: 2.1e-8}
    for n, wanted in card.items():
        assert abs(rmse(signal, n)[0] / wanted - 1) < 0.1, n
    for n, kink in ((8, 9.3e-3), (32, 1.2e-3), (128, 1.5e-4)):
        assert abs(rmse(lambda t: np.abs(t - 0.37), n)[1] / kink - 1) < 0.1, n
    for n, step in ((8, 0.141), (32, 0.070), (128, 0.035)):
        assert abs(rmse(lambda t: (t > 0.37) * 1.0, n)[1] / step - 1) < 0.1, n


@pytest.mark.parametrize("n", [1, 8])
def test_construction_reproduces_the_matrices(n) -> None:
    flows = {
        ("legt", "window", 3.0): lambda s: (np.full_like(s, 2 / 3), np.zeros_like(s)),
        ("legs", "power", 1.0): all_history,
        ("legs", "power", 0.5): lambda s: (2 * (s + 1), np.full_like(s, 2)),
    }
    for (measure, option, value), flow in flows.items():
        got = hippo_from_basis(legendre(n), flow, n=n, dtype=float)
        options = {option: value, "norm": "orthonormal"}
        wanted = hippo.matrices(measure, n, **options)
        for mine, theirs in zip(got, wanted, strict=True):
            assert np.abs(mine - theirs).max() < 1e-11


def waves(s):
    order = np.arange(-3, 4)[:, None]
    g = np.exp(-2j * np.pi * order * s)
    return g, -2j * np.pi * order * g


def test_construction_of_the_fourier_window_has_the_articles_factor_one() -> None:
    flow = lambda s: (np.full_like(s, 0.5), np.zeros_like(s))  # noqa: E731
    found = hippo_from_basis(waves, flow, n=7, interval=(0.0, 1.0), dtype=float)
    for end, equal in ((1.0, True), (2.0, False)):
        wanted = hippo.fourier(7, 2.0, end)
        close = [
            np.abs(m - w).max() < 1e-12 for m, w in zip(found, wanted, strict=True)
        ]
        assert close == [equal, equal]


def test_construction_of_all_history_in_waves() -> None:
    flow = lambda s: (s, np.ones_like(s))  # noqa: E731
    found = hippo_from_basis(waves, flow, n=7, interval=(0, 1), dtype=float)
    for mine, theirs in zip(found, hippo.fourier_all(7), strict=True):
        assert np.abs(mine - theirs).max() < 1e-12


def test_chebyshev_is_legendre_in_another_basis() -> None:
    n = 9
    m = chebyshev_from_legendre(n=n, norm="orthonormal", dtype=float)
    s, w = np.polynomial.legendre.leggauss(40)
    g = oracle.functions(s, measure="legs", n=n, norm="orthonormal")
    u = np.cos(3 * s) + s**3
    c = g.T @ (w * u)
    wanted = np.cos(np.outer(np.arange(n), np.arccos(s))) @ (w * u)
    assert np.abs(m @ c - wanted).max() < 1e-13
    a, b = hippo_matrices(measure="legs", n=n, norm="orthonormal", dtype=float)
    x, push = run(change_basis, a, b, m)
    # The construction with T_i, whose dual functions are T = M g => g~ = M^-T g.

    def basis(points):
        angle = np.arccos(np.clip(points, -1, 1))
        i = np.arange(n)[:, None]
        ends = np.sign(points) ** (i + 1) * i**2
        inside = np.abs(points) < 1
        sine = np.where(inside, np.sin(angle), 1)
        slope = np.where(inside, i * np.sin(i * angle) / sine, ends)
        g = oracle.functions(points, measure="legs", n=n, norm="orthonormal")
        return np.cos(i * angle), slope, np.linalg.solve(np.asarray(m).T, g.T)

    found = hippo_from_basis(basis, all_history, n=n, dtype=float)
    for mine, theirs in zip(found, (x, push), strict=True):
        assert np.abs(mine - theirs).max() < 1e-11


def test_power_warp_and_decay_invert_their_warps() -> None:
    lag = np.linspace(0, 3, 7)
    s = np.asarray(run(basis_coordinate, lag, measure="legs", window=3.0, power=2.0))
    assert np.abs(3 * (1 - ((s + 1) / 2) ** 2) - lag).max() < 1e-14
    s = np.asarray(run(basis_coordinate, lag, measure="s4", window=0.5))
    assert np.abs(-0.5 * np.log((s + 1) / 2) - lag).max() < 1e-13
    slope = jax.grad(lambda x: basis_coordinate(x, measure="legs", power=2.0))
    assert float(slope(f64(1.0))) == 0.0 and np.isfinite(slope(f64(2.0)))


def test_rows_of_places_go_with_rows_of_coefficients() -> None:
    rng = np.random.default_rng(0)
    coef, s = rng.normal(size=(2, 3, 5)), rng.uniform(-1, 1, (2, 3, 4))
    got = np.asarray(run(reconstruct, coef, s, measure="legt"))
    for i, j in np.ndindex(2, 3):
        wanted = oracle.reconstruct(coef[i, j], s[i, j], measure="legt")
        assert np.abs(got[i, j] - wanted).max() < 1e-13
    shared = np.asarray(run(reconstruct, coef, s[0, 0], measure="legt"))
    assert shared.shape == (2, 3, 4) and np.allclose(shared[0, 0], got[0, 0])
