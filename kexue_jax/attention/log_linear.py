"""Linear attention from the logarithms of features: no eps, no overflow."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax._base import checks
from kexue_jax._base.varying import varying_alike
from kexue_jax.attention._all_keys import Maps, Source, all_keys, queries, read_all
from kexue_jax.attention._features import (
    AttentionStep,
    causal_rows,
    check_features,
    positions_kept,
    spread,
    wide,
)
from kexue_jax.attention._running import (
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

_NAMES = ("log_phi_q", "log_phi_k")
_AS_THEY_ARE = Maps(lambda u, _: (u, None), lambda u, _: (u, None))


def log_linear_attention(
    log_phi_q: jax.Array,
    log_phi_k: jax.Array,
    v: jax.Array,
    *,
    causal: bool = False,
    chunk_size: int = 64,
    key_mask: jax.Array | None = None,
    prefix_length: int | jax.Array | None = None,
    state: LogLinearState | None = None,
    return_state: bool = False,
) -> Any:
    """Linear attention with the features exp(log_phi), whatever their size.

    o_i = sum_j w_ij v_j / sum_j w_ij, w_ij = sum_r exp(log_phi_q_ir + log_phi_k_jr),
    over the keys in ``state`` and all j of key_mask or, ``causal``, those of them with
    j <= i or j < prefix_length. With c_r = max_j log_phi_k_jr the features become
    exp(log_phi_k - c) and exp(t - max_r t), t = log_phi_q + c: none above 1, and the
    denominator never below 1. log_phi = q and k themselves give the kernel of
    archives/8338.

    Shapes: log_phi_q [..., n, m], log_phi_k [..., l, m], v [..., l, d], l = n if
    causal; key_mask boolean, broadcastable to [..., l]; prefix_length integers,
    broadcastable to [...] -> [..., n, d]; with ``return_state`` AttentionStep(state,
    out), state a LogLinearState.
    Article: kexue.fm/archives/7921 (8338).  Paper: arXiv 2009.14794, section 3.
    Differs: the published code subtracts one maximum over all keys and features and
    adds eps: at large norms its result is the mean of v, and causally the future
    shows through eps. Here c is by feature and causally the running maximum, at the
    ends of the chunks. Where a maximum grows within one chunk by more than 61
    (float32; 495 in float64) the whole call goes token by token, slower and as exact.
    A query that meets no key gives 0. The causal form has reverse mode only.
    Cost: that of ``linear_attention`` and an exponential a feature.
    Raises: TypeError or ValueError for shapes that do not fit, dtypes that differ,
    masks that are not boolean, a prefix without ``causal``.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import log_linear_attention
        >>> u, v = jnp.full((4, 2), 500.0), jnp.arange(4.0).reshape(4, 1)
        >>> print(log_linear_attention(u, u, v, causal=True)[:, 0])
        [0.  0.5 1.  1.5]
    """
    name = "log_linear_attention"
    check_options(name, causal, chunk_size, True, return_state, 0.0)
    check_features(name, _NAMES, log_phi_q, log_phi_k, v, causal)
    u_q, u_k, values = wide(log_phi_q, log_phi_k, v)
    keep, prefix = check_masks(name, key_mask, prefix_length, causal, u_k)
    start = start_state(
        name, state, u_k.shape[:-2], u_k.shape[-1], values.shape[-1], u_k.dtype
    )
    source = Source(u_q, u_k, values, keep, None)
    end, out = log_linear(
        start, source, _AS_THEY_ARE, prefix, causal=causal, chunk_size=chunk_size
    )
    out = out.astype(v.dtype)
    return AttentionStep(end, out) if return_state else out


def log_linear_attention_step(
    state: LogLinearState | None,
    log_phi_q: jax.Array,
    log_phi_k: jax.Array,
    v: jax.Array,
) -> AttentionStep:
    """Causal attention of one more token by the logarithms of its features.

    c' = max(c, log_phi_k), s' = s exp(c - c') + exp(log_phi_k - c')^T v, z' likewise;
    out = a s' / (a . z'), a = exp(t - max t), t = log_phi_q + c'. a . z' is at least 1.

    Shapes: state (s [..., m, d], z [..., m], c [..., m]) or None: no token before;
    log_phi_q, log_phi_k [..., m], v [..., d] -> AttentionStep(state, out [..., d]).
    Article: kexue.fm/archives/7921 (8338).  Paper: none.
    Differs: as ``log_linear_attention`` does.
    Cost: 4 m d flops, whatever the number of tokens before.
    Raises: TypeError or ValueError for shapes that do not fit, dtypes that differ.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import log_linear_attention_step
        >>> u, v = jnp.full(2, 500.0), jnp.array([3.0])
        >>> print(log_linear_attention_step(None, u, u, v).out)
        [3.]
    """
    name = "log_linear_attention_step"
    check_token(name, _NAMES, log_phi_q, log_phi_k, v)
    u_q, u_k, values = wide(log_phi_q, log_phi_k, v)
    lead, m, d = u_k.shape[:-1], u_k.shape[-1], values.shape[-1]
    start = start_state(name, state, lead, m, d, u_k.dtype)
    end = absorb_one(start, u_k, None, values)
    return AttentionStep(end, read(end, u_q, 0.0).astype(v.dtype))


def check_token(name: str, names: tuple[str, str], q: Any, k: Any, v: Any) -> None:
    """Raise unless q, k [..., m] and v [..., d] are one token's."""
    arguments = dict(zip((*names, "v"), (q, k, v), strict=True))
    for argument, value in arguments.items():
        checks.array(name, argument, value)
    checks.same_dtype(name, **arguments)
    patterns = ("... m", "... m", "... d")
    pairs = zip(arguments.items(), patterns, strict=True)
    checks.shapes(name, **{a: (x, pattern) for (a, x), pattern in pairs})


def check_masks(
    name: str, key_mask: Any, prefix_length: Any, causal: bool, k: jax.Array
) -> tuple[jax.Array, jax.Array | None]:
    """Which keys count, and which of them lie in the prefix or None, bool [..., n]."""
    lead, n = k.shape[:-2], k.shape[-2]
    keep = spread(name, "key_mask", key_mask, (*lead, n))
    prefix = positions_kept(name, prefix_length, causal, lead, n)
    return jnp.ones((*lead, n), bool) if keep is None else keep, prefix


def log_linear(
    state: LogLinearState,
    source: Source,
    maps: Maps,
    prefix: jax.Array | None,
    *,
    causal: bool,
    chunk_size: int,
    eps: Any = 0.0,
) -> tuple[LogLinearState, jax.Array]:
    """The state after the keys, and the results of the queries of ``source``."""
    if not causal:
        return all_keys(state, source, maps, eps)
    eps = jnp.asarray(eps, source.v.dtype)
    state, source, prefix, eps = varying_alike(state, source, prefix, eps)
    u_q, f_q = maps.query(source.q, source.w)
    keys = Keys(*maps.key(source.k, source.w), source.v, source.keep)
    if prefix is not None:
        state = absorb(state, keys._replace(keep=keys.keep & prefix))
        keys = keys._replace(keep=keys.keep & ~prefix)
    cut = by_chunks(state, keys, chunk_size)

    def fast(state: Any, u_q: Any, f_q: Any, keys: Keys) -> Any:
        cut = by_chunks(state, keys, chunk_size)
        out, s, z = causal_rows(
            queries(u_q, f_q, cut.at),
            features(keys, cut.at),
            keys.v,
            cut.start.s,
            cut.start.z,
            chunk_size=chunk_size,
            normalize=True,
            eps=eps,
            decay=cut.decay,
        )
        return LogLinearState(s, z, cut.c[..., -1, :]), out

    def exact(state: Any, u_q: Any, f_q: Any, keys: Keys) -> Any:
        m = u_q.shape[-1]
        both = u_q if f_q is None else jnp.concatenate([u_q, f_q], -1)

        def read_one(state: LogLinearState, q: jax.Array) -> jax.Array:
            factor = None if f_q is None else q[..., m:]
            return read(state, q[..., :m], eps, factor)

        return token_by_token(state, both, keys, read_one, chunk_size)

    return lax.cond(cut.safe, fast, exact, state, u_q, f_q, keys)


def read(state: LogLinearState, u_q: Any, eps: Any, f_q: Any = None) -> jax.Array:
    """What a query [..., m] gets from all keys of the state."""
    factor = None if f_q is None else f_q[..., None, :]
    return read_all(state, u_q[..., None, :], factor, eps)[..., 0, :]
