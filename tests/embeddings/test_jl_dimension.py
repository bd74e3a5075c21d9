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


@pytest.mark.parametrize("eps", [0.01, 0.1, 0.5, 0.9, 0.999])
def test_the_union_bound_falls_in_n_so_that_halving_finds_the_least(eps):
    n = np.arange(1, 4000)
    tails = np.sum(oracle.exact_tails(eps, n=n), 0)
    assert (np.diff(tails) <= 1e-15).all()


def test_numbers_of_points_beyond_the_range_of_floats():
    rules = ("24", "16", "dasgupta_gupta", "exact")
    sizes = [embeddings.jl_dim(num_points=10**200, eps=0.5, rule=r) for r in rules]
    assert sizes[0] == math.ceil(24 * 200 * math.log(10) / 0.25)
    assert sizes[0] > sizes[1] > sizes[3] > sizes[2]
    many = embeddings.jl_failure_bound(
        jnp.array(0.5), num_points=np.int32(10**5), n=1000
    )
    wanted = oracle.failure(0.5, num_points=10**5, n=1000)
    np.testing.assert_allclose(many, wanted, rtol=1e-12)


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


@functools.cache
def moved(n, points=8, m=12, draws=2000):
    """The largest change of a squared distance in each of many projections, and of an
    inner product of unit vectors."""
    x = np.random.default_rng(0).normal(size=(points, m))
    x = jnp.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True))
    apart = 1 - jnp.eye(points)

    def one(key):
        a = embeddings.projection_matrix(key, n=n, m=m, dtype=jnp.float64)
        y = embeddings.project(a, x)
        products = jnp.abs(y @ y.T - x @ x.T) * apart
        return embeddings.distortion(x, y).max, products.max()

    keys = jax.random.split(jax.random.key(n), draws)
    return jax.tree.map(np.asarray, jax.jit(lambda k: jax.lax.map(one, k))(keys))


def test_the_theorem_holds_in_2000_projections_and_a_small_n_breaks_it():
    points, eps = 8, 0.8
    n = embeddings.jl_dim(num_points=points, eps=eps, rule="24")
    distances, products = moved(n)
    failures = int((distances > eps).sum())
    # At most 1/N: 250 of 2000; 6 standard deviations of slack.
    slack = 6 * math.sqrt(2000 / points * (1 - 1 / points))
    assert failures <= 250 + slack
    # Inner products of unit vectors fail at most twice as often.
    assert (products > eps).sum() <= 2 * (250 + slack)
    # The exact rule at delta = 1/N is near its bound, a ninth of n far beyond.
    exact = embeddings.jl_dim(num_points=points, eps=eps, rule="exact")
    shown = int((moved(exact)[0] > eps).sum())
    assert exact < n and 40 < shown <= 250 + 6 * 15
    few = moved(n // 9)
    assert (few[0] > eps).sum() > 1000 and (few[1] > eps).sum() > 20


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
