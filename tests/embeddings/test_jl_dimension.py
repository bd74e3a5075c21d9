"""How many dimensions: the table of the card, and that the theorem holds."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from kexue_jax import embeddings
from kexue_jax.embeddings._chi_squared import log_tails
from tests.oracles import random_projection as oracle

TABLE = {  # (N, eps): 24, 16, Dasgupta and Gupta, exact at 1/N, exact at 0.99
    (1000, 0.1): (16579, 11053, 5921, 7403, 4604),
    (1000, 0.2): (4145, 2764, 1595, 1952, 1201),
    (100, 0.5): (443, 295, 222, 222, 130),
}


@pytest.mark.parametrize("case", TABLE)
def test_the_table_of_the_card(case):
    size = functools.partial(embeddings.jl_dim, num_points=case[0], eps=case[1])
    rules = [size(rule=rule) for rule in ("24", "16", "dasgupta_gupta", "exact")]
    assert (*rules, size(rule="exact", delta=0.99)) == TABLE[case]
    assert size() == TABLE[case][2]


def test_the_default_is_the_rule_of_scikit_learn():
    from sklearn.random_projection import johnson_lindenstrauss_min_dim

    for points, eps in ((10, 0.9), (1000, 0.3), (10**6, 0.05)):
        theirs = int(johnson_lindenstrauss_min_dim(points, eps=eps))
        assert embeddings.jl_dim(num_points=points, eps=eps) - theirs in (0, 1)


def test_the_exact_rule_is_the_least_n():
    for points, eps, delta in ((2, 0.9, 0.9), (2, 0.5, 0.5), (5, 0.7, 0.2)):
        found = embeddings.jl_dim(num_points=points, eps=eps, rule="exact", delta=delta)
        assert found == oracle.exact_dim(points, eps, delta)


def test_log_tails_are_those_of_chi_squared():
    for n in (1, 2, 3, 5, 41, 500, 7403):
        for eps in (1e-3, 0.1, 0.3):
            wanted = (
                stats.chi2.logsf(n * (1 + eps), n),
                stats.chi2.logcdf(n * (1 - eps), n),
            )
            np.testing.assert_allclose(log_tails(n, eps), wanted, rtol=1e-10)


def moved(n, points=8, m=12, draws=2000):
    """The largest change of a squared distance in each of many projections."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(points, m)))

    def one(key):
        a = embeddings.projection_matrix(key, n=n, m=m, dtype=jnp.float64)
        return embeddings.distortion(x, embeddings.project(a, x)).max

    keys = jax.random.split(jax.random.key(n), draws)
    return np.asarray(jax.jit(lambda keys: jax.lax.map(one, keys))(keys))


def test_the_theorem_holds_in_2000_projections_and_a_small_n_breaks_it():
    points, eps = 8, 0.8
    n = embeddings.jl_dim(num_points=points, eps=eps, rule="24")
    failures = int((moved(n) > eps).sum())
    # At most 1/N: 250 of 2000; 6 standard deviations of slack.
    assert failures <= 250 + 6 * math.sqrt(2000 / points * (1 - 1 / points))
    # The exact rule at delta = 1/N is near its bound, a ninth of n far beyond.
    exact = embeddings.jl_dim(num_points=points, eps=eps, rule="exact")
    shown = int((moved(exact) > eps).sum())
    assert exact < n and 40 < shown <= 250 + 6 * 15
    assert (moved(n // 9) > eps).sum() > 1000


def test_existence_needs_only_16():
    for points in (2, 10, 1000, 10**6):
        for eps in (0.1, 0.5, 0.99):
            n = embeddings.jl_dim(num_points=points, eps=eps, rule="16")
            bound = points * (points - 1) * math.exp(-n * eps**2 / 8)
            assert bound <= 1 - 1 / points + 1e-12
            enough = embeddings.jl_dim(num_points=points, eps=eps, rule="24")
            assert points * (points - 1) * math.exp(-enough * eps**2 / 8) <= 1 / points


def test_inner_products_follow_from_norms_for_1000_pairs_of_any_length():
    """|<Au, Av> - <u, v>| <= eps (|u|^2 + |v|^2) / 2 where A keeps |u +- v|^2."""
    rng = np.random.default_rng(3)
    u, v = rng.normal(size=(2, 1000, 6)) * rng.uniform(0.1, 5, (2, 1000, 1))
    a = rng.normal(size=(1000, 4, 6)) / 2
    au, av = (np.einsum("pij,pj->pi", a, x) for x in (u, v))
    eps = np.max(
        [
            abs(np.square(au + s * av).sum(-1) / np.square(u + s * v).sum(-1) - 1)
            for s in (1, -1)
        ],
        0,
    )
    error = abs((au * av).sum(-1) - (u * v).sum(-1))
    squares = np.square(u).sum(-1) + np.square(v).sum(-1)
    assert (error <= eps * squares / 2 * (1 + 1e-12)).all()
    # With a square dropped, as the article has it, it fails for long vectors.
    dropped = np.linalg.norm(u, axis=-1) + np.square(v).sum(-1)
    assert (error > eps * dropped / 2).any()
    # Equality: A a multiple of the identity and v = u.
    assert abs(1.5 - 1) == pytest.approx(0.5 * (1 + 1) / 2)
