"""Scaling of rotary positions by the length at hand, and positions as digits."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax._base import checks, numerics
from kexue_jax.positions.rotary import check_dim

Number = float | jax.Array


def dynamic_scale(length: int | jax.Array, train_length: int) -> jax.Array:
    """The extension factor of an input of ``length`` tokens, 1 up to train_length.

    max(length, train_length) / train_length.

    Shapes: length a number or an array [...] -> [...].
    Article: kexue.fm/archives/9948.  Paper: arXiv 2309.00071.
    Differs: keys that are rotated already keep the factor they were rotated with, so
    that a factor for each position is no single rotation: fix it once for a turn, from
    the lengths of the prompt and of the longest answer.
    Cost: O(1).
    Raises: TypeError or ValueError for bad arguments.
    Example:
        >>> from kexue_jax.positions import dynamic_scale
        >>> float(dynamic_scale(4096, 512))
        8.0
    """
    checks.count("dynamic_scale", "train_length", train_length)
    tokens = _length("dynamic_scale", length)
    return jnp.maximum(tokens / train_length, 1.0)


def ntk_dynamic_base(
    base: Number, dim: int, factor: Number, length: int | jax.Array, train_length: int
) -> jax.Array:
    """The base of NTK scaling for an input of ``length`` tokens.

    base (factor n / N - (factor - 1))^(dim / (dim - 2)), n = max(length, N), N =
    train_length: the plain base up to N, and the "ntk" rule at factor 1.

    Shapes: length a number or an array [...] -> [...].
    Article: kexue.fm/archives/9948.  Paper: arXiv 2309.00071.
    Differs: no. Use it as ``rope_frequencies(dim, base=...)``; see ``dynamic_scale``
    about keys that are cached.
    Cost: O(1).
    Raises: TypeError or ValueError for bad arguments, a factor below 1, or a dim that
    is odd or below 4.
    Example:
        >>> from kexue_jax.positions import ntk_dynamic_base
        >>> print(f"{ntk_dynamic_base(1e4, 128, 1.0, 4096, 512):.0f}")
        82685
    """
    name = "ntk_dynamic_base"
    checks.number(name, "base", base, minimum=1, open_minimum=True, traced=True)
    check_dim(name, dim)
    if dim < 4:
        raise checks.fail(name, "dim", dim, "at least 4")
    checks.number(name, "factor", factor, minimum=1, traced=True)
    checks.count(name, "train_length", train_length)
    share = jnp.maximum(_length(name, length) / train_length, 1.0)
    return base * (factor * share - (factor - 1)) ** (dim / (dim - 2))


def yarn_logit_scale(scale: Number) -> jax.Array:
    """The factor of YaRN on the logits at an extension by ``scale``.

    (1 + 0.1 ln max(scale, 1))^2; its root goes on q and on k.

    Shapes: scale a number or a scalar [] -> [].
    Article: kexue.fm/archives/9948.  Paper: arXiv 2309.00071, eq. 22.
    Differs: no.
    Cost: O(1).
    Raises: TypeError or ValueError for a scale that is not positive.
    Example:
        >>> from kexue_jax.positions import yarn_logit_scale
        >>> print(f"{yarn_logit_scale(8.0):.4f}")
        1.4591
    """
    name = "yarn_logit_scale"
    checks.number(name, "scale", scale, minimum=0, open_minimum=True, traced=True)
    if isinstance(scale, jax.Array):
        dtype = jnp.promote_types(scale.dtype, jnp.float32)
        root = 1 + 0.1 * jnp.log(jnp.maximum(scale.astype(dtype), 1))
        return jnp.square(root)
    return jnp.asarray((1 + 0.1 * math.log(max(scale, 1.0))) ** 2, jnp.float32)


def base_digits(positions: jax.Array, *, base: int, num_digits: int) -> jax.Array:
    """The digits of each position in a base, the lowest first.

    digit m = floor(position / base^(m - 1)) mod base, m = 1 .. num_digits. Rotary
    angles are these quotients before floor and mod, in the base b^(2 / d): linear
    interpolation divides the position, NTK scaling changes the base.

    Shapes: positions integers [...], not negative -> [..., num_digits].
    Article: kexue.fm/archives/9675 (9706).  Paper: none.
    Differs: no.
    Cost: O(n num_digits).
    Raises: TypeError or ValueError for bad arguments, or where base or
    base^(num_digits - 1) is beyond the dtype of the positions, of 32 bits at least.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.positions import base_digits
        >>> base_digits(jnp.array([759]), base=10, num_digits=3).tolist()
        [[9, 5, 7]]
    """
    name = "base_digits"
    checks.array(name, "positions", positions, "integer")
    checks.count(name, "base", base, minimum=2)
    checks.count(name, "num_digits", num_digits)
    positions = numerics.signed(positions)
    most = jnp.iinfo(positions.dtype).max
    if base > most:
        raise checks.fail(name, "base", base, f"such that it fits {positions.dtype}")
    if base ** (num_digits - 1) > most:
        wanted = f"such that base^(num_digits - 1) fits {positions.dtype}"
        raise checks.fail(name, "num_digits", num_digits, wanted)
    digits = [positions // base**m % base for m in range(num_digits)]
    return jnp.stack(digits, -1)


def _length(function: str, length: Any) -> jax.Array:
    """A number of tokens, or an array of them, in at least float32."""
    if checks.is_array(length) and _is_integer(length):
        return jnp.asarray(length).astype(jnp.float32)
    if checks.is_array(length):
        checks.array(function, "length", length)
        dtype = jnp.promote_types(length.dtype, jnp.float32)
        return jnp.asarray(length).astype(dtype)
    checks.number(function, "length", length, minimum=0)
    return jnp.asarray(length, jnp.float32)


def _is_integer(value: Any) -> bool:
    """Whether an array is of integer dtype."""
    return bool(jnp.issubdtype(value.dtype, jnp.integer))
