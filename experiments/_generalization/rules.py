"""Rules of positions as numbers, so that one compiled program serves all of them.

A rule says how an encoder or a causal model sees a row: rotary frequencies, windows and
the log n factor layer by layer, and how positions are drawn in training.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments._generalization.examples import Task
from kexue_jax import attention, models, positions

FAR = 2**30  # a window that no row fills
DRAWS = ("plain", "random", "equal mean")  # of positions in training


class Rule(NamedTuple):
    """What a model sees, as arrays; those marked [l] have an entry for each layer.

    ``freqs`` [d / 2]; relative positions are exact up to ``window`` and stay there
    beyond; ``reach`` [l]: tokens at least so far away are not seen; ``rotary`` [l]: 1,
    or 0 for a layer without positions; ``log_n`` [l]: 1 for logits times max(floor,
    ln keys / ln T), T the tokens of the longest row trained on; ``causal``: 1, or 0 for
    an encoder; ``drawn``: how positions are drawn in training, an index of DRAWS.
    """

    freqs: jax.Array
    window: jax.Array
    reach: jax.Array
    rotary: jax.Array
    log_n: jax.Array
    floor: jax.Array
    causal: jax.Array
    drawn: jax.Array


def rule(
    sizes: dict[str, Any],
    *,
    window: int = FAR,
    reach: int = FAR,
    log_n: str = "none",
    causal: bool = False,
    drawn: str = "plain",
) -> Rule:
    """The rule for a network of ``sizes``, alike in all layers.

    ``log_n`` is "none", "pre" (trained with it) or "dagger" (at the test only).
    """
    dim, layers = sizes["width"] // sizes["heads"], sizes["layers"]
    return Rule(
        freqs=positions.rope_frequencies(dim),
        window=jnp.asarray(window, jnp.int32),
        reach=jnp.full(layers, reach, jnp.int32),
        rotary=jnp.ones(layers, jnp.float32),
        log_n=jnp.full(layers, log_n != "none", jnp.float32),
        floor=jnp.asarray(log_n == "dagger", jnp.float32),
        causal=jnp.asarray(causal, jnp.int32),
        drawn=jnp.asarray(DRAWS.index(drawn), jnp.int32),
    )


def hwfa(sizes: dict[str, Any], train_length: int, *, causal: bool = False) -> Rule:
    """Windows with rotary positions, then a full layer with the log n factor alone."""
    windows = positions.hwfa_layer_windows(sizes["layers"], train_length)
    full = jnp.asarray([window is None for window in windows], jnp.float32)
    reach = jnp.asarray([window or FAR for window in windows], jnp.int32)
    plain = rule(sizes, causal=causal)
    return plain._replace(reach=reach, rotary=1 - full, log_n=full)


def network(
    task: Task, sizes: dict[str, Any], train_length: int, *, bent: bool
) -> models.Model:
    """``apply({"params": params, "rule": rule}, tokens, turns)``, logits of answers.

    tokens [b, n]; turns, the positions, [b, n] or [n]. ``train_length`` is T. Unless
    ``bent`` the window of the rule is not looked at: one matrix of scores, not three.
    """

    def build(chosen: Rule, tokens: Any, turns: Any) -> models.Model:
        def attend(q: Any, k: Any, v: Any, layer: int) -> jax.Array:
            read = Read(tokens != task.pad, turns, train_length, bent)
            return attention_by(chosen, read, layer, q, k, v)

        return models.transformer(
            vocabulary=task.vocabulary,
            outputs=len(task.answers),
            attend=attend,
            **sizes,
        )

    def apply(
        given: Any, tokens: jax.Array, turns: jax.Array, *, key: Any = None
    ) -> jax.Array:
        model = build(given["rule"], tokens, turns)
        return model.apply(given["params"], tokens, key=key)

    row = jnp.zeros((1, 1), jnp.int32)
    return models.Model(build(rule(sizes), row, row).init, apply)


class Read(NamedTuple):
    """What is read: no padding where ``kept`` [b, n], positions [b, n] or [n], T."""

    kept: jax.Array
    turns: jax.Array
    train_length: int
    bent: bool


def attention_by(
    chosen: Rule, read: Read, layer: int, q: Any, k: Any, v: Any
) -> jax.Array:
    """Softmax attention of q, k, v [b, h, n, d] in a layer, by a rule."""
    factor = log_n_factor(chosen, read.kept, read.train_length, layer)
    return attention.dense_rerope_attention(
        q * factor[:, None, :, None].astype(q.dtype),
        k,
        v,
        freqs=chosen.freqs * chosen.rotary[layer],
        window=chosen.window if read.bent else None,
        positions=jnp.broadcast_to(read.turns, read.kept.shape)[:, None],
        causal=False,  # the mask says what is seen
        interleaved=False,
        mask=seen(chosen, read.kept, layer)[:, None],
    )


def seen(chosen: Rule, kept: jax.Array, layer: int) -> jax.Array:
    """Which keys each query sees, [b, n, n]: no padding, nothing out of reach."""
    place = jnp.arange(kept.shape[-1])
    delta = place[:, None] - place[None, :]
    near = jnp.abs(delta) < chosen.reach[layer]
    allowed = near & ((delta >= 0) | (chosen.causal == 0))
    return allowed[None] & kept[:, None, :]


def log_n_factor(
    chosen: Rule, kept: jax.Array, train_length: int, layer: int
) -> jax.Array:
    """The factor on each query, [b, n]: by the keys of its row, or those before it."""
    whole = positions.log_n_mask_scale(kept, train_length)[:, None]
    place = jnp.arange(kept.shape[-1])
    before = positions.log_n_scale(place, train_length, floor=0.0)[None]
    grown = jnp.where(chosen.causal > 0, before, whole)
    grown = jnp.maximum(grown, chosen.floor)
    return jnp.where(chosen.log_n[layer] > 0, grown, 1.0)


def drawn_positions(
    chosen: Rule, key: jax.Array, sizes: jax.Array, width: int, longest: int
) -> jax.Array:
    """Positions of training rows of ``sizes`` [b] tokens, padded to [b, width].

    "plain": 0, 1, ...; "random": n of 0 .. longest - 1; "equal mean": 0, s, 2 s, ...
    with a random s of mean 1, so that a row of n tokens ends at n - 1 in the mean.
    """
    keys = jax.random.split(key, sizes.shape[0])
    plain = jnp.arange(width, dtype=jnp.float32)

    def random(key: jax.Array, n: jax.Array) -> jax.Array:
        first, second = jax.random.split(key)
        chosen = positions.random_positions(first, width, longest)
        # n of them, as random as n of all; those of the padding are of no account.
        kept = jax.random.permutation(second, width) < n
        return jnp.sort(jnp.where(kept, chosen, longest)).astype(jnp.float32)

    def stretched(key: jax.Array, n: jax.Array) -> jax.Array:
        return plain * positions.equal_mean_positions(key, 2, 1.0)[1]

    def unchanged(key: jax.Array, n: jax.Array) -> jax.Array:
        return plain

    ways = [jax.vmap(way) for way in (unchanged, random, stretched)]
    return jax.lax.switch(chosen.drawn, ways, keys, sizes)


def positions_at_test(kind: str, n: int, train_length: int, longest: int) -> jax.Array:
    """Positions of n tokens at the test: "plain", "spaced" or "compressed".

    0, 1, ...; evenly spaced ones of 0 .. longest - 1; or of 0 .. T - 1 where n is more
    than T.
    """
    if kind == "spaced":
        return positions.spaced_positions(n, longest).astype(jnp.float32)
    plain = jnp.arange(n, dtype=jnp.float32)
    return plain * min(1.0, (train_length - 1) / (n - 1)) if kind != "plain" else plain
