"""The Walsh-Hadamard transform, and the fast random projection made of it."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype

_CPU_BLOCK, _BLOCK = 32, 256
_LARGE, _PIECE = 2**22, 2**18  # a CPU takes so many entries a piece at a time

Transform = Callable[[jax.Array], jax.Array]


class SRHT(NamedTuple):
    """A subsampled randomized Hadamard transform from m to n dimensions.

    signs [m'] (int8) are +-1, m' the power of two from m on; rows [n] (int32) rise.
    """

    signs: jax.Array
    rows: jax.Array


def hadamard_transform(x: jax.Array) -> jax.Array:
    """The orthonormal Walsh-Hadamard transform along the last axis; its own inverse.

    x H_d / sqrt(d), H_2d = [[H_d, H_d], [H_d, -H_d]], H_1 = 1, d a power of two.

    Shapes: x [..., d] -> [..., d].
    Article: kexue.fm/archives/8706.  Paper: Ailon & Chazelle 2009.
    Differs: no.
    Cost: O(d log d) additions a vector. On a CPU two stages of additions a pass, then
    one product with H_32; elsewhere products with H_256, two for d = 65,536.
    Raises: TypeError or ValueError unless x is a floating array whose last axis is a
    power of two.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.embeddings import hadamard_transform
        >>> print(hadamard_transform(jnp.array([4.0, 2.0, 0.0, 0.0])))
        [3. 1. 3. 1.]
    """
    name = "hadamard_transform"
    checks.array(name, "x", x)
    if x.ndim < 1 or not _is_power(x.shape[-1]):
        wanted = "of shape [..., d] with d a power of two"
        raise checks.fail(name, "x", f"shape {x.shape}", wanted)
    wide = jnp.asarray(x, accumulation_dtype(x))
    return (_transform(wide) / math.sqrt(x.shape[-1])).astype(x.dtype)


def hadamard_butterfly(x: jax.Array) -> jax.Array:
    """The readable twin of ``hadamard_transform``: log2 d stages of sums and
    differences of entries h apart, h = 1, 2, 4, ..., d/2."""
    d, h = x.shape[-1], 1
    while h < d:
        pairs = x.reshape(*x.shape[:-1], d // (2 * h), 2, h)
        a, b = pairs[..., 0, :], pairs[..., 1, :]
        x = jnp.stack([a + b, a - b], -2).reshape(x.shape)
        h *= 2
    return x / math.sqrt(d)


def srht_init(key: jax.Array, *, n: int, m: int) -> SRHT:
    """The signs and rows of a fast random projection from m to n dimensions.

    With key_s, key_r = split(key) and m' the power of two from m on: signs
    rademacher(key_s, [m'], int8), rows the sorted first n of permutation(key_r, m').

    Shapes: key -> SRHT(signs [m'], rows [n]).
    Article: kexue.fm/archives/8706.  Paper: Ailon & Chazelle 2009.
    Differs: no matrix: m' + 4 n bytes in place of 4 n m.
    Cost: a permutation of m'.
    Raises: TypeError or ValueError for a bad key or count, n > m'.
    Example:
        >>> import jax
        >>> from kexue_jax.embeddings import srht_init
        >>> found = srht_init(jax.random.key(0), n=2, m=5)
        >>> found.signs.shape, found.rows.shape
        ((8,), (2,))
    """
    name = "srht_init"
    checks.key(name, "key", key)
    checks.count(name, "n", n)
    checks.count(name, "m", m)
    width = _padded(m)
    if n > width:
        wanted = f"at most {width}, the power of two from m = {m} on"
        raise checks.fail(name, "n", n, wanted)
    key_s, key_r = jax.random.split(key)
    signs = jax.random.rademacher(key_s, (width,), jnp.int8)
    rows = jnp.sort(jax.random.permutation(key_r, width)[:n])
    return SRHT(signs, rows.astype(jnp.int32))


def srht_apply(srht: SRHT, v: jax.Array) -> jax.Array:
    """The vectors v in n dimensions, by signs, Hadamard transform and sampled rows.

    sqrt(m'/n) (H (signs v))_rows, H the orthonormal transform and v filled up with
    zeros to m' entries. It is ``project`` with a matrix that is never made, of
    orthogonal rows of equal entries: E A^T A = I.

    Shapes: srht of ``srht_init``, v [..., m] -> [..., n].
    Article: kexue.fm/archives/8706.  Paper: Ailon & Chazelle 2009.
    Differs: no.
    Cost: m' log2 m' additions a vector.
    Raises: TypeError or ValueError unless srht is an SRHT of v's width.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.embeddings import srht_apply, srht_init
        >>> srht = srht_init(jax.random.key(0), n=8, m=5)
        >>> print(f"{jnp.square(srht_apply(srht, jnp.ones(5))).sum():.4f}")
        5.0000
    """
    name = "srht_apply"
    if not isinstance(srht, SRHT):
        raise checks.fail_type(name, "srht", f"a {type(srht).__name__}", "an SRHT")
    checks.array(name, "srht.signs", srht.signs, "integer")
    checks.array(name, "srht.rows", srht.rows, "integer")
    checks.array(name, "v", v)
    checks.shapes(name, v=(v, "... m"))
    m, n = v.shape[-1], srht.rows.size
    width = _padded(max(m, 1))
    checks.shapes(
        name,
        **{"srht.signs": (srht.signs, str(width)), "srht.rows": (srht.rows, "n")},
    )
    wide = jnp.asarray(v, accumulation_dtype(v))
    padding = [(0, 0)] * (v.ndim - 1) + [(0, width - m)]
    signs = srht.signs.astype(wide.dtype).reshape((1,) * (v.ndim - 1) + (width,))
    signed = jnp.pad(wide, padding) * signs
    found = lax.platform_dependent(
        signed, srht.rows, cpu=_sampled_by_additions, default=_sampled_by_products
    )
    return (found / math.sqrt(n)).astype(v.dtype)


def _is_power(d: int) -> bool:
    return d > 0 and d & (d - 1) == 0


def _padded(m: int) -> int:
    return 1 << (m - 1).bit_length()


def _transform(x: jax.Array) -> jax.Array:
    """x H, not normalized, by the form that suits the platform."""
    return lax.platform_dependent(x, cpu=_by_additions, default=_by_products)


@functools.cache
def _matrix(size: int) -> np.ndarray:
    """H of a small size: (-1) to the number of ones that i and j share."""
    shared = np.arange(size)[:, None] & np.arange(size)
    return 1.0 - 2.0 * (np.bitwise_count(shared) % 2)


def _by_products(x: jax.Array) -> jax.Array:
    """H is a Kronecker product: one small H along each axis of the reshaped x."""
    d, before = x.shape[-1], 1
    while before < d:
        size = min(_BLOCK, d // before)
        x = _product(x, before, size)
        before *= size
    return x


def _product(x: jax.Array, before: int, size: int) -> jax.Array:
    matrix = jnp.asarray(_matrix(size), x.dtype)
    after = x.shape[-1] // (before * size)
    parts = x.reshape(*x.shape[:-1], before, size, after)
    found = jnp.einsum("st,...atb->...asb", matrix, parts, precision="highest")
    return found.reshape(x.shape)


def _by_additions(x: jax.Array) -> jax.Array:
    return _in_pieces(_added, x)


def _added(x: jax.Array) -> jax.Array:
    """Sums and differences of far entries by fours, then a product along the last 32.

    XLA's CPU code runs through whole vectors where entries lie at least 32 apart.
    """
    size = min(_CPU_BLOCK, x.shape[-1])
    matrix = jnp.asarray(_matrix(size), x.dtype)
    return jnp.matmul(_far(x, size), matrix, precision="highest").reshape(x.shape)


def _in_pieces(transformed: Transform, x: jax.Array) -> jax.Array:
    """A large x some rows at a time: between the stages they stay in the cache, and no
    fresh memory of x's size is asked for, whose pages take longer than the additions.
    """
    if x.size < _LARGE:
        return transformed(x)
    d = x.shape[-1]
    rows = x.reshape(-1, d)
    found = lax.map(transformed, rows, batch_size=max(1, _PIECE // d))
    return found.reshape(*x.shape[:-1], found.shape[-1])


def _sampled_by_products(x: jax.Array, rows: jax.Array) -> jax.Array:
    return jnp.take(_by_products(x), rows, axis=-1, mode="clip")


def _sampled_by_additions(x: jax.Array, rows: jax.Array) -> jax.Array:
    """Of the last 32 only what ``rows`` asks for, where that is less work."""
    size, n = _CPU_BLOCK, rows.size
    columns = jnp.asarray(_matrix(size), x.dtype)[rows % size]

    def few(x: jax.Array) -> jax.Array:
        blocks = jnp.take(_far(x, size), rows // size, axis=-2, mode="clip")
        return jnp.einsum("...ns,ns->...n", blocks, columns, precision="highest")

    def many(x: jax.Array) -> jax.Array:
        return jnp.take(_added(x), rows, axis=-1, mode="clip")

    return _in_pieces(few if n * size < x.shape[-1] else many, x)


def _far(x: jax.Array, size: int) -> jax.Array:
    """The stages of entries ``size`` and more apart, as [..., d / size, size]."""
    d = x.shape[-1]
    before = d // size
    while before > 1:
        radix = 4 if before % 4 == 0 else 2
        before //= radix
        x = _stage(x, before, radix)
    return x.reshape(*x.shape[:-1], d // size, size)


def _stage(x: jax.Array, before: int, radix: int) -> jax.Array:
    after = x.shape[-1] // (before * radix)
    parts: Any = x.reshape(*x.shape[:-1], before, radix, after)
    parts = [parts[..., i, :] for i in range(radix)]
    if radix == 2:
        a, b = parts
        parts = [a + b, a - b]
    else:
        a, b, c, e = parts
        p, q, r, s = a + b, a - b, c + e, c - e
        parts = [p + r, q + s, p - r, q - s]
    return jnp.stack(parts, -2).reshape(x.shape)
