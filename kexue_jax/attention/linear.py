"""Linear attention: one engine for every feature map, and its one-token step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.masks import safe_divide
from kexue_jax.attention._features import (
    AttentionStep,
    causal_rows,
    check_features,
    keep_keys,
    positions_kept,
    spread,
    wide,
)

_NAMES = ("phi_q", "phi_k")
Pair = tuple[jax.Array, jax.Array]


class LinearAttentionState(NamedTuple):
    """All that linear attention keeps of the keys so far, in at least float32.

    s [..., m, d] = sum_j phi(k_j)^T v_j, z [..., m] = sum_j phi(k_j).
    Article: kexue.fm/archives/7546.
    """

    s: jax.Array
    z: jax.Array


def linear_attention(
    phi_q: jax.Array,
    phi_k: jax.Array,
    v: jax.Array,
    *,
    causal: bool = False,
    chunk_size: int = 64,
    key_mask: jax.Array | None = None,
    prefix_length: int | jax.Array | None = None,
    numerator: Pair | None = None,
    eps: float | jax.Array = 1e-6,
    normalize: bool = True,
    state: LinearAttentionState | None = None,
    return_state: bool = False,
) -> Any:
    """Attention whose weights are products of features, in time and memory O(n).

    o_i = sum_j w_ij v_j / (sum_j w_ij + eps), w_ij = phi_q_i . phi_k_j, over the keys
    in ``state`` and all j of key_mask or, ``causal``, those of them with j <= i or
    j < prefix_length. Without ``normalize`` o_i is the numerator. ``numerator`` is a
    pair of features for the numerator alone: for rotary positions the rotated phi_q
    and phi_k (archives/8265), whose weights are no probabilities then.

    Shapes: phi_q [..., n, m], phi_k [..., l, m], v [..., l, d], l = n if causal;
    key_mask boolean, broadcastable to [..., l]; prefix_length integers, broadcastable
    to [...] -> [..., n, d]; with ``return_state`` AttentionStep(state, out).
    Article: kexue.fm/archives/7546 (8610).  Paper: arXiv 2006.16236.
    Differs: causal by chunks of ``chunk_size`` (64 by measurement) in place of the
    articles' recurrence, with a gradient by hand that keeps one state a chunk;
    a query that meets no key gives 0. The causal form has reverse mode only.
    Cost: 4 n m d flops; causal 4 n m d + 2 n chunk (m + d), three times that for the
    gradient; memory O(n (m + d)), and causal gradients n m d / chunk for the states.
    On a CPU the causal form is one loop over all chunks of all rows, unless a row is
    one chunk: divide rows over several CPU devices by shard_map, since jit alone would
    gather them on each.
    Raises: TypeError or ValueError for shapes that do not fit, dtypes that differ,
    masks that are not boolean, a prefix without ``causal``.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import elu1, linear_attention
        >>> q, v = elu1(jnp.zeros((4, 2))), jnp.arange(4.0).reshape(4, 1)
        >>> print(linear_attention(q, q, v, causal=True, eps=0.0)[:, 0])
        [0.  0.5 1.  1.5]
    """
    name = "linear_attention"
    check_options(name, causal, chunk_size, normalize, return_state, eps)
    check_features(name, _NAMES, phi_q, phi_k, v, causal)
    check_numerator(name, numerator, phi_q, phi_k)
    lead, length = phi_k.shape[:-2], phi_k.shape[-2]
    keep = spread(name, "key_mask", key_mask, (*lead, length))
    prefix = positions_kept(name, prefix_length, causal, lead, length)
    q, k, values = wide(phi_q, phi_k, v)
    top_q, top_k = (q, k) if numerator is None else wide(*numerator)
    k, top_k = keep_keys(k, keep), keep_keys(top_k, keep)
    start = _start(name, state, k, top_k, values)
    if causal and prefix is not None:
        start = _absorb(start, keep_keys(k, prefix), keep_keys(top_k, prefix), values)
        k, top_k = keep_keys(k, ~prefix), keep_keys(top_k, ~prefix)
    if not causal:
        end = _absorb(start, k, top_k, values)
        out = _read(end, q, top_q, eps, normalize)
    elif numerator is None:
        out, s, z = causal_rows(
            q, k, values, *start, chunk_size=chunk_size, normalize=normalize, eps=eps
        )
        end = LinearAttentionState(s, z)
    else:
        options: dict[str, Any] = {"chunk_size": chunk_size, "normalize": False}
        none = jnp.zeros_like(top_k[..., 0, :])
        out, s, _ = causal_rows(top_q, top_k, values, start.s, none, **options)
        ones, none = jnp.ones_like(values[..., :1]), jnp.zeros_like(start.z)
        den, z, _ = causal_rows(q, k, ones, start.z[..., None], none, **options)
        out = safe_divide(out, den + eps) if normalize else out
        end = LinearAttentionState(s, z[..., 0])
    out = out.astype(v.dtype)
    return AttentionStep(end, out) if return_state else out


def linear_attention_step(
    state: LinearAttentionState | None,
    phi_q: jax.Array,
    phi_k: jax.Array,
    v: jax.Array,
    *,
    numerator: Pair | None = None,
    eps: float | jax.Array = 1e-6,
    normalize: bool = True,
) -> AttentionStep:
    """Causal linear attention of one more token: the state after it, and its result.

    s += phi_k^T v, z += phi_k; out = (phi_q s) / (phi_q . z + eps). The state goes
    first: a token attends to itself.

    Shapes: state (s [..., m, d], z [..., m]) or None: no token before; phi_q, phi_k
    [..., m], v [..., d] -> AttentionStep(state, out [..., d]).
    Article: kexue.fm/archives/7546.  Paper: arXiv 2006.16236, eq. 18-20.
    Differs: no. A prefill is ``linear_attention(..., return_state=True)``.
    Cost: 4 m d flops, whatever the number of tokens before.
    Raises: TypeError or ValueError for shapes that do not fit, dtypes that differ.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import linear_attention_step
        >>> one, v = jnp.ones(2), jnp.array([3.0])
        >>> print(linear_attention_step(None, one, one, v, eps=0.0).out)
        [3.]
    """
    name = "linear_attention_step"
    check_options(name, True, 1, normalize, False, eps)
    for argument, value in (("phi_q", phi_q), ("phi_k", phi_k), ("v", v)):
        checks.array(name, argument, value)
    checks.same_dtype(name, phi_q=phi_q, phi_k=phi_k, v=v)
    checks.shapes(name, phi_q=(phi_q, "... m"), phi_k=(phi_k, "... m"), v=(v, "... d"))
    check_numerator(name, numerator, phi_q, phi_k)
    q, k, values = wide(phi_q, phi_k, v)
    top_q, top_k = (q, k) if numerator is None else wide(*numerator)
    start = _start(name, state, k[..., None, :], top_k[..., None, :], values)
    s = start.s + top_k[..., None] * values[..., None, :]
    end = LinearAttentionState(s, start.z + k)
    out = _read(end, q[..., None, :], top_q[..., None, :], eps, normalize)[..., 0, :]
    return AttentionStep(end, out.astype(v.dtype))


def check_options(
    name: str, causal: Any, chunk_size: Any, normalize: Any, return_state: Any, eps: Any
) -> None:
    """Raise unless the flags are flags, the chunk a count and eps at least 0."""
    checks.flag(name, "causal", causal)
    checks.count(name, "chunk_size", chunk_size)
    checks.flag(name, "normalize", normalize)
    checks.flag(name, "return_state", return_state)
    checks.number(name, "eps", eps, minimum=0, traced=True)


def check_numerator(name: str, numerator: Any, phi_q: Any, phi_k: Any) -> None:
    """Raise unless the pair ``numerator`` fits the features but for their number."""
    if numerator is None:
        return
    if not isinstance(numerator, tuple) or len(numerator) != 2:
        got = f"a {type(numerator).__name__}"
        raise checks.fail_type(name, "numerator", got, "None or a pair of arrays")
    for value, like in zip(numerator, (phi_q, phi_k), strict=True):
        checks.array(name, "numerator", value)
        checks.same_dtype(name, phi_q=phi_q, numerator=value)
        if value.shape[:-1] != like.shape[:-1]:
            got, wanted = f"shape {value.shape}", f"of shape {like.shape[:-1]} and m"
            raise checks.fail(name, "numerator", got, wanted)
    checks.shapes(name, numerator=(numerator[0], "*l m"))
    if numerator[0].shape[-1] != numerator[1].shape[-1]:
        got = f"{numerator[0].shape[-1]} and {numerator[1].shape[-1]} features"
        raise checks.fail(name, "numerator", got, "a pair of one number of features")


def _start(name: str, state: Any, k: Any, top_k: Any, v: Any) -> LinearAttentionState:
    """The state to begin with: ``state`` checked and widened, or zeros."""
    lead, m, d = k.shape[:-2], k.shape[-1], v.shape[-1]
    shapes = {"s": (*lead, top_k.shape[-1], d), "z": (*lead, m)}
    if state is None:
        return LinearAttentionState(
            jnp.zeros(shapes["s"], k.dtype), jnp.zeros(shapes["z"], k.dtype)
        )
    checks.state(name, state, LinearAttentionState, shapes)
    return LinearAttentionState(*(jnp.asarray(part, k.dtype) for part in state))


def _absorb(state: LinearAttentionState, k: Any, top_k: Any, v: Any) -> Any:
    """The state with the keys [..., l, m] and values [..., l, d] added."""
    return LinearAttentionState(state.s + top_k.mT @ v, state.z + k.sum(-2))


def _read(state: LinearAttentionState, q: Any, top_q: Any, eps: Any, divide: bool):
    """What queries [..., n, m] get from all keys of the state."""
    out = top_q @ state.s
    if not divide:
        return out
    den = q @ state.z[..., None] + jnp.asarray(eps, q.dtype)
    return safe_divide(out, den)
