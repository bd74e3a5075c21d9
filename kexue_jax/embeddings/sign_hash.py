"""Hashes of vectors by the signs of random projections, and cosines from them."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax.embeddings.random_projection import projected

_BITS = 32  # of a word


def sign_hash(a: jax.Array, v: jax.Array) -> jax.Array:
    """The signs of the projected vectors, True for +1.

    h_i = [sum_j A_ij v_j >= 0]: the side of n random hyperplanes that v lies on.

    Shapes: a [n, m], v [..., m] -> bool [..., n]; n may exceed m.
    Article: kexue.fm/archives/8706.  Paper: Charikar 2002.
    Differs: sign(0) is +1, so that there are two values.
    Cost: 2 n m flops a vector. No gradient.
    Raises: TypeError or ValueError unless both are floating arrays of one dtype whose
    m agree.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.embeddings import sign_hash
        >>> print(sign_hash(jnp.eye(3), jnp.array([-2.0, 0.0, 5.0])))
        [False  True  True]
    """
    name = "sign_hash"
    checks.array(name, "a", a)
    checks.array(name, "v", v)
    checks.same_dtype(name, a=a, v=v)
    checks.shapes(name, a=(a, "n m"), v=(v, "... m"))
    return projected(a, v) >= 0


def pack_bits(bits: jax.Array) -> jax.Array:
    """Boolean hashes as words of 32 bits.

    word_w = sum_b 2^b bits_{32 w + b}; the last word is filled up with zeros.

    Shapes: bits bool [..., n] -> uint32 [..., ceil(n / 32)].
    Article: kexue.fm/archives/8706.  Paper: none.
    Differs: no.
    Cost: n operations a hash; n/8 bytes in place of n.
    Raises: TypeError or ValueError unless bits is a boolean array of at least one axis.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.embeddings import pack_bits
        >>> print(pack_bits(jnp.array([True, False, True])))
        [5]
    """
    name = "pack_bits"
    checks.array(name, "bits", bits, "boolean")
    checks.shapes(name, bits=(bits, "... n"))
    n = bits.shape[-1]
    words = -(-n // _BITS)
    padding = [(0, 0)] * (bits.ndim - 1) + [(0, words * _BITS - n)]
    parts = jnp.pad(bits, padding).reshape(*bits.shape[:-1], words, _BITS)
    places = jax.lax.broadcasted_iota(jnp.uint32, parts.shape, parts.ndim - 1)
    return (parts.astype(jnp.uint32) << places).sum(-1, dtype=jnp.uint32)


def hamming(h1: jax.Array, h2: jax.Array) -> jax.Array:
    """In how many bits two hashes differ.

    sum_i [h1_i != h2_i], of boolean hashes or of packed words (XOR and a count of its
    ones).

    Shapes: h1, h2 bool [..., n] or uint32 [..., w], leading axes that broadcast ->
    int32 [...].
    Article: kexue.fm/archives/8706.  Paper: Charikar 2002.
    Differs: no.
    Cost: one operation a bit, or a word; packed by 32 it is read in 1/8 of the bytes.
    Raises: TypeError or ValueError unless both are boolean or both uint32, with last
    axes that agree and others that broadcast.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.embeddings import hamming
        >>> h = jnp.array([[True, False, True], [True, True, False]])
        >>> print(hamming(h[0], h[1]))
        2
    """
    shape = _check_hashes("hamming", h1, h2)
    h1, h2 = jnp.broadcast_to(h1, shape), jnp.broadcast_to(h2, shape)
    if h1.dtype == jnp.bool_:
        return jnp.sum(h1 != h2, -1, dtype=jnp.int32)
    return jnp.sum(jax.lax.population_count(h1 ^ h2), -1, dtype=jnp.int32)


def cosine_from_hash(
    h1: jax.Array,
    h2: jax.Array,
    *,
    n: int | None = None,
    corrected: bool = True,
    dtype: Any = jnp.float32,
) -> jax.Array:
    """The cosine of two vectors estimated from their hashes.

    With s = 1 - 2 Hamming / n: sin(pi s / 2) = cos(pi Hamming / n) if corrected, else s
    itself.

    Shapes: h1, h2 as in ``hamming`` -> [...].
    Article: kexue.fm/archives/8706.  Paper: Charikar 2002.
    Differs: the article takes s for the cosine, but E s = 1 - 2 theta / pi =
    (2/pi) arcsin(cos theta): 1/3 where the cosine is 1/2, 0.2105 too little at 0.7712,
    right at -1, 0 and 1 alone. The correction makes it consistent (of a bias of
    O(1/n)); rankings are the same under both.
    Cost: that of ``hamming``.
    Raises: TypeError or ValueError for hashes that do not fit, n missing for packed
    words or other than the bits of boolean ones or of so many words, a bad dtype.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.embeddings import cosine_from_hash
        >>> h1, h2 = jnp.array([True, True, True]), jnp.array([True, True, False])
        >>> print(f"{cosine_from_hash(h1, h2):.4f}")  # 60 degrees
        0.5000
    """
    name = "cosine_from_hash"
    _check_hashes(name, h1, h2)
    checks.flag(name, "corrected", corrected)
    checks.float_dtype(name, "dtype", dtype)
    packed, width = h1.dtype != jnp.bool_, h1.shape[-1]
    if n is not None:
        checks.count(name, "n", n)
    if n is None and packed:
        raise checks.fail(name, "n", n, "the number of bits that were packed")
    bits = width if n is None else int(n)
    if (-(-bits // _BITS) if packed else bits) != width or not bits:
        wanted = f"a number of bits that fits a last axis of {width}"
        raise checks.fail(name, "n", n, wanted)
    wide = jnp.promote_types(dtype, jnp.float32)
    s = 1 - 2 / bits * hamming(h1, h2).astype(wide)
    return (jnp.sin(math.pi / 2 * s) if corrected else s).astype(dtype)


def _check_hashes(name: str, h1: jax.Array, h2: jax.Array) -> tuple[int, ...]:
    """The shape that both broadcast to."""
    for argument, value in (("h1", h1), ("h2", h2)):
        if not checks.is_array(value) or value.dtype not in (jnp.bool_, jnp.uint32):
            got = f"dtype {value.dtype}" if checks.is_array(value) else type(value)
            wanted = "an array of bool, or of uint32 (packed words)"
            raise checks.fail_type(name, argument, got, wanted)
    checks.same_dtype(name, h1=h1, h2=h2)
    checks.shapes(name, h1=(h1, "*a n"), h2=(h2, "*b n"))
    lead = checks.leading(name, {"h1": h1.shape[:-1], "h2": h2.shape[:-1]})
    return (*lead, h1.shape[-1])
