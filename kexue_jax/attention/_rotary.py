"""What the forms of rotary attention share: bands by blocks, heads, checks."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax.attention._arguments import check_mask, check_scale
from kexue_jax.attention.blockwise import blockwise_attention
from kexue_jax.attention.merging import merge_attention
from kexue_jax.positions.rotary import check_rope, rope_table, rotate


class Given(NamedTuple):
    """The arguments that every band is made of."""

    q: jax.Array
    k: jax.Array
    v: jax.Array
    freqs: jax.Array
    interleaved: bool
    causal: bool
    scale: Any


class Bend(NamedTuple):
    """Turns beyond the window: keys by ``turns``, queries by turns + or - ``shift``.

    ``still``: all turns are known to be 0, so that keys stay as they are (ReRoPE).
    """

    turns: jax.Array
    shift: Any
    still: bool = False


def leaky_bend(turns: jax.Array, window: Any, leak: Any) -> Bend:
    """The turns of Leaky ReRoPE; (i - w) / leak + w = i / leak + (w - w / leak)."""
    still = not isinstance(leak, jax.Array) and leak == math.inf
    return Bend(turns / leak, window - window / leak, still)


def by_blocks(
    name: str,
    given: Given,
    window: int | None,
    bend: Bend | None,
    key_mask: jax.Array | None,
    block_size: int | None,
) -> jax.Array:
    """The attention over each band, merged."""
    q, k, v, freqs, interleaved, causal, scale = given
    n = q.shape[-2]
    check_mask(name, "key_mask", key_mask, (*q.shape[:-2], n))
    if block_size is not None:
        checks.count(name, "block_size", block_size)
    values = repeated(jnp.asarray(v), q)

    def turned(x: jax.Array, turns: Any) -> jax.Array:
        table = rope_table(x, jnp.broadcast_to(turns, (n,)), freqs)
        return rotate(jnp.asarray(x), table, interleaved)

    def attend(query_turns: Any, keys: jax.Array, band: Any) -> Any:
        return blockwise_attention(
            turned(q, query_turns),
            keys,
            values,
            key_mask=key_mask,
            band=band,
            scale=scale,
            block_size=block_size,
            return_lse=True,
        )

    parts = []
    rows = jnp.arange(n)
    if window is None or bend is None or window >= n:
        keys = repeated(turned(k, rows), q)
        return attend(rows, keys, (0, None) if causal else (None, None)).out
    if window:
        keys = repeated(turned(k, rows), q)
        parts.append(attend(rows, keys, (0 if causal else 1 - window, window - 1)))
    keys = repeated(jnp.asarray(k) if bend.still else turned(k, bend.turns), q)
    parts.append(attend(bend.turns + bend.shift, keys, (window, None)))
    if not causal:
        last = min(-window, -1)
        parts.append(attend(bend.turns - bend.shift, keys, (None, last)))
    if len(parts) == 1:
        return parts[0].out
    return merge_attention([p.out for p in parts], [p.lse for p in parts])


def repeated(x: jax.Array, q: jax.Array) -> jax.Array:
    """Keys or values with each head repeated for the queries that share it."""
    if x.shape[:-2] == q.shape[:-2]:
        return x
    return jnp.repeat(x, q.shape[-3] // x.shape[-3], -3)


def check_length(function: str, q: Any) -> int:
    checks.array(function, "q", q)
    checks.shapes(function, q=(q, "... n d"))
    return int(q.shape[-2])


def check_rotary(
    function: str,
    q: Any,
    k: Any,
    v: Any,
    freqs: Any,
    causal: Any,
    interleaved: Any,
    scale: Any,
    turns: Any = None,
) -> Any:
    """Raise unless these are the arguments of a rotary attention; the scale."""
    n = check_length(function, q)
    turns = jnp.arange(n) if turns is None else turns
    check_rope(function, q, turns, freqs, interleaved, "q")
    for argument, value in (("k", k), ("v", v)):
        checks.array(function, argument, value)
        _check_heads(function, argument, value, q)
    checks.same_dtype(function, q=q, k=k, v=v)
    if k.shape[-1] != q.shape[-1]:
        wanted = f"of {q.shape[-1]} features as `q` is"
        raise checks.fail(function, "k", f"shape {k.shape}", wanted)
    if k.shape[:-1] != v.shape[:-1]:
        wanted = f"of shape [{', '.join(map(str, k.shape[:-1]))}, e] as `k` is"
        raise checks.fail(function, "v", f"shape {v.shape}", wanted)
    checks.flag(function, "causal", causal)
    return check_scale(function, scale, int(q.shape[-1]))


def _check_heads(function: str, argument: str, value: Any, q: Any) -> None:
    """Raise unless the axes but the last are those of q, heads by a whole factor."""
    same = len(value.shape) == len(q.shape) and value.shape[-2:-1] == q.shape[-2:-1]
    if same and value.shape[:-2] != q.shape[:-2]:
        heads, groups = q.shape[-3], value.shape[-3]
        same = value.shape[:-3] == q.shape[:-3] and groups and heads % groups == 0
    if not same or 0 in value.shape[-2:]:
        wanted = f"of the axes of `q`, {tuple(q.shape[:-1])}, or of fewer heads"
        raise checks.fail(function, argument, f"shape {value.shape}", wanted)
