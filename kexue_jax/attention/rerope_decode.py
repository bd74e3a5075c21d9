"""One more token by ReRoPE or Leaky ReRoPE: a dual cache, and one of plain keys.

``rerope_decode_step`` keeps each key turned for the far side, and the last keys turned
for the near side in a ring: no key is turned again. ``raw_decode_step`` is its readable
twin, the article's form: plain keys, all turned anew by their distance at each step.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from kexue_jax._base import checks, numerics
from kexue_jax.attention._arguments import check_mask, check_scale
from kexue_jax.attention.dense import masked_part
from kexue_jax.positions.relative import check_leak, check_window, relative_position
from kexue_jax.positions.rotary import check_rope, rope_table, rotate


class RopeCache(NamedTuple):
    """Keys and values of the first ``length`` tokens, keys turned for both sides.

    k_far [..., size, d] holds R^(j / leak) k_j (k_j itself for ReRoPE), k_near
    [..., ring, d] holds R^j k_j of the last ``ring`` tokens at j mod ring, v
    [..., size, e] the values, length int32 [].

    Article: kexue.fm/archives/9708. Paper: none.
    """

    k_far: jax.Array
    k_near: jax.Array
    v: jax.Array
    length: jax.Array


class RawKeyCache(NamedTuple):
    """Plain keys k [..., size, d] and values v [..., size, e] of ``length`` tokens.

    Article: kexue.fm/archives/9708. Paper: none.
    """

    k: jax.Array
    v: jax.Array
    length: jax.Array


class DecodeStep(NamedTuple):
    """The cache with one token more, and what attention gives for it, [..., e].

    Article: kexue.fm/archives/9708. Paper: none.
    """

    cache: Any
    out: jax.Array


def rerope_cache(
    k: jax.Array,
    v: jax.Array,
    *,
    freqs: jax.Array,
    window: int,
    size: int,
    leak: float | jax.Array = math.inf,
    interleaved: bool = True,
) -> RopeCache:
    """The dual cache of a prompt, with room for ``size`` tokens in all.

    k_far_j = R^(j / leak) k_j; k_near at j mod window = R^j k_j of the last ``window``
    tokens.

    Shapes: k [..., m, d], v [..., m, e], plain keys as ``rerope_attention`` takes them
    (m = 0 for none), freqs [d / 2] -> RopeCache(k_far [..., size, d], k_near
    [..., window, d], v [..., size, e], length []).
    Article: kexue.fm/archives/9708.  Paper: none.
    Differs: the article says that only plain keys can be cached; a second, small cache
    of the near side refutes it.
    Cost: O(size (d + e)) time and memory.
    Raises: TypeError or ValueError for bad arguments, or a prompt longer than size.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import rerope_cache
        >>> k = jnp.ones((3, 2))
        >>> cache = rerope_cache(k, k, freqs=jnp.ones(1), window=2, size=8)
        >>> cache.k_near.shape, int(cache.length)
        ((2, 2), 3)
    """
    name = "rerope_cache"
    _check_prompt(name, k, v, freqs, interleaved)
    checks.count(name, "window", window)
    check_leak(name, leak)
    checks.count(name, "size", size)
    m = k.shape[-2]
    if m > size:
        raise checks.fail(name, "size", size, f"at least the prompt's {m} tokens")
    k, v, rows = jnp.asarray(k), jnp.asarray(v), jnp.arange(m)
    far = rotate(k, rope_table(k, rows / leak, freqs), interleaved)
    near = rotate(k, rope_table(k, rows, freqs), interleaved)
    # Slot s holds the last token j < m with j = s mod window, if there is one.
    slots = np.arange(window)
    tokens = m - 1 - (m - 1 - slots) % window
    ring = jnp.zeros((*k.shape[:-2], window, k.shape[-1]), k.dtype)
    filled = slots[tokens >= 0]
    ring = ring.at[..., filled, :].set(near[..., tokens[tokens >= 0], :])
    return RopeCache(_room(far, size), ring, _room(v, size), jnp.int32(m))


def rerope_decode_step(
    cache: RopeCache,
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    freqs: jax.Array,
    window: int | jax.Array,
    leak: float | jax.Array = math.inf,
    mask: jax.Array | None = None,
    interleaved: bool = True,
    scale: float | jax.Array | None = None,
) -> DecodeStep:
    """The attention of the next token, and the cache that holds it too.

    At i = cache.length: score_j = scale (R^i q) . k_near_j for i - j < window, else
    scale (R^((i - w) / leak + w) q) . k_far_j, over j <= i.

    Shapes: q [..., d], k [..., d], v [..., e] of one token, mask boolean, broadcastable
    to [..., size] of the cache, True = keep -> DecodeStep(cache, out [..., e]). k and v
    may have fewer heads (axis -2 of q) by a whole factor.
    Article: kexue.fm/archives/9708.  Paper: none.
    Differs: no key is turned again, where the article turns all of them at each step.
    A window may be traced up to the ring's size. Without room (length = size) the
    output is NaN. Donate the cache under jit, or it is copied at each step.
    Cost: O(size (d + e)).
    Raises: TypeError or ValueError for bad arguments, or a window beyond the ring.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import rerope_cache, rerope_decode_step
        >>> x, options = jnp.ones((3, 2)), {"freqs": jnp.ones(1), "window": 2}
        >>> cache = rerope_cache(x, x, size=8, **options)
        >>> step = rerope_decode_step(cache, x[0], x[0], 5 * x[0], **options)
        >>> print(step.out.round(3), int(step.cache.length))
        [3.232 3.232] 4
    """
    name = "rerope_decode_step"
    _check_cache(name, cache, RopeCache)
    grouped = _check_token(name, cache.k_far, cache.v, q, k, v, freqs, interleaved)
    ring = cache.k_near.shape[-2]
    _check_token_window(name, window)
    if not isinstance(window, jax.Array) and window > ring:
        raise checks.fail(name, "window", window, f"at most the ring's {ring}")
    check_leak(name, leak)
    scale = check_scale(name, scale, int(q.shape[-1]))
    i, size = cache.length, cache.v.shape[-2]
    k, v = jnp.asarray(k)[..., None, :], jnp.asarray(v)[..., None, :]

    def turned(x: jax.Array, turn: Any) -> jax.Array:
        return rotate(x, rope_table(x, jnp.reshape(turn, (1,)), freqs), interleaved)

    cache = RopeCache(
        _put(cache.k_far, turned(k, i / leak), i),
        _put(cache.k_near, turned(k, i), i % ring),
        _put(cache.v, v, i),
        i + 1,
    )
    queries = jnp.asarray(q).reshape(grouped)
    far = _scores(turned(queries, (i - window) / leak + window), cache.k_far, scale)
    near = _scores(turned(queries, i), cache.k_near, scale)
    rows = jnp.arange(size)
    near = jnp.take(near, rows % ring, axis=-1)
    scores = jnp.where(i - rows < window, near, far)
    return DecodeStep(cache, _attend(name, scores, cache.v, i, mask, q.shape[:-1]))


def raw_decode_step(
    cache: RawKeyCache,
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    freqs: jax.Array,
    window: int | jax.Array | None,
    leak: float | jax.Array = math.inf,
    mask: jax.Array | None = None,
    interleaved: bool = True,
    scale: float | jax.Array | None = None,
) -> DecodeStep:
    """The attention of the next token by plain keys, and the cache that holds it too.

    score_j = scale q . R^(-rho(i - j)) k_j, rho of ``relative_position``, j <= i =
    cache.length.

    Shapes: as ``rerope_decode_step``, with RawKeyCache(k [..., size, d], v [..., size,
    e], length []).
    Article: kexue.fm/archives/9708.  Paper: none.
    Differs: the article's max(j - i, ...) for -rho is wrong for leak < 1. Angles come
    from distances and not from positions, which is more exact far out in float32.
    Cost: O(size (d + e)) and a sine and cosine for each cached number at each step.
    Raises: TypeError or ValueError for bad arguments.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import RawKeyCache, raw_decode_step
        >>> x, empty = jnp.ones(2), jnp.zeros((8, 2))
        >>> cache = RawKeyCache(empty, empty, jnp.int32(0))
        >>> step = raw_decode_step(cache, x, x, 5 * x, freqs=jnp.ones(1), window=2)
        >>> print(step.out, int(step.cache.length))
        [5. 5.] 1
    """
    name = "raw_decode_step"
    _check_cache(name, cache, RawKeyCache)
    grouped = _check_token(name, cache.k, cache.v, q, k, v, freqs, interleaved)
    check_window(name, window)
    check_leak(name, leak)
    scale = check_scale(name, scale, int(q.shape[-1]))
    i, size = cache.length, cache.v.shape[-2]
    cache = RawKeyCache(
        _put(cache.k, jnp.asarray(k)[..., None, :], i),
        _put(cache.v, jnp.asarray(v)[..., None, :], i),
        i + 1,
    )
    delta = (i - jnp.arange(size)).astype(numerics.accumulation_dtype(q, freqs))
    rho = relative_position(delta, window=window, leak=leak)
    keys = rotate(cache.k, rope_table(cache.k, -rho, freqs), interleaved)
    scores = _scores(jnp.asarray(q).reshape(grouped), keys, scale)
    return DecodeStep(cache, _attend(name, scores, cache.v, i, mask, q.shape[:-1]))


def _room(x: jax.Array, size: int) -> jax.Array:
    """``x [..., m, d]`` with zeros after it up to ``size`` rows."""
    rest = size - x.shape[-2]
    return jnp.pad(x, ((0, 0),) * (x.ndim - 2) + ((0, rest), (0, 0)))


def _put(buffer: jax.Array, row: jax.Array, place: jax.Array) -> jax.Array:
    """``buffer [..., size, d]`` with ``row [..., 1, d]`` at ``place``."""
    return lax.dynamic_update_slice_in_dim(buffer, row, place, -2)


def _scores(q: jax.Array, k: jax.Array, scale: Any) -> jax.Array:
    """Scores ``[..., r, m]`` of the r queries that share keys ``[..., m, d]``."""
    dtype = numerics.accumulation_dtype(q)
    scores = jnp.einsum("...rd,...md->...rm", q, k, preferred_element_type=dtype)
    return scores * jnp.asarray(scale, dtype)


def _attend(
    name: str,
    scores: jax.Array,
    v: jax.Array,
    i: jax.Array,
    mask: Any,
    lead: tuple[int, ...],
) -> jax.Array:
    """Softmax over tokens 0..i; NaN where the cache had no room for token i."""
    size = v.shape[-2]
    shape = (*v.shape[:-2], size)
    check_mask(name, "mask", mask, shape)
    keep = jnp.broadcast_to(jnp.arange(size) <= i, shape)
    if mask is not None:
        keep &= jnp.broadcast_to(mask, shape)
    keep = jnp.broadcast_to(keep[..., None, :], scores.shape)
    out = masked_part(scores, keep, v).out
    out = jnp.where(i < size, out, jnp.nan)
    return out.reshape(*lead, v.shape[-1]).astype(v.dtype)


def _check_token_window(function: str, window: Any) -> None:
    if window is None:
        wanted = "an integer, or a traced one up to the ring's size"
        raise checks.fail_type(function, "window", "None", wanted)
    check_window(function, window)


def _check_prompt(name: str, k: Any, v: Any, freqs: Any, interleaved: Any) -> None:
    for argument, value in (("k", k), ("v", v)):
        checks.array(name, argument, value)
    checks.shapes(name, k=(k, "... m d"), v=(v, "... m e"))
    checks.same_dtype(name, k=k, v=v)
    check_rope(name, k, jnp.arange(k.shape[-2]), freqs, interleaved, "k")


def _check_cache(name: str, cache: Any, kind: type) -> None:
    """Raise unless ``cache`` is of its kind and its arrays fit each other."""
    if not isinstance(cache, kind):
        got = f"a {type(cache).__name__}"
        raise checks.fail_type(name, "cache", got, f"a {kind.__name__}")
    *keys, v, length = cache
    for value in (*keys, v):
        checks.array(name, "cache", value)
    checks.array(name, "cache", length, "integer")
    first, *others = keys
    checks.shapes(name, cache=(first, "... size d"))
    lead, d = first.shape[:-2], first.shape[-1]
    fits = v.shape[:-1] == first.shape[:-1] and length.shape == ()
    fits = fits and all(o.shape[:-2] == lead and o.shape[-1] == d for o in others)
    if not fits:
        got = f"shapes {[tuple(part.shape) for part in cache]}"
        raise checks.fail(
            name, "cache", got, "of one shape but sizes, as its makers do"
        )


def _check_token(
    name: str, keys: Any, values: Any, q: Any, k: Any, v: Any, freqs: Any, pairs: Any
) -> tuple[int, ...]:
    """Raise unless q, k, v are one token for this cache; q's shape [..., r, d]."""
    for argument, value in (("q", q), ("k", k), ("v", v)):
        checks.array(name, argument, value)
        checks.shapes(name, **{argument: (value, "... d")})
    checks.same_dtype(name, q=q, k=k, v=v, cache=keys)
    lead, d, e = keys.shape[:-2], keys.shape[-1], values.shape[-1]
    for argument, value, width in (("k", k, d), ("v", v, e)):
        if value.shape != (*lead, width):
            wanted = f"of shape {(*lead, width)} as the cache has"
            raise checks.fail(name, argument, f"shape {value.shape}", wanted)
    same = q.shape == (*lead, d)
    shared = len(q.shape) == len(lead) + 1 > 1 and q.shape[:-2] == lead[:-1]
    shared = shared and q.shape[-1] == d and q.shape[-2] % max(1, lead[-1]) == 0
    if not (same or shared):
        wanted = f"of shape {(*lead, d)}, or with a multiple of its heads"
        raise checks.fail(name, "q", f"shape {q.shape}", wanted)
    check_rope(name, q[..., None, :], jnp.arange(1), freqs, pairs, "q")
    return (*lead, 1 if same else q.shape[-2] // lead[-1], d)
