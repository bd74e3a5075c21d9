"""What a model of bytes is trained to predict: the next byte, or the masked ones."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments._harness.data_text import VOCABULARY
from kexue_jax.models import Model

# loss(params, tokens, key, step): a mean over the rows of tokens [b, n].
Loss = Callable[[Any, jax.Array, jax.Array, jax.Array], jax.Array]

MASK = VOCABULARY  # the token that stands for a hidden byte
MASKED_VOCABULARY = VOCABULARY + 1


def next_byte(model: Model) -> Loss:
    """The mean cross entropy of bytes 1..n - 1, each given those before it."""

    def loss(
        params: Any, tokens: jax.Array, key: jax.Array, step: jax.Array
    ) -> jax.Array:
        logits = model.apply(params, tokens[:, :-1])
        return cross_entropy(logits, tokens[:, 1:]).mean()

    return loss


def masked_bytes(model: Model, *, share: float = 0.15) -> Loss:
    """The mean cross entropy of a random ``share`` of the bytes, given the others.

    Of these 80 % are hidden, 10 % replaced by a random byte, 10 % left (BERT's rule).
    """

    def loss(
        params: Any, tokens: jax.Array, key: jax.Array, step: jax.Array
    ) -> jax.Array:
        seen, chosen = masked(key, tokens, share=share)
        found = cross_entropy(model.apply(params, seen), tokens)
        return jnp.sum(found * chosen) / jnp.maximum(jnp.sum(chosen), 1)

    return loss


def masked(
    key: jax.Array, tokens: jax.Array, *, share: float
) -> tuple[jax.Array, jax.Array]:
    """What the model sees of ``tokens``, and where it is asked, bool."""
    place, fate, other = jax.random.split(key, 3)
    chosen = jax.random.uniform(place, tokens.shape, jnp.float32) < share
    fates = jax.random.uniform(fate, tokens.shape, jnp.float32)
    random = jax.random.randint(other, tokens.shape, 0, VOCABULARY, tokens.dtype)
    seen = jnp.where(fates < 0.8, MASK, jnp.where(fates < 0.9, random, tokens))
    return jnp.where(chosen, seen, tokens), chosen


def cross_entropy(logits: jax.Array, tokens: jax.Array) -> jax.Array:
    """In nats, by position."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, tokens)
