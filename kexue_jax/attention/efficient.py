"""Efficient attention: softmax over a query's features and over the keys' positions."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax._base.masks import safe_divide
from kexue_jax._base.varying import varying_alike
from kexue_jax.attention._features import (
    AttentionStep,
    causal_rows,
    check_features,
    chunks_of,
    pad_rows,
    wide,
)
from kexue_jax.attention._running import (
    Chunked,
    Keys,
    LogLinearState,
    absorb,
    absorb_one,
    by_chunks,
    features,
    start_state,
    token_by_token,
)
from kexue_jax.attention.linear import check_options
from kexue_jax.attention.log_linear import check_masks, check_token

_NAMES = ("q", "k")


def efficient_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    causal: bool = False,
    chunk_size: int = 64,
    key_mask: jax.Array | None = None,
    prefix_length: int | jax.Array | None = None,
    state: LogLinearState | None = None,
    return_state: bool = False,
) -> Any:
    """Efficient attention: each feature is a softmax over positions, read by a mixture.

    o_i = sum_c softmax_c(q_i)_c (sum_j e^{k_jc} v_j) / (sum_j e^{k_jc}), over the keys
    in ``state`` and all j of key_mask or, ``causal``, those of them with j <= i or
    j < prefix_length. The weights of a query sum to 1.

    Shapes: q [..., n, m], k [..., l, m], v [..., l, d], l = n if causal; key_mask
    boolean, broadcastable to [..., l]; prefix_length integers, broadcastable to [...]
    -> [..., n, d]; with ``return_state`` AttentionStep(state, out).
    Article: kexue.fm/archives/7546.  Paper: arXiv 1812.01243.
    Differs: the paper has no causal form. Each feature keeps its own normalizer, which
    no feature map of a key alone can do; a maximum that runs with the keys keeps it
    within range. Where one grows within one chunk by more than 61 (float32; 495 in
    float64) the whole call goes token by token, slower and as exact. A query that
    meets no key gives 0. The causal form has reverse mode only. The paper's other
    normalizer, 1 / n, is linear_attention of q / sqrt(n), k / sqrt(n) without
    ``normalize``.
    Cost: 4 n m d flops; causal 4 n m d + 2 n chunk (2 m + d), memory O(n (m + d)).
    Raises: TypeError or ValueError for shapes that do not fit, dtypes that differ,
    masks that are not boolean, a prefix without ``causal``.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import efficient_attention
        >>> q, v = jnp.zeros((4, 2)), jnp.arange(4.0).reshape(4, 1)
        >>> print(efficient_attention(q, q, v, causal=True)[:, 0])
        [0.  0.5 1.  1.5]
    """
    name = "efficient_attention"
    check_options(name, causal, chunk_size, True, return_state, 0.0)
    check_features(name, _NAMES, q, k, v, causal)
    wide_q, wide_k, values = wide(q, k, v)
    keep, prefix = check_masks(name, key_mask, prefix_length, causal, wide_k)
    lead, m, d = k.shape[:-2], k.shape[-1], v.shape[-1]
    end = start_state(name, state, lead, m, d, wide_k.dtype)
    mixture = jax.nn.softmax(wide_q, axis=-1)
    keys = Keys(wide_k, None, values, keep)
    if not causal:
        end = absorb(end, keys)
        out = mixture @ _means(end)
    else:
        if prefix is not None:
            end = absorb(end, keys._replace(keep=keep & prefix))
            keys = keys._replace(keep=keep & ~prefix)
        end, out = _causal(end, mixture, keys, chunk_size)
    out = out.astype(v.dtype)
    return AttentionStep(end, out) if return_state else out


def efficient_attention_step(
    state: LogLinearState | None, q: jax.Array, k: jax.Array, v: jax.Array
) -> AttentionStep:
    """Causal efficient attention of one more token: the state after it, and its result.

    c' = max(c, k), s' = s e^{c - c'} + e^{k - c'} v, z' likewise, feature by feature;
    out = sum_c softmax(q)_c s'_c / z'_c.

    Shapes: state (s [..., m, d], z [..., m], c [..., m]) or None: no token before; q,
    k [..., m], v [..., d] -> AttentionStep(state, out [..., d]).
    Article: kexue.fm/archives/7546.  Paper: arXiv 1812.01243.
    Differs: the paper has no causal form.
    Cost: 4 m d flops, whatever the number of tokens before.
    Raises: TypeError or ValueError for shapes that do not fit, dtypes that differ.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import efficient_attention_step
        >>> u, v = jnp.full(2, 500.0), jnp.array([3.0])
        >>> print(efficient_attention_step(None, u, u, v).out)
        [3.]
    """
    name = "efficient_attention_step"
    check_token(name, _NAMES, q, k, v)
    wide_q, wide_k, values = wide(q, k, v)
    lead, m, d = k.shape[:-1], k.shape[-1], v.shape[-1]
    start = start_state(name, state, lead, m, d, wide_k.dtype)
    end = absorb_one(start, wide_k, None, values)
    out = _mix(end, jax.nn.softmax(wide_q, axis=-1))
    return AttentionStep(end, out.astype(v.dtype))


def _means(state: LogLinearState) -> jax.Array:
    """The mean value of every feature, [..., m, d]."""
    return safe_divide(state.s, state.z[..., None])


def _mix(state: LogLinearState, mixture: jax.Array) -> jax.Array:
    return (mixture[..., None, :] @ _means(state))[..., 0, :]


def _causal(
    state: LogLinearState, mixture: jax.Array, keys: Keys, chunk_size: int
) -> tuple[LogLinearState, jax.Array]:
    def fast(state: LogLinearState, mixture: jax.Array, keys: Keys) -> Any:
        cut = by_chunks(state, keys, chunk_size)
        b = features(keys, cut.at)
        totals, z = _totals(cut, b, chunk_size)
        a = safe_divide(mixture, totals)
        start, none = cut.start.s, jnp.zeros_like(cut.start.z)
        out, s, _ = causal_rows(
            a,
            b,
            keys.v,
            start,
            none,
            chunk_size=chunk_size,
            normalize=False,
            decay=cut.decay,
        )
        return LogLinearState(s, z, cut.c[..., -1, :]), out

    def exact(state: LogLinearState, mixture: jax.Array, keys: Keys) -> Any:
        return token_by_token(state, mixture, keys, _mix, chunk_size)

    state, mixture, keys = varying_alike(state, mixture, keys)
    safe = by_chunks(state, keys, chunk_size).safe
    return lax.cond(safe, fast, exact, state, mixture, keys)


def _totals(cut: Chunked, b: jax.Array, chunk_size: int) -> tuple[jax.Array, jax.Array]:
    """The normalizer of each feature at each position, [..., n, m], and at the end.

    Both in the units of the position's chunk.
    """
    n, m = b.shape[-2:]
    chunk, length = chunks_of(n, chunk_size)
    cut_b = pad_rows(b, length).reshape(*b.shape[:-2], -1, chunk, m)
    ones = jnp.tril(jnp.ones((chunk, chunk), b.dtype))
    inside = jnp.einsum("ij,...jm->...im", ones, cut_b)

    def enter(z: jax.Array, x: Any) -> Any:
        rate, added = x
        z = z * rate
        return z + added, z

    leading = [jnp.moveaxis(x, -2, 0) for x in (cut.decay, inside[..., -1, :])]
    end, before = lax.scan(enter, cut.start.z, tuple(leading))
    totals = inside + jnp.moveaxis(before, 0, -2)[..., None, :]
    return totals.reshape(*b.shape[:-2], length, m)[..., :n, :], end
