"""The Performer: softmax attention estimated by positive random features (FAVOR+)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax._base import checks, numerics
from kexue_jax.attention._all_keys import Maps, Source
from kexue_jax.attention._features import AttentionStep, check_features, wide
from kexue_jax.attention._running import absorb_one, start_state
from kexue_jax.attention.linear import (
    check_options,
    linear_attention,
    linear_attention_step,
)
from kexue_jax.attention.log_linear import check_masks, check_token, log_linear, read

KINDS = ("positive", "hyperbolic", "trig")
ATTENTION_KINDS = (*KINDS, "generalized")

Function = Callable[[jax.Array], jax.Array]


def softmax_features(
    x: jax.Array, w: jax.Array, *, kind: str = "positive", scale: bool = True
) -> jax.Array:
    """Random features whose products estimate exp(q . k / sqrt(d)) without bias.

    With x divided by d^(1/4) where ``scale``, and p = w x: "positive" exp(p - |x|^2/2)
    / sqrt(m); "hyperbolic" exp(-|x|^2/2) (exp(p), exp(-p)) / sqrt(2 m); "trig"
    exp(|x|^2/2) (cos p, sin p) / sqrt(m).

    Shapes: x [..., n, d], w [m, d] or [*heads, m, d], heads broadcastable to ... ->
    [..., n, m], or [..., n, 2 m].
    Article: kexue.fm/archives/7921.  Paper: arXiv 2009.14794, lemma 1.
    Differs: nothing is subtracted, so that products are the kernel itself; for
    attention use performer_attention, which cannot overflow.
    Cost: 2 n m d flops in the highest precision, an exponential a feature.
    Raises: TypeError or ValueError for arrays of a wrong kind or shape.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.attention import gaussian_projection, softmax_features
        >>> w = gaussian_projection(jax.random.key(0), m=4096, d=4)
        >>> phi = softmax_features(jnp.full((1, 4), 0.5), w)
        >>> bool(jnp.abs(phi @ phi.T - jnp.exp(0.5)).max() < 0.1)
        True
    """
    name = "softmax_features"
    checks.choice(name, "kind", kind, KINDS)
    x_, projected = _project(name, x, w, scale)
    half = jnp.square(x_).sum(-1, keepdims=True) / 2
    if kind == "trig":
        waves = jnp.concatenate([jnp.cos(projected), jnp.sin(projected)], -1)
        found = jnp.exp(half) * waves
    else:
        both = _both(projected) if kind == "hyperbolic" else projected
        found = jnp.exp(both - half)
    count = found.shape[-1] if kind != "trig" else projected.shape[-1]
    return (found / jnp.sqrt(jnp.asarray(count, found.dtype))).astype(x.dtype)


def log_softmax_features(
    x: jax.Array, w: jax.Array, *, is_query: bool, scale: bool = True
) -> jax.Array:
    """The logarithms of positive random features, for ``log_linear_attention``.

    w x for queries, w x - |x|^2 / 2 for keys, x divided by d^(1/4) where ``scale``.

    Shapes: x [..., n, d], w [m, d] or [*heads, m, d], heads broadcastable to ... ->
    [..., n, m].
    Article: kexue.fm/archives/7921.  Paper: arXiv 2009.14794, lemma 1.
    Differs: factors that cancel in attention, 1 / sqrt(m) and a query's
    exp(-|x|^2 / 2), are left out. Exponents are rounded to the dtype of x: of bfloat16
    give them as float32, or take ``performer_attention``, which keeps them wide.
    Cost: 2 n m d flops in the highest precision.
    Raises: TypeError or ValueError for arrays of a wrong kind or shape.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import log_softmax_features
        >>> x, w = jnp.full((1, 1), 3.0), jnp.ones((1, 1))
        >>> print(log_softmax_features(x, w, is_query=False))
        [[-1.5]]
    """
    name = "log_softmax_features"
    checks.flag(name, "is_query", is_query)
    x_, projected = _project(name, x, w, scale)
    if not is_query:
        projected = projected - jnp.square(x_).sum(-1, keepdims=True) / 2
    return projected.astype(x.dtype)


def generalized_features(
    x: jax.Array,
    w: jax.Array | None,
    *,
    function: Function = jax.nn.relu,
    eps: float = 1e-3,
) -> jax.Array:
    """Features of generalized attention: a function of the projection, plus eps.

    function(w x) + eps, or function(x) + eps where w is None.

    Shapes: x [..., n, d], w [m, d] or [*heads, m, d], heads broadcastable to ..., or
    None -> [..., n, m], or [..., n, d].
    Article: kexue.fm/archives/7921.  Paper: arXiv 2009.14794, section 2.2.
    Differs: no. It estimates no softmax.
    Cost: 2 n m d flops in the highest precision.
    Raises: TypeError or ValueError for arrays of a wrong kind or shape, a function
    that changes the shape, a negative eps.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import generalized_features
        >>> print(generalized_features(jnp.array([[-1.0, 1.0]]), None, eps=0.5))
        [[0.5 1.5]]
    """
    name = "generalized_features"
    checks.function(name, "function", function)
    checks.number(name, "eps", eps, minimum=0)
    if w is None:
        checks.array(name, "x", x)
        checks.shapes(name, x=(x, "... n d"))
        projected = jnp.asarray(x, numerics.accumulation_dtype(x))
    else:
        projected = _project(name, x, w, False)[1]
    found = function(projected)
    if jnp.shape(found) != projected.shape:
        got = f"one that gives shape {jnp.shape(found)}"
        wanted = f"a function that keeps the shape {projected.shape}"
        raise checks.fail(name, "function", got, wanted)
    return (found + eps).astype(x.dtype)


def performer_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    w: jax.Array | None,
    *,
    kind: str = "positive",
    causal: bool = False,
    chunk_size: int = 64,
    key_mask: jax.Array | None = None,
    prefix_length: int | jax.Array | None = None,
    function: Function = jax.nn.relu,
    eps: float = 1e-3,
    state: Any = None,
    return_state: bool = False,
) -> Any:
    """Softmax attention of scale 1 / sqrt(d), estimated in O(n) by random features.

    o_i = sum_j w_ij v_j / sum_j w_ij, w_ij = phi(q_i) . phi(k_j), phi by ``kind``:
    "positive", "hyperbolic", "trig" of ``softmax_features``, or "generalized" with
    ``function`` and ``eps``, over the keys in ``state`` and all j of key_mask or,
    ``causal``, those of them with j <= i or j < prefix_length.

    Shapes: q [..., n, d], k [..., l, d], v [..., l, e], l = n if causal; w [m, d] or
    [*heads, m, d], heads broadcastable to ..., or None for "generalized"; key_mask
    boolean, broadcastable to [..., l]; prefix_length integers, broadcastable to [...]
    -> [..., n, e]; with ``return_state`` AttentionStep(state, out), state a
    LogLinearState, for "generalized" a LinearAttentionState.
    Article: kexue.fm/archives/7921.  Paper: arXiv 2009.14794.
    Differs: w is an argument, shared by q and k, never a hidden buffer. The features
    are kept by ``log_linear_attention``: no eps, and for "positive" and "hyperbolic" a
    denominator of at least 1, where the published code becomes the mean of v at large
    norms. Weights of "trig" may be negative and their sum near 0. The causal form has
    reverse mode only.
    Cost: 4 n m (d + e) flops with m features ("hyperbolic", "trig": 2 m), and as
    ``linear_attention``: dearer than exact attention while n is below about 2 m.
    On a CPU more than 8 MiB of features are made by blocks, a row of the batch after
    the other, and never kept: divide rows over several CPU devices by shard_map.
    Raises: TypeError or ValueError for shapes that do not fit, dtypes that differ,
    masks that are not boolean, a prefix without ``causal``.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.attention import orthogonal_projection, performer_attention
        >>> w = orthogonal_projection(jax.random.key(0), m=8, d=2)
        >>> q, v = jnp.zeros((4, 2)), jnp.arange(4.0).reshape(4, 1)
        >>> print(performer_attention(q, q, v, w, causal=True)[:, 0])
        [0.  0.5 1.  1.5]
    """
    name = "performer_attention"
    checks.choice(name, "kind", kind, ATTENTION_KINDS)
    check_options(name, causal, chunk_size, True, return_state, 0.0)
    check_features(name, ("q", "k"), q, k, v, causal)
    keep, prefix = check_masks(name, key_mask, prefix_length, causal, k)
    q_, k_, values = wide(q, k, v)
    if kind == "generalized":
        _check_w(name, q, w, optional=True)
        found = linear_attention(
            generalized_features(q_, w, function=function, eps=eps),
            generalized_features(k_, w, function=function, eps=eps),
            values,
            causal=causal,
            chunk_size=chunk_size,
            key_mask=keep,
            prefix_length=prefix_length,
            eps=0.0,
            state=state,
            return_state=True,
        )
        end, out = found
    else:
        _check_w(name, q, w)
        lead, e = k.shape[:-2], v.shape[-1]
        start = start_state(name, state, lead, _count(w, kind), e, k_.dtype)
        source = Source(q_, k_, values, keep, _weights(w, k_, lead))
        maps = _maps(kind)
        end, out = log_linear(
            start, source, maps, prefix, causal=causal, chunk_size=chunk_size
        )
    out = out.astype(v.dtype)
    return AttentionStep(end, out) if return_state else out


def performer_step(
    state: Any,
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    w: jax.Array | None,
    *,
    kind: str = "positive",
    function: Function = jax.nn.relu,
    eps: float = 1e-3,
) -> AttentionStep:
    """Causal attention of one more token by random features.

    The state after the token, and what ``performer_attention`` gives for it.

    Shapes: state that of ``performer_attention(..., return_state=True)``, or None: no
    token before; q, k [..., d], v [..., e], w [m, d] or [*heads, m, d], heads
    broadcastable to ..., None as there -> AttentionStep(state, out [..., e]).
    Article: kexue.fm/archives/7921.  Paper: arXiv 2009.14794.
    Differs: as ``performer_attention`` does.
    Cost: 4 m (d + e) flops, whatever the number of tokens before.
    Raises: TypeError or ValueError for shapes that do not fit, dtypes that differ.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.attention import orthogonal_projection, performer_step
        >>> w = orthogonal_projection(jax.random.key(0), m=8, d=2)
        >>> q, v = jnp.ones(2), jnp.full(1, 3.0)
        >>> print(jnp.round(performer_step(None, q, q, v, w).out, 4))
        [3.]
    """
    name = "performer_step"
    checks.choice(name, "kind", kind, ATTENTION_KINDS)
    check_token(name, ("q", "k"), q, k, v)
    q_, k_, values = wide(q, k, v)
    rows_q, rows_k = q_[..., None, :], k_[..., None, :]
    if kind == "generalized":
        _check_w(name, rows_q, w, optional=True)
        phi_q, phi_k = (
            generalized_features(x, w, function=function, eps=eps)[..., 0, :]
            for x in (rows_q, rows_k)
        )
        end, out = linear_attention_step(state, phi_q, phi_k, values, eps=0.0)
    else:
        _check_w(name, rows_q, w)
        lead, e = k.shape[:-1], v.shape[-1]
        maps, weights = _maps(kind), _weights(w, k_, lead)
        found = (*maps.query(rows_q, weights), *maps.key(rows_k, weights))
        u_q, f_q, u_k, f_k = (x if x is None else x[..., 0, :] for x in found)
        start = start_state(name, state, lead, _count(w, kind), e, k_.dtype)
        end = absorb_one(start, u_k, f_k, values)
        out = read(end, u_q, 0.0, f_q)
    return AttentionStep(end, out.astype(v.dtype))


def _maps(kind: str) -> Maps:
    """The exponents u and factors f (None: 1) of the features f exp(u) of a kind."""

    def query(x: jax.Array, w: jax.Array | None) -> tuple[jax.Array, jax.Array | None]:
        p = _projected(_scaled(x), w)
        if kind == "trig":
            waves = jnp.concatenate([jnp.cos(p), jnp.sin(p)], -1)
            return jnp.zeros_like(waves), waves
        return (_both(p) if kind == "hyperbolic" else p), None

    def key(x: jax.Array, w: jax.Array | None) -> tuple[jax.Array, jax.Array | None]:
        u, f = query(x, w)
        half = jnp.square(_scaled(x)).sum(-1, keepdims=True) / 2
        return (u + half if kind == "trig" else u - half), f

    return Maps(query, key)


def _count(w: Any, kind: str) -> int:
    """Features of a projection [..., m, d]."""
    return w.shape[-2] if kind == "positive" else 2 * w.shape[-2]


def _both(x: jax.Array) -> jax.Array:
    return jnp.concatenate([x, -x], -1)


def _check_w(name: str, x: Any, w: Any, *, optional: bool = False) -> None:
    if w is None and optional:
        return
    checks.array(name, "w", w)
    letters = checks.shapes(name, w=(w, "*heads m d"))
    lead, own = x.shape[:-2], w.shape[:-2]
    fits = len(own) <= len(lead) and all(
        mine in (1, theirs) for mine, theirs in zip(own[::-1], lead[::-1], strict=False)
    )
    if not fits or letters["d"] != x.shape[-1] or w.shape[-2] == 0:
        wanted = f"[*heads, m, {x.shape[-1]}] with heads broadcastable to {lead}"
        raise checks.fail(name, "w", f"shape {w.shape}", wanted)


def _project(
    name: str, x: Any, w: Any, scale: bool, argument: str = "x"
) -> tuple[jax.Array, jax.Array]:
    """x, scaled, and w x, in at least float32."""
    checks.array(name, argument, x)
    checks.shapes(name, **{argument: (x, "... n d")})
    checks.flag(name, "scale", scale)
    _check_w(name, x, w)
    x_ = jnp.asarray(x, numerics.accumulation_dtype(x))
    x_ = _scaled(x_) if scale else x_
    return x_, _projected(x_, _weights(w, x_, x.shape[:-2]))


def _scaled(x: jax.Array) -> jax.Array:
    return x / x.shape[-1] ** 0.25


def _weights(w: Any, x: jax.Array, lead: tuple[int, ...]) -> jax.Array:
    """w in the dtype of x: [m, d] as it is, one a head [*lead, m, d]."""
    w = jnp.asarray(w, x.dtype)
    return w if w.ndim == 2 else jnp.broadcast_to(w, (*lead, *w.shape[-2:]))


def _projected(x: jax.Array, w: Any) -> jax.Array:
    """w x in the highest precision: an error in an exponent is a relative error in
    the feature."""
    exact = lax.Precision.HIGHEST
    if w.ndim > 2:
        return jnp.matmul(x, w.mT, precision=exact)
    return jnp.einsum("...nd,md->...nm", x, w, precision=exact)
