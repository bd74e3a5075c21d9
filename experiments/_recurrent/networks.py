"""Networks of one size whose mixers over time differ."""

from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax import attention, models, positions
from kexue_jax.models import Model

KINDS = ("attention", "s4", "s4d", "s5", "lru", "slru", "rtf", "rwkv", "mamba")


def network(config: Any, kind: str, *, vocabulary: int, outputs: int) -> Model:
    """The network of a kind with about as many parameters as that of attention.

    The feed-forward network of attention is four times as wide as the model; that of
    the others is as wide as makes the counts equal.
    """
    sizes: dict[str, Any] = {"vocabulary": vocabulary, "outputs": outputs}
    standard = _attention(config, hidden=4 * config.width, **sizes)
    if kind == "attention":
        return standard
    one, two = (count(_stack(config, kind, hidden=h, **sizes)) for h in (1, 2))
    hidden = max(1, 1 + round((count(standard) - one) / (two - one)))
    return _stack(config, kind, hidden=hidden, **sizes)


def parameters(config: Any, kind: str, vocabulary: int) -> int:
    """How many parameters the network of a kind has."""
    return count(network(config, kind, vocabulary=vocabulary, outputs=vocabulary))


def count(model: Model) -> int:
    """The parameters of a model."""
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def _attention(config: Any, **sizes: Any) -> Model:
    """Causal softmax attention with rotary positions."""
    freqs = positions.rope_frequencies(config.width // config.heads)

    def attend(q: Any, k: Any, v: Any, layer: int) -> jax.Array:
        turns = jnp.arange(q.shape[-2])
        q, k = (
            positions.apply_rope(x, turns, freqs, interleaved=False) for x in (q, k)
        )
        return attention.dense_attention(q, k, v, causal=True)

    return models.transformer(
        attend=attend,
        width=config.width,
        heads=config.heads,
        layers=config.layers,
        **sizes,
    )


def _stack(config: Any, kind: str, **sizes: Any) -> Model:
    """A stack of recurrences; states of a layer where the mixer has no channels."""
    by_layer = kind in ("s5", "lru", "slru")
    stack = models.ssm_stack(
        mixer=kind,
        width=config.width,
        layers=config.layers,
        state_size=config.width if by_layer else config.size,
        length=max(config.length, 784),
        **sizes,
    )
    return Model(stack.init, stack.apply)
