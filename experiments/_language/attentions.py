"""Attention functions by name, as ``attend`` of ``models.transformer`` wants them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax import attention
from kexue_jax.models.transformer import Attend

KINDS = ("softmax", "exp", "elu1", "efficient", "cosine", "taylor2", "uniform")


def attend(kind: str, *, causal: bool) -> Attend:
    """The attention ``kind``, one of KINDS, of q and k scaled by d^(-1/4) each.

    "uniform" weighs all values alike: what an attention must beat.
    """

    def run(q: jax.Array, k: jax.Array, v: jax.Array, layer: int) -> jax.Array:
        return _FORMS[kind](*scaled(q, k), v, causal=causal)

    return run


def scaled(q: jax.Array, k: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``q`` and ``k`` times d^(-1/4)."""
    factor = q.shape[-1] ** -0.25
    return q * factor, k * factor


def softmax(q: Any, k: Any, v: Any, *, causal: bool) -> jax.Array:
    """Softmax attention of rows that are scaled already."""
    return attention.dense_attention(q, k, v, causal=causal, scale=1.0)


def _uniform(q: Any, k: Any, v: Any, *, causal: bool) -> jax.Array:
    ones = jnp.ones_like(q[..., :1])
    return attention.linear_attention(ones, ones, v, causal=causal)


def _features(of: Callable[[jax.Array], jax.Array]) -> Callable[..., jax.Array]:
    def run(q: Any, k: Any, v: Any, *, causal: bool) -> jax.Array:
        return attention.linear_attention(of(q), of(k), v, causal=causal)

    return run


_FORMS: dict[str, Callable[..., jax.Array]] = {
    "softmax": softmax,
    "exp": attention.log_linear_attention,
    "elu1": _features(attention.elu1),
    "efficient": attention.efficient_attention,
    "cosine": _features(attention.cosine_features),
    "taylor2": _features(lambda x: attention.taylor2_features(x, scale=False)),
    "uniform": _uniform,
}
