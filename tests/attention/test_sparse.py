"""Fixed patterns, explicit top-k, BigBird: exact against their masks; their cost."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmark.cost import compiled_facts, contraction_flops
from kexue_jax.attention import (
    atrous_attention,
    bigbird_attention,
    dense_attention,
    explicit_sparse_attention,
    local_attention,
    sparse_attention,
    sparse_mask,
)
from kexue_jax.attention.bigbird import chosen_blocks
from tests.oracles import attention_sparse as oracle

FORMS = {
    "atrous": lambda k, **o: functools.partial(atrous_attention, dilation=k, **o),
    "local": lambda k, **o: functools.partial(local_attention, radius=k, **o),
    "sparse": lambda k, **o: functools.partial(sparse_attention, reach=k, **o),
}


def inputs(n, *, lead=(2,), d=4, seed=0, dtype=jnp.float64):
    draw = np.random.default_rng(seed)
    return tuple(jnp.asarray(draw.normal(size=(*lead, n, d)), dtype) for _ in range(3))


def assert_same(fast, twin, arrays, bound=1e-12):
    """Values and gradients."""

    def both(attend):
        def total(*arrays):
            out = attend(*arrays)
            return jnp.sum(jnp.sin(out)), out

        return jax.jit(jax.grad(total, (0, 1, 2), has_aux=True))(*arrays)

    for ours, theirs in zip(
        jax.tree.leaves(both(fast)), jax.tree.leaves(both(twin)), strict=True
    ):
        assert np.abs(ours - theirs).max() < bound


def masked(mask):
    return lambda q, k, v: dense_attention(q, k, v, mask=mask)


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("n", [1, 2, 63, 100, 1000])
def test_patterns_equal_their_masks_at_awkward_lengths(n, kind) -> None:
    k = 8 if n > 8 else 2
    for causal in (False, True):
        mask = sparse_mask(n=n, k=k, kind=kind, causal=causal)
        assert_same(FORMS[kind](k, causal=causal), masked(mask), inputs(n))


@pytest.mark.parametrize("kind", FORMS)
def test_masks_equal_the_pair_by_pair_definition(kind) -> None:
    for n in (1, 5, 12):
        for k in (1, 2, 3, 20):
            for causal in (False, True):
                mask = sparse_mask(n=n, k=k, kind=kind, causal=causal)
                assert (mask == oracle.pattern(n, k, kind, causal)).all()


@pytest.mark.parametrize("kind", FORMS)
def test_a_thousand_heads_with_masks_of_their_own(kind) -> None:
    q, k, v = inputs(13, lead=(1000,), seed=3)
    keys = jnp.asarray(np.random.default_rng(4).random((1000, 13)) < 0.6)
    mask = sparse_mask(n=13, k=3, kind=kind)[None] & keys[:, None]
    got = FORMS[kind](3, key_mask=keys)(q, k, v)
    assert np.abs(got - dense_attention(q, k, v, mask=mask)).max() < 1e-13


def test_the_edges_of_the_patterns_are_full_attention() -> None:
    q, k, v = inputs(23)
    for causal in (False, True):
        full = dense_attention(q, k, v, causal=causal)
        for attend in (
            FORMS["atrous"](1, causal=causal),
            FORMS["local"](22, causal=causal),
            FORMS["sparse"](1, causal=causal),
            FORMS["sparse"](22, causal=causal),
        ):
            assert np.abs(attend(q, k, v) - full).max() < 1e-14
    alone = local_attention(q, k, v, radius=0)
    assert (alone == v).all()


def test_flops_are_those_of_the_pattern() -> None:
    def count(kind, k, n):
        return contraction_flops(FORMS[kind](k), *inputs(n, lead=(), dtype=jnp.float32))

    full = 4 * 2048**2 * 4
    assert count("atrous", 8, 2048) == full / 8
    assert count("local", 64, 8192) < 2.1 * count("local", 64, 4096)
    assert count("sparse", 32, 2048) < full / 3


def test_memory_of_the_patterns_is_linear() -> None:
    def peak(kind, n):
        arrays = inputs(n, dtype=jnp.float32)
        total = lambda *a: FORMS[kind](32)(*a).sum()  # noqa: E731
        compiled = jax.jit(jax.grad(total, (0, 1, 2))).lower(*arrays).compile()
        return compiled_facts(compiled)["peak_bytes"]

    for kind in FORMS:
        # From 2,048 rows of a class on blocks are larger: not between the two lengths.
        assert peak(kind, 32_768) < 2.2 * peak(kind, 16_384)


@pytest.mark.parametrize("causal", [False, True])
def test_explicit_sparse_keeps_the_largest_scores(causal) -> None:
    q, k, v = inputs(9, lead=(1000,), seed=5)
    arrays = [np.asarray(x) for x in (q, k, v)]
    got = explicit_sparse_attention(q, k, v, k_top=3, causal=causal)
    wanted = oracle.explicit(*arrays, k_top=3, causal=causal)
    assert np.abs(got - wanted).max() < 1e-13
    full = explicit_sparse_attention(q, k, v, k_top=9, causal=causal)
    assert np.abs(full - dense_attention(q, k, v, causal=causal)).max() < 1e-13
    more = explicit_sparse_attention(q, k, v, k_top=100, causal=causal)
    assert (more == full).all()


def test_explicit_sparse_keeps_ties_and_rows_without_keys_are_zero() -> None:
    q, k = jnp.ones((3, 1)), jnp.ones((4, 1))
    mask = jnp.asarray([[True] * 4, [True, True, False, False], [False] * 4])

    def total(q, k, v):
        return explicit_sparse_attention(q, k, v, k_top=1, mask=mask)

    got = total(q, k, jnp.eye(4))
    wanted = [[0.25] * 4, [0.5, 0.5, 0, 0], [0] * 4]
    assert np.abs(got - np.array(wanted)).max() < 1e-15
    grads = jax.grad(lambda *a: jnp.sin(total(*a)).sum(), (0, 1, 2))(q, k, jnp.eye(4))
    assert all(np.isfinite(g).all() for g in grads) and (grads[0][2] == 0).all()


KEY = jax.random.key(3)


@pytest.mark.parametrize("n", [1, 2, 63, 100, 1000])
def test_bigbird_equals_its_mask(n) -> None:
    counts = {"block_size": 8, "n_window": 3, "n_global": 1, "n_random": 2}
    blocks = -(-n // 8)
    draws = np.asarray(jax.random.uniform(KEY, (blocks, blocks), jnp.float32))
    mask = jnp.asarray(oracle.bigbird_mask(draws, n, **counts))
    attend = functools.partial(bigbird_attention, KEY, **counts)
    assert_same(attend, masked(mask), inputs(n))


def test_bigbird_blocks_are_distinct_and_as_many_as_asked() -> None:
    """1,000 draws: no block twice, random ones elsewhere, each equally likely."""
    choose = functools.partial(
        chosen_blocks, blocks=12, n_window=3, n_global=2, n_random=3
    )
    index, valid = jax.vmap(choose)(jax.random.split(KEY, 1000))
    times = np.zeros((12, 12))
    for row in range(12):
        own = np.where(valid[:, row], index[:, row], -1)
        assert (
            np.diff(np.sort(own, -1), axis=-1)[np.sort(own, -1)[:, 1:] >= 0] > 0
        ).all()
        drawn = index[:, row, 5:]
        assert valid[:, row, 5:].all()
        assert (drawn >= 2).all() and (np.abs(drawn - row) > 1).all()
        times[row] = np.bincount(drawn.ravel(), minlength=12)
    free = times[5][times[5] > 0]
    # 7 free blocks, 3 of them drawn: a mean of 3000 / 7, 6 standard deviations allowed.
    spread = np.sqrt(1000 * (3 / 7) * (4 / 7))
    assert len(free) == 7 and np.abs(free - 3000 / 7).max() < 6 * spread


def test_bigbird_is_linear_in_the_length() -> None:
    def count(n):
        q = jnp.ones((n, 4), jnp.float32)
        run = functools.partial(bigbird_attention, KEY, block_size=16)
        return contraction_flops(run, q, q, q)

    assert count(2048) == 2 * count(1024)
