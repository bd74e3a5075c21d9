"""Pyramids against cell-by-cell means; EM attention as what it says it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.attention import (
    asymmetric_attention,
    dense_attention,
    em_attention,
    pyramid_pool,
)
from tests.oracles import attention_sparse as oracle


def normals(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


@pytest.mark.parametrize(("h", "w"), [(1, 1), (2, 5), (8, 8), (13, 7), (24, 24)])
def test_pyramids_equal_the_means_cell_by_cell(h, w) -> None:
    x = normals(0, 100, h, w, 3)
    got = pyramid_pool(x)
    assert got.shape == (100, 110, 3)
    assert np.abs(got - oracle.pyramid(np.asarray(x), sizes=(1, 3, 6, 8))).max() < 1e-13


def test_asymmetric_attention_is_attention_to_the_anchors() -> None:
    q, k, v = (
        normals(0, 1000, 6, 4),
        normals(1, 1000, 4, 5, 4),
        normals(2, 1000, 4, 5, 2),
    )
    got = asymmetric_attention(q, k, v, sizes=(1, 2))
    anchors = [pyramid_pool(x, sizes=(1, 2)) for x in (k, v)]
    assert np.abs(got - dense_attention(q, *anchors)).max() < 1e-13
    low, high = v.min((1, 2))[:, None], v.max((1, 2))[:, None]
    assert (got >= low - 1e-12).all() and (got <= high + 1e-12).all()


def test_em_responsibilities_and_rank() -> None:
    x, bases = normals(0, 1000, 9, 5), normals(1, 3, 5)
    found = em_attention(x, bases, steps=3)
    assert np.abs(found.responsibilities.sum(-1) - 1).max() < 1e-14
    assert np.abs((found.bases**2).sum(-1) - 1).max() < 1e-9
    rebuilt = jnp.matmul(found.responsibilities, found.bases)
    assert np.abs(found.out - rebuilt).max() < 1e-14
    assert np.linalg.matrix_rank(np.asarray(found.out), tol=1e-9).max() <= 3


def test_em_finds_clusters() -> None:
    """Cold steps from poor bases end at the directions of the clusters."""
    draw = np.random.default_rng(2)
    centers = np.eye(4)[:3]
    owner = draw.integers(0, 3, 300)
    x = jnp.asarray(centers[owner] + 0.05 * draw.normal(size=(300, 4)))
    start = jnp.asarray(centers + 0.4 * draw.normal(size=(3, 4)))
    found = em_attention(x, start, steps=10, temperature=0.05)
    assert np.abs(found.bases - centers).max() < 0.02
    assert (np.asarray(found.responsibilities).argmax(-1) == owner).all()


def test_masked_positions_do_not_move_the_bases() -> None:
    x, bases = normals(0, 2, 9, 5), normals(1, 3, 5)
    mask = jnp.asarray(np.random.default_rng(3).random((2, 9)) < 0.6)
    moved = jnp.where(mask[..., None], x, x + 5)
    one, two = (em_attention(y, bases, key_mask=mask) for y in (x, moved))
    assert np.abs(one.bases - two.bases).max() < 1e-14
    none = jnp.zeros((2, 9), bool)
    slope = jax.grad(lambda x: em_attention(x, bases, key_mask=none).out.sum())(x)
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("n", [1, 2, 63, 100, 1000])
def test_gradients_by_length_equal_differences(n) -> None:
    """Neither form has a gradient by hand; em_attention's runs through all steps."""
    q, k, v = normals(0, n, 4), normals(1, n, 3, 4), normals(2, n, 3, 2)
    x, bases = normals(3, n, 4), normals(4, 3, 4)

    def asymmetric(q, k, v):
        return jnp.sum(jnp.sin(asymmetric_attention(q, k, v, sizes=(1, 2))))

    def em(x, bases):
        return jnp.sum(jnp.sin(em_attention(x, bases).out))

    for f, inputs in ((asymmetric, (q, k, v)), (em, (x, bases))):
        f = jax.jit(f)
        along = [normals(5 + i, *a.shape) for i, a in enumerate(inputs)]
        ahead, behind = (
            f(*(a + s * 1e-6 * t for a, t in zip(inputs, along, strict=True)))
            for s in (1, -1)
        )
        slopes = jax.jit(jax.grad(f, tuple(range(len(inputs)))))(*inputs)
        got = sum(jnp.vdot(g, t) for g, t in zip(slopes, along, strict=True))
        np.testing.assert_allclose(got, (ahead - behind) / 2e-6, rtol=1e-6, atol=1e-7)
