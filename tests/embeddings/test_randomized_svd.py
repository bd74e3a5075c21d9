"""Randomized SVD: right where the rank is small, the article's recipe wrong."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax import embeddings


@functools.cache
def low_rank():
    """Of rank 5, [300, 200]."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(300, 5)) @ rng.normal(size=(5, 200))


def error(found):
    made = np.asarray(found.u * found.s[None]) @ np.asarray(found.vt)
    return np.linalg.norm(made - low_rank()) / np.linalg.norm(low_rank())


@pytest.mark.parametrize("side", ["left", "right"])
def test_exact_rank_is_found_to_rounding(side):
    matrix = jnp.asarray(low_rank())
    run = functools.partial(embeddings.randomized_svd, k=20, oversample=0, side=side)
    found = jax.jit(run)(jax.random.key(0), matrix)
    assert error(found) < 2e-14
    wanted = np.linalg.svd(low_rank(), compute_uv=False)[:20]
    np.testing.assert_allclose(found.s, wanted, atol=1e-10)
    for vectors in (found.u, found.vt.T):
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(20), atol=1e-12)


def test_the_recipe_of_the_article_fails_with_and_without_qr():
    m, k = 200, 20
    exact = low_rank()
    rng = np.random.default_rng(1)
    raw, turned = [], []
    for _ in range(20):
        q = rng.normal(size=(m, k)) / k**0.5
        raw.append(np.linalg.norm(exact @ q @ q.T - exact) / np.linalg.norm(exact))
        q = np.linalg.qr(q)[0]
        turned.append(np.linalg.norm(exact @ q @ q.T - exact) / np.linalg.norm(exact))
    assert np.mean(turned) == pytest.approx((1 - k / m) ** 0.5, abs=0.01)
    assert np.mean(turned) == pytest.approx(0.950, abs=0.01)
    # E |Q Q^T x - x|^2 = (m + 1) / k |x|^2 for Gaussian Q.
    assert np.mean(raw) == pytest.approx(((m + 1) / k) ** 0.5, rel=0.05)
    assert 2.5 < np.mean(raw) < 3.6
    # The Q Q^T of n rows has rank k: it cannot be near the identity.
    assert np.linalg.matrix_rank(q @ q.T) == k


def test_power_steps_come_near_the_best_error():
    rng = np.random.default_rng(2)
    u, v = (np.linalg.qr(rng.normal(size=(s, 60)))[0] for s in (120, 80))
    s = 1 / np.arange(1, 61)
    given = jnp.asarray((u * s) @ v.T)
    best = np.sqrt(np.square(s[10:]).sum())
    errors = []
    for q in (0, 1, 2):
        run = functools.partial(embeddings.randomized_svd, k=10, power_iters=q)
        found = jax.jit(run)(jax.random.key(1), given)
        made = np.asarray((found.u * found.s[None]) @ found.vt)
        errors.append(np.linalg.norm(made - np.asarray(given)) / best)
    assert errors[0] > errors[1] > errors[2] > 1 and errors[2] < 1.02
    assert errors[0] < 1.5


def test_signs_do_not_depend_on_the_key():
    given = jnp.asarray(low_rank())
    run = jax.jit(functools.partial(embeddings.randomized_svd, k=5))
    one, other = (run(jax.random.key(seed), given) for seed in (0, 1))
    np.testing.assert_allclose(one.u, other.u, atol=1e-9)
    assert (one.u.max(0) == abs(one.u).max(0)).all()


def test_equal_entries_have_the_sign_of_the_first():
    """Rows less their mean, two of them: u is +-(1, -1) / sqrt(2)."""
    given = np.random.default_rng(4).normal(size=(50, 2, 6))
    given = jnp.asarray(given - given.mean(-2, keepdims=True))
    run = jax.jit(functools.partial(embeddings.randomized_svd, k=1))
    for seed in range(2):
        u = run(jax.random.key(seed), given).u[..., 0]
        np.testing.assert_allclose(u, np.tile([0.5**0.5, -(0.5**0.5)], (50, 1)))


def test_1000_matrices_of_small_rank_are_found_and_none_beats_the_best():
    rng = np.random.default_rng(5)
    exact = rng.normal(size=(1000, 7, 2)) @ rng.normal(size=(1000, 2, 6))
    full = exact + 0.3 * rng.normal(size=(1000, 7, 6))
    run = functools.partial(embeddings.randomized_svd, k=2, oversample=2)
    both = jnp.asarray(np.stack([exact, full]))
    u, s, vt = map(np.asarray, jax.jit(run)(jax.random.key(3), both))
    made = (u * s[..., None, :]) @ vt
    sizes = np.linalg.norm(both, axis=(-2, -1))
    errors = np.linalg.norm(made - both, axis=(-2, -1))
    assert (errors[0] < 1e-12 * sizes[0]).all()
    values = np.linalg.svd(full, compute_uv=False)
    np.testing.assert_allclose(
        s[0], np.linalg.svd(exact, compute_uv=False)[:, :2], rtol=1e-11, atol=1e-11
    )
    best = np.sqrt(np.square(values[:, 2:]).sum(-1))
    assert (errors[1] >= best * (1 - 1e-12)).all()
    assert (s[1] <= values[:, :2] * (1 + 1e-12)).all()
    assert np.median(errors[1] / best) < 1.02


@pytest.mark.parametrize("side", ["left", "right"])
def test_gradients_hold_where_the_sketch_has_less_rank_than_columns(side):
    """The derivative of the best approximation of rank 2 of a matrix of rank 2."""
    rng = np.random.default_rng(3)
    left, right = rng.normal(size=(7, 2)), rng.normal(size=(2, 6))

    def values(left, right):
        found = embeddings.randomized_svd(
            jax.random.key(0), left @ right, k=2, oversample=2, side=side
        )
        return found.s, (found.u * found.s[None]) @ found.vt

    def exact(left, right):
        return jnp.linalg.svd(left @ right, compute_uv=False)[:2], left @ right

    given = jnp.asarray(left), jnp.asarray(right)
    weights = rng.normal(size=(7, 6))

    def total(f):
        s, made = f(*given)
        return s, made

    def loss(f):
        return lambda *x: jnp.sum(f(*x)[0] ** 2) + jnp.sum(weights * f(*x)[1])

    for mine, theirs in zip(total(values), total(exact), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-12)
    slopes = [jax.jit(jax.grad(loss(f), (0, 1)))(*given) for f in (values, exact)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9), *slopes)


def test_a_zero_matrix_has_finite_factors():
    found = embeddings.randomized_svd(jax.random.key(0), jnp.zeros((6, 5)), k=2)
    assert all(np.isfinite(part).all() for part in found) and (found.s == 0).all()
