"""Softmax attention by blocks, in bands and patterns, beside PyTorch and JAX."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from experiments._harness.devices import DATA_AXIS
from experiments.benchmark.case import Case, Peer, Prepared
from experiments.benchmark.forms import spread, with_gradient
from experiments.benchmark.peers_softmax import peers, torch_sdpa
from kexue_jax import attention

HEADS, WIDTH = 8, 64


def arrays(seed: int, *, n: int, count: int = 3) -> tuple[jax.Array, ...]:
    """q, k, v and, for a gradient, weights of the output: all [8, n, 64]."""
    draw = np.random.default_rng(seed)
    shape = (HEADS, n, WIDTH)
    made = (draw.standard_normal(shape) for _ in range(count))
    return tuple(jnp.asarray(x, jnp.float32) for x in made)


def by_heads(function: Callable[..., Any]) -> Prepared:
    """A function of [heads, n, d] with the heads divided over the devices."""
    heads = PartitionSpec(DATA_AXIS)
    return spread(function, HEADS, heads, heads)


def plain(n: int, *, causal: bool, gradient: bool, goal: float) -> Case:
    """Softmax attention of n tokens, all or causal, with or without its gradient."""
    fast, twin = (
        functools.partial(form, causal=causal)
        for form in (attention.blockwise_attention, attention.dense_attention)
    )
    if gradient:
        fast, twin = with_gradient(fast), with_gradient(twin)
    kind = "causal" if causal else "full"
    name = f"attention.softmax_{kind}_{n}" + ("_gradient" if gradient else "")
    return Case(
        name,
        functools.partial(arrays, n=n, count=4 if gradient else 3),
        by_heads(fast),
        by_heads(twin),
        peers(causal=causal, gradient=gradient),
        tolerance=1e-4,
        goal=goal,
        about=f"{kind} softmax attention by blocks, 8 heads of {n}x64"
        + (", with gradients" if gradient else "")
        + "; twin: the matrix",
    )


PATTERNS = {
    "local": ({"radius": 128}, attention.local_attention, {"k": 128}),
    "atrous": ({"dilation": 16}, attention.atrous_attention, {"k": 16}),
    "sparse": ({"reach": 32}, attention.sparse_attention, {"k": 32}),
}


def pattern(kind: str, *, n: int = 4096) -> Case:
    """A causal pattern; the peer and the twin do all the pairs and mask them."""
    options, form, reach = PATTERNS[kind]

    def mask(n: int) -> jax.Array:
        return attention.sparse_mask(n=n, kind=kind, causal=True, **reach)

    def twin(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return attention.dense_attention(q, k, v, mask=mask(n))

    return Case(
        f"attention.{kind}",
        functools.partial(arrays, n=n),
        by_heads(functools.partial(form, causal=True, **options)),
        by_heads(twin),
        (Peer("torch", torch_sdpa(mask=mask), label="torch SDPA, masked"),),
        tolerance=1e-4,
        about=f"causal {kind} attention, {options}, 8 heads of {n}x64; twin: masked",
    )


def hashed(n: int = 4096) -> Case:
    """LSH attention in chunks of 64, two rounds; nothing to compare it with."""

    def fast(qk: jax.Array, v: jax.Array) -> jax.Array:
        key = jax.random.key(0)
        return attention.lsh_attention(key, qk, v, n_buckets=n // 32, n_rounds=2)

    def whole(qk: jax.Array, v: jax.Array) -> jax.Array:
        return attention.blockwise_attention(qk, qk, v)

    def alone(form: Callable[..., Any]) -> Prepared:
        prepared = by_heads(form)
        return Prepared(lambda *x: prepared.build(*x)._replace(value=None))

    return Case(
        "attention.lsh",
        functools.partial(arrays, n=n, count=2),
        alone(fast),
        alone(whole),
        about=f"LSH, 2 rounds, chunks of 64, 8 heads of {n}x64; in the place of a twin "
        "all pairs by blocks, another result",
    )


CASES = (
    plain(512, causal=False, gradient=False, goal=1.05),
    plain(2048, causal=False, gradient=False, goal=1.05),
    plain(2048, causal=True, gradient=False, goal=1.0),
    plain(2048, causal=True, gradient=True, goal=1.2),
    *(pattern(kind) for kind in PATTERNS),
    hashed(),
)
