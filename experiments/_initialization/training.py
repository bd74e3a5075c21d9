"""Encoders trained to fill in hidden bytes: by wiring, start and warm-up; by head."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments._harness.data_text import TextData
from experiments._harness.data_types import order_of
from experiments._initialization import encoder as encoders
from experiments._initialization.encoder import Encoder
from kexue_jax.optim import linear_warmup
from kexue_jax.theory import HeadParams, layer_norm, mlm_logits, truncated_normal

VOCABULARY = 257  # bytes and the mask
MASK = 256
HIDDEN = 0.15  # share of hidden bytes


class Plan(NamedTuple):
    """What decides a training beside the encoder."""

    steps: int
    batch_size: int
    length: int
    rate: float
    warmup: int


class Way(NamedTuple):
    """An encoder with its training: warm-up of rate or alpha, head's layer, rate."""

    encoder: Encoder
    warmup: str = "none"  # none, rate or alpha
    head: bool = True
    rate: float | None = None  # None: that of the plan

    @property
    def name(self) -> str:
        """The row of a table."""
        parts = [
            self.encoder.wiring,
            self.encoder.start,
            f"{self.encoder.layers} layers",
        ]
        if self.warmup != "none":
            parts.append(f"warm-up of {self.warmup}")
        if not self.head:
            parts.append("no layer in the head")
        if self.rate is not None:
            parts.append(f"rate {self.rate:g}")
        return ", ".join(parts)


class Outcome(NamedTuple):
    """By seed: losses [seeds, steps], and the scales of all norms after training."""

    losses: np.ndarray
    scales: np.ndarray

    @property
    def last(self) -> np.ndarray:
        """The mean loss of the last tenth of the steps; 99 where it is not finite."""
        tail = max(1, self.losses.shape[1] // 10)
        means = self.losses[:, -tail:].mean(1)
        return np.where(np.isfinite(means), means, 99.0)


def init(key: jax.Array, way: Way, length: int) -> dict[str, Any]:
    """Embeddings, encoder and head."""
    d = way.encoder.width
    keys = jax.random.split(key, 4)
    small = truncated_normal(stddev=0.02)
    params: dict[str, Any] = {
        "words": small(keys[0], (VOCABULARY, d)),
        "places": small(keys[1], (length, d)),
        "norm": {"scale": jnp.ones(d), "offset": jnp.zeros(d)},
        "layers": encoders.init(keys[2], way.encoder),
        "bias": jnp.zeros(VOCABULARY),
    }
    if way.encoder.wiring in ("pre", "none", "rezero"):
        params["last"] = {"scale": jnp.ones(d), "offset": jnp.zeros(d)}
    if way.head:
        draw = encoders.kernel(way.encoder.start, d)
        kernel = draw(keys[3], (1, d, d))[0]
        params["head"] = HeadParams(kernel, jnp.zeros(d), jnp.ones(d), jnp.zeros(d))
    return params


def loss(
    params: dict[str, Any],
    tokens: Any,
    hidden: Any,
    way: Way,
    alpha: Any = None,
    weight: Any = None,
) -> jax.Array:
    """The mean cross entropy of the hidden bytes of tokens [batch, n]."""
    seen = jnp.where(hidden, MASK, tokens)
    x = params["words"][seen] + params["places"][None]
    x = layer_norm(x, params["norm"]["scale"], params["norm"]["offset"], eps=1e-12)
    h = encoders.run(params["layers"], x, way.encoder, alpha, weight)
    if "last" in params:
        h = layer_norm(h, params["last"]["scale"], params["last"]["offset"])
    logits = mlm_logits(h, params["words"], params["bias"], params.get("head"))
    costs = optax.softmax_cross_entropy_with_integer_labels(logits, tokens)
    return jnp.sum(costs * hidden) / jnp.maximum(hidden.sum(), 1)


def batches(text: TextData, plan: Plan, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and hidden places of every step [steps, batch, n]."""
    rows = text.rows(plan.length)
    count = plan.steps * plan.batch_size
    epochs = -(-count // len(rows))
    order = np.concatenate([order_of(len(rows), seed, e) for e in range(epochs)])
    tokens = rows[order[:count]].reshape(plan.steps, plan.batch_size, plan.length)
    draw = np.random.default_rng([seed, 7])
    return tokens.astype(np.int32), draw.random(tokens.shape) < HIDDEN


def unigram(text: TextData, plan: Plan, seeds: Sequence[int]) -> np.ndarray:
    """The entropy of all hidden bytes of a training, by seed, in nats."""
    found = []
    for seed in seeds:
        tokens, hidden = batches(text, plan, seed)
        counts = np.bincount(tokens[hidden], minlength=VOCABULARY)
        shares = counts[counts > 0] / counts.sum()
        found.append(-float((shares * np.log(shares)).sum()))
    return np.array(found)


def train(text: TextData, way: Way, plan: Plan, seeds: Sequence[int]) -> Outcome:
    """All seeds in one program; Adam, no decay of anything."""
    drawn = [batches(text, plan, seed) for seed in seeds]
    tokens, hidden = (np.stack(part) for part in zip(*drawn, strict=True))
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    stacked = _starts(keys, way, plan.length)
    warmed = linear_warmup(steps=plan.warmup)(np.arange(plan.steps))
    rising = np.asarray(warmed, np.float32)
    flat = np.ones_like(rising)
    rates = np.float32(plan.rate) * (rising if way.warmup == "rate" else flat)
    alphas = rising if way.warmup == "alpha" else flat
    weight = np.float32(way.encoder.weight)
    program = _program(way.encoder.general, way.head)
    losses, scales = program(stacked, tokens, hidden, weight, rates, alphas)
    return Outcome(np.asarray(losses), np.asarray(scales))


@functools.partial(jax.jit, static_argnums=(1, 2))
def _starts(keys: jax.Array, way: Way, length: int) -> dict[str, Any]:
    """The parameters of all seeds, stacked."""
    return jax.vmap(lambda key: init(key, way, length))(keys)


@functools.cache
def _program(encoder: Encoder, head: bool) -> Callable[..., Any]:
    """The training of an encoder, whatever its start and its warm-up."""
    way, adam = Way(encoder, head=head), optax.scale_by_adam()

    def one(params: Any, tokens: Any, hidden: Any, weight: Any, *course: Any) -> Any:
        def step(state: Any, batch: Any) -> Any:
            params, moments = state
            seen, rate, alpha = batch
            objective = functools.partial(loss, way=way, alpha=alpha, weight=weight)
            value, grads = jax.value_and_grad(objective)(params, *seen)
            updates, moments = adam.update(grads, moments)
            params = jax.tree.map(lambda p, u: p - rate * u, params, updates)
            return (params, moments), value

        steps = ((tokens, hidden), *course)
        (params, _), losses = jax.lax.scan(step, (params, adam.init(params)), steps)
        scales = jnp.stack([p["scale"] for p in params["layers"]], axis=1)
        return losses, scales.mean(-1).ravel()

    def all_seeds(params: Any, tokens: Any, hidden: Any, *given: Any) -> Any:
        each = (params, tokens, hidden)
        return jax.lax.map(lambda a: one(*a, *given), each)

    return jax.jit(all_seeds)
