"""Linear attention in its plain forms: recurrence, running sums, matrix of weights."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax._base.masks import safe_divide
from kexue_jax._base.varying import varying_alike
from kexue_jax.attention._features import check_features, keep_keys, spread, wide
from kexue_jax.attention.linear import (
    LinearAttentionState,
    check_options,
    linear_attention_step,
)

_NAMES = ("phi_q", "phi_k")


def recurrent_linear_attention(
    phi_q: jax.Array,
    phi_k: jax.Array,
    v: jax.Array,
    *,
    key_mask: jax.Array | None = None,
    eps: float | jax.Array = 1e-6,
    normalize: bool = True,
) -> jax.Array:
    """Causal linear attention token by token: the readable twin of the chunked form.

    The step of ``linear_attention_step``, scanned over the tokens from a state of 0.

    Shapes: phi_q, phi_k [..., n, m], v [..., n, d], key_mask boolean, broadcastable to
    [..., n] -> [..., n, d].
    Article: kexue.fm/archives/7546.  Paper: arXiv 2006.16236, section 3.4.
    Differs: no.
    Cost: 4 n m d flops in n turns of a loop; the gradient keeps n states of m d.
    Raises: TypeError or ValueError for shapes that do not fit, dtypes that differ, a
    mask that is not boolean.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import recurrent_linear_attention
        >>> one, v = jnp.ones((4, 2)), jnp.arange(4.0).reshape(4, 1)
        >>> print(recurrent_linear_attention(one, one, v, eps=0.0)[:, 0])
        [0.  0.5 1.  1.5]
    """
    name = "recurrent_linear_attention"
    q, k, values = _checked(name, phi_q, phi_k, v, key_mask, True, eps, normalize)
    lead, m, d = q.shape[:-2], q.shape[-1], values.shape[-1]
    start = LinearAttentionState(
        jnp.zeros((*lead, m, d), q.dtype), jnp.zeros((*lead, m), q.dtype)
    )

    def body(state: Any, token: Any) -> Any:
        return tuple(linear_attention_step(state, *token, eps=eps, normalize=normalize))

    tokens = tuple(jnp.moveaxis(x, -2, 0) for x in (q, k, values))
    _, out = lax.scan(body, *varying_alike(start, tokens))
    return jnp.moveaxis(out, 0, -2).astype(v.dtype)


def cumulative_linear_attention(
    phi_q: jax.Array,
    phi_k: jax.Array,
    v: jax.Array,
    *,
    key_mask: jax.Array | None = None,
    eps: float | jax.Array = 1e-6,
    normalize: bool = True,
) -> jax.Array:
    """Causal linear attention by running sums of all products phi_k^T v at once.

    o_i = phi_q_i S_i / (phi_q_i . z_i + eps), S = cumsum_j phi_k_j^T v_j, z = cumsum_j
    phi_k_j.

    Shapes: phi_q, phi_k [..., n, m], v [..., n, d], key_mask boolean, broadcastable to
    [..., n] -> [..., n, d].
    Article: kexue.fm/archives/7546.  Paper: arXiv 2006.16236, section 3.3.
    Differs: no.
    Cost: 4 n m d flops, memory n m d: more than n x n weights once m d > n. For
    reading and testing; use linear_attention.
    Raises: TypeError or ValueError for shapes that do not fit, dtypes that differ, a
    mask that is not boolean.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import cumulative_linear_attention
        >>> one, v = jnp.ones((4, 2)), jnp.arange(4.0).reshape(4, 1)
        >>> print(cumulative_linear_attention(one, one, v, eps=0.0)[:, 0])
        [0.  0.5 1.  1.5]
    """
    name = "cumulative_linear_attention"
    q, k, values = _checked(name, phi_q, phi_k, v, key_mask, True, eps, normalize)
    s = jnp.cumsum(k[..., :, None] * values[..., None, :], -3)
    num = jnp.einsum("...nm,...nmd->...nd", q, s)
    den = (q * jnp.cumsum(k, -2)).sum(-1, keepdims=True)
    return _quotient(num, den, eps, normalize).astype(v.dtype)


def quadratic_linear_attention(
    phi_q: jax.Array,
    phi_k: jax.Array,
    v: jax.Array,
    *,
    mask: jax.Array | None = None,
    causal: bool = False,
    eps: float | jax.Array = 1e-6,
    normalize: bool = True,
) -> jax.Array:
    """Linear attention by the whole matrix of weights, under any mask.

    o_i = sum_j w_ij v_j / (sum_j w_ij + eps), w_ij = phi_q_i . phi_k_j where mask_ij
    and, ``causal``, j <= i, else 0.

    Shapes: phi_q [..., n, m], phi_k [..., l, m], v [..., l, d], mask boolean,
    broadcastable to [..., n, l] -> [..., n, d].
    Article: kexue.fm/archives/7546 (8610).  Paper: arXiv 1711.07971, eq. 1.
    Differs: no.
    Cost: 2 n l (m + d) flops, memory n l: for reading, for masks of any kind, and
    faster than the linear form while n is below about m.
    Raises: TypeError or ValueError for shapes that do not fit, dtypes that differ, a
    mask that is not boolean.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import quadratic_linear_attention
        >>> one, v = jnp.ones((4, 2)), jnp.arange(4.0).reshape(4, 1)
        >>> print(quadratic_linear_attention(one, one, v, causal=True, eps=0.0)[:, 0])
        [0.  0.5 1.  1.5]
    """
    name = "quadratic_linear_attention"
    q, k, values = _checked(name, phi_q, phi_k, v, None, causal, eps, normalize)
    keep = spread(name, "mask", mask, (*q.shape[:-1], k.shape[-2]))
    weights = q @ k.mT
    if causal:
        weights = jnp.tril(weights)
    if keep is not None:
        weights = jnp.where(keep, weights, 0)
    den = weights.sum(-1, keepdims=True)
    return _quotient(weights @ values, den, eps, normalize).astype(v.dtype)


def _quotient(num: Any, den: Any, eps: Any, normalize: bool) -> jax.Array:
    if not normalize:
        return num
    return safe_divide(num, den + jnp.asarray(eps, num.dtype))


def _checked(
    name: str,
    phi_q: Any,
    phi_k: Any,
    v: Any,
    key_mask: Any,
    causal: bool,
    eps: Any,
    normalize: bool,
) -> list[jax.Array]:
    """Features and values in at least float32, those of masked keys 0; or raise."""
    check_options(name, causal, 1, normalize, False, eps)
    check_features(name, _NAMES, phi_q, phi_k, v, causal)
    keep = spread(name, "key_mask", key_mask, phi_k.shape[:-1])
    q, k, values = wide(phi_q, phi_k, v)
    return [q, keep_keys(k, keep), values]
