"""Rotary positions: the frequencies of every scaling rule, and the rotation itself."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks, numerics
from kexue_jax.positions._width import check_width

SCALINGS = (
    "none",
    "linear",
    "ntk",
    "ntk_old",
    "ntk_fixed",
    "ntk_mixed",
    "yarn",
)


def rope_frequencies(
    dim: int,
    *,
    base: float | jax.Array = 1e4,
    scaling: str = "none",
    scale: float | jax.Array = 1.0,
    beta: float = 0.625,
    train_length: int | None = None,
    tau: float = 32.0,
    dtype: Any = jnp.float32,
) -> jax.Array:
    """The angles per position of the dim / 2 pairs, by one of the scaling rules.

    With theta_i = base^(-2 i / dim), i = 0 .. dim/2 - 1, m = i + 1 and k = scale, the
    extension factor: "none" theta; "linear" (position interpolation) theta / k;
    "ntk_old" (base k)^(-2 i / dim); "ntk" base k^(dim / (dim - 2)) in place of base;
    "ntk_fixed" theta k^(-2 m / dim); "ntk_mixed" theta exp(-a m^beta), a = ln k /
    (dim/2)^beta; "yarn" theta (g + (1 - g) / k), g = clip((r - 1) / (tau - 1), 0, 1),
    r = theta train_length / (2 pi), the turns made in training.

    Shapes: -> [dim / 2].
    Article: kexue.fm/archives/9675 (8265, 9706).  Paper: arXiv 2104.09864, 2306.15595
    ("linear"), 2309.00071 ("yarn").
    Differs: no. "ntk_mixed" is "ntk_fixed" at beta 1 and "linear" at beta 0; beta is
    0.625 for the author's GAU and 0.75 in his patch of LLaMA-2. The default tau is
    meant for a train_length of 2,000 or more: at 64 nearly every pair would be
    interpolated.
    Cost: O(dim); computed in float64 unless base or scale is traced.
    Raises: TypeError or ValueError for bad arguments, an odd dim, "ntk" at dim 2, and
    "yarn" without a train_length.
    Example:
        >>> from kexue_jax.positions import rope_frequencies
        >>> freqs = rope_frequencies(128, scaling="ntk_fixed", scale=8.0)
        >>> print(f"{freqs[0]:.4f}")
        0.9680
    """
    name = "rope_frequencies"
    check_dim(name, dim)
    checks.number(name, "base", base, minimum=1, open_minimum=True, traced=True)
    checks.choice(name, "scaling", scaling, SCALINGS)
    checks.number(name, "scale", scale, minimum=0, open_minimum=True, traced=True)
    checks.number(name, "beta", beta, minimum=0)
    checks.number(name, "tau", tau, minimum=1, open_minimum=True)
    if train_length is not None or scaling == "yarn":
        checks.count(name, "train_length", train_length)
    checks.float_dtype(name, "dtype", dtype)
    if scaling == "ntk" and dim == 2:
        raise checks.fail(name, "dim", dim, "at least 4 for the scaling 'ntk'")
    traced = isinstance(base, jax.Array) or isinstance(scale, jax.Array)
    xp: Any = jnp if traced else np
    wide = jnp.promote_types(dtype, jnp.float32) if traced else np.float64
    i = np.arange(dim // 2)
    base, scale = (xp.asarray(v, wide) for v in (base, scale))
    theta = base ** xp.asarray(-2 * i / dim, wide)
    if scaling == "yarn":
        turns = theta * (train_length or 1) / (2 * math.pi)
        kept = xp.clip((turns - 1) / (tau - 1), 0, 1)
        return jnp.asarray(theta * (kept + (1 - kept) / scale), dtype)
    exponent = xp.asarray(_stretch(scaling, i, dim, beta), wide)
    return jnp.asarray(theta * scale**-exponent, dtype)


def _stretch(scaling: str, i: np.ndarray, dim: int, beta: float) -> np.ndarray:
    """The power of 1 / scale that pair i is slowed by; 1 is full interpolation."""
    m = i + 1
    if scaling == "none":
        return np.zeros(i.shape)
    if scaling == "linear":
        return np.ones(i.shape)
    if scaling == "ntk_old":
        return 2 * i / dim
    if scaling == "ntk":
        return 2 * i / (dim - 2)
    if scaling == "ntk_fixed":
        return 2 * m / dim
    return (2 * m / dim) ** beta


def apply_rope(
    x: jax.Array, positions: jax.Array, freqs: jax.Array, *, interleaved: bool = True
) -> jax.Array:
    """Queries or keys with each pair of features turned by its position's angle.

    Pair i at position t is turned by t freqs_i: (a, b) -> (a cos - b sin, a sin + b
    cos). The pairs are features (2 i, 2 i + 1), or (i, i + d/2) with
    interleaved=False; the two differ by one permutation of the features.

    Shapes: x [..., n, d]; positions [n], or [..., n] with as many axes as x but the
    last (axes of size 1 are spread), integer or floating; freqs [d / 2] -> [..., n, d].
    Article: kexue.fm/archives/8265.  Paper: arXiv 2104.09864.
    Differs: no. Angles are in float32 at least, also for a bfloat16 x; positions and
    freqs of 16 bits are refused, since bfloat16 has no integers beyond 256.
    Cost: O(n d) time and memory; sines once for all heads. The half-split pairs
    (interleaved=False) take about two thirds of the time on a CPU.
    Raises: TypeError or ValueError for bad arguments or an odd d.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.positions import apply_rope, rope_frequencies
        >>> q = apply_rope(jnp.ones((3, 2)), jnp.arange(3), rope_frequencies(2))
        >>> print(f"{q[1, 0]:.3f} {q[1, 1]:.3f}")
        -0.301 1.382
    """
    name = "apply_rope"
    check_rope(name, x, positions, freqs, interleaved)
    return rotate(jnp.asarray(x), rope_table(x, positions, freqs), interleaved)


Table = tuple[jax.Array, jax.Array]


def rope_table(like: Any, positions: Any, freqs: Any) -> Table:
    """cos and sin of position times freqs, ``[..., n, d / 2]``, for ``like``.

    They go through a product with the identity matrix, which changes no bit: XLA on a
    CPU would fuse the sines into the loop over heads and compute them for each again,
    which takes five times as long; it fuses nothing into a product.
    """
    freqs = jnp.asarray(freqs)
    dtype = jnp.promote_types(numerics.accumulation_dtype(like), freqs.dtype)
    turns = _spread(jnp.asarray(positions).astype(dtype), np.ndim(like) - 1)[..., None]
    freqs = freqs.astype(dtype).reshape((1,) * (turns.ndim - 1) + freqs.shape)
    both = jnp.stack([jnp.cos(turns * freqs), jnp.sin(turns * freqs)])
    identity = jnp.eye(freqs.shape[-1], dtype=dtype)
    cos, sin = jnp.matmul(both, identity, precision=jax.lax.Precision.HIGHEST)
    return cos, sin


def rotate(x: jax.Array, table: Table, interleaved: bool) -> jax.Array:
    """``x [..., n, d]`` turned by a table of ``rope_table``, in the dtype of x."""
    cos, sin = table
    half = x.shape[-1] // 2
    wide = x.astype(cos.dtype)
    if interleaved:
        pairs = wide.reshape(*x.shape[:-1], half, 2)
        a, b = pairs[..., 0], pairs[..., 1]
        turned = jnp.stack([a * cos - b * sin, a * sin + b * cos], -1)
    else:
        a, b = wide[..., :half], wide[..., half:]
        turned = jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)
    return turned.reshape(x.shape).astype(x.dtype)


def apply_rope_plain(
    x: jax.Array, positions: jax.Array, freqs: jax.Array, *, interleaved: bool = True
) -> jax.Array:
    """The readable twin: each pair times its 2x2 rotation matrix."""
    dtype = jnp.promote_types(numerics.accumulation_dtype(x), freqs.dtype)
    turns = _spread(positions.astype(dtype), x.ndim - 1)
    angle = jnp.einsum("...n,i->...ni", turns, freqs.astype(dtype))
    rows = [[jnp.cos(angle), -jnp.sin(angle)], [jnp.sin(angle), jnp.cos(angle)]]
    matrix = jnp.stack([jnp.stack(row, -1) for row in rows], -2)
    half = x.shape[-1] // 2
    shape = (*x.shape[:-1], half, 2) if interleaved else (*x.shape[:-1], 2, half)
    pairs = x.astype(dtype).reshape(shape)
    letters = "...iab,...ib->...ia" if interleaved else "...iab,...bi->...ai"
    return jnp.einsum(letters, matrix, pairs).reshape(x.shape).astype(x.dtype)


def _spread(turns: jax.Array, ndim: int) -> jax.Array:
    """Positions ``[n]`` as ``[1, ..., 1, n]``; those of full rank as they are."""
    return turns.reshape((1,) * (ndim - turns.ndim) + turns.shape)


def check_dim(function: str, dim: Any) -> None:
    """Raise unless ``dim`` is an even number of features."""
    checks.count(function, "dim", dim, minimum=2)
    if dim % 2:
        raise checks.fail(function, "dim", dim, "an even number")


def check_rope(
    function: str, x: Any, positions: Any, freqs: Any, interleaved: Any, name: str = "x"
) -> None:
    """Raise unless the arguments are those of a rotation of ``x [..., n, d]``."""
    checks.array(function, name, x)
    checks.shapes(function, **{name: (x, "... n d")})
    if x.shape[-1] % 2:
        raise checks.fail(function, name, f"shape {x.shape}", "of an even last axis")
    check_positions(function, positions, tuple(x.shape[:-1]))
    check_width(function, "freqs", freqs)
    if tuple(freqs.shape) != (x.shape[-1] // 2,):
        wanted = f"of shape [{x.shape[-1] // 2}], half the features of `{name}`"
        raise checks.fail(function, "freqs", f"shape {freqs.shape}", wanted)
    checks.flag(function, "interleaved", interleaved)


def check_positions(function: str, positions: Any, shape: tuple[int, ...]) -> None:
    """Raise unless ``positions`` is ``[n]`` or spreads over ``shape [..., n]``."""
    check_width(function, "positions", positions, integers=True)
    got = tuple(positions.shape)
    full = len(got) == len(shape) and all(
        a in (1, b) for a, b in zip(got[:-1], shape[:-1], strict=True)
    )
    if not (got[-1:] == shape[-1:] and (len(got) == 1 or full)):
        axes = ", ".join(map(str, shape))
        wanted = f"of shape [{shape[-1]}] or of sizes 1 or those of [{axes}]"
        raise checks.fail(function, "positions", f"shape {got}", wanted)
