"""The dense form: convexity, shift and scale invariance, masks, rows without keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.attention import dense_attention
from tests.oracles import attention as oracle


def normals(seed, *shape, dtype=jnp.float64):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def test_outputs_lie_in_the_hull_of_the_values() -> None:
    q, k, v = 3 * normals(0, 1000, 4, 5), normals(1, 1000, 6, 5), normals(2, 1000, 6, 3)
    out = dense_attention(q, k, v)
    low, high = v.min(-2, keepdims=True), v.max(-2, keepdims=True)
    assert (out >= low - 1e-12).all() and (out <= high + 1e-12).all()
    ones = dense_attention(q, k, jnp.ones_like(v))
    assert np.abs(ones - 1).max() < 1e-14


def test_a_common_shift_of_the_keys_changes_nothing_but_the_lse() -> None:
    q, k, v = normals(0, 1000, 4, 5), normals(1, 1000, 6, 5), normals(2, 1000, 6, 3)
    shift = normals(3, 1000, 1, 5)
    one = dense_attention(q, k, v, return_lse=True)
    two = dense_attention(q, k + shift, v, return_lse=True)
    assert np.abs(one.out - two.out).max() < 1e-12
    moved = (q * shift).sum(-1) / np.sqrt(5)
    assert np.abs(two.lse - one.lse - moved).max() < 1e-12


def test_one_key_gives_its_value() -> None:
    q, k, v = normals(0, 7, 5), normals(1, 1, 5), normals(2, 1, 3)
    assert (dense_attention(q, k, v) == v).all()


@pytest.mark.parametrize("shape", [(5, 6), (1, 6), (3, 1, 5, 6), (3, 2, 5, 6), ()])
def test_masks_broadcast(shape) -> None:
    q, k, v = normals(0, 3, 2, 5, 4), normals(1, 3, 2, 6, 4), normals(2, 3, 2, 6, 3)
    mask = np.random.default_rng(3).random(shape) < 0.6
    got = dense_attention(q, k, v, mask=jnp.asarray(mask))
    wanted = oracle.attention(*map(np.asarray, (q, k, v)), keep=mask)[0]
    assert np.abs(got - wanted).max() < 1e-13


def test_rows_without_keys_are_zero_with_zero_gradient() -> None:
    q, k, v = normals(0, 5, 4), normals(1, 6, 4), normals(2, 6, 3)
    mask = np.ones((5, 6), bool)
    mask[[0, 3]] = False

    def total(q, k, v, mask):
        part = dense_attention(q, k, v, mask=mask, return_lse=True)
        seen = jnp.where(jnp.isfinite(part.lse), part.lse, 0)
        return jnp.sin(part.out).sum() + seen.sum(), part

    grads, part = jax.grad(total, (0, 1, 2), has_aux=True)(q, k, v, jnp.asarray(mask))
    assert (part.out[jnp.array([0, 3])] == 0).all()
    assert np.isneginf(part.lse[jnp.array([0, 3])]).all()
    assert all(np.isfinite(g).all() for g in grads)
    assert (grads[0][jnp.array([0, 3])] == 0).all()
    none = jax.grad(total, (0, 1, 2), has_aux=True)(q, k, v, jnp.zeros((5, 6), bool))
    assert all((g == 0).all() for g in none[0])


def test_scale_may_be_traced_and_has_a_gradient() -> None:
    q, k, v = normals(0, 5, 4), normals(1, 6, 4), normals(2, 6, 3)
    value = lambda s: dense_attention(q, k, v, scale=s).sum()  # noqa: E731
    slope = jax.grad(value)(jnp.asarray(0.3))
    step = 1e-6
    wanted = (value(0.3 + step) - value(0.3 - step)) / (2 * step)
    assert abs(slope - wanted) < 1e-8
