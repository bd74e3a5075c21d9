"""Longformer's attention: dilated windows, and a few tokens that see and are seen."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks
from kexue_jax.attention._arguments import (
    broadcast,
    check_mask,
    check_qkv,
    check_scale,
)
from kexue_jax.attention.blockwise import blockwise_attention
from kexue_jax.attention.dense import AttentionPart
from kexue_jax.attention.merging import merge_attention
from kexue_jax.attention.sparse import residues


def longformer_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    q_global: jax.Array | None = None,
    k_global: jax.Array | None = None,
    v_global: jax.Array | None = None,
    positions: jax.Array | None = None,
    *,
    window: int,
    dilation: int | tuple[int, ...] = 1,
    key_mask: jax.Array | None = None,
    scale: float | jax.Array | None = None,
) -> jax.Array:
    """Attention to a dilated window and to g global tokens, which attend to all.

    A query i at none of ``positions`` attends with q_i to the keys k_j, j one of
    positions or i - j = dilation t with |t| <= window / 2, in one softmax. The query
    at positions[r] attends with q_global[r] to all of k_global, v_global.

    Shapes: q, k [..., n, d], v [..., n, e]; q_global [..., g, d], k_global
    [..., n, d], v_global [..., n, e] (own projections); positions integers [g], all
    different; all four or none of them; key_mask boolean, broadcastable to [..., n];
    ``dilation`` one number, or one a head, the axis before n -> [..., n, e].
    Article: kexue.fm/archives/7546.  Paper: arXiv 2004.05150.
    Differs: no. The global tokens are given as positions, of which the number is
    static, where the common code takes a mask. Reverse mode only.
    Cost: about 2 n (window + b + g) (d + e) flops for blocks of b rows (and 2 g n
    (d + e)); memory O(n).
    Raises: TypeError or ValueError as blockwise_attention, for an odd or negative
    window, a dilation < 1 or not one a head, or only some of the global arguments.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import longformer_attention
        >>> q, v = jnp.zeros((6, 2)), jnp.arange(6.0).reshape(6, 1)
        >>> extra = (q[:1], q, v, jnp.array([0]))
        >>> print(longformer_attention(q, q, v, *extra, window=2)[:, 0].round(2))
        [2.5  1.   1.5  2.25 3.   3.  ]
    """
    name = "longformer_attention"
    check_qkv(name, q, k, v, equal_lengths=True)
    n, lead = q.shape[-2], q.shape[:-2]
    check_mask(name, "key_mask", key_mask, (*lead, n))
    factor = check_scale(name, scale, q.shape[-1])
    checks.count(name, "window", window, minimum=0)
    if window % 2:
        raise checks.fail(name, "window", window, "even: half of it on each side")
    steps = _dilations(name, dilation, lead)
    _check_global(name, q, k, v, q_global, k_global, v_global, positions)
    mask = None if key_mask is None else broadcast(key_mask, (*lead, n))
    if q_global is None or k_global is None or v_global is None or positions is None:
        return _windows(q, k, v, mask, window, steps, factor).out
    seen = jnp.ones((*lead, n), bool) if mask is None else mask
    special = (jnp.arange(n)[:, None] == positions[None, :]).any(-1)
    others = seen & ~broadcast(special, seen.shape)
    near = _windows(q, k, v, others, window, steps, factor)
    far = blockwise_attention(
        q,
        jnp.take(k, positions, axis=-2),
        jnp.take(v, positions, axis=-2),
        key_mask=jnp.take(seen, positions, axis=-1),
        scale=factor,
        return_lse=True,
    )
    out = merge_attention((near.out, far.out), (near.lse, far.lse))
    whole = blockwise_attention(
        q_global, k_global, v_global, key_mask=mask, scale=factor
    )
    return out.at[..., positions, :].set(whole)


def _dilations(name: str, dilation: object, lead: tuple[int, ...]) -> tuple[int, ...]:
    """The dilations as a tuple: one for all heads, or one a head."""
    if not isinstance(dilation, tuple):
        checks.count(name, "dilation", dilation)
        return (int(dilation),)  # type: ignore[call-overload]
    for one in dilation:
        checks.count(name, "dilation", one)
    if not lead or len(dilation) != lead[-1]:
        heads = lead[-1] if lead else "no axis of"
        got = f"{len(dilation)} numbers for {heads} heads"
        raise checks.fail(name, "dilation", got, "one number, or one a head")
    return dilation[:1] if len(set(dilation)) == 1 else dilation


def _check_global(
    name: str, q: jax.Array, k: jax.Array, v: jax.Array, *given: Any
) -> None:
    """Raise where the arguments of global tokens, if there are any, do not fit."""
    names = ("q_global", "k_global", "v_global", "positions")
    if all(value is None for value in given):
        return
    for argument, value in zip(names, given, strict=True):
        kind = "integer" if argument == "positions" else "floating"
        checks.array(name, argument, value, kind)
    q_global, k_global, v_global, positions = given
    checks.same_dtype(name, q=q, q_global=q_global, k_global=k_global)
    checks.same_dtype(name, v=v, v_global=v_global)
    checks.shapes(
        name,
        q=(q, "*b n d"),
        v=(v, "*b n e"),
        positions=(positions, "g"),
        q_global=(q_global, "*b g d"),
        k_global=(k_global, "*b n d"),
        v_global=(v_global, "*b n e"),
    )
    if not positions.shape[0]:
        raise checks.fail(name, "positions", "none", "None where there are none")


def _windows(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    mask: jax.Array | None,
    window: int,
    dilations: tuple[int, ...],
    scale: float | jax.Array,
) -> AttentionPart:
    """Attention to the windows alone, heads of equal dilation together."""
    band = ((-(window // 2), window // 2),)
    if len(dilations) == 1:
        return residues(q, k, v, mask, dilations[0], band, scale)[0]
    parts, order = [], []
    for step in sorted(set(dilations)):
        heads = np.flatnonzero(np.array(dilations) == step)
        order.append(heads)
        some_q, some_k, some_v = (x[..., heads, :, :] for x in (q, k, v))
        kept = None if mask is None else mask[..., heads, :]
        parts += residues(some_q, some_k, some_v, kept, step, band, scale)
    back = np.argsort(np.concatenate(order))
    out = jnp.concatenate([part.out for part in parts], -3)[..., back, :, :]
    return AttentionPart(out, jnp.concatenate([p.lse for p in parts], -2)[..., back, :])
