"""Self-Extend: rotary attention whose far positions are counted in groups."""

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax.attention._rotary import Bend, Given, by_blocks, check_rotary


def self_extend_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    freqs: jax.Array,
    window: int,
    group: int,
    causal: bool = True,
    key_mask: jax.Array | None = None,
    interleaved: bool = True,
    scale: float | jax.Array | None = None,
    block_size: int | None = None,
) -> jax.Array:
    """Rotary attention with positions beyond the window in groups, in O(n) memory.

    score_ij = scale q_i R^(-rho(i, j)) k_j with rho of ``self_extend_position``: q at
    floor(i / g) + w - floor(w / g) and k at floor(j / g) where i - j >= w.

    Shapes: as ``rerope_attention``.
    Article: kexue.fm/archives/9948.  Paper: arXiv 2401.01325.
    Differs: no.
    Cost: that of one ``blockwise_attention`` and its edge, in time and memory.
    Raises: TypeError or ValueError for bad arguments or an odd d.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import self_extend_attention
        >>> q, v, freqs = jnp.ones((4, 2)), jnp.arange(4.0)[:, None], jnp.ones(1)
        >>> out = self_extend_attention(q, q, v, freqs=freqs, window=2, group=2)
        >>> print(out[:, 0].round(3))
        [0.        0.657     1.5220001 2.332    ]
    """
    name = "self_extend_attention"
    scale = check_rotary(name, q, k, v, freqs, causal, interleaved, scale)
    checks.count(name, "window", window)
    checks.count(name, "group", group)
    far = jnp.arange(q.shape[-2]) // group
    bend = Bend(far, float(window - window // group))
    given = Given(q, k, v, freqs, interleaved, causal, scale)
    return by_blocks(name, given, window, bend, key_mask, block_size)
