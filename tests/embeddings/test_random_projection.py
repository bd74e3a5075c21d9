"""Projection families: unbiased, of the law that is stated, dependent on the data."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax import embeddings

FAMILIES = {
    "gaussian": {"kind": "gaussian"},
    "rademacher": {"kind": "rademacher"},
    "sparse": {"kind": "sparse", "sparsity": 3.0},
    "very sparse": {"kind": "sparse", "sparsity": 2000**0.5},
}
POINTS = np.random.default_rng(0).normal(size=(500, 2000)).astype(np.float32)


def drawn(kind, *, n, m, seed=0, **options):
    key = jax.random.key(seed)
    options = {"kind": kind, **options}
    return embeddings.projection_matrix(key, n=n, m=m, **options)


def pairs(x):
    """Squared distances of the pairs i < j, in NumPy."""
    gram = x @ x.T
    norms = np.diagonal(gram)
    rows, columns = np.triu_indices(len(x), 1)
    return norms[rows] + norms[columns] - 2 * gram[rows, columns]


@functools.cache
def before():
    return pairs(POINTS.astype(np.float64))


def ratios(a):
    return pairs(POINTS.astype(np.float64) @ np.asarray(a, float).T) / before()


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    ("n", "std", "low", "high"), [(100, 0.142, 0.55, 0.9), (400, 0.070, 0.27, 0.45)]
)
def test_ratios_scatter_as_the_card_says(name, n, std, low, high):
    found = ratios(drawn(**FAMILIES[name], n=n, m=2000))
    assert found.std() == pytest.approx(std, rel=0.06)
    assert found.std() == pytest.approx((2 / n) ** 0.5, rel=0.06)
    assert low < abs(found - 1).max() < high


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_ratios_at_1600_of_2000_dimensions(name):
    found = ratios(drawn(**FAMILIES[name], n=1600, m=2000))
    assert found.std() == pytest.approx(0.035, rel=0.06)
    assert 0.13 < abs(found - 1).max() < 0.2


@pytest.mark.slow
def test_orthonormal_rows_are_better_as_n_nears_m():
    turned = ratios(drawn("orthonormal", n=1600, m=2000))
    assert turned.std() == pytest.approx(0.016, rel=0.06)
    assert 0.06 < abs(turned - 1).max() < 0.09


@pytest.mark.parametrize(
    ("kind", "s", "std"),
    [("rademacher", None, 0.050), ("sparse", 3.0, 0.070), ("sparse", 45.0, 0.248)],
)
def test_one_hot_points_scatter_with_the_sparsity(kind, s, std):
    """The card's s = 1 is the dots alone; |A e_i|^2 itself scatters with s."""
    a = np.asarray(drawn(kind, n=400, m=2000, sparsity=s), float)
    gram = a.T[:500] @ a[:, :500]
    rows, columns = np.triu_indices(500, 1)
    norms = np.diagonal(gram)
    found = (norms[rows] + norms[columns] - 2 * gram[rows, columns]) / 2
    assert found.std() == pytest.approx(std, rel=0.08)
    factor = s or 1.0
    wanted = np.sqrt(1 / 400 + (factor - 1) / 800)
    assert found.std() == pytest.approx(wanted, rel=0.08)
    assert norms.std() == pytest.approx(((factor - 1) / 400) ** 0.5, rel=0.15, abs=1e-6)
    if s == 45.0:
        assert 0.9 < abs(found - 1).max() < 1.6


def families():
    yield from (("gaussian", {}), ("rademacher", {}), ("sparse", {"sparsity": 4.0}))
    yield "orthonormal", {}
    yield "srht", {}


@pytest.mark.parametrize(("kind", "options"), list(families()))
def test_norms_and_products_are_kept_on_average(kind, options):
    """E A^T A = I, entry by entry, at 5.5 standard errors; a wrong scale is seen."""
    n, m, draws = 3, 5, 6000

    def one(key):
        if kind == "srht":
            srht = embeddings.srht_init(key, n=n, m=m)
            a = embeddings.srht_apply(srht, jnp.eye(m)).T
        else:
            a = embeddings.projection_matrix(key, n=n, m=m, kind=kind, **options)
        return a.T @ a

    keys = jax.random.split(jax.random.key(5), draws)
    found = np.asarray(jax.jit(jax.vmap(one))(keys), float)
    error = found.std(0) / draws**0.5 + 1e-6
    assert (abs(found.mean(0) - np.eye(m)) < 5.5 * error).all()
    assert (abs(found.mean(0) * 1.1 - np.eye(m)) > 5.5 * error).any()


def test_products_have_the_stated_variance_and_norms_the_law_of_chi_squared():
    n, draws = 5, 40_000
    v, w = np.random.default_rng(7).normal(size=(2, 4))
    a = drawn("gaussian", n=n * draws, m=4, seed=3) * draws**0.5
    a = np.asarray(a, float).reshape(draws, n, 4)
    dots = ((a @ v) * (a @ w)).sum(-1)
    wanted = ((v @ v) * (w @ w) + (v @ w) ** 2) / n
    assert dots.var() == pytest.approx(wanted, rel=0.06)
    norms = np.square(a @ w).sum(-1) / (w @ w)
    assert norms.var() == pytest.approx(2 / n, rel=0.06)
    for eps in (0.3, 0.8):
        upper, lower = embeddings.exact_norm_tail(jnp.array(eps), n=n)
        for share, p in ((norms >= 1 + eps, upper), (norms <= 1 - eps, lower)):
            p = float(p)
            assert abs(share.mean() - p) < 5.5 * (p * (1 - p) / draws) ** 0.5


def test_orthonormal_rows_are_orthonormal_and_exact_at_n_equal_m():
    for n, m in ((3, 7), (70, 80)):
        a = np.asarray(drawn("orthonormal", n=n, m=m, dtype=jnp.float64))
        np.testing.assert_allclose(a @ a.T, m / n * np.eye(n), atol=1e-12)


def test_blocks_of_rows_are_the_rows_one_after_the_other():
    from kexue_jax._base.orthogonal import orthonormal, orthonormal_blocks

    rows = jnp.asarray(np.random.default_rng(1).normal(size=(9, 11)))
    whole, parts = orthonormal(rows), orthonormal_blocks(rows, size=4)
    np.testing.assert_allclose(parts, whole, atol=1e-13)


def test_nearly_orthogonal_is_said_of_entries_not_of_the_norm():
    n = 400
    a = np.asarray(drawn("gaussian", n=n, m=n), float)
    gram = a @ a.T
    assert abs(gram - np.eye(n)).max() < 0.4
    values = np.linalg.svd(a, compute_uv=False)
    assert values[0] > 1.9 and values[-1] < 0.02


def test_points_chosen_after_the_matrix_break_the_lemma():
    a = np.asarray(drawn("gaussian", n=200, m=400), float)
    lost = np.linalg.svd(a)[2][-1]
    assert np.square(a @ lost).sum() < 1e-20


def test_distances_of_equal_points_are_left_out():
    x = np.random.default_rng(2).normal(size=(6, 5)).astype(np.float32)
    twice = jnp.asarray(np.concatenate([x, x]) + 100)
    y = jnp.asarray(np.concatenate([x, x + 1e-3])[:, :3])
    found = embeddings.distortion(twice, y)
    assert all(np.isfinite(part) for part in found) and float(found.max) < 1.0
    same = embeddings.distortion(jnp.ones((4, 3)), jnp.zeros((4, 2)))
    assert [float(part) for part in same] == [0, 0, 0]


def test_a_distance_that_is_no_number_is_not_left_out():
    x = jnp.asarray(np.random.default_rng(3).normal(size=(5, 4)))
    for found in (
        embeddings.distortion(x.at[2, 1].set(jnp.nan), x),
        embeddings.distortion(x, x.at[2, 1].set(jnp.nan)),
    ):
        assert all(np.isnan(part) for part in found)


def test_the_gram_form_needs_the_mean_taken_off():
    x = np.random.default_rng(4).normal(size=(20, 30)) + 1000
    wanted = np.square(x[:, None] - x[None]).sum(-1)
    given = jnp.asarray(x, jnp.float32)
    exact = np.asarray(x, np.float32).astype(float)
    wanted = np.square(exact[:, None] - exact[None]).sum(-1)
    found = embeddings.pairwise_sq_dists(given)
    assert abs(found - wanted).max() < 1e-3 and (jnp.diagonal(found) == 0).all()
    norms = jnp.square(given).sum(-1)
    plain = norms[:, None] + norms[None, :] - 2 * given @ given.T
    assert abs(plain - wanted).max() > 0.1
