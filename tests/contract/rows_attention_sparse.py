"""Contract rows of sparse patterns: fixed, explicit, Longformer, BigBird, hashing."""

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax.attention import (
    atrous_attention,
    bigbird_attention,
    explicit_sparse_attention,
    local_attention,
    longformer_attention,
    lsh_attention,
    reversible_inverse,
    reversible_layers,
    sparse_attention,
)
from tests.contract.case import Bad, Case
from tests.contract.rows_attention import REVERSE
from tests.oracles import attention_sparse as oracle


def qkv(rng):
    return tuple(rng.normal(size=s) for s in ((2, 1, 7, 3), (2, 1, 7, 3), (2, 1, 7, 2)))


def padded(rng):
    mask = rng.random((2, 1, 7)) < 0.7
    mask[1] = False
    return (*qkv(rng), mask)


def bad_arrays():
    _, k, v = qkv(np.random.default_rng(0))
    return (
        Bad("k", args={1: k[..., :2, :]}),
        Bad("v", args={2: v[..., :5, :]}),
        Bad("key_mask", args={3: np.ones((2, 1, 7))}),
        Bad("key_mask", args={3: np.ones((2, 2, 7), bool)}),
    )


def atrous(q, k, v, key_mask=None, **options):
    return atrous_attention(q, k, v, key_mask=key_mask, **options)


def local(q, k, v, key_mask=None, **options):
    return local_attention(q, k, v, key_mask=key_mask, **options)


def sparse(q, k, v, key_mask=None, **options):
    return sparse_attention(q, k, v, key_mask=key_mask, **options)


def explicit(q, k, v, mask=None, **options):
    return explicit_sparse_attention(q, k, v, mask=mask, **options)


def patterns(name, call, reach, kind):
    """Two rows of a fixed pattern."""
    for variant, inputs, options in (
        ("causal", qkv, {"causal": True, "scale": 0.7}),
        ("masked", padded, {}),
    ):
        yield Case(
            f"attention.{name}",
            inputs,
            oracle.fixed(kind),
            {reach: 2, **options},
            call=call,
            variant=variant,
            grad=False,
            reason=REVERSE,
            optional=("key_mask", "scale"),
            bad=bad_arrays() if inputs is padded else (),
        )


def long_inputs(rng):
    """Two heads of their own dilation, and global tokens 4 and 0."""
    mask = rng.random((1, 2, 9)) < 0.7
    extra = tuple(
        rng.normal(size=s) for s in ((1, 2, 2, 3), (1, 2, 9, 3), (1, 2, 9, 2))
    )
    arrays = tuple(
        rng.normal(size=s) for s in ((1, 2, 9, 3), (1, 2, 9, 3), (1, 2, 9, 2))
    )
    return (*arrays, *extra, np.array([4, 0], np.int32), mask)


def longformer(q, k, v, q_global, k_global, v_global, positions, key_mask, **options):
    extra = (q_global, k_global, v_global, positions)
    return longformer_attention(q, k, v, *extra, key_mask=key_mask, **options)


def windows(q, k, v, **options):
    return longformer_attention(q, k, v, **options)


def bigbird(key, q, k, v, key_mask, **options):
    return bigbird_attention(key, q, k, v, key_mask=key_mask, **options)


def block_draws(key, q, *_):
    return jax.random.uniform(key, (4, 4), jnp.float32)


def shared(rng):
    mask = rng.random((2, 1, 11)) < 0.8
    return rng.normal(size=(2, 1, 11, 3)), rng.normal(size=(2, 1, 11, 2)), mask


def lsh(key, qk, v, key_mask, **options):
    return lsh_attention(key, qk, v, key_mask=key_mask, **options)


def rotations(rounds, buckets):
    def draws(key, x, *_):
        dtype = jnp.promote_types(x.dtype, jnp.float32)
        return jax.random.normal(key, (rounds, 3, buckets // 2), dtype)

    return draws


def wave(own, x):
    """A branch that NumPy and JAX both can run."""
    return own * x**2 / (1 + x**2) + own


def streams(rng):
    params = tuple(0.3 * rng.normal(size=(3, 1, 2)) for _ in range(2))
    return wave, wave, params, rng.normal(size=(4, 2)), rng.normal(size=(4, 2))


def changing(own, x):
    return x[:1]


BAD_STREAMS = (
    Bad("f", args={0: 3}),
    Bad("f", args={0: changing}),
    Bad("g", args={1: None}, traced=False),
    Bad("g", args={1: changing}),
    Bad("params", args={2: None}, traced=False),
    Bad("params", args={2: (np.ones((3, 1, 2)),)}),
    Bad("params", args={2: (np.ones((3, 1, 2)), np.ones((2, 1, 2)))}),
    Bad("params", args={2: (np.ones((3, 1, 2)), np.ones(()))}),
)

ROWS = (
    Case(
        "attention.sparse_mask",
        lambda rng: (),
        lambda *, n, k, kind, causal: oracle.pattern(n, k, kind, causal),
        {"n": 11, "k": 3, "kind": "sparse", "causal": True},
        grad=False,
        vmap=False,
        follows=None,
        extremes=False,
        reason="a boolean matrix of static numbers",
        bad=(Bad("n", static={"n": 0}), Bad("k", static={"k": 0})),
    ),
    *patterns("atrous_attention", atrous, "dilation", "atrous"),
    *patterns("local_attention", local, "radius", "local"),
    *patterns("sparse_attention", sparse, "reach", "sparse"),
    Case(
        "attention.explicit_sparse_attention",
        lambda rng: (*qkv(rng), rng.random((2, 1, 7, 7)) < 0.7),
        oracle.explicit,
        {"k_top": 2, "causal": True, "scale": 0.7},
        call=explicit,
        optional=("mask", "scale"),
        tolerance={"bfloat16": 3e-2},
        bad=(
            Bad("k_top", static={"k_top": 0}),
            Bad("k", args={1: np.ones((2, 1, 7, 2))}),
            Bad("mask", args={3: np.ones((2, 1, 7, 7))}),
        ),
    ),
    Case(
        "attention.longformer_attention",
        long_inputs,
        oracle.longformer,
        {"window": 4, "dilation": (2, 1)},
        call=longformer,
        variant="global",
        grad=False,
        reason=REVERSE,
        optional=("key_mask",),
        bad=(
            Bad("window", static={"window": 3}),
            Bad("dilation", static={"dilation": (1, 2, 3)}),
            Bad("dilation", static={"dilation": (1, 0)}),
            Bad("dilation", static={"dilation": None}),
            Bad("q_global", args={3: np.ones((1, 2, 3, 3))}),
            Bad("v_global", args={5: np.ones((1, 2, 9, 3))}),
            Bad("positions", args={6: np.ones((1, 2), int)}),
            Bad("positions", args={6: np.ones(2)}),
        ),
    ),
    Case(
        "attention.longformer_attention",
        qkv,
        oracle.longformer,
        {"window": 2, "dilation": 2, "scale": 0.7},
        call=windows,
        variant="windows",
        grad=False,
        reason=REVERSE,
        optional=("scale",),
    ),
    Case(
        "attention.bigbird_attention",
        padded,
        oracle.bigbird,
        {"block_size": 2, "n_window": 1, "n_global": 1, "n_random": 1},
        call=bigbird,
        draws=block_draws,
        grad=False,
        reason=REVERSE,
        optional=("key_mask",),
        bad=(*bad_arrays(), Bad("n_window", static={"n_window": 2})),
    ),
    Case(
        "attention.lsh_attention",
        shared,
        oracle.lsh,
        {"n_buckets": 4, "n_rounds": 2, "chunk_size": 3, "causal": True},
        call=lsh,
        draws=rotations(2, 4),
        optional=("chunk_size", "key_mask"),
        bad=(
            Bad("n_buckets", static={"n_buckets": 3}),
            Bad("v", args={1: np.ones((2, 1, 10, 2))}),
            Bad("key_mask", args={2: np.ones((2, 1, 11))}),
        ),
    ),
    Case(
        "attention.lsh_buckets",
        lambda rng: (rng.normal(size=(2, 7, 3)),),
        lambda x, *, draws, n_buckets, n_rounds: oracle.buckets(x, draws),
        {"n_buckets": 4, "n_rounds": 2},
        draws=rotations(2, 4),
        grad=False,
        follows=None,
        reason="integers",
        bad=(Bad("n_buckets", static={"n_buckets": 3}), Bad("x", args={0: np.ones(3)})),
    ),
    Case(
        "attention.reversible_layers",
        streams,
        oracle.reversible,
        call=lambda f, g, params, x1, x2: tuple(
            reversible_layers(f, g, params, x1, x2)
        ),
        follows=3,
        grad=False,
        extremes=False,
        reason="reverse mode only, compared in tests/attention/test_reversible.py; the "
        "branch of this row squares its input",
        bad=(
            *BAD_STREAMS,
            Bad("x2", args={4: np.ones((4, 3))}),
            Bad("x2", args={4: np.ones((4, 2), np.float64)}),
        ),
    ),
    Case(
        "attention.reversible_inverse",
        streams,
        oracle.reversible_back,
        call=lambda f, g, params, y1, y2: tuple(
            reversible_inverse(f, g, params, y1, y2)
        ),
        follows=3,
        extremes=False,
        reason="the branch of this row squares its input",
        bad=(*BAD_STREAMS, Bad("y2", args={4: np.ones((4, 3))})),
    ),
)
