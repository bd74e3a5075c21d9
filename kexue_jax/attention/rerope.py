"""ReRoPE and Leaky ReRoPE: rotary attention that bends beyond a window.

A score at distance delta is rotated by rho(delta) (``positions.relative_position``),
which is linear in the positions of query and key on each side of the window. So two
rotated copies of the queries and keys serve all pairs: one for those within the window
and one for those beyond, a third (of the queries alone) for the future of a
bidirectional model.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax._base import checks, numerics
from kexue_jax.attention._arguments import check_mask
from kexue_jax.attention._rotary import (
    Given,
    by_blocks,
    check_length,
    check_rotary,
    leaky_bend,
    repeated,
)
from kexue_jax.attention.dense import masked_part
from kexue_jax.positions.relative import check_leak, check_window
from kexue_jax.positions.rotary import rope_table, rotate


def rerope_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    freqs: jax.Array,
    window: int | None,
    leak: float | jax.Array = math.inf,
    causal: bool = True,
    key_mask: jax.Array | None = None,
    interleaved: bool = True,
    scale: float | jax.Array | None = None,
    block_size: int | None = None,
) -> jax.Array:
    """Rotary attention with relative positions bent at the window, in O(n) memory.

    score_ij = scale q_i R^(-rho(i - j)) k_j with rho of ``relative_position``: ReRoPE
    at leak infinity, Leaky ReRoPE at leak > 1, plain rotary positions at window None,
    position interpolation at window 0; leak < 1 is the training of InvLeaky ReRoPE,
    whose inference is window None. The attention over 0 <= i - j < window by q, k
    rotated as always, and that over i - j >= window by R^((i - w) / leak + w) q and
    R^(j / leak) k, are merged by their normalizers; causal=False adds the band
    i - j <= -window, where q turns by (i + w) / leak - w.

    Shapes: q [..., n, d], k [..., n, d], v [..., n, e], freqs [d / 2], key_mask
    boolean, broadcastable to [..., n], True = keep -> [..., n, e]. k and v may have
    fewer heads (axis -3) by a whole factor.
    Article: kexue.fm/archives/9708 (9728).  Paper: arXiv 2205.14135 (the blocks).
    Differs: the article makes both n x n matrices and selects, which is
    ``dense_rerope_attention``; here no block of scores is made twice but on the edge of
    the window. A plain selection by |i - j| < window, as in common code, is wrong for a
    bidirectional model. Positions count the array's rows: scores depend on differences
    alone, so that left padding needs nothing but key_mask; for packed or broken
    positions take the dense form.
    Cost: that of one ``blockwise_attention`` and its edge, in time and memory.
    Raises: TypeError or ValueError for bad arguments or an odd d.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import rerope_attention
        >>> q, v, freqs = jnp.ones((4, 2)), jnp.arange(4.0)[:, None], jnp.ones(1)
        >>> out = rerope_attention(q, q, v, freqs=freqs, window=2)
        >>> print(out[:, 0].round(3))
        [0.        0.657     1.5220001 2.332    ]
    """
    name = "rerope_attention"
    scale = check_rotary(name, q, k, v, freqs, causal, interleaved, scale)
    if window is not None:
        checks.count(name, "window", window, minimum=0)
    check_leak(name, leak)
    turns = jnp.arange(q.shape[-2])
    bend = None if window is None else leaky_bend(turns, window, leak)
    given = Given(q, k, v, freqs, interleaved, causal, scale)
    return by_blocks(name, given, window, bend, key_mask, block_size)


def dense_rerope_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    freqs: jax.Array,
    window: int | jax.Array | None,
    leak: float | jax.Array = math.inf,
    positions: jax.Array | None = None,
    causal: bool = True,
    mask: jax.Array | None = None,
    interleaved: bool = True,
    scale: float | jax.Array | None = None,
) -> jax.Array:
    """The attention of ``rerope_attention`` by two whole matrices and a selection.

    S = where(delta < w, (R^i q)(R^j k)^T, (R^((i - w) / leak + w) q)(R^(j / leak)
    k)^T), delta the difference of positions; causal=False takes a third matrix where
    delta <= -w. ``causal`` masks by the order of the rows, whatever their positions.

    Shapes: q [..., n, d], k [..., n, d], v [..., n, e], freqs [d / 2], positions [n] or
    with the axes of q but the last (sizes 1 are spread), mask boolean, broadcastable to
    [..., n, n], True = keep -> [..., n, e]. k and v may have fewer heads (axis -3).
    Article: kexue.fm/archives/9708 (9728).  Paper: none.
    Differs: window and leak may be traced; positions may be any, for packed or padded
    rows. The translated articles lose the case split i - j < w.
    Cost: two or three times the scores of ``dense_attention``, memory of n^2 scores.
    Raises: TypeError or ValueError for bad arguments or an odd d.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import dense_rerope_attention
        >>> q, v, freqs = jnp.ones((4, 2)), jnp.arange(4.0)[:, None], jnp.ones(1)
        >>> out = dense_rerope_attention(q, q, v, freqs=freqs, window=jnp.array(2))
        >>> print(out[:, 0].round(3))
        [0.        0.657     1.5220001 2.332    ]
    """
    name = "dense_rerope_attention"
    n = check_length(name, q)
    turns = jnp.arange(n) if positions is None else positions
    scale = check_rotary(name, q, k, v, freqs, causal, interleaved, scale, turns)
    check_window(name, window)
    check_leak(name, leak)
    check_mask(name, "mask", mask, (*q.shape[:-1], n))
    dtype = numerics.accumulation_dtype(q)
    turns = numerics.signed(turns)
    window = window if window is None else numerics.signed(window)

    def scores(query_turns: Any, key_turns: Any) -> jax.Array:
        a = rotate(jnp.asarray(q), rope_table(q, query_turns, freqs), interleaved)
        b = rotate(jnp.asarray(k), rope_table(k, key_turns, freqs), interleaved)
        a, b = a.astype(dtype), repeated(b, q).astype(dtype)
        return jnp.einsum("...nd,...md->...nm", a, b) * jnp.asarray(scale, dtype)

    values = scores(turns, turns)
    if window is not None:
        bend = leaky_bend(turns, window, leak)
        delta = turns[..., :, None] - turns[..., None, :]
        delta = delta.reshape((1,) * (values.ndim - delta.ndim) + delta.shape)
        far = scores(bend.turns + bend.shift, bend.turns)
        if not causal:
            before = scores(bend.turns - bend.shift, bend.turns)
            values = jnp.where(delta <= -window, before, values)
        values = jnp.where(delta >= window, far, values)
    keep = jnp.tri(n, dtype=bool) if causal else jnp.ones((n, n), bool)
    keep = jnp.broadcast_to(keep, values.shape)
    if mask is not None:
        keep &= jnp.broadcast_to(mask, values.shape)
    return masked_part(values, keep, repeated(jnp.asarray(v), q)).out
