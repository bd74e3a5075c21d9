"""What the forms of linear attention ask of features, values, masks and states."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks, numerics
from kexue_jax._base.varying import varying_alike
from kexue_jax.attention._causal import Options, causal_product


class AttentionStep(NamedTuple):
    """The state after some tokens, and what attention gives for them."""

    state: Any
    out: jax.Array


def check_features(
    name: str, names: tuple[str, str], q: Any, k: Any, v: Any, causal: bool
) -> None:
    """Raise unless q [..., n, m], k [..., l, m], v [..., l, d] fit; causal: l = n."""
    arguments = dict(zip((*names, "v"), (q, k, v), strict=True))
    for argument, value in arguments.items():
        checks.array(name, argument, value)
    checks.same_dtype(name, **arguments)
    length = "n" if causal else "l"
    patterns = ("... n m", f"... {length} m", f"... {length} d")
    pairs = zip(arguments.items(), patterns, strict=True)
    checks.shapes(name, **{a: (x, pattern) for (a, x), pattern in pairs})
    for argument, value in arguments.items():
        if 0 in value.shape[-2:]:
            got = f"shape {value.shape}"
            raise checks.fail(name, argument, got, "without empty axes")


def spread(
    name: str, argument: str, mask: Any, shape: tuple[int, ...]
) -> jax.Array | None:
    """The boolean ``mask`` over ``shape``; None stays None."""
    if mask is None:
        return None
    checks.array(name, argument, mask, "boolean")
    checks.broadcastable(name, argument, mask, shape)
    return jnp.broadcast_to(jnp.asarray(mask), shape)


def positions_kept(
    name: str, prefix_length: Any, causal: bool, lead: tuple[int, ...], n: int
) -> jax.Array | None:
    """Which positions lie in the prefix, bool [..., n]; None where there is none."""
    if prefix_length is None:
        return None
    argument = "prefix_length"
    if isinstance(prefix_length, (int, np.integer)):
        checks.count(name, argument, prefix_length, minimum=0)
        prefix_length = np.asarray(prefix_length, np.int32)
    checks.array(name, argument, prefix_length, "integer")
    if not causal:
        raise checks.fail(name, argument, "an array", "None where not causal")
    checks.broadcastable(name, argument, prefix_length, lead)
    lengths = jnp.broadcast_to(numerics.signed(prefix_length), lead)
    places = jnp.arange(n, dtype=lengths.dtype).reshape((1,) * len(lead) + (n,))
    return jnp.broadcast_to(places, (*lead, n)) < lengths[..., None]


def wide(*arrays: jax.Array) -> list[jax.Array]:
    """The arrays in one dtype of at least float32."""
    dtype = numerics.accumulation_dtype(*arrays)
    return [jnp.asarray(x, dtype) for x in arrays]


def keep_keys(features: jax.Array, keep: jax.Array | None) -> jax.Array:
    """Features [..., n, m] with those of masked keys 0."""
    return features if keep is None else jnp.where(keep[..., None], features, 0)


def chunks_of(n: int, chunk_size: int) -> tuple[int, int]:
    """The chunk that is used (n where that is less), and the padded length."""
    chunk = min(chunk_size, n)
    return chunk, -(-n // chunk) * chunk


def pad_rows(x: jax.Array, length: int, value: float = 0.0) -> jax.Array:
    """``x [..., n, m]`` with rows of ``value`` after it, up to ``length`` rows."""
    more = length - x.shape[-2]
    if not more:
        return x
    widths = [(0, 0)] * (x.ndim - 2) + [(0, more), (0, 0)]
    return jnp.pad(x, widths, constant_values=value)


def causal_rows(
    a: jax.Array,
    b: jax.Array,
    v: jax.Array,
    s: jax.Array,
    z: jax.Array,
    *,
    chunk_size: int,
    normalize: bool,
    eps: Any = 0.0,
    decay: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """``causal_product`` of a, b [..., n, m], v [..., n, d] at any length.

    s [..., m, d], z [..., m], decay [..., chunks, m] -> out [..., n, d] and the state.
    """
    lead, n = a.shape[:-2], a.shape[-2]
    rows = int(np.prod(lead))
    chunk, length = chunks_of(n, chunk_size)
    a, b, v = (pad_rows(x, length).reshape(rows, length, -1) for x in (a, b, v))
    if decay is not None:
        decay = decay.reshape(rows, -1, a.shape[-1])
    start = s.reshape(rows, *s.shape[-2:]), z.reshape(rows, -1)
    inputs = varying_alike(a, b, v, *start, decay, jnp.asarray(eps, a.dtype))
    out, s_end, z_end = causal_product(Options(chunk, normalize), *inputs)
    out = out[:, :n].reshape(*lead, n, -1)
    return out, s_end.reshape(s.shape), z_end.reshape(z.shape)
