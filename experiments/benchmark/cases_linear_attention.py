"""Linear attention beside its own slow forms, fla and performer-pytorch."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark.case import Case, Form, Peer, Prepared
from experiments.benchmark.cases_attention_softmax import by_heads
from experiments.benchmark.forms import jitted, with_gradient
from experiments.benchmark.peers_linear import (
    causal_peers,
    late,
    performer_favor,
    performer_full,
)
from kexue_jax import attention

HEADS, WIDTH, FEATURES = 8, 64, 256


def features(seed: int, *, n: int, count: int = 3) -> tuple[jax.Array, ...]:
    """Positive q and k, v and, for a gradient, weights of the output: [8, n, 64]."""
    draw = np.random.default_rng(seed)
    shape = (HEADS, n, WIDTH)
    positive = [draw.random(shape) + 0.05 for _ in range(2)]
    made = positive + [draw.standard_normal(shape) for _ in range(count - 2)]
    return tuple(jnp.asarray(x, jnp.float32) for x in made)


def small(seed: int, *, n: int) -> tuple[jax.Array, ...]:
    """q and k of norms so small that the eps of the peer's features hardly counts."""
    draw = np.random.default_rng(seed)
    made = (s * draw.standard_normal((HEADS, n, WIDTH)) for s in (0.3, 0.3, 1))
    return tuple(jnp.asarray(x, jnp.float32) for x in made)


# Goals over the other forms: performer-pytorch's, and all n x n products from 512 on.
FORWARD_OTHERS = {
    n: {"performer-pytorch": 0.05, "masked n x n products": 1.0} for n in (1024, 4096)
} | {n: {"masked n x n products": 1.0} for n in (512, 2048)}


def causal(n: int, goal: float | None, *, gradient: bool = False) -> Case:
    """The causal product of n positions, with or without its gradient."""
    fast = functools.partial(attention.linear_attention, causal=True)
    twin: Any = attention.recurrent_linear_attention
    about = f"causal linear attention by chunks, 8 heads of {n}x64; twin: step by step"
    if gradient:
        # The gradient of n steps keeps n states: the matrix where that is less.
        kind = "step by step"
        if n <= 4096:
            twin = functools.partial(attention.quadratic_linear_attention, causal=True)
            kind = "n x n products"
        fast, twin = with_gradient(fast), with_gradient(twin)
        about = f"the same with gradients, 8 heads of {n}x64; twin: {kind}"
    return Case(
        f"attention.linear_causal_{n}" + ("_gradient" if gradient else ""),
        functools.partial(features, n=n, count=4 if gradient else 3),
        by_heads(fast),
        by_heads(twin),
        causal_peers(n, gradient=gradient),
        tolerance=1e-4,
        goal=goal,
        goals={} if gradient else FORWARD_OTHERS.get(n, {}),
        about=about,
    )


def full(n: int = 16_384) -> Case:
    """All keys for all queries; the twin does it head by head, in the same order."""

    def head(*inputs: jax.Array) -> jax.Array:
        q, k, v = inputs
        return q @ (k.mT @ v) / (q @ k.sum(0)[:, None] + 1e-6)

    return Case(
        "attention.linear_full",
        functools.partial(features, n=n),
        by_heads(attention.linear_attention),
        by_heads(lambda *inputs: jax.lax.map(lambda x: head(*x), inputs)),
        (Peer("performer-pytorch", late(performer_full, gradient=False)),),
        tolerance=1e-4,
        goal=0.85,
        about=f"linear attention, not causal, 8 heads of {n}x64; twin: head by head",
    )


def favor(n: int, goal: float, *, is_causal: bool) -> Case:
    """FAVOR+ with 256 features, of which the twin forms the whole matrix."""
    draw = jax.random.key(1)
    w = attention.orthogonal_projection(draw, m=FEATURES, d=WIDTH, dtype=jnp.float32)

    def fast(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return attention.performer_attention(q, k, v, w, causal=is_causal)

    def twin(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        phi_q, phi_k = (attention.softmax_features(x, w) for x in (q, k))
        return attention.quadratic_linear_attention(
            phi_q, phi_k, v, causal=is_causal, eps=0.0
        )

    peer = late(performer_favor(w, causal=is_causal), gradient=False)
    return Case(
        "attention.favor" + ("_causal" if is_causal else ""),
        functools.partial(small, n=n),
        by_heads(fast),
        by_heads(twin),
        (Peer("performer-pytorch", peer, tolerance=0.02),),
        tolerance=1e-4,
        goal=goal,
        about=f"FAVOR+, {FEATURES} orthogonal features, 8 heads of {n}x64"
        + (", causal" if is_causal else "")
        + "; twin: n x n products",
    )


def state_form(*inputs: jax.Array) -> Form:
    """One token more than are in the state of all before it."""
    q, k, v = inputs
    past = k[:, :-1], v[:, :-1]
    state = attention.linear_attention(
        past[0], *past, causal=True, return_state=True
    ).state
    step = attention.linear_attention_step
    return jitted(lambda *x: step(*x).out, state, q[:, -1], k[:, -1], v[:, -1])


def decode(n: int) -> Case:
    """One more token after n: a state, in the place of all keys before it."""

    def keys_form(*inputs: jax.Array) -> Form:
        q, k, v = inputs
        every = attention.quadratic_linear_attention
        return jitted(lambda *x: every(*x)[:, 0], q[:, -1:], k, v)

    return Case(
        f"attention.linear_decode_{n}",
        functools.partial(features, n=n),
        Prepared(state_form),
        Prepared(keys_form),
        tolerance=1e-4,
        about=f"one token after {n - 1} by linear attention, 8 heads of 64; "
        "twin: from all keys",
    )


def flat_decode() -> Case:
    """The same step after many tokens and after few, which have no value in common."""

    def after(n: int) -> Prepared:
        def build(*inputs: jax.Array) -> Form:
            return state_form(*(x[:, :n] for x in inputs))._replace(value=None)

        return Prepared(build)

    return Case(
        "attention.linear_decode_flat",
        functools.partial(features, n=16_384),
        after(16_384),
        after(1024),
        goal=1.1,
        about="one token after 16,383 by linear attention; twin: one after 1,023",
    )


# Goals over fla's chunks, which are the fastest peer, from 1,024 positions on.
FORWARD = {256: None, 512: 1.0, 1024: 0.3, 2048: 0.3, 4096: 0.3, 8192: 0.3, 32_768: 0.3}

CASES = (
    *(causal(n, goal) for n, goal in FORWARD.items()),
    *(causal(n, goal and 0.65, gradient=True) for n, goal in FORWARD.items()),
    full(),
    favor(4096, 0.4, is_causal=False),
    favor(1024, 0.2, is_causal=True),
    *(decode(n) for n in (1024, 16_384)),
    flat_decode(),
)
