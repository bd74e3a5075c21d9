"""What the networks of diffusion take: images, steps and labels, checked and flat."""

from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax._base import checks


def check_network(
    function: str,
    *,
    channels: Any,
    width: Any,
    multipliers: Any,
    groups: Any,
    blocks: Any = 1,
    num_classes: Any = None,
) -> None:
    """Raise unless the sizes that the image networks share are counts."""
    checks.count(function, "channels", channels)
    checks.count(function, "width", width)
    if not isinstance(multipliers, (tuple, list)):
        got = f"a {type(multipliers).__name__}"
        raise checks.fail_type(function, "multipliers", got, "a tuple of integers")
    if not multipliers:
        raise checks.fail(function, "multipliers", "none", "at least one integer")
    for multiplier in multipliers:
        checks.count(function, "multipliers", multiplier)
    checks.count(function, "blocks", blocks)
    checks.count(function, "groups", groups)
    if num_classes is not None:
        checks.count(function, "num_classes", num_classes)


def check_conditions(
    function: str, x: Any, t: Any, y: Any, channels: int, num_classes: int | None
) -> None:
    """Raise unless ``x [..., h, w, channels]``, ``t [...]`` and ``y [...]`` fit."""
    checks.array(function, "x", x)
    checks.array(function, "t", t, "number")
    if jnp.iscomplexobj(t):
        raise checks.fail_type(function, "t", f"dtype {t.dtype}", "an array of reals")
    checks.shapes(function, t=(t, "..."), x=(x, f"... h w {channels}"))
    if num_classes is None and y is not None:
        wanted = "left out of a network without num_classes"
        raise checks.fail(function, "y", "an array", wanted)
    if num_classes is not None:
        checks.array(function, "y", y, "integer")
        checks.shapes(function, t=(t, "..."), y=(y, "..."))


def merge_batch(
    x: jax.Array, t: jax.Array, y: jax.Array | None
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """The same with all leading axes merged into one."""
    if t.ndim == 1:
        return x, t, y
    y = None if y is None else y.reshape(-1)
    return x.reshape(-1, *x.shape[-3:]), t.reshape(-1), y
