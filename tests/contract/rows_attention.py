"""Contract rows of softmax attention: dense, block by block, merged."""

import numpy as np

from kexue_jax.attention import blockwise_attention, dense_attention
from tests.contract.case import Bad, Case
from tests.oracles import attention as oracle

REVERSE = (
    "reverse mode only, by a custom gradient, which tests/attention/test_blockwise.py "
    "compares with the dense form's"
)


def qkv(rng, n=7, m=9):
    """Heads [2, 1], features 3, values 2."""
    shapes = ((2, 1, n, 3), (2, 1, m, 3), (2, 1, m, 2))
    return tuple(rng.normal(size=shape) for shape in shapes)


def masked(rng):
    """A mask of pairs in which some queries have no key at all."""
    mask = rng.random((2, 1, 7, 9)) < 0.5
    mask[0, 0, 3] = False
    return (*qkv(rng), mask)


def padded(rng):
    mask = rng.random((2, 1, 9)) < 0.6
    mask[1] = False
    return (*qkv(rng), mask)


def dense(q, k, v, mask=None, **options):
    return dense_attention(q, k, v, mask=mask, **options)


def blockwise(q, k, v, key_mask=None, **options):
    return blockwise_attention(q, k, v, key_mask=key_mask, **options)


def dense_oracle(q, k, v, mask=None, *, return_lse=False, **options):
    out, lse = oracle.banded(q, k, v, mask, **options)
    return (out, lse) if return_lse else out


def blockwise_oracle(q, k, v, key_mask=None, *, block_size=None, **options):
    mask = None if key_mask is None else key_mask[..., None, :]
    return dense_oracle(q, k, v, mask, **options)


def bad_qkv():
    """Shapes that do not fit and dtypes that differ, by the argument to blame."""
    q, k, v = qkv(np.random.default_rng(0))
    return (
        Bad("q", args={0: q[0, 0, 0]}),
        Bad("k", args={1: k[..., :2]}),
        Bad("k", args={1: k[:1]}),
        Bad("k", args={1: k.astype(np.float64)}),
        Bad("v", args={2: v[..., :5, :]}),
        Bad("v", args={2: v[..., :0]}),
    )


BAD_OPTIONS = (
    Bad("causal", static={"causal": 1}),
    *(
        Bad("band", static={"band": band})
        for band in (3, (1,), (0.5, 1), (2, 1), (True, 2), [0, 1], (0, "text"))
    ),
    *(Bad("scale", static={"scale": scale}) for scale in ("text", np.nan, True)),
)


def merge_inputs(rng):
    outs, lses = ((rng.normal(size=s), rng.normal(size=s)) for s in ((2, 4, 3), (2, 4)))
    return outs, lses


def stacked_inputs(rng):
    return rng.normal(size=(3, 2, 4, 3)), rng.normal(size=(3, 2, 4))


ROWS = (
    Case(
        "attention.dense_attention",
        qkv,
        dense_oracle,
        {"scale": 0.7, "causal": True},
        call=dense,
        optional=("scale",),
        variant="causal",
        bad=(*bad_qkv(), *BAD_OPTIONS),
    ),
    Case(
        "attention.dense_attention",
        masked,
        dense_oracle,
        {"band": (-2, 3)},
        call=dense,
        optional=("mask",),
        variant="masked band",
        bad=(
            Bad("mask", args={3: np.ones((2, 1, 7, 9))}),
            Bad("mask", args={3: np.ones((2, 1, 7, 8), bool)}),
            Bad("mask", args={3: np.ones((1, 2, 1, 7, 9), bool)}),
        ),
    ),
    Case(
        "attention.dense_attention",
        qkv,
        dense_oracle,
        {"return_lse": True},
        call=dense,
        follows=None,
        variant="with lse",
    ),
    Case(
        "attention.blockwise_attention",
        qkv,
        blockwise_oracle,
        {"scale": 0.7, "causal": True, "block_size": 3},
        call=blockwise,
        grad=False,
        reason=REVERSE,
        optional=("scale", "block_size"),
        variant="causal",
        bad=(*bad_qkv(), *BAD_OPTIONS, Bad("block_size", static={"block_size": 0})),
    ),
    Case(
        "attention.blockwise_attention",
        padded,
        blockwise_oracle,
        {"band": (-3, 2)},
        call=blockwise,
        grad=False,
        reason=REVERSE,
        optional=("key_mask",),
        variant="masked band",
        bad=(
            Bad("key_mask", args={3: np.ones((2, 1, 9))}),
            Bad("key_mask", args={3: np.ones((2, 1, 8), bool)}),
            Bad("key_mask", args={3: np.ones((2, 1, 1, 9), bool)}),
        ),
    ),
    Case(
        "attention.blockwise_attention",
        qkv,
        blockwise_oracle,
        {"return_lse": True, "block_size": 4},
        call=blockwise,
        grad=False,
        reason=REVERSE,
        optional=("block_size",),
        follows=None,
        variant="with lse",
    ),
    Case(
        "attention.merge_attention",
        merge_inputs,
        oracle.merge,
        variant="two parts",
        data=(0, 1),
        bad=(
            Bad("outs", args={0: (np.zeros((2, 4, 3)), np.zeros((2, 4, 2)))}),
            Bad("outs", args={0: np.zeros(())}),
            Bad("lses", args={1: (np.zeros((2, 4)), np.zeros((2, 4, 3)))}),
        ),
    ),
    Case(
        "attention.merge_attention",
        stacked_inputs,
        oracle.merge,
        variant="stacked",
        bad=(
            Bad("outs", args={0: ()}, traced=False),
            Bad("lses", args={1: np.zeros((2, 2, 4))}),
            Bad("return_lse", static={"return_lse": None}),
        ),
    ),
)
