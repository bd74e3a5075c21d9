"""Attention to anchors that stand for an image: pooled pyramids, learned bases."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks, numerics
from kexue_jax._base.masks import safe_divide
from kexue_jax.attention._arguments import broadcast, check_mask, check_scale
from kexue_jax.attention.dense import scaled_scores


class EMAttention(NamedTuple):
    """What em_attention returns.

    out [..., n, d]; bases [..., r, d] after the last step, to be averaged into the
    first bases of the next batches; responsibilities [..., n, r], whose rows sum to 1.
    """

    out: jax.Array
    bases: jax.Array
    responsibilities: jax.Array


def pyramid_pool(x: jax.Array, *, sizes: tuple[int, ...] = (1, 3, 6, 8)) -> jax.Array:
    """The means of an image over grids of s x s cells, for every s, one after another.

    Cell (a, b) of size s has rows floor(a h / s) to ceil((a + 1) h / s) - 1, and its
    columns likewise; each of its means is an anchor.

    Shapes: x [..., h, w, d] -> [..., sum of s^2, d], cells by rows within each size.
    Article: kexue.fm/archives/7546.  Paper: arXiv 1908.07678.
    Differs: the article's link for this method leads to EMANet's paper; this is the
    right number. Cells overlap where s does not divide h or w, as in the common
    adaptive pooling.
    Cost: 2 h w d (sum of s) flops and less.
    Raises: TypeError or ValueError for an x that is not [..., h, w, d], or sizes that
    are not a tuple of integers >= 1.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import pyramid_pool
        >>> x = jnp.arange(4.0).reshape(2, 2, 1)
        >>> print(pyramid_pool(x, sizes=(1, 2))[:, 0])
        [1.5 0.  1.  2.  3. ]
    """
    name = "pyramid_pool"
    _check_image(name, "x", x)
    _check_sizes(name, sizes)
    return _pyramid(x, sizes)


def asymmetric_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    sizes: tuple[int, ...] = (1, 3, 6, 8),
    scale: float | jax.Array | None = None,
) -> jax.Array:
    """Softmax attention of all positions to the pooled pyramid of keys and values.

    softmax(scale q pyramid(k)^T) pyramid(v), pyramid = pyramid_pool: the asymmetric
    non-local block, 110 anchors for the default sizes.

    Shapes: q [..., n, d], k [..., h, w, d], v [..., h, w, e] -> [..., n, e].
    Article: kexue.fm/archives/7546.  Paper: arXiv 1908.07678.
    Differs: the paper has no scale (scale=1.0); here it is 1 / sqrt(d) unless given.
    Cost: 2 n a (d + e) flops for a = sum of s^2 anchors.
    Raises: TypeError or ValueError for shapes that do not fit or bad sizes.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import asymmetric_attention
        >>> k, v = jnp.zeros((2, 2, 1)), jnp.arange(4.0).reshape(2, 2, 1)
        >>> print(asymmetric_attention(jnp.ones((3, 1)), k, v, sizes=(1, 2))[:, 0])
        [1.5 1.5 1.5]
    """
    name = "asymmetric_attention"
    checks.array(name, "q", q)
    _check_image(name, "k", k)
    _check_image(name, "v", v)
    checks.same_dtype(name, q=q, k=k, v=v)
    checks.shapes(name, q=(q, "... n d"), k=(k, "... h w d"), v=(v, "... h w e"))
    if 0 in q.shape[-2:]:
        raise checks.fail(name, "q", f"shape {q.shape}", "without empty axes")
    _check_sizes(name, sizes)
    factor = check_scale(name, scale, q.shape[-1])
    dtype = numerics.accumulation_dtype(q)
    keys, values = (_pyramid(jnp.asarray(x, dtype), sizes) for x in (k, v))
    weights = jax.nn.softmax(scaled_scores(q, keys, factor), -1)
    return jnp.matmul(weights, values).astype(v.dtype)


def em_attention(
    x: jax.Array,
    bases: jax.Array,
    *,
    steps: int = 3,
    temperature: float = 1.0,
    key_mask: jax.Array | None = None,
) -> EMAttention:
    """Every position rebuilt from a few bases found by expectation-maximization.

    E: z = softmax_r(x mu^T / temperature). M: mu_r = sum_i z_ir x_i / sum_i z_ir, then
    mu_r / |mu_r|. After the steps out = z mu, z of the last E and mu of the last M.

    Shapes: x [..., n, d], bases [r, d] or [..., r, d], key_mask boolean, broadcastable
    to [..., n] -> EMAttention(out [..., n, d], bases [..., r, d], responsibilities
    [..., n, r]).
    Article: kexue.fm/archives/7546.  Paper: arXiv 1907.13426 (EMANet).
    Differs: gradients flow through all steps, where the common code stops them; stop
    them at the returned bases if wanted. Masked positions do not move the bases, and
    get an output all the same.
    Cost: 4 steps n r d flops; memory of n r responsibilities a step in the gradient.
    Raises: TypeError or ValueError for shapes that do not fit, steps < 1, a temperature
    that is not positive.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import em_attention
        >>> x = jnp.array([[9.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
        >>> print(em_attention(x, jnp.eye(2)).out.round(2))
        [[1. 0.]
         [1. 0.]
         [0. 1.]]
    """
    name = "em_attention"
    checks.array(name, "x", x)
    checks.array(name, "bases", bases)
    checks.same_dtype(name, x=x, bases=bases)
    checks.shapes(name, x=(x, "... n d"))
    if 0 in x.shape[-2:]:
        raise checks.fail(name, "x", f"shape {x.shape}", "without empty axes")
    lead, d = x.shape[:-2], x.shape[-1]
    fits = bases.ndim in (2, x.ndim) and bases.shape[-1] == d and bases.shape[-2] > 0
    if not fits or (bases.ndim > 2 and bases.shape[:-2] != lead):
        wanted = f"of shape [r, {d}] or {(*lead, 'r', d)}"
        raise checks.fail(name, "bases", f"shape {bases.shape}", wanted)
    check_mask(name, "key_mask", key_mask, x.shape[:-1])
    checks.count(name, "steps", steps)
    checks.number(name, "temperature", temperature, minimum=0, open_minimum=True)
    dtype = numerics.accumulation_dtype(x)
    wide = jnp.asarray(x, dtype)
    mu = jnp.broadcast_to(jnp.asarray(bases, dtype), (*lead, *bases.shape[-2:]))
    full = jnp.ones((), bool) if key_mask is None else key_mask
    kept = broadcast(full, x.shape[:-1])[..., None]
    z = jnp.zeros((*x.shape[:-1], mu.shape[-2]), dtype)
    for _ in range(steps):
        z = jax.nn.softmax(scaled_scores(wide, mu, 1 / temperature), -1)
        counted = jnp.where(kept, z, 0)
        total = counted.sum(-2)[..., None]
        mu = jnp.einsum("...nr,...nd->...rd", counted, wide)
        mu = safe_divide(mu, jnp.broadcast_to(total, mu.shape))
        mu = mu * jax.lax.rsqrt((mu**2).sum(-1, keepdims=True) + 1e-12)
    out = jnp.matmul(z, mu)
    return EMAttention(*(value.astype(x.dtype) for value in (out, mu, z)))


def _pyramid(x: jax.Array, sizes: tuple[int, ...]) -> jax.Array:
    h, w, d = x.shape[-3:]
    dtype = numerics.accumulation_dtype(x)
    wide, found = jnp.asarray(x, dtype), []
    for size in sizes:
        rows, columns = (jnp.asarray(_cells(n, size), dtype) for n in (h, w))
        pooled = jnp.einsum("ah,...hwd->...awd", rows, wide)
        pooled = jnp.einsum("bw,...awd->...abd", columns, pooled)
        found.append(pooled.reshape(*x.shape[:-3], size * size, d))
    return jnp.concatenate(found, -2).astype(x.dtype)


def _cells(n: int, size: int) -> np.ndarray:
    """The matrix [size, n] that takes means over the cells of one axis."""
    matrix = np.zeros((size, n))
    for cell in range(size):
        begin, end = cell * n // size, -(-(cell + 1) * n // size)
        matrix[cell, begin:end] = 1 / (end - begin)
    return matrix


def _check_image(name: str, argument: str, x: jax.Array) -> None:
    checks.array(name, argument, x)
    checks.shapes(name, **{argument: (x, "... h w d")})
    if 0 in x.shape[-3:]:
        raise checks.fail(name, argument, f"shape {x.shape}", "without empty axes")


def _check_sizes(name: str, sizes: tuple[int, ...]) -> None:
    if not isinstance(sizes, tuple) or not sizes:
        raise checks.fail_type(name, "sizes", repr(sizes), "a tuple of integers")
    for size in sizes:
        checks.count(name, "sizes", size)
