"""Which relative position each rule shows to the rotation: the specification."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax.positions._width import check_width


def relative_position(
    delta: jax.Array,
    *,
    window: int | jax.Array | None = None,
    leak: float | jax.Array = math.inf,
    causal: bool = True,
) -> jax.Array:
    """The relative position rho(delta) by which a score at distance delta is rotated.

    rho = delta below the window w and w + (delta - w) / leak from it on: plain rotary
    positions without a window (or at leak 1), ReRoPE at leak infinity (rho =
    min(delta, w)), Leaky ReRoPE at leak > 1, InvLeaky training at leak < 1, position
    interpolation at w = 0. The score is then q R^(-rho) k. causal=False makes rho odd,
    sign(delta) rho(|delta|); else negative delta, which a causal model never asks for,
    is left as it is.

    Shapes: delta = query position - key position, [...] -> [...].
    Article: kexue.fm/archives/9708 (9728).  Paper: none.
    Differs: the article's max(j - i, ...) for -rho holds for leak >= 1 alone; below 1
    it is the minimum. The choice by delta < w here holds for both.
    Cost: O(1) an entry.
    Raises: TypeError or ValueError for bad arguments, or delta in floats of 16 bits.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.positions import relative_position
        >>> relative_position(jnp.arange(6.0), window=2, leak=4.0).tolist()
        [0.0, 1.0, 2.0, 2.25, 2.5, 2.75]
    """
    name = "relative_position"
    check_width(name, "delta", delta, integers=True)
    check_window(name, window)
    check_leak(name, leak)
    checks.flag(name, "causal", causal)
    delta = jnp.asarray(delta)
    dtype = jnp.promote_types(delta.dtype, jnp.float32)
    if not jnp.issubdtype(delta.dtype, jnp.floating):
        dtype = jnp.dtype(jnp.float32)
    wide = delta.astype(dtype)
    if window is None:
        return wide
    near = wide if causal else jnp.abs(wide)
    rho = jnp.where(near < window, near, window + (near - window) / leak)
    return rho if causal else jnp.where(wide < 0, -rho, rho)


def self_extend_position(
    queries: jax.Array,
    keys: jax.Array,
    *,
    window: int,
    group: int,
    causal: bool = True,
) -> jax.Array:
    """The relative position of Self-Extend for every pair of query and key positions.

    delta = i - j below the window w, and floor(i / g) + w - floor(w / g) - floor(j /
    g) from it on, g = group. causal=False makes it odd under exchange of i and j.

    Shapes: queries [..., n], keys [..., m], integers -> [..., n, m] int32.
    Article: kexue.fm/archives/9948.  Paper: arXiv 2401.01325.
    Differs: no; it depends on i and j, not on their difference alone.
    Cost: O(n m).
    Raises: TypeError or ValueError for bad arguments.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.positions import self_extend_position
        >>> i, j = jnp.array([9]), jnp.array([9, 7, 5, 4, 0])
        >>> self_extend_position(i, j, window=4, group=2).tolist()
        [[0, 2, 4, 4, 6]]
    """
    name = "self_extend_position"
    checks.array(name, "queries", queries, "integer")
    checks.array(name, "keys", keys, "integer")
    checks.shapes(name, queries=(queries, "... n"), keys=(keys, "... m"))
    checks.count(name, "window", window)
    checks.count(name, "group", group)
    checks.flag(name, "causal", causal)
    i = jnp.asarray(queries).astype(jnp.int32)[..., :, None]
    j = jnp.asarray(keys).astype(jnp.int32)[..., None, :]
    delta, shift = i - j, window - window // group
    far = i // group + shift - j // group
    rho = jnp.where(delta < window, delta, far)
    if causal:
        return rho
    return jnp.where(delta <= -window, -(j // group + shift - i // group), rho)


def check_window(function: str, window: Any) -> None:
    """Raise unless ``window`` is None, a count from 0 or an integer scalar array."""
    if window is None:
        return
    if isinstance(window, jax.Array):
        checks.array(function, "window", window, "integer")
        checks.shapes(function, window=(window, ""))
        return
    checks.count(function, "window", window, minimum=0)


def check_leak(function: str, leak: Any) -> None:
    """Raise unless ``leak`` is positive (infinity included) or a scalar array."""
    infinite = isinstance(leak, float) and leak == math.inf
    if not infinite:
        checks.number(function, "leak", leak, minimum=0, open_minimum=True, traced=True)
