"""PoWER-BERT's search for how many tokens each layer keeps: selection made soft."""

from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax._base import checks, numerics
from kexue_jax.attention._arguments import broadcast, check_mask


def soft_select_tokens(
    x: jax.Array,
    significance: jax.Array,
    retention: jax.Array,
    *,
    keep_first: bool = True,
    key_mask: jax.Array | None = None,
) -> jax.Array:
    """Every token times what its rank by significance retains: soft extraction.

    y_j = r_(rank j) x_j, rank 0 the most significant. Retentions r in [0, 1] are
    trained, from 1 on, with ``retention_penalty`` added to the loss and a clip to
    [0, 1] after each step; ``retained_tokens`` then says what ``select_tokens`` is to
    keep. With ``keep_first`` position 0 ([CLS]) has rank 0 whatever its significance;
    positions that the mask drops come last.

    Shapes: x [..., n, d], significance [..., n], retention [n] or broadcastable to
    [..., n], key_mask boolean, broadcastable to [..., n] -> [..., n, d].
    Article: kexue.fm/archives/7546.  Paper: arXiv 2001.08950, section 3.2.
    Differs: no. Of equal significances the earlier ranks higher; the ranks have no
    gradient. A retention of ones, then zeros, keeps what ``select_tokens`` keeps.
    Cost: two sorts of n, time and memory of x.
    Raises: TypeError or ValueError for shapes that do not fit or a mask that is not
    boolean.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import soft_select_tokens
        >>> x, score = jnp.ones((4, 1)), jnp.array([0.1, 0.2, 0.9, 0.8])
        >>> retention = jnp.array([1.0, 0.75, 0.5, 0.25])
        >>> print(soft_select_tokens(x, score, retention)[:, 0])
        [1.   0.25 0.75 0.5 ]
    """
    name = "soft_select_tokens"
    for argument, value in (("x", x), ("significance", significance)):
        checks.array(name, argument, value)
    checks.shapes(name, x=(x, "*b n d"), significance=(significance, "*b n"))
    if x.shape[-2] == 0:
        raise checks.fail(name, "x", f"shape {x.shape}", "of one token at least")
    checks.array(name, "retention", retention)
    checks.shapes(name, retention=(retention, "... n"))
    checks.broadcastable(name, "retention", retention, significance.shape)
    check_mask(name, "key_mask", key_mask, significance.shape)
    checks.flag(name, "keep_first", keep_first)
    score = jax.lax.stop_gradient(jnp.asarray(significance))
    if key_mask is not None:
        score = jnp.where(broadcast(key_mask, score.shape), score, -jnp.inf)
    if keep_first:
        score = score.at[..., 0].set(jnp.inf)
    rank = jnp.argsort(jnp.argsort(-score, axis=-1), axis=-1)
    dtype = numerics.accumulation_dtype(x, retention)
    factors = jnp.broadcast_to(jnp.asarray(retention, dtype), score.shape)
    kept = jnp.take_along_axis(factors, rank, -1)
    return (kept[..., None] * jnp.asarray(x, dtype)).astype(x.dtype)


def retention_penalty(retention: jax.Array) -> jax.Array:
    """What PoWER-BERT adds to the loss, times a weight, so that layers drop tokens.

    sum_l l sum_k r_lk, l = 1, 2, ... the layer: a token that is dropped late has cost
    all layers before.

    Shapes: retention [..., layers, n] -> [...], in at least float32.
    Article: kexue.fm/archives/7546.  Paper: arXiv 2001.08950, section 3.3.
    Differs: no.
    Cost: that of the entries.
    Raises: TypeError or ValueError for a retention that is not [..., layers, n].
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import retention_penalty
        >>> print(retention_penalty(jnp.array([[1.0, 1.0], [1.0, 0.5]])))
        5.0
    """
    wide = _mass("retention_penalty", retention)
    return wide @ jnp.arange(1, wide.shape[-1] + 1, dtype=wide.dtype)


def retained_tokens(retention: jax.Array) -> jax.Array:
    """How many tokens each layer keeps once the retentions are trained.

    min over the layers up to l of ceil(sum_k r_lk), at least 1.

    Shapes: retention [..., layers, n] -> int32 [..., layers].
    Article: kexue.fm/archives/7546.  Paper: arXiv 2001.08950, section 3.3.
    Differs: a layer cannot keep more than the one before left, which the paper leaves
    unsaid. 1e-4 of a token is rounding and keeps none. No gradient.
    Cost: that of the entries.
    Raises: TypeError or ValueError for a retention that is not [..., layers, n].
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import retained_tokens
        >>> print(retained_tokens(jnp.array([[1.0, 0.5, 0.1], [1.0, 0.9, 0.8]])))
        [2 2]
    """
    mass = jax.lax.stop_gradient(_mass("retained_tokens", retention))
    counts = jnp.maximum(jnp.ceil(mass - 1e-4), 1).astype(jnp.int32)
    return jax.lax.cummin(counts, axis=counts.ndim - 1)


def _mass(name: str, retention: Any) -> jax.Array:
    """The sums over ranks [..., layers] of a retention [..., layers, n]."""
    checks.array(name, "retention", retention)
    checks.shapes(name, retention=(retention, "... layers n"))
    if 0 in retention.shape[-2:]:
        got, wanted = f"shape {retention.shape}", "without empty axes"
        raise checks.fail(name, "retention", got, wanted)
    return jnp.asarray(retention, numerics.accumulation_dtype(retention)).sum(-1)
