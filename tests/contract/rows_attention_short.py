"""Contract rows of low-rank attention, anchors, pooling and dropping tokens."""

import numpy as np

from kexue_jax.attention import (
    double_attention,
    em_attention,
    linformer_attention,
    mean_pool,
    pooled_attention,
    select_tokens,
    soft_select_tokens,
    token_significance,
)
from tests.contract.case import Bad, Case
from tests.contract.rows_attention import REVERSE
from tests.oracles import attention_sparse as oracle


def arrays(*shapes):
    return lambda rng: tuple(rng.normal(size=shape) for shape in shapes)


def with_mask(inputs, shape):
    def both(rng):
        return (*inputs(rng), rng.random(shape) < 0.6)

    return both


QKV = ((2, 1, 5, 3), (2, 1, 7, 3), (2, 1, 7, 2))


def linformer(q, k, v, e, f=None, key_mask=None, **options):
    return linformer_attention(q, k, v, e, f, key_mask=key_mask, **options)


def keyed(q, k, v, e, **options):
    return linformer_attention(q, k, v, e, **options)


def pooled(q, k, v, key_mask=None, **options):
    return pooled_attention(q, k, v, key_mask=key_mask, **options)


def double(c, b, v, key_mask=None):
    return double_attention(c, b, v, key_mask=key_mask)


def pool(x, key_mask=None, **options):
    return mean_pool(x, key_mask=key_mask, **options)


def em(x, bases, key_mask=None, **options):
    return tuple(em_attention(x, bases, key_mask=key_mask, **options))


def significance(q, k, key_mask=None, **options):
    return token_significance(q, k, key_mask=key_mask, **options)


def select(x, significance, key_mask=None, **options):
    return select_tokens(x, significance, key_mask=key_mask, **options)


def soft_select(x, significance, retention, key_mask=None, **options):
    return soft_select_tokens(x, significance, retention, key_mask=key_mask, **options)


def retentions(rng):
    """Multiples of 1/8, whose sums are exact in every dtype, by layer and rank."""
    return (rng.integers(0, 9, (2, 3, 5)) / 8,)


def with_retention(rng):
    x, scores, mask = distinct(rng)
    return x, scores, rng.integers(1, 9, (2, 7)) / 8, mask


def distinct(rng):
    """Tokens with significances that stay apart in bfloat16."""
    scores = np.stack([rng.permutation(7) / 7 for _ in range(2)])
    return rng.normal(size=(2, 7, 3)), scores, np.arange(7) != 3


BAD_SIZES = tuple(
    Bad("sizes", static={"sizes": sizes})
    for sizes in (None, 3, (), [1, 2], (0,), (1.5,))
)


ROWS = (
    Case(
        "attention.linformer_attention",
        with_mask(arrays(*QKV, (2, 1, 4, 7), (4, 7)), (2, 1, 7)),
        oracle.linformer,
        {"scale": 0.7},
        call=linformer,
        variant="two projections",
        optional=("scale", "key_mask", "f"),
        bad=(
            Bad("e", args={3: np.ones((4, 6))}),
            Bad("e", args={3: np.ones((3, 4, 7))}),
            Bad("f", args={4: np.ones((3, 7))}),
            Bad("k", args={1: np.ones((2, 1, 7, 2))}),
            Bad("key_mask", args={5: np.ones((2, 1, 7))}),
        ),
    ),
    Case(
        "attention.linformer_attention",
        arrays(*QKV, (4, 7)),
        oracle.linformer,
        call=keyed,
        variant="one projection",
    ),
    Case(
        "attention.pooled_attention",
        with_mask(arrays(*QKV), (2, 1, 7)),
        oracle.pooled,
        {"stride": 2, "scale": 0.7},
        call=pooled,
        optional=("scale", "key_mask"),
        bad=(
            Bad("v", args={2: np.ones((2, 1, 6, 2))}),
            Bad("key_mask", args={3: np.ones((2, 1, 6), bool)}),
        ),
    ),
    Case(
        "attention.strided_attention",
        arrays(*QKV, (2, 3, 3), (2, 2, 2)),
        lambda q, k, v, a, b, *, scale: oracle.attention(
            q, oracle.strided_conv(k, a), oracle.strided_conv(v, b), scale=scale
        )[0],
        {"scale": 0.7},
        optional=("scale",),
        bad=(
            Bad("kernel_k", args={3: np.ones((2, 3, 2))}),
            Bad("kernel_v", args={4: np.ones((3, 2, 2))}),
        ),
    ),
    Case(
        "attention.double_attention",
        with_mask(arrays((2, 1, 5, 3), (2, 1, 7, 3), (2, 1, 7, 2)), (2, 1, 7)),
        oracle.double,
        call=double,
        optional=("key_mask",),
        bad=(
            Bad("b", args={1: np.ones((2, 1, 7, 2))}),
            Bad("v", args={2: np.ones((2, 1, 6, 2))}),
        ),
    ),
    Case(
        "attention.pyramid_pool",
        arrays((2, 5, 7, 3)),
        oracle.pyramid,
        {"sizes": (1, 3, 8)},
        bad=(*BAD_SIZES, Bad("x", args={0: np.ones((5, 7))})),
    ),
    Case(
        "attention.asymmetric_attention",
        arrays((2, 6, 3), (2, 4, 5, 3), (2, 4, 5, 2)),
        oracle.asymmetric,
        {"sizes": (1, 3), "scale": 0.7},
        optional=("scale",),
        bad=(*BAD_SIZES, Bad("v", args={2: np.ones((2, 4, 4, 2))})),
    ),
    Case(
        "attention.em_attention",
        with_mask(arrays((2, 6, 3), (4, 3)), (2, 6)),
        oracle.em,
        {"steps": 2, "temperature": 0.8},
        call=em,
        optional=("key_mask",),
        bad=(
            Bad("bases", args={1: np.ones((4, 2))}),
            Bad("bases", args={1: np.ones((3, 4, 3))}),
            Bad("temperature", static={"temperature": 0.0}),
        ),
    ),
    Case(
        "attention.mean_pool",
        with_mask(arrays((2, 7, 3)), (2, 7)),
        oracle.mean_pool,
        {"stride": 3},
        call=pool,
        optional=("key_mask",),
        bad=(Bad("stride", static={"stride": 0}), Bad("x", args={0: np.ones(3)})),
    ),
    Case(
        "attention.strided_conv",
        arrays((2, 7, 3), (3, 3, 4)),
        oracle.strided_conv,
        bad=(
            Bad("kernel", args={1: np.ones((3, 4, 4))}),
            Bad("kernel", args={1: np.ones((0, 3, 4))}),
        ),
    ),
    Case(
        "attention.repeat_tokens",
        arrays((2, 3, 4)),
        lambda x, *, stride, length: x[..., np.arange(length) // stride, :],
        {"stride": 3, "length": 8},
        bad=(Bad("length", static={"length": 10}), Bad("x", args={0: np.ones(3)})),
    ),
    Case(
        "attention.token_significance",
        with_mask(arrays((2, 3, 5, 4), (2, 3, 5, 4)), (2, 5)),
        oracle.significance,
        {"scale": 0.7},
        call=significance,
        wide=True,
        grad=False,
        reason=REVERSE,
        optional=("scale", "key_mask"),
        bad=(Bad("k", args={1: np.ones((2, 3, 6, 4))}),),
    ),
    Case(
        "attention.select_tokens",
        distinct,
        oracle.select,
        {"keep": 4, "keep_first": True},
        call=select,
        optional=("key_mask",),
        bad=(
            Bad("keep", static={"keep": 8}),
            Bad("significance", args={1: np.ones((2, 6))}),
        ),
    ),
    Case(
        "attention.soft_select_tokens",
        with_retention,
        oracle.soft_select,
        {"keep_first": True},
        call=soft_select,
        optional=("key_mask",),
        bad=(
            Bad("significance", args={1: np.ones((2, 6))}),
            Bad("retention", args={2: np.ones((2, 6))}),
            Bad("retention", args={2: np.ones((3, 2, 7))}),
            Bad("x", args={0: np.ones((2, 0, 3)), 1: np.ones((2, 0))}),
        ),
    ),
    Case(
        "attention.retention_penalty",
        retentions,
        oracle.retention_penalty,
        wide=True,
        bad=(
            Bad("retention", args={0: np.ones(5)}),
            Bad("retention", args={0: np.ones((3, 0))}),
        ),
    ),
    Case(
        "attention.retained_tokens",
        retentions,
        oracle.retained,
        follows=None,
        grad=False,
        reason="counts have no gradient",
        bad=(
            Bad("retention", args={0: np.ones(5)}),
            Bad("retention", args={0: np.ones((0, 5))}),
        ),
    ),
)
