"""Linformer and its kin: closed forms, sharing, masks, convexity, rank, cost."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmark.cost import contraction_flops
from kexue_jax.attention import (
    dense_attention,
    double_attention,
    linformer_attention,
    pooled_attention,
    strided_attention,
)
from tests.oracles import attention_sparse as oracle


def inputs(n, *, lead=(2,), d=4, seed=0):
    draw = np.random.default_rng(seed)
    return tuple(jnp.asarray(draw.normal(size=(*lead, n, d))) for _ in range(3))


def test_the_identity_as_projection_is_full_attention() -> None:
    q, k, v = inputs(9, lead=(1000,))
    got = linformer_attention(q, k, v, jnp.eye(9))
    assert np.abs(got - dense_attention(q, k, v)).max() < 1e-13


def test_a_projection_of_means_is_pooled_attention() -> None:
    q, k, v = inputs(12)
    means = jnp.repeat(jnp.eye(4), 3, axis=1) / 3
    got = linformer_attention(q, k, v, means)
    assert np.abs(got - pooled_attention(q, k, v, stride=3)).max() < 1e-14
    kernel = jnp.broadcast_to(jnp.eye(4) / 3, (3, 4, 4))
    assert np.abs(got - strided_attention(q, k, v, kernel, kernel)).max() < 1e-14


def test_projections_may_be_shared_by_heads_and_between_key_and_value() -> None:
    draw = np.random.default_rng(1)
    q, k, v = inputs(8, lead=(3, 2))
    e, f = (jnp.asarray(draw.normal(size=(2, 5, 8))) for _ in range(2))
    per_head = linformer_attention(q, k, v, e, f)
    for head in range(2):
        one = linformer_attention(*(x[:, head] for x in (q, k, v)), e[head], f[head])
        assert np.abs(per_head[:, head] - one).max() < 1e-14
    shared = linformer_attention(q, k, v, e[0])
    both = linformer_attention(q, k, v, jnp.stack([e[0]] * 2), jnp.stack([e[0]] * 2))
    assert np.abs(shared - both).max() < 1e-14


def test_masked_keys_do_not_count() -> None:
    q, k, v = inputs(11)
    mask = (
        jnp.asarray(np.random.default_rng(2).random((2, 11)) < 0.5).at[0, 9:].set(False)
    )
    e = jnp.asarray(np.random.default_rng(3).normal(size=(3, 11)))
    moved = [jnp.where(mask[..., None], x, 9.0) for x in (k, v)]
    for run in (
        lambda k, v: linformer_attention(q, k, v, e, key_mask=mask),
        lambda k, v: pooled_attention(q, k, v, stride=2, key_mask=mask),
        lambda k, v: double_attention(q, k, v, key_mask=mask),
    ):
        assert np.abs(run(k, v) - run(*moved)).max() < 1e-14
    none = jnp.zeros((2, 11), bool)
    assert (pooled_attention(q, k, v, stride=2, key_mask=none) == 0).all()
    assert (double_attention(q, k, v, key_mask=none) == 0).all()


def test_the_weights_of_double_attention_are_a_distribution_of_low_rank() -> None:
    c, b, _ = inputs(12, lead=(1000,), d=3)
    weights = double_attention(c, b, jnp.broadcast_to(jnp.eye(12), (1000, 12, 12)))
    assert (weights >= 0).all() and np.abs(weights.sum(-1) - 1).max() < 1e-14
    assert np.linalg.matrix_rank(np.asarray(weights), tol=1e-10).max() <= 3


@pytest.mark.parametrize("n", [1, 2, 63, 100, 1000])
def test_awkward_lengths_equal_the_oracle(n) -> None:
    q, k, v = inputs(n)
    arrays = [np.asarray(x) for x in (q, k, v)]
    got = pooled_attention(q, k, v, stride=4)
    assert np.abs(got - oracle.pooled(*arrays, stride=4)).max() < 1e-13
    kernels = np.random.default_rng(1).normal(size=(2, 4, 4, 4))
    got = strided_attention(q, k, v, *(jnp.asarray(x) for x in kernels))
    short = [
        oracle.strided_conv(x, w) for x, w in zip(arrays[1:], kernels, strict=True)
    ]
    assert np.abs(got - oracle.attention(arrays[0], *short)[0]).max() < 1e-12


def matrix(n, stride, taps=None):
    """The mixtures [ceil(n / stride), n] that pool; or each by its own row of taps."""
    found = np.zeros((-(-n // stride), n))
    for i in range(n):
        found[i // stride, i] = 1 if taps is None else taps[i % stride]
    if taps is None:
        found /= found.sum(1, keepdims=True)
    return jnp.asarray(found)


@pytest.mark.parametrize("n", [1, 2, 63, 100, 1000])
def test_gradients_of_q_k_and_v_equal_those_of_whole_matrices(n) -> None:
    """Mixtures written out as matrices, attention by all of its weights."""
    arrays = inputs(n, lead=())
    draw = np.random.default_rng(1)
    e = jnp.asarray(draw.normal(size=(3, n)) / np.sqrt(n))
    taps = draw.normal(size=4)
    kernel = jnp.asarray(taps)[:, None, None] * jnp.eye(4)[None]
    mean, strided = matrix(n, 4), matrix(n, 4, taps)
    plain = lambda m: lambda q, k, v: dense_attention(q, m @ k, m @ v)  # noqa: E731

    def gather(c, b, v):
        return jax.nn.softmax(c, -1) @ (jax.nn.softmax(b, 0).T @ v)

    for fast, twin in (
        (functools.partial(pooled_attention, stride=4), plain(mean)),
        (lambda *a: strided_attention(*a, kernel, kernel), plain(strided)),
        (lambda *a: linformer_attention(*a, e), plain(e)),
        (double_attention, gather),
    ):
        assert_same_gradients(fast, twin, arrays)


@pytest.mark.parametrize("n", [1, 2, 63, 100, 1000])
def test_gradients_of_projections_and_kernels(n) -> None:
    q, k, v = inputs(n, lead=())
    draw = np.random.default_rng(1)
    mixtures = jnp.asarray(draw.normal(size=(2, 3, n)) / np.sqrt(n))
    kernels = jnp.asarray(draw.normal(size=(2, 4, 4, 4)))

    def strided(x, kernel):
        # Group I, tap t: token 4 I + t, where there is one.
        found = jnp.zeros((-(-n // 4), 4))
        for t in range(4):
            taken = x[t::4] @ kernel[t]
            found = found.at[: len(taken)].add(taken)
        return found

    def mixed(e, f):
        return jax.nn.softmax(q @ (e @ k).T / 2, -1) @ (f @ v)

    assert_same_gradients(
        lambda e, f: linformer_attention(q, k, v, e, f), mixed, mixtures
    )
    assert_same_gradients(
        lambda a, b: strided_attention(q, k, v, a, b),
        lambda a, b: dense_attention(q, strided(k, a), strided(v, b)),
        kernels,
    )


def assert_same_gradients(fast, twin, arrays):
    places = tuple(range(len(arrays)))
    got, wanted = (
        jax.jit(jax.grad(lambda *a, f=f: jnp.sin(f(*a)).sum(), places))(*arrays)
        for f in (fast, twin)
    )
    for ours, theirs in zip(got, wanted, strict=True):
        scale = max(1.0, float(np.abs(theirs).max()))
        assert np.abs(ours - theirs).max() < 1e-12 * scale


def test_flops_are_linear_in_the_length() -> None:
    def count(n):
        q, e = jnp.ones((n, 8), jnp.float32), jnp.ones((16, n), jnp.float32)
        return contraction_flops(linformer_attention, q, q, q, e)

    assert count(512) == 2 * 16 * (8 + 8) * (512 + 512)
    assert count(1024) == 2 * count(512)
