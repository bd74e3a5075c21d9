"""Frechet distance and polynomial MMD: oracles, closed forms, unbiasedness."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from kexue_jax.evaluation import energy_distance, frechet_distance, polynomial_mmd
from tests.oracles import generative_metrics as oracle


def clouds(seed: int, n: int, m: int, d: int, dtype: str = "float64"):
    """Two correlated clouds away from the origin, as arrays of ``dtype``."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)
    y = rng.normal(size=(m, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)
    return jnp.asarray(x, dtype), jnp.asarray(y, dtype)


def rotation(d: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(9).normal(size=(d, d)))[0]


@pytest.mark.parametrize("shape", [(30, 20, 4), (200, 300, 16), (9, 7, 1)])
def test_frechet_equals_the_matrix_square_root(shape) -> None:
    x, y = clouds(0, *shape)
    wanted = oracle.frechet_distance(np.asarray(x), np.asarray(y))
    np.testing.assert_allclose(frechet_distance(x, y), wanted, rtol=1e-9)
    low = frechet_distance(x.astype(jnp.float32), y.astype(jnp.float32))
    assert low.dtype == jnp.float32
    np.testing.assert_allclose(low, wanted, rtol=2e-5)


def test_frechet_of_commuting_gaussians_is_the_closed_form() -> None:
    # |mu_x - mu_y|^2 + sum_i (s_i - t_i)^2 for variances s_i^2, t_i^2 on the same axes;
    # sets with exactly these moments: plus and minus each axis.
    rng = np.random.default_rng(1)
    for d in (1, 2, 5, 12):
        s, t, turn = rng.uniform(0, 2, d), rng.uniform(0, 2, d), rotation(d)
        mu, nu = rng.normal(size=d), rng.normal(size=d)
        scale = np.sqrt((2 * d - 1) / 2)
        axes = np.concatenate([np.eye(d), -np.eye(d)]) * scale
        x, y = mu + (axes * s) @ turn, nu + (axes * t) @ turn
        wanted = ((mu - nu) ** 2).sum() + ((s - t) ** 2).sum()
        got = frechet_distance(jnp.asarray(x), jnp.asarray(y))
        np.testing.assert_allclose(got, wanted, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_frechet_keeps_its_digits_where_covariances_are_singular(dtype) -> None:
    # 20 dead features of 32 in x and 12 others in y: sqrtm of the product loses half
    # of the digits here (32 * sqrt(1e-7) = 0.01 in float32), singular values do not.
    rng = np.random.default_rng(2)
    s, t = rng.uniform(1, 2, 32), rng.uniform(1, 2, 32)
    s[:20], t[14:26] = 0, 0
    axes = np.concatenate([np.eye(32), -np.eye(32)]) * np.sqrt(63 / 2)
    turn = rotation(32)
    x, y = (axes * s) @ turn, (axes * t) @ turn
    got = frechet_distance(jnp.asarray(x, dtype), jnp.asarray(y, dtype))
    wanted = ((s - t) ** 2).sum()
    tolerance = {"float32": 2e-6, "float64": 1e-13}[dtype]
    np.testing.assert_allclose(got, wanted, rtol=tolerance)


def test_frechet_with_fewer_vectors_than_features() -> None:
    x, y = clouds(3, 5, 6, 40)
    # In the span of the vectors the covariances are small matrices.
    basis = np.linalg.qr(np.concatenate([x, y]).T)[0]
    low = oracle.frechet_distance(np.asarray(x) @ basis, np.asarray(y) @ basis)
    got = frechet_distance(x, y)
    # sqrtm itself is good to half of the digits on these singular matrices.
    np.testing.assert_allclose(got, low, rtol=1e-6)
    assert np.isfinite(got)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_frechet_of_equal_sets_is_zero_and_never_negative(dtype) -> None:
    frechet = jax.jit(frechet_distance)
    for seed in range(20):
        x, _ = clouds(seed, 50, 50, 8, dtype)
        spread = float(jnp.sum(jnp.var(x, axis=0)))
        value = float(frechet(x, x[::-1]))
        assert 0 <= value <= 1e-5 * spread


def test_frechet_is_symmetric_and_blind_to_rotation_and_shift() -> None:
    x, y = clouds(4, 60, 80, 6)
    value = frechet_distance(x, y)
    np.testing.assert_allclose(frechet_distance(y, x), value, rtol=1e-12)
    turn = rotation(6)
    moved = frechet_distance(x @ turn + 3, y @ turn + 3)
    np.testing.assert_allclose(moved, value, rtol=1e-10)
    np.testing.assert_allclose(frechet_distance(2 * x, 2 * y), 4 * value, rtol=1e-12)


def test_frechet_gradient_is_right_where_covariances_have_full_rank() -> None:
    x, y = clouds(5, 12, 10, 3)
    check_grads(jax.jit(frechet_distance), (x, y), order=1, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_frechet_gradient_is_finite_where_covariances_are_singular(dtype) -> None:
    x, y = clouds(11, 9, 7, 4, dtype)
    dead = jnp.asarray([1, 0, 1, 0], dtype)[None]
    sets = [
        (jnp.zeros_like(x), y),
        (jnp.zeros_like(x), jnp.zeros_like(y)),
        (jnp.ones_like(x), y * dead),
        (x * dead, y * dead),
        (x, x),
        (x[:3], y[:2]),
    ]
    slope = jax.jit(jax.grad(frechet_distance, argnums=(0, 1)))
    for a, b in sets:
        assert all(np.isfinite(g).all() for g in slope(a, b))
    # Features dead in both sets leave the slope of the others as it is without them.
    full, live = slope(x * dead, y * dead), slope(x[:, ::2], y[:, ::2])
    tolerance = {"float32": 1e-4, "float64": 1e-10}[dtype]
    for a, b in zip(full, live, strict=True):
        np.testing.assert_allclose(a[:, ::2], b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("degree", "block_size"), [(1, 4), (2, 1), (3, 7), (4, 64)])
def test_mmd_equals_loops_over_pairs(degree, block_size) -> None:
    x, y = clouds(6, 13, 7, 3)
    wanted = oracle.polynomial_mmd(np.asarray(x), np.asarray(y), degree=degree)
    mmd = jax.jit(partial(polynomial_mmd, degree=degree, block_size=block_size))
    got = mmd(x, y)
    np.testing.assert_allclose(got, wanted, rtol=1e-11)


def test_mmd_of_degree_one_is_the_distance_of_means() -> None:
    # E = |mean x - mean y|^2 / d less the variance of both means.
    x, y = clouds(7, 40, 30, 5)
    shift = jnp.sum((x.mean(0) - y.mean(0)) ** 2)
    noise = x.var(0, ddof=1).sum() / 40 + y.var(0, ddof=1).sum() / 30
    got = polynomial_mmd(x, y, degree=1)
    np.testing.assert_allclose(got, (shift - noise) / 5, rtol=1e-10)


def test_mmd_is_unbiased() -> None:
    # 4,000 independent pairs of sets from one distribution: the mean is within 5
    # standard errors of zero (false alarm below 1e-6); the biased form is not.
    keys = jax.random.split(jax.random.key(0), 4000)

    def one(key):
        x, y = jax.random.normal(key, (2, 12, 3))
        square = (1 + x @ x.T / 3) ** 3
        return polynomial_mmd(x, y, block_size=12), jnp.mean(jnp.diag(square)) / 6

    values, excess = jax.jit(jax.vmap(one))(keys)
    error = float(jnp.std(values)) / 4000**0.5
    assert abs(float(jnp.mean(values))) < 5 * error
    assert float(jnp.mean(excess)) > 20 * error


def test_mmd_grows_with_the_shift() -> None:
    x = jax.random.normal(jax.random.key(3), (100, 4))
    mmd = jax.jit(polynomial_mmd)
    values = [float(mmd(x, x[::-1] + s)) for s in (0.0, 0.5, 1.0, 2.0)]
    assert values == sorted(values) and values[0] < 0 < values[1]


def test_mmd_gradient_is_right() -> None:
    x, y = clouds(9, 5, 4, 2)
    check_grads(jax.jit(polynomial_mmd), (x, y), order=1, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("function", [frechet_distance, polynomial_mmd])
def test_bfloat16_gives_the_rounded_float32_value(function) -> None:
    x, y = clouds(10, 40, 40, 4, "bfloat16")
    wide = function(x.astype(jnp.float32), y.astype(jnp.float32))
    got = function(x, y)
    assert got.dtype == jnp.bfloat16
    np.testing.assert_allclose(float(got), float(wide), rtol=5e-3)


@pytest.mark.parametrize("function", [frechet_distance, polynomial_mmd])
@pytest.mark.parametrize(
    ("x", "y", "named"),
    [
        ([[1.0]], np.ones((3, 2)), "x"),
        (np.ones((3, 2), int), np.ones((3, 2)), "x"),
        (np.ones(3), np.ones((3, 2)), "x"),
        (np.ones((1, 2)), np.ones((3, 2)), "x"),
        (np.ones((3, 0)), np.ones((3, 0)), "x"),
        (np.ones((3, 2)), np.ones((3, 4)), "y"),
        (np.ones((3, 2)), np.ones((3, 2), np.float32), "y"),
        (np.ones((3, 2)), np.ones((1, 2)), "y"),
    ],
)
def test_bad_input_is_refused_by_name(function, x, y, named) -> None:
    with pytest.raises(
        (ValueError, TypeError), match=f"{function.__name__}: `{named}`"
    ):
        function(x, y)


@pytest.mark.parametrize("bad", [0, -1, 1.5, "3", None])
@pytest.mark.parametrize("named", ["degree", "block_size"])
def test_bad_integers_are_refused_by_name(named, bad) -> None:
    x, y = clouds(0, 4, 4, 2)
    with pytest.raises((ValueError, TypeError), match=f"polynomial_mmd: `{named}`"):
        polynomial_mmd(x, y, **{named: bad})


def test_energy_distance_is_unbiased_and_sees_any_difference() -> None:
    # As of the discrepancy: 2,000 pairs of one distribution; the form with the zeros of
    # the diagonal in its means is off, and two of equal means and variances are told.
    keys = jax.random.split(jax.random.key(1), 2000)

    def one(key):
        x, y = jax.random.normal(key, (2, 10, 2))
        within = jnp.sqrt(((x[:, None] - x[None]) ** 2).sum(-1) + jnp.eye(10)).sum()
        other = jnp.sign(y)
        values = [energy_distance(x, z, block_size=10) for z in (y, other)]
        return *values, (within - 10) / 100 / 9

    same, differing, excess = jax.jit(jax.vmap(one))(keys)
    error = float(jnp.std(same)) / 2000**0.5
    assert abs(float(jnp.mean(same))) < 5 * error
    assert float(jnp.mean(excess)) > 10 * error
    assert float(jnp.mean(differing)) > 10 * error
