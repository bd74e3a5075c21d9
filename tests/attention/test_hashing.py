"""LSH attention: exact over what the rounds join, whole with one bucket."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmark.cost import contraction_flops
from kexue_jax.attention import dense_attention, lsh_attention, lsh_buckets
from tests.oracles import attention_sparse as oracle

KEY = jax.random.key(11)


def inputs(n, *, lead=(2,), d=4, seed=0):
    draw = np.random.default_rng(seed)
    return tuple(jnp.asarray(draw.normal(size=(*lead, n, d))) for _ in range(2))


def unit(x):
    return x / jnp.sqrt((x**2).sum(-1, keepdims=True) + 1e-12)


def union(qk, n_buckets, n_rounds, chunk_size, causal):
    """The pairs that some round joins, a query itself only where it is alone."""
    n = qk.shape[-2]
    shape = (n_rounds, qk.shape[-1], n_buckets // 2)
    found = np.zeros((n_rounds, *qk.shape[:-1]), int)
    if n_buckets > 1:
        draws = np.asarray(jax.random.normal(KEY, shape, jnp.float64))
        found = oracle.buckets(np.asarray(qk), draws)
    keep = np.zeros((*qk.shape[:-1], n), bool)
    for place in np.ndindex(*qk.shape[:-2]):
        for turn in range(n_rounds):
            keep[place] |= oracle.lsh_pairs(found[(turn, *place)], chunk_size)
    if causal:
        keep &= np.tril(np.ones((n, n), bool))
    others = keep & ~np.eye(n, dtype=bool)
    return jnp.asarray(np.where(others.any(-1, keepdims=True), others, keep))


@pytest.mark.parametrize(
    ("n", "n_rounds", "causal"),
    [
        *((n, rounds, False) for n, rounds in ((1, 1), (2, 3), (63, 1), (100, 3))),
        *((n, rounds, True) for n, rounds in ((1, 1), (2, 3), (63, 1), (100, 3))),
        (1000, 2, True),
    ],
)
def test_equals_dense_attention_over_the_union_of_pairs(n, n_rounds, causal) -> None:
    """Value and gradient; pairs found in several rounds count once."""
    qk, v = inputs(n)
    options = {"n_buckets": 6, "n_rounds": n_rounds, "chunk_size": 11}
    mask = union(qk, 6, n_rounds, min(11, n), causal)

    def fast(qk, v):
        return lsh_attention(KEY, qk, v, causal=causal, **options)

    def twin(qk, v):
        return dense_attention(qk, unit(qk), v, mask=mask)

    def both(attend):
        def total(qk, v):
            out = attend(qk, v)
            return jnp.sum(jnp.cos(out)), out

        return jax.tree.leaves(jax.jit(jax.grad(total, (0, 1), has_aux=True))(qk, v))

    for ours, theirs in zip(both(fast), both(twin), strict=True):
        assert np.abs(ours - theirs).max() < 1e-9


@pytest.mark.parametrize("causal", [False, True])
def test_one_bucket_is_full_shared_attention(causal) -> None:
    qk, v = inputs(9, lead=(1000,), seed=2)
    got = lsh_attention(KEY, qk, v, n_buckets=1, causal=causal)
    mask = ~np.eye(9, dtype=bool)
    if causal:
        mask = np.tril(mask)
        mask[0, 0] = True
    wanted = dense_attention(qk, unit(qk), v, mask=jnp.asarray(mask))
    assert np.abs(got - wanted).max() < 1e-10


def test_a_thousand_vectors_hash_by_their_largest_rotation() -> None:
    x = inputs(1000, lead=())[0]
    draws = np.asarray(jax.random.normal(KEY, (3, 4, 4), jnp.float64))
    got = lsh_buckets(KEY, x, n_buckets=8, n_rounds=3)
    assert (got == oracle.buckets(np.asarray(x), draws)).all()
    opposite = lsh_buckets(KEY, -x, n_buckets=8, n_rounds=3)
    assert (opposite == (got + 4) % 8).all()
    assert (lsh_buckets(KEY, 100 * x, n_buckets=8, n_rounds=3) == got).all()


def test_near_vectors_share_buckets_more_often() -> None:
    """Collisions fall with the angle: 2,000 pairs in 50 rounds at three angles."""
    a, b = inputs(2000, lead=(), d=16, seed=4)
    a = unit(a)
    b = unit(b - (a * b).sum(-1, keepdims=True) * a)
    rates = []
    for angle in (0.1, 0.5, 1.5):
        near = np.cos(angle) * a + np.sin(angle) * b
        same = [lsh_buckets(KEY, x, n_buckets=16, n_rounds=50) for x in (a, near)]
        rates.append(float((same[0] == same[1]).mean()))
    assert rates[0] > 0.8 > rates[1] + 0.1 > rates[2] + 0.3


def test_masked_keys_are_never_seen_and_alone_is_zero() -> None:
    qk, v = inputs(40)
    mask = jnp.asarray(np.random.default_rng(5).random((2, 40)) < 0.5).at[1].set(False)

    def run(v):
        return lsh_attention(KEY, qk, v, n_buckets=4, n_rounds=2, key_mask=mask)

    moved = run(jnp.where(mask[..., None], v, 7.0))
    assert (run(v) == moved).all()
    assert (moved[1] == 0).all()
    grad = jax.grad(lambda v: jnp.sin(run(v)).sum())(v)
    assert np.isfinite(grad).all() and (grad[~mask] == 0).all()


def test_causal_attention_does_not_look_ahead() -> None:
    """Keys and buckets of the past decide alone, where chunks are whole buckets."""
    qk, v = inputs(30)
    later = v.at[:, 20:].add(1.0)
    run = lambda v: lsh_attention(KEY, qk, v, n_buckets=4, n_rounds=2, causal=True)  # noqa: E731
    difference = np.abs(run(v) - run(later)).max((0, 2))
    assert (difference[:20] == 0).all() and (difference[20:] > 0).any()


def test_flops_are_linear_for_buckets_in_proportion() -> None:
    def count(n):
        qk = jnp.ones((n, 8), jnp.float32)
        run = lambda qk, v: lsh_attention(KEY, qk, v, n_buckets=n // 32)  # noqa: E731
        hashing = 2 * n * 8 * (n // 64)
        return contraction_flops(run, qk, qk) - hashing

    assert count(2048) == 2 * count(1024)
