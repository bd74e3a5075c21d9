"""Contract rows of rotary attention, its caches and its decoding."""

import jax.numpy as jnp
import numpy as np

from kexue_jax.attention import (
    RawKeyCache,
    RopeCache,
    raw_decode_step,
    rerope_cache,
    rerope_decode_step,
)
from tests.contract.case import Bad, Case
from tests.oracles import positions, rerope

FREQS = positions.frequencies(6, base=30.0)
MASK = np.array([[False, True, True, True, False, True, True, True, True]])
NO_FORWARD = "a hand-written gradient has no forward mode (see blockwise_attention)"
LENGTH = np.array(5)
SHAPE, SHARED, VALUES = (2, 4, 9, 6), (2, 2, 9, 6), (2, 2, 9, 5)


def qkv(rng, *shapes):
    return tuple(rng.normal(size=shape) for shape in shapes)


BAD = (
    Bad("q", args={0: np.ones(6)}),
    Bad("q", args={0: np.ones((2, 4, 9, 5))}),
    Bad("k", args={1: np.ones((2, 3, 9, 6))}),
    Bad("k", args={1: np.ones((2, 2, 8, 6))}),
    Bad("k", args={1: np.ones((2, 2, 9, 4))}),
    Bad("v", args={2: np.ones((2, 4, 9, 5))}),
    Bad("v", args={2: np.ones((3, 2, 9, 5))}),
    Bad("freqs", static={"freqs": None}),
    Bad("freqs", static={"freqs": np.ones(6)}),
    Bad("freqs", static={"freqs": np.ones(3, np.float16)}),
    Bad("scale", static={"scale": "text"}),
    Bad("window", static={"window": -1}),
)
BAD_LEAK = tuple(Bad("leak", static={"leak": x}) for x in (0.0, -1.0, None, "text"))
BAD_KEYS = (
    Bad("key_mask", static={"key_mask": np.ones(9)}),
    Bad("key_mask", static={"key_mask": np.ones(8, bool)}),
    Bad("block_size", static={"block_size": 0}),
)
BAD_DENSE = (
    Bad("mask", static={"mask": np.ones((9, 9))}),
    Bad("mask", static={"mask": np.ones((8, 9), bool)}),
    Bad("positions", static={"positions": np.ones(8)}),
    Bad("positions", static={"positions": np.ones((2, 9))}),
    Bad("positions", static={"positions": np.ones(9, np.float16)}),
)


def row(name, static, *, variant, bad, grad=False, oracle=rerope.attention, **rest):
    return Case(
        f"attention.{name}",
        lambda rng: qkv(rng, SHAPE, SHARED, VALUES),
        oracle,
        {"freqs": FREQS, **static},
        variant=variant,
        grad=grad,
        reason=NO_FORWARD if not grad else "",
        optional=("window", "scale", "block_size"),
        bad=(*BAD, *bad),
        **rest,
    )


def leaky(leak):
    """A static part with a leak that the automatic malformed calls pass by."""
    return {"leak": np.float64(leak)}


def caches(rng):
    """A prompt of five tokens, to be put in room for nine, and one token more."""
    k, v, *token = qkv(rng, (2, 5, 6), (2, 5, 4), (4, 6), (2, 6), (2, 4))
    return {"k": k, "v": v}, *token


def bad_caches(good):
    """Caches of another kind, of parts that do not fit, of a length that is none."""
    wrong = (
        tuple(good),
        good._replace(v=np.ones((2, 7, 4))),
        good._replace(length=np.ones(())),
        good._replace(length=np.ones(2, int)),
        type(good)(np.ones((3, 9, 6)), *good[1:]),
        type(good)(None, *good[1:]),
        None,
    )
    return tuple(Bad("cache", args={0: value}, traced=False) for value in wrong)


def dual(cache, q, k, v, *, freqs, window, leak, interleaved):
    options = {"freqs": freqs, "leak": leak, "interleaved": interleaved}
    if isinstance(cache, dict):
        cache = rerope_cache(**cache, size=9, window=4, **options)
    return rerope_decode_step(cache, q, k, v, window=window, **options).out


def raw(cache, q, k, v, *, freqs, window, leak, interleaved):
    options = {"freqs": freqs, "leak": leak, "interleaved": interleaved}
    if isinstance(cache, dict):
        rows = [jnp.pad(x, ((0, 0), (0, 4), (0, 0))) for x in cache.values()]
        cache = RawKeyCache(*rows, jnp.int32(5))
    return raw_decode_step(cache, q, k, v, window=window, **options).out


def step_oracle(cache, q, k, v, **options):
    k = np.concatenate([cache["k"], k[:, None]], 1)
    v = np.concatenate([cache["v"], v[:, None]], 1)
    return np.stack(
        [rerope.decode(k[h // 2], v[h // 2], q[h], **options) for h in range(4)]
    )


def cache_oracle(k, v, *, freqs, window, size, leak, interleaved):
    m = k.shape[-2]
    near = positions.rope(k, np.arange(m), freqs, interleaved)
    far = positions.rope(k, np.arange(m) / leak, freqs, interleaved)
    ring = np.zeros((*k.shape[:-2], window, k.shape[-1]))
    for j in range(m):
        ring[..., j % window, :] = near[..., j, :]
    room = ((0, 0), (0, size - m), (0, 0))
    return RopeCache(np.pad(far, room), ring, np.pad(v, room), np.array(m))


def step_row(name, call, good, bad=()):
    """A decode step of the prompt; malformed calls go to the function itself."""
    options = {"freqs": FREQS, "window": 3, "leak": np.float64(3.0)}
    return Case(
        f"attention.{name}",
        caches,
        step_oracle,
        {**options, "interleaved": False},
        call=call,
        titles=("rerope_cache",),
        optional=("window",) if name == "raw_decode_step" else (),
        data=(0,),
        bad=(
            Bad("q", args={1: np.ones((3, 6))}),
            Bad("q", args={1: np.ones((4, 4))}),
            Bad("k", args={2: np.ones((4, 6))}),
            Bad("v", args={3: np.ones((2, 3))}),
            Bad("freqs", static={"freqs": np.ones(2)}),
            *bad_caches(good),
            *BAD_LEAK,
            *bad,
        ),
    )


ROWS = (
    row(
        "rerope_attention",
        {"window": 3, "key_mask": MASK, "block_size": 4},
        variant="rerope, key mask",
        bad=(*BAD_LEAK, *BAD_KEYS),
    ),
    row(
        "rerope_attention",
        {"window": 4, "causal": False, "interleaved": False, **leaky(3.0)},
        variant="leaky, bidirectional, half-split",
        bad=BAD_LEAK,
    ),
    row(
        "rerope_attention",
        {"window": 2, "scale": 0.3, **leaky(1 / 8)},
        variant="invleaky",
        bad=(),
    ),
    row(
        "dense_rerope_attention",
        {"window": 3, **leaky(3.0), "causal": False, "positions": np.arange(9)[::-1]},
        variant="leaky, bidirectional, positions",
        grad=True,
        bad=(*BAD_LEAK, *BAD_DENSE),
    ),
    row(
        "dense_rerope_attention",
        {"window": 3, "mask": np.arange(81).reshape(9, 9) % 5 > 0},
        variant="rerope, mask",
        grad=True,
        bad=BAD_DENSE,
    ),
    row(
        "self_extend_attention",
        {"window": 4, "group": 3, "causal": False},
        variant="bidirectional",
        bad=(*BAD_KEYS, Bad("group", static={"group": 0})),
    ),
    *(
        row(
            "hwfa_attention",
            {"window": window, "train_length": 5, "floor": 0.2},
            variant=f"window {window}",
            oracle=rerope.hwfa,
            bad=(
                *BAD_KEYS,
                Bad("train_length", static={"train_length": 1}),
            ),
        )
        for window in (3, None)
    ),
    Case(
        "attention.rerope_cache",
        lambda rng: qkv(rng, (2, 5, 6), (2, 5, 4)),
        cache_oracle,
        {"freqs": FREQS, "window": 3, "size": 7, **leaky(3.0), "interleaved": True},
        bad=(
            Bad("k", args={0: np.ones((2, 5, 5))}),
            Bad("v", args={1: np.ones((2, 4, 4))}),
            Bad("size", static={"size": 4}),
            Bad("window", static={"window": 0}),
            Bad("freqs", static={"freqs": np.ones(2)}),
            *BAD_LEAK,
        ),
    ),
    step_row(
        "rerope_decode_step",
        dual,
        RopeCache(*(np.ones((2, n, 6)) for n in (9, 4)), np.ones((2, 9, 4)), LENGTH),
        (
            Bad("window", static={"window": 5}),
            Bad("window", static={"window": jnp.ones(())}),
        ),
    ),
    step_row(
        "raw_decode_step",
        raw,
        RawKeyCache(np.ones((2, 9, 6)), np.ones((2, 9, 4)), LENGTH),
    ),
)
