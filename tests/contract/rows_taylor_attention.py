"""Contract rows of Taylor attention and of its features."""

import functools

import numpy as np

from kexue_jax import attention
from tests.contract.case import Bad, Case
from tests.contract.rows_taylor import BAD_ORDERS
from tests.oracles import taylor as oracle

LEAD, N, M, D, E = (2, 1), 5, 7, 3, 4


def arrays(rng):
    """q, k, v of two heads."""
    return tuple(
        rng.normal(size=(*LEAD, rows, width))
        for rows, width in ((N, D), (M, D), (M, E))
    )


def masked(rng):
    """The same with a mask in which one query keeps no key."""
    mask = rng.uniform(size=(*LEAD, N, M)) < 0.6
    mask[0, 0, 2] = False
    return *arrays(rng), mask


def call(q, k, v, mask, *, form, **static):
    return form(q, k, v, mask=mask, **static)


BAD_ARRAYS = (
    Bad("q", args={0: np.zeros(3)}),
    Bad("k", args={1: np.zeros((*LEAD, M, D + 1))}),
    Bad("k", args={1: np.zeros((*LEAD, M, D), np.float16)}),
    Bad("v", args={2: np.zeros((*LEAD, M + 1, E))}),
    Bad("v", args={2: np.zeros((*LEAD, M, 0))}),
    Bad("scale", static={"scale": "text"}),
)
BAD_MASKS = (
    Bad("mask", args={3: np.ones((*LEAD, N, M))}),
    Bad("mask", args={3: np.ones((*LEAD, N, M + 1), bool)}),
    Bad("mask", args={3: np.ones((4, *LEAD, N, M), bool)}),
)
BAD_BLOCKS = tuple(Bad("block_size", static={"block_size": b}) for b in (0, True))


def attention_row(variant, order, *, mask=False, block_size=None, **static):
    blocks = {} if block_size is None else {"block_size": block_size}
    name = "taylor_attention" if block_size is None else "blockwise_taylor_attention"
    own = {"order": order, "causal": False, "monotone": False, **static}

    def wanted(*arguments, block_size=None, **static):
        return oracle.attention(*arguments, **static)

    return Case(
        f"attention.{name}",
        masked if mask else lambda rng: (*arrays(rng), None),
        wanted,
        {**own, **blocks},
        variant=variant,
        call=functools.partial(call, form=getattr(attention, name)),
        optional=("mask", "block_size"),
        bad=(
            *BAD_ARRAYS,
            *BAD_ORDERS,
            *(BAD_MASKS if mask else ()),
            *(BAD_BLOCKS if blocks else ()),
        ),
    )


def points(rng):
    return (rng.normal(size=(2, 1, 3, 4)),)


BAD_POINTS = (
    Bad("x", args={0: np.zeros(())}),
    Bad("x", args={0: np.zeros((3, 0))}),
    Bad("x", args={0: np.zeros((3, 2), int)}),
)


def features_row(name, variant, wanted, bad=(), **static):
    return Case(
        f"attention.{name}",
        points,
        wanted,
        {"scale": True, **static},
        variant=variant,
        bad=(*BAD_POINTS, *bad),
    )


ROWS = (
    attention_row("order 2, causal", 2, causal=True),
    attention_row("order 4, masked, monotone", 4, mask=True, monotone=True),
    attention_row("order 2, causal, masked", 2, causal=True, mask=True, block_size=2),
    attention_row("order 4, monotone", 4, monotone=True, block_size=3),
    features_row("taylor2_features", "", oracle.taylor2_features),
    *(
        features_row(
            name,
            f"order {order}",
            functools.partial(oracle.features, binomial=name[0] == "b"),
            BAD_ORDERS,
            order=order,
        )
        for name, order in (
            ("taylor_features", 2),
            ("taylor_features", 4),
            ("binomial_features", 4),
        )
    ),
)
