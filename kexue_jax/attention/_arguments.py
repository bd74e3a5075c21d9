"""Checks of the arguments that every form of attention has: q, k, v, masks, bands."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks

Band = tuple[int | None, int | None]


def check_qkv(
    name: str, q: Any, k: Any, v: Any, *, equal_lengths: bool = False
) -> checks.Letters:
    """Bind n, m, d, e of q [..., n, d], k [..., m, d], v [..., m, e]; or raise.

    With ``equal_lengths`` m is n. No axis may be empty but the leading ones.
    """
    for argument, value in (("q", q), ("k", k), ("v", v)):
        checks.array(name, argument, value)
    checks.same_dtype(name, q=q, k=k, v=v)
    rows = "n" if equal_lengths else "m"
    letters = checks.shapes(
        name, q=(q, "... n d"), k=(k, f"... {rows} d"), v=(v, f"... {rows} e")
    )
    for argument, value in (("q", q), ("k", k), ("v", v)):
        if 0 in value.shape[-2:]:
            got, wanted = f"shape {value.shape}", "without empty axes"
            raise checks.fail(name, argument, got, wanted)
    return letters


def check_mask(name: str, argument: str, mask: Any, shape: tuple[int, ...]) -> None:
    """Raise unless ``mask`` is None or boolean and broadcasts to ``shape``."""
    if mask is None:
        return
    checks.array(name, argument, mask, "boolean")
    checks.broadcastable(name, argument, mask, shape)


def broadcast(mask: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """``mask`` spread over ``shape``, missing leading axes included."""
    return jnp.broadcast_to(jnp.asarray(mask), shape)


def check_scale(name: str, scale: Any, d: int) -> Any:
    """``scale``, or 1 / sqrt(d) where it is None; raise for another kind of value."""
    if scale is None:
        return 1 / np.sqrt(d)
    checks.number(name, "scale", scale, traced=True)
    return scale


def check_band(name: str, band: Any, causal: bool) -> Band:
    """The pair (low, high) of the band with i - j >= 0 in it where ``causal``."""
    checks.flag(name, "causal", causal)
    low, high = _pair(name, band)
    if causal:
        low = 0 if low is None else max(low, 0)
    return low, high


def _pair(name: str, band: Any) -> Band:
    if band is None:
        return None, None
    if not isinstance(band, tuple) or len(band) != 2:
        raise checks.fail_type(name, "band", repr(band), "None or a pair (low, high)")
    for side in band:
        whole = isinstance(side, (int, np.integer)) and not isinstance(side, bool)
        if side is not None and not whole:
            wanted = "a pair of Python integers or None"
            raise checks.fail_type(name, "band", repr(band), wanted)
    low, high = band
    if low is not None and high is not None and low > high:
        raise checks.fail(name, "band", band, "a pair with low <= high")
    return band


def in_band(delta: jax.Array, band: Band) -> jax.Array:
    """Where low <= delta <= high; an open side holds everywhere."""
    low, high = band
    keep = jnp.ones(delta.shape, bool)
    if low is not None:
        keep &= delta >= low
    if high is not None:
        keep &= delta <= high
    return keep
