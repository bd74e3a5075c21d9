"""Attention functions by name, as ``attend`` of ``models.transformer`` wants them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax import attention
from kexue_jax.models.transformer import Attend

# Up to this length n x n weights take less time on a CPU than features do.
SHORT = 128

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
    return _linear(ones, ones, v, causal=causal)


def _linear(phi_q: Any, phi_k: Any, v: Any, *, causal: bool) -> jax.Array:
    """Linear attention, by the n x n products where the text is that short."""
    if phi_q.shape[-2] <= SHORT:
        return attention.quadratic_linear_attention(phi_q, phi_k, v, causal=causal)
    return attention.linear_attention(phi_q, phi_k, v, causal=causal)


def _features(of: Callable[[jax.Array], jax.Array]) -> Callable[..., jax.Array]:
    def run(q: Any, k: Any, v: Any, *, causal: bool) -> jax.Array:
        return _linear(of(q), of(k), v, causal=causal)

    return run


def _exp(q: Any, k: Any, v: Any, *, causal: bool) -> jax.Array:
    """exp(q) . exp(k); short, its n x n weights are a product of exponentials."""
    if q.shape[-2] > SHORT:
        return attention.log_linear_attention(q, k, v, causal=causal)
    phi_q = attention.exp_features(q, is_query=True)
    phi_k = attention.exp_features(k, is_query=False)
    return attention.quadratic_linear_attention(phi_q, phi_k, v, causal=causal, eps=0.0)


def _taylor2(q: Any, k: Any, v: Any, *, causal: bool) -> jax.Array:
    """Order 2; its features, more than d^2 / 2, pay only for longer texts."""
    if q.shape[-2] <= q.shape[-1] ** 2:
        return attention.taylor_attention(q, k, v, causal=causal, scale=1.0)
    phi_q, phi_k = (attention.taylor2_features(x, scale=False) for x in (q, k))
    return attention.linear_attention(phi_q, phi_k, v, causal=causal)


_FORMS: dict[str, Callable[..., jax.Array]] = {
    "softmax": softmax,
    "exp": _exp,
    "elu1": _features(attention.elu1),
    "efficient": attention.efficient_attention,
    "cosine": _features(attention.cosine_features),
    "taylor2": _taylor2,
    "uniform": _uniform,
}
