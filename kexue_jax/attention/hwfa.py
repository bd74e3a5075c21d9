"""HWFA: layers of windows with rotary positions, and one full layer without."""

import jax
import jax.numpy as jnp

from kexue_jax._base import checks, numerics
from kexue_jax.attention._arguments import check_mask
from kexue_jax.attention._rotary import check_rotary, repeated
from kexue_jax.attention.blockwise import blockwise_attention
from kexue_jax.positions.log_n import log_n_scale
from kexue_jax.positions.rotary import apply_rope


def hwfa_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    freqs: jax.Array,
    window: int | None,
    train_length: int,
    floor: float = 0.0,
    key_mask: jax.Array | None = None,
    interleaved: bool = True,
    scale: float | jax.Array | None = None,
    block_size: int | None = None,
) -> jax.Array:
    """The causal attention of one layer of HWFA, in O(n) memory.

    A layer with a window sees the last ``window`` tokens through rotary positions; one
    with None sees all of them without positions, its queries times the log-n factor.

    Shapes: as ``rerope_attention``; ``hwfa_layer_windows`` gives each layer's window.
    Article: kexue.fm/archives/9603.  Paper: none.
    Differs: no. Blocks outside of the window are not computed.
    Cost: O(n window) in a window, else that of ``blockwise_attention``.
    Raises: TypeError or ValueError for bad arguments or an odd d.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import hwfa_attention
        >>> q, v, freqs = jnp.ones((4, 2)), jnp.arange(4.0)[:, None], jnp.ones(1)
        >>> out = hwfa_attention(q, q, v, freqs=freqs, window=1, train_length=8)
        >>> print(out[:, 0])
        [0. 1. 2. 3.]
    """
    name = "hwfa_attention"
    scale = check_rotary(name, q, k, v, freqs, True, interleaved, scale)
    if window is not None:
        checks.count(name, "window", window)
    checks.count(name, "train_length", train_length, minimum=2)
    checks.number(name, "floor", floor, minimum=0)
    if block_size is not None:
        checks.count(name, "block_size", block_size)
    check_mask(name, "key_mask", key_mask, tuple(q.shape[:-1]))
    q, k, v = (jnp.asarray(x) for x in (q, k, v))
    if window is None:
        wide = q.astype(numerics.accumulation_dtype(q))
        turns = jnp.arange(q.shape[-2], dtype=wide.dtype)
        factor = log_n_scale(turns, train_length, floor=floor)
        factor = factor.reshape((1,) * (q.ndim - 2) + (-1, 1))
        q = (wide * factor).astype(q.dtype)
    else:
        turns = jnp.arange(q.shape[-2])
        q, k = (apply_rope(x, turns, freqs, interleaved=interleaved) for x in (q, k))
    return blockwise_attention(
        q,
        repeated(k, q),
        repeated(v, q),
        key_mask=key_mask,
        band=(0, None if window is None else window - 1),
        scale=scale,
        block_size=block_size,
    )
