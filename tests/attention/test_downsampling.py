"""Pooling, strides, significance and selection, against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmark.cost import compiled_facts
from kexue_jax.attention import (
    dense_attention,
    mean_pool,
    repeat_tokens,
    retained_tokens,
    retention_penalty,
    select_tokens,
    soft_select_tokens,
    strided_conv,
    token_significance,
)
from tests.oracles import attention_sparse as oracle


def normals(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


@pytest.mark.parametrize("n", [1, 2, 63, 100, 1000])
def test_pools_and_strides_equal_the_definition(n) -> None:
    x, kernel = normals(0, 3, n, 4), normals(1, 3, 4, 2)
    mask = np.random.default_rng(2).random((3, n)) < 0.5
    got = mean_pool(x, stride=3, key_mask=jnp.asarray(mask))
    assert np.abs(got - oracle.mean_pool(np.asarray(x), mask, stride=3)).max() < 1e-14
    wanted = oracle.strided_conv(np.asarray(x), np.asarray(kernel))
    assert np.abs(strided_conv(x, kernel) - wanted).max() < 1e-13


def test_pooling_of_repeated_tokens_returns_them() -> None:
    x = normals(0, 1000, 5, 3)
    for stride in (1, 2, 4):
        long = repeat_tokens(x, stride=stride, length=5 * stride)
        assert np.abs(mean_pool(long, stride=stride) - x).max() < 1e-14
    cut = repeat_tokens(x, stride=4, length=18)
    assert cut.shape == (1000, 18, 3) and (cut[:, 17] == x[:, 4]).all()


def test_a_strided_convolution_of_equal_taps_is_the_mean() -> None:
    x = normals(0, 2, 12, 4)
    kernel = jnp.broadcast_to(jnp.eye(4) / 3, (3, 4, 4))
    assert np.abs(strided_conv(x, kernel) - mean_pool(x, stride=3)).max() < 1e-14


def weights(q, k, mask):
    eye = jnp.broadcast_to(jnp.eye(q.shape[-2]), (*q.shape[:-1], q.shape[-2]))
    return dense_attention(q, k, eye, mask=mask)


@pytest.mark.parametrize("n", [1, 2, 63, 100, 1000])
def test_significance_is_the_column_sum_of_the_weights(n) -> None:
    q, k = normals(0, 2, 3, n, 4), normals(1, 2, 3, n, 4)
    mask = jnp.asarray(np.random.default_rng(2).random((2, n)) < 0.7)
    both = mask[:, None, None, :] & mask[:, None, :, None]
    wanted = weights(q, k, both).sum((1, 2))
    got = token_significance(q, k, key_mask=mask)
    assert np.abs(got - wanted).max() < 1e-11
    assert np.abs(got.sum(-1) - 3 * mask.sum(-1)).max() < 1e-10
    assert (got[~mask] == 0).all()


@pytest.mark.parametrize("n", [1, 2, 63, 100, 1000])
def test_significance_has_a_gradient(n) -> None:
    heads = 1 if n == 1000 else 3
    q, k = normals(0, heads, n, 4), normals(1, heads, n, 4)
    every = jnp.ones((n, n), bool)
    got, wanted = (
        jax.jit(jax.grad(lambda q, k, f=f: jnp.sin(f(q, k)).sum(), (0, 1)))(q, k)
        for f in (
            token_significance,
            lambda q, k: weights(q, k, every).sum((0, 1)),
        )
    )
    for ours, theirs in zip(got, wanted, strict=True):
        assert np.abs(ours - theirs).max() < 1e-12


@pytest.mark.parametrize("n", [1, 2, 63, 100, 1000])
def test_gradients_of_pools_and_selections_equal_those_of_matrices(n) -> None:
    """Pooling as a matrix; selection as one, of who ranks where."""
    x, score = normals(0, n, 4), np.random.default_rng(1).normal(size=n)
    mask = np.random.default_rng(2).random(n) < 0.7
    place = np.arange(n)
    kept = np.where(mask, score, -np.inf)
    kept[0] = np.inf
    ahead = (kept[None] > kept[:, None]) | (
        (kept[None] == kept[:, None]) & (place[None] < place[:, None])
    )
    rank, keep = ahead.sum(1), -(-n // 2)
    ranks = jnp.asarray(np.eye(n)[rank])
    chosen = jnp.asarray(np.eye(n)[np.flatnonzero(rank < keep)])
    groups = np.zeros((-(-n // 3), n))
    groups[place // 3, place] = mask
    groups = jnp.asarray(groups / np.maximum(groups.sum(1, keepdims=True), 1))
    options, score = {"key_mask": jnp.asarray(mask)}, jnp.asarray(score)
    for fast, twin in (
        (lambda x, r: mean_pool(x, stride=3, **options), lambda x, r: groups @ x),
        (
            lambda x, r: soft_select_tokens(x, score, r, **options),
            lambda x, r: (ranks @ r)[:, None] * x,
        ),
        (
            lambda x, r: select_tokens(x, score, keep=keep, **options).x,
            lambda x, r: chosen @ x,
        ),
    ):
        got, wanted = (
            jax.jit(jax.grad(lambda *a, f=f: jnp.sin(f(*a)).sum(), (0, 1)))(
                x, normals(3, n)
            )
            for f in (fast, twin)
        )
        for ours, theirs in zip(got, wanted, strict=True):
            assert np.abs(ours - theirs).max() < 1e-13


def test_significance_has_linear_memory() -> None:
    def peak(n):
        q = jnp.ones((2, n, 8), jnp.float32)
        compiled = jax.jit(token_significance).lower(q, q).compile()
        return compiled_facts(compiled)["peak_bytes"]

    assert peak(8192) < 2.2 * peak(4096)


def test_selection_keeps_the_most_significant_in_order() -> None:
    """1,000 sequences; the first token stays, masked ones go first."""
    draw = np.random.default_rng(0)
    x = jnp.asarray(draw.normal(size=(1000, 9, 2)))
    score = draw.permuted(np.tile(np.arange(9.0), (1000, 1)), axis=1)
    mask = draw.random((1000, 9)) < 0.7
    for keep_first in (True, False):
        for keep in (1, 4, 9):
            options = {"keep": keep, "keep_first": keep_first}
            got = select_tokens(
                x, jnp.asarray(score), key_mask=jnp.asarray(mask), **options
            )
            wanted = oracle.select(np.asarray(x), score, mask, **options)
            assert (got.index == wanted[1]).all() and (got.x == wanted[0]).all()
            assert (np.diff(got.index, axis=-1) > 0).all()


def test_the_gradient_of_selection_is_that_of_the_kept_tokens() -> None:
    x, score = normals(0, 5, 2), jnp.array([0.0, 3.0, 1.0, 2.0, 0.5])
    run = lambda x, s: select_tokens(x, s, keep=3, keep_first=False).x.sum()  # noqa: E731
    of_x, of_score = jax.grad(run, (0, 1))(x, score)
    assert (of_x[:, 0] == jnp.array([0.0, 1.0, 1.0, 1.0, 0.0])).all()
    assert (of_score == 0).all()


def test_soft_selection_multiplies_by_the_retention_of_the_rank() -> None:
    """1,000 sequences, with ties: each token against those that come before it."""
    draw = np.random.default_rng(1)
    x, r = draw.normal(size=(1000, 7, 2)), draw.random(7)
    score = draw.integers(0, 4, (1000, 7)) / 4
    mask = draw.random((1000, 7)) < 0.7
    for keep_first in (True, False):
        options = {"keep_first": keep_first}
        fast = jax.jit(lambda *a, o=options: soft_select_tokens(*a, key_mask=mask, **o))
        wanted = oracle.soft_select(x, score, r, mask, **options)
        assert np.abs(fast(x, score, r) - wanted).max() < 1e-15


def test_soft_selection_of_ones_and_zeros_is_the_hard_one() -> None:
    draw = np.random.default_rng(2)
    x, score = jnp.asarray(draw.normal(size=(1000, 8, 2))), draw.random((1000, 8))
    for keep in (1, 3, 8):
        hard = select_tokens(x, jnp.asarray(score), keep=keep)
        soft = soft_select_tokens(x, jnp.asarray(score), (jnp.arange(8) < keep) * 1.0)
        spread = jnp.zeros_like(x)
        spread = jax.vmap(lambda row, i, kept: row.at[i].set(kept))(spread, *hard[::-1])
        assert (soft == spread).all()


def test_retentions_learn_how_many_tokens_a_layer_needs() -> None:
    """Three of eight tokens carry the target: the penalty drops the five others."""
    draw = np.random.default_rng(3)
    need = jnp.asarray(draw.permuted(np.tile(np.arange(8), (64, 1)), axis=1) < 3)
    x = jnp.asarray(draw.normal(size=(64, 8, 1)))
    score = need + 0.1 * jnp.asarray(draw.random((64, 8)))
    wanted = jnp.where(need[..., None], x, 0).sum(-2)

    def loss(r):
        got = soft_select_tokens(x, score, r[0], keep_first=False).sum(-2)
        return jnp.square(got - wanted).mean() + 0.05 * retention_penalty(r)

    def step(r, _):
        return jnp.clip(r - 0.1 * jax.grad(loss)(r), 0, 1), None

    r, _ = jax.lax.scan(step, jnp.ones((1, 8)), length=200)
    assert (r[0, :3] > 0.9).all() and (r[0, 3:] < 0.05).all()
    assert retained_tokens(r).tolist() == [3]


def test_penalty_and_counts_of_layers() -> None:
    r = jnp.array([[1.0, 0.6, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    assert retention_penalty(r) == pytest.approx(1.6 + 2 * 3.0)
    assert retained_tokens(r).tolist() == [2, 2, 1]
    near = jnp.full((1, 10), 0.1, jnp.float32)  # sums to 1 but for rounding
    assert retained_tokens(near).tolist() == [1]
