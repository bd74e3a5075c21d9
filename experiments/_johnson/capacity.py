"""How well queries and keys of d dimensions fit a given attention pattern."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from kexue_jax import embeddings

PATTERNS = ("sparse", "dense")
PLACES = 3  # that a row of a sparse pattern attends to
SHARPNESS = 2.0  # standard deviation of the logits of a dense pattern
BETA = 10.0  # of the start for a sparse pattern


def mark(length: int) -> int:
    """The dimension of the rule."""
    return embeddings.min_embedding_dim(vocab=length)


def pattern(name: str, key: jax.Array, length: int) -> jax.Array:
    """Rows of probabilities [L, L]: three equal places a row, or random logits."""
    if name == "sparse":
        order = jnp.argsort(jax.random.uniform(key, (length, length)), -1)
        return (order < PLACES).astype(jnp.float32) / PLACES
    logits = jax.random.normal(key, (length, length), jnp.float32)
    return jax.nn.softmax(SHARPNESS * logits, -1)


def start(name: str, key: jax.Array, p: jax.Array, most: int, d: jax.Array) -> Any:
    """The construction of the article for a sparse pattern, else the best factors of
    the logarithms less their row means; [L, most], of which the first d columns count.
    """
    kept = (jnp.arange(most) < d)[None]
    if name == "sparse":
        q, k = embeddings.sparse_attention_factors(key, p > 0, d=most, beta=BETA)
        scale = jnp.sqrt(most / d)
        return jnp.where(kept, q * scale, 0), jnp.where(kept, k * scale, 0)
    logits = jnp.log(p)
    logits = logits - logits.mean(-1, keepdims=True)
    u, s, vt = jnp.linalg.svd(logits)
    root = jnp.sqrt(s[:most])
    missing = ((0, 0), (0, max(0, most - len(p))))
    parts = [jnp.pad(x[:, :most] * root[None], missing) for x in (u, vt.T)]
    return tuple(jnp.where(kept, x, 0) for x in parts)


@functools.partial(jax.jit, static_argnames=("name", "length", "most", "steps"))
def _fits(
    keys: jax.Array,
    sizes: jax.Array,
    name: str,
    length: int,
    most: int,
    steps: int,
    rate: float,
) -> jax.Array:
    """KL at the start and after the fit, over that of uniform attention, [fits, 2].

    Columns from d on are 0 and so are their slopes: Adam leaves them so.
    """
    optimizer = optax.adam(optax.cosine_decay_schedule(rate, steps))

    def one(key_and_size: Any) -> jax.Array:
        key, d = key_and_size
        key_p, key_start = jax.random.split(key)
        p = pattern(name, key_p, length)

        def loss(factors: Any) -> jax.Array:
            return embeddings.attention_divergence(p, *factors)

        def step(carry: Any, _: Any) -> Any:
            factors, state = carry
            updates, state = optimizer.update(jax.grad(loss)(factors), state)
            return (optax.apply_updates(factors, updates), state), None

        factors = start(name, key_start, p, most, d)
        carry = factors, optimizer.init(factors)
        (fitted, _), _ = jax.lax.scan(step, carry, None, length=steps)
        nothing = tuple(jnp.zeros_like(x) for x in factors)
        return jnp.stack([loss(factors), loss(fitted)]) / loss(nothing)

    return jax.lax.map(one, (keys, sizes))


def left(
    name: str,
    length: int,
    sizes: Sequence[int],
    seeds: Sequence[int],
    *,
    steps: int,
    rate: float,
) -> dict[int, np.ndarray]:
    """The share of the KL that is left, [seeds, 2] (start, fitted) by d; each seed has
    one pattern for all d."""
    keys = [jax.random.fold_in(jax.random.key(s), length) for s in seeds]
    pairs = [(key, d) for d in sizes for key in keys]
    found = _fits(
        jnp.stack([key for key, _ in pairs]),
        jnp.asarray([d for _, d in pairs], jnp.float32),
        name,
        length,
        max(sizes),
        steps,
        rate,
    )
    rows = np.asarray(found, float).reshape(len(sizes), len(seeds), 2)
    return dict(zip(sizes, rows, strict=True))


def enough(shares: dict[int, np.ndarray], level: float) -> np.ndarray:
    """The d, by log-linear interpolation, at which the fitted share falls to a level;
    one a seed, infinite where none does."""
    sizes, rows = list(shares), np.array([v[:, 1] for v in shares.values()])
    found = []
    for column in rows.T:
        below = np.flatnonzero(column <= level)
        if not below.size:
            found.append(math.inf)
            continue
        place = int(below[0])
        if place == 0:
            found.append(float(sizes[0]))
            continue
        (a, b), (x, y) = (
            np.log(np.maximum(column[place - 1 : place + 1], 1e-12)),
            np.log(sizes[place - 1 : place + 1]),
        )
        share = (math.log(level) - a) / (b - a)
        found.append(math.exp(x + share * (y - x)))
    return np.array(found)
