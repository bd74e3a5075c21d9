"""Tails of norms: the exact law, Chernoff's bounds, the bound above both."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from kexue_jax import embeddings
from tests.oracles import random_projection as oracle

EPS = np.r_[0.1, 0.3, 0.5, 0.9, np.random.default_rng(9).uniform(1e-3, 1, 996)]
RUN = {
    function: jax.jit(function, static_argnames="n")
    for function in (embeddings.exact_norm_tail, embeddings.unit_norm_tail)
}
SIZES = (16, 64, 256, 1024)


def tails(function, n, eps=EPS):
    """Upper, lower and, where it is there, the bound."""
    return [np.asarray(part) for part in RUN[function](jnp.asarray(eps), n=n)]


@pytest.mark.parametrize("n", SIZES)
def test_exact_law_lies_below_chernoff_and_both_below_the_bound(n):
    exact = sum(tails(embeddings.exact_norm_tail, n))
    upper, lower, bound = tails(embeddings.unit_norm_tail, n)
    assert (exact <= upper + lower).all()
    assert (lower <= upper).all() and (upper <= bound).all()
    # exp(-n eps^2 / 4), twice the exponent, is between the two of Chernoff, and below
    # the law itself where n is large.
    wrong = np.exp(-n * EPS**2 / 4)
    assert (upper > wrong).all() and (lower < wrong).all()
    if n == 1024:
        assert (exact[EPS > 0.5] > wrong[EPS > 0.5]).all()


@pytest.mark.parametrize(
    ("n", "eps", "exact", "chernoff", "bound"),
    [(256, 0.3, 9.45e-4, 8.80e-3, 1.12e-1), (64, 0.5, 6.20e-3, 5.06e-2, 2.71e-1)],
)
def test_the_figures_of_the_card(n, eps, exact, chernoff, bound):
    law = sum(tails(embeddings.exact_norm_tail, n, eps))
    upper, lower, above = tails(embeddings.unit_norm_tail, n, eps)
    found = law, upper + lower, 2 * above
    assert found == pytest.approx((exact, chernoff, bound), rel=5e-3)


def test_the_inequalities_of_logarithms_hold_at_1000_points_and_are_sharp():
    eps = np.linspace(1e-3, 1, 1000)
    gap, below = np.log1p(eps) - eps, np.log1p(-eps[:-1]) + eps[:-1]
    assert (gap <= -(eps**2) / 4).all() and (below <= gap[:-1]).all()
    assert gap[-1] == pytest.approx(-0.307, abs=1e-3)
    # A third in place of a quarter fails at 1 (0.307 < 0.333).
    assert (gap > -(eps**2) / 3).any()
    upper, lower, bound = tails(embeddings.unit_norm_tail, 8, eps)
    np.testing.assert_allclose(upper, np.exp(4 * gap), rtol=1e-12)
    np.testing.assert_allclose(lower[:-1], np.exp(4 * below), rtol=1e-12)
    assert lower[-1] == 0 and (upper <= bound).all()


@pytest.mark.parametrize("n", [1, 2, 5, 300, 10**6])
def test_exact_law_is_that_of_chi_squared(n):
    eps = np.array([1e-4, 0.01, 0.05, 0.1, 0.3, 0.5, 0.9, 0.9999])
    run = jax.jit(embeddings.exact_norm_tail, static_argnames="n")
    for dtype, bound, share in ((np.float64, 1e-13, 1e-10), (np.float32, 1e-6, 1e-4)):
        given = jnp.asarray(eps, dtype)
        wanted = oracle.exact_tails(np.asarray(given, float), n=n)
        for mine, theirs in zip(run(given, n=n), wanted, strict=True):
            assert np.abs(mine - theirs).max() < bound
            seen = theirs > 1e-30
            away = np.asarray(mine, float)[seen] / theirs[seen] - 1
            assert np.abs(away).max() < share


def test_small_eps_keeps_its_digits_in_float32():
    n, eps = 10**6, jnp.asarray(0.005, jnp.float32)
    wanted = oracle.chernoff(np.float64(eps), n=n)
    for mine, theirs in zip(embeddings.unit_norm_tail(eps, n=n), wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5)
    lost = jnp.exp(n / 2 * (jnp.log1p(eps) - eps))
    assert abs(float(lost) / wanted[0] - 1) > 5e-5


def test_chernoff_is_least_where_the_article_says():
    n, eps = 20, 0.4
    best = n * eps / (2 * (1 + eps))
    lam = jnp.linspace(best - 1, best + 1, 1001)
    log_bound = embeddings.unit_norm_log_mgf(lam, n=n) - lam * (1 + eps)
    assert float(lam[jnp.argmin(log_bound)]) == pytest.approx(best, abs=2e-3)
    upper = embeddings.unit_norm_tail(jnp.array(eps), n=n).upper
    np.testing.assert_allclose(jnp.exp(log_bound.min()), upper, rtol=1e-12)
    assert embeddings.unit_norm_log_mgf(jnp.array([10.0, 11.0]), n=n).tolist() == [
        np.inf,
        np.inf,
    ]


def test_the_mgf_is_the_mean_of_the_exponential():
    draws = np.random.default_rng(0).normal(size=(200_000, 6)) / 6**0.5
    values = np.exp(np.square(draws).sum(-1))
    error = values.std() / len(values) ** 0.5
    wanted = np.exp(float(embeddings.unit_norm_log_mgf(jnp.array(1.0), n=6)))
    assert abs(values.mean() - wanted) < 5.5 * error
    # The exponent n rather than n/2 is told apart.
    assert abs(values.mean() - wanted**2) > 20 * error


def test_markov_chebyshev_and_chernoff_hold_for_1000_distributions():
    rng = np.random.default_rng(1)
    values = rng.exponential(size=(1000, 6))
    shares = rng.dirichlet(np.full(6, 0.5), 1000)
    mean = (shares * values).sum(-1, keepdims=True)
    variance = (shares * (values - mean) ** 2).sum(-1, keepdims=True)
    a = mean * rng.uniform(0.5, 4, (1000, 1))
    above = (shares * (values >= a)).sum(-1)
    assert (above <= (mean / a)[:, 0] + 1e-12).all()
    away = (shares * (abs(values - mean) >= a)).sum(-1)
    assert (away <= (variance / a**2)[:, 0] + 1e-12).all()
    lam = np.linspace(0.01, 5, 60)
    moments = np.einsum("ij,ijl->il", shares, np.exp(values[..., None] * lam))
    assert (above <= (np.exp(-lam * a) * moments).min(-1) + 1e-12).all()
    # Equality: 0 and a for Markov (mean a/4), 1 -+ a in equal shares for Chebyshev.
    assert np.array([0.75, 0.25]) @ [0, 4.0] / 4.0 == 0.25
    assert np.array([0.5, 0.5]) @ np.square([-4.0, 4.0]) / 4.0**2 == 1


def test_orthogonality_bound_holds_and_the_dots_are_those_of_two_norms():
    n, eps, count = 64, 0.5, 4000
    u, v = np.random.default_rng(2).normal(size=(2, count, n)) / n**0.5
    dots = (u * v).sum(-1)
    plus, minus = (np.square((u + s * v) / 2**0.5).sum(-1) for s in (1, -1))
    np.testing.assert_allclose(dots, (plus - minus) / 2, atol=1e-12)
    # A large product implies that a norm is off, not the other way round.
    large, off = dots >= eps, (plus - 1 >= eps) | (1 - minus >= eps)
    assert (off | ~large).all() and (off & ~large).any()
    bound = float(embeddings.orthogonality_bound(jnp.array(eps), n=n))
    assert bound == pytest.approx(4 * np.exp(-2))
    assert (abs(dots) >= eps).mean() < bound


@pytest.mark.parametrize("n", SIZES)
def test_products_of_two_vectors_stay_below_the_bound_for_1000_eps(n):
    """Given v, <u, v> is normal of variance |v|^2 / n, and n |v|^2 is chi^2."""
    lengths = stats.chi2.ppf((np.arange(400) + 0.5) / 400, n) ** 0.5 / n
    law = 2 * stats.norm.sf(EPS[:, None] / lengths).mean(-1)
    bound = np.asarray(embeddings.orthogonality_bound(jnp.asarray(EPS), n=n))
    assert (law <= bound).all()
    # exp(-n eps^2) is too small: the law goes as exp(-n eps^2 / 2).
    assert (law > 4 * np.exp(-n * EPS**2)).any()


def test_failure_bound_counts_pairs_twice():
    eps = jnp.array(0.3)
    single = embeddings.unit_norm_tail(eps, n=500).bound
    found = embeddings.jl_failure_bound(eps, num_points=40, n=500)
    np.testing.assert_allclose(found, 40 * 39 * single, rtol=1e-12)
    assert embeddings.jl_failure_bound(eps, num_points=1, n=5) == 0
