"""Rules of positions as numbers, so that one compiled program serves all of them."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments._harness.data_text import VOCABULARY
from kexue_jax import attention, models, positions

FAR = 2**30  # a window that no text fills


class Rule(NamedTuple):
    """What stands in for the relative position, as arrays.

    ``freqs`` [d / 2]; up to ``window`` positions are exact, beyond they advance by
    1 / ``leak``; keys ``reach`` or more positions back are not seen; the logits are
    scaled by ``factor`` and, where ``log_n`` is 1, by max(floor, ln(i + 1) / ln N).
    """

    freqs: jax.Array
    window: jax.Array
    leak: jax.Array
    reach: jax.Array
    factor: jax.Array
    log_n: jax.Array
    floor: jax.Array


def rule(
    dim: int,
    *,
    window: int = FAR,
    leak: float = math.inf,
    reach: int = FAR,
    factor: float = 1.0,
    log_n: str = "none",
    **frequencies: Any,
) -> Rule:
    """The rule for heads of ``dim``; ``frequencies`` go to ``rope_frequencies``.

    ``log_n`` is "none", "pre" (trained with it) or "dagger" (at the test only).
    """
    numbers = {
        "window": jnp.asarray(window, jnp.int32),
        "leak": jnp.asarray(leak, jnp.float32),
        "reach": jnp.asarray(reach, jnp.int32),
        "factor": jnp.asarray(factor, jnp.float32),
        "log_n": jnp.asarray(log_n != "none", jnp.float32),
        "floor": jnp.asarray(log_n == "dagger", jnp.float32),
    }
    return Rule(positions.rope_frequencies(dim, **frequencies), **numbers)


def network(train_length: int, sizes: dict[str, Any]) -> models.Model:
    """The model as ``apply({"params": params, "rule": rule}, tokens)``."""

    def build(chosen: Rule) -> models.Model:
        def attend(q: Any, k: Any, v: Any, layer: int) -> jax.Array:
            return attention_by(chosen, train_length, q, k, v)

        return models.transformer(vocabulary=VOCABULARY, attend=attend, **sizes)

    def apply(given: Any, tokens: jax.Array, *, key: Any = None) -> jax.Array:
        return build(given["rule"]).apply(given["params"], tokens, key=key)

    dim = sizes["width"] // sizes["heads"]
    return models.Model(build(rule(dim)).init, apply)


def attention_by(chosen: Rule, train_length: int, q: Any, k: Any, v: Any) -> jax.Array:
    """Causal softmax attention of q, k, v [b, h, n, d] by a rule."""
    n = q.shape[-2]
    place = jnp.arange(n, dtype=jnp.int32)
    grown = positions.log_n_scale(place, train_length, floor=0.0)
    grown = jnp.maximum(grown, chosen.floor)
    factor = chosen.factor * jnp.where(chosen.log_n > 0, grown, 1.0)
    delta = place[:, None] - place[None, :]
    return attention.dense_rerope_attention(
        q * factor.astype(q.dtype).reshape(1, 1, n, 1),
        k,
        v,
        freqs=chosen.freqs,
        window=chosen.window,
        leak=chosen.leak,
        mask=delta < chosen.reach,
    )
