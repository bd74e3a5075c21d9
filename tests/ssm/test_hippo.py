"""HiPPO matrices: the card's facts, the articles' errors, published conventions."""

import itertools
import math
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.special

from kexue_jax.ssm import hippo_matrices
from tests.oracles import hippo as oracle
from tests.oracles.discretization import exponential


def matrices(measure, n, **options):
    found = hippo_matrices(measure=measure, n=n, dtype=jnp.float64, **options)
    return tuple(np.asarray(part) for part in found)


def skew(a) -> float:
    return np.abs(a + a.conj().T).max()


@pytest.mark.parametrize("n", [1, 2, 8, 64])
def test_legs_eigenvalues_fixed_point_and_skew_part(n) -> None:
    a, b = matrices("legs", n)
    assert not np.triu(a, 1).any()
    assert np.array_equal(np.diag(a), -np.arange(1.0, n + 1))
    v = np.sqrt(2 * np.arange(n) + 1)
    assert skew(a + np.outer(v, v) / 2 + np.eye(n) / 2) < 1e-13
    assert np.abs(a[:, 0] + b).max() < 1e-14  # u = 1 has the fixed point e_0
    plain, b = matrices("legs", n, norm="orthonormal")
    assert np.abs(plain[:, 0] + b / np.sqrt(2)).max() < 1e-14


def test_other_measures_are_skew_but_for_low_rank() -> None:
    v = np.sqrt(2 * np.arange(9) + 1)
    a, _ = matrices("legt", 9)
    even, odd = v * (np.arange(9) % 2 == 0), v * (np.arange(9) % 2)
    assert skew(a + np.outer(even, even) + np.outer(odd, odd)) < 1e-13
    a, _ = matrices("lagt", 9)
    assert skew(a + 0.5) < 1e-14
    a, b = matrices("fourier_real", 9, window=3.0)
    assert skew(a + np.outer(b, b) * 3 / 2) < 1e-13
    a, _ = matrices("fourier_all", 9)
    assert skew(a + 0.5 + np.eye(9) / 2) < 1e-13
    assert np.abs(np.linalg.eigvals(a).real + 1).max() < 1e-12


def test_legt_is_stable_as_the_card_says() -> None:
    card = {4: -3.21, 8: -4.69, 16: -6.49, 32: -8.70, 64: -11.45}
    for n, wanted in card.items():
        a, _ = matrices("legt", n)
        assert abs(np.linalg.eigvals(a).real.max() - wanted) < 0.006


def legs_eigenvectors(n):
    """Those of A of LegS in columns, of length 1, by exact sums of r_i v_i.

    With S_i = sum_{k <= i} r_k v_k, row i of A v = -m v is S_i = (i + m) / (m - i - 1)
    S_{i-1}.
    """
    v, r = np.zeros((n, n)), np.sqrt(2 * np.arange(n) + 1)
    for m in range(1, n + 1):
        sums = [Fraction(0)] * (m - 1) + [Fraction(1)]
        for i in range(m, n):
            sums.append(sums[-1] * Fraction(i + m, m - i - 1))
        steps = [float(b - a) for a, b in itertools.pairwise([Fraction(0), *sums])]
        v[:, m - 1] = np.array(steps) / r
    return v / np.linalg.norm(v, axis=0)


def test_legs_eigenvectors_are_too_ill_conditioned_to_use() -> None:
    for n, low, high in ((8, 7.6e4, 7.8e4), (16, 7e10, 9e10), (32, 1e19, 1e30)):
        a, _ = matrices("legs", n)
        v = legs_eigenvectors(n)
        product = a @ v + v * np.arange(1, n + 1)
        assert np.abs(product).max() < 1e-13 * np.abs(a).max()
        # The inverse of a triangular matrix, whose largest entries 64 bits hold.
        back = scipy.linalg.solve_triangular(v, np.eye(n), lower=True)
        assert low < np.linalg.norm(v, 2) * np.linalg.norm(back, 2) < high
    # From the last sum back: |S_{d/3}| is about sqrt(d) 2^(-4 d / 3) of it.
    for d in (30, 60, 120):
        m = d // 3 + 1
        steps = (Fraction(i + m, i + 1 - m) for i in range(m, d))
        ratio = float(1 / math.prod(steps)) / (math.sqrt(d) * 2 ** (-4 * d / 3))
        assert 1.4 < ratio < 1.6, (d, ratio)


def test_normalizations_are_changes_of_scale() -> None:
    for measure, options in (("legt", {"window": 3.0}), ("legs", {"power": 0.5})):
        plain = matrices(measure, 6, norm="orthonormal", **options)
        for norm in ("hippo", "lmu"):
            scale = oracle.norm_scale(6, norm)
            a, b = matrices(measure, 6, norm=norm, **options)
            assert np.allclose(a, plain[0] * scale / scale[:, None], atol=1e-13)
            assert np.allclose(b, plain[1] / scale, atol=1e-13)


def test_lmu_is_the_published_one_with_time_reversed() -> None:
    # Voelker et al. 2019, eq. 2: a_ij = (2i+1) (-1 if i < j else (-1)^(i-j+1)).
    published = np.zeros((6, 6))
    for i, j in itertools.product(range(6), repeat=2):
        published[i, j] = (2 * i + 1) * (-1 if i < j else (-1) ** (i - j + 1))
    sign = (-1.0) ** np.arange(6)
    a, b = matrices("legt", 6, norm="lmu", window=2.5)
    assert np.allclose(sign[:, None] * a * sign, published / 2.5)
    assert np.allclose(sign * b, sign * (2 * np.arange(6) + 1) / 2.5)


def test_the_articles_scale_of_lmu_does_not_give_the_matrices_it_prints() -> None:
    _, plain = matrices("legt", 6, norm="orthonormal")
    i = np.arange(6)
    printed = 2 / np.sqrt(2 * i + 1)
    assert np.allclose(plain / printed, (2 * i + 1) / np.sqrt(2))
    _, b = matrices("legt", 6, norm="lmu")
    assert np.allclose(b, 2 * i + 1)


def test_public_code_is_window_two_and_the_norm_hippo() -> None:
    # What S4's code builds and halves "for timescale", entry by entry.
    q = np.arange(8)
    r = np.sqrt(2 * q + 1)
    signs = np.where(q < q[:, None], 1.0, (-1.0) ** (q[:, None] - q))
    a, b = matrices("legt", 8, window=2.0)
    assert np.allclose(a, -0.5 * r[:, None] * signs * r) and np.allclose(b, 0.5 * r)


def test_real_fourier_is_the_complex_one_in_another_basis() -> None:
    a, b = matrices("fourier_real", 9, window=2.0)
    rows = oracle.real_transform(9)
    complex_a, complex_b = matrices("fourier", 9, window=2.0)
    assert np.abs(rows @ complex_a @ rows.conj().T - a).max() < 1e-13
    assert np.abs(rows @ complex_b - b).max() < 1e-14


def fourier_error(order: int, end: float) -> float:
    """Relative error of the coefficients of a signal after three windows."""
    n, steps = 2 * order + 1, 2000
    a, b = oracle.fourier(n, 1.0, end)
    times = 3 * np.arange(steps) / steps
    t_next = 3 * (np.arange(steps) + 1) / steps

    def signal(t):
        return np.sin(5 * t) + 0.5 * np.cos(11 * t + 1)

    # Exact for inputs held over a step; the step is small beside the signal.
    step = exponential(3 / steps * a)
    push = np.linalg.solve(a, (step - np.eye(n)) @ b)
    x = np.zeros(n, complex)
    for u in signal((times + t_next) / 2):
        x = step @ x + push * u
    s = (np.arange(8192) + 0.5) / 8192
    index = np.arange(-order, order + 1)
    exact = np.exp(-2j * np.pi * np.outer(index, s)) @ signal(2 + s) / 8192
    return np.linalg.norm(x - exact) / np.linalg.norm(exact)


def test_fourier_window_needs_the_factor_two() -> None:
    right = [fourier_error(order, 2.0) for order in (4, 8, 16, 32)]
    wrong = [fourier_error(order, 1.0) for order in (4, 8, 16, 32)]
    assert all(b < 0.65 * a for a, b in itertools.pairwise(right)) and right[-1] < 0.05
    assert min(wrong) > 0.4
    a, b = matrices("fourier", 5)
    assert np.allclose(b, 2) and np.allclose(a + 2, np.diag(np.diag(a) + 2))


def test_continuous_kernels_in_closed_form() -> None:
    n, t = 64, 0.7
    a, b = matrices("legs", n)
    s = 2 * np.exp(-t) - 1
    legendre = np.polynomial.legendre.legvander(np.array([s]), n - 1)[0]
    wanted = np.sqrt(2 * np.arange(n) + 1) * np.exp(-t) * legendre
    assert np.abs(scipy.linalg.expm(t * a) @ b - wanted).max() < 1e-13
    for kappa in (0.5, 1.0):
        a, b = matrices("lagt", 12, kappa=kappa)
        laguerre = np.polynomial.laguerre.lagvander(np.array([t]), 11)[0]
        wanted = np.exp(-kappa * t) * laguerre
        assert np.abs(exponential(t * a) @ b - wanted).max() < 1e-13


def test_generalized_laguerre_coefficients_are_orthonormal_inner_products() -> None:
    # u = 1 before now: c_i = int L_i^(alpha)(s) e^(-kappa s) ds / norm_i, which is the
    # resting point of the system.
    alpha, kappa = 2.0, 0.8
    a, b = matrices("lagt", 5, alpha=alpha, kappa=kappa)
    s, w = np.polynomial.laguerre.laggauss(30)
    i = np.arange(5)
    polynomials = scipy.special.eval_genlaguerre
    squares = w * s**alpha * polynomials(i[:, None], alpha, s) ** 2
    norm = np.sqrt(squares.sum(-1))
    wanted = (w / kappa * polynomials(i[:, None], alpha, s / kappa)).sum(-1) / norm
    assert np.abs(np.linalg.solve(-a, b) - wanted).max() < 1e-12 * np.abs(wanted).max()


def test_power_warp_slows_the_clock() -> None:
    a, b = matrices("legs", 5)
    slow_a, slow_b = matrices("legs", 5, power=0.5)
    assert np.allclose(slow_a, 2 * a) and np.allclose(slow_b, 2 * b)


@pytest.mark.parametrize("measure", ["fourier", "fourier_all"])
def test_complex_matrices_have_no_half_type(measure) -> None:
    found = hippo_matrices(measure=measure, n=3, dtype=jnp.bfloat16)
    assert {part.dtype for part in found} == {jnp.dtype("complex64")}
