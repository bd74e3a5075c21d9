"""Features whose products are polynomials: what makes Taylor attention linear."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.numerics.exp_taylor import check_order


def taylor2_features(x: jax.Array, *, scale: bool = True) -> jax.Array:
    """Features with phi(q) . phi(k) = 1 + s + s^2 / 2, s = q . k / sqrt(d).

    phi(x) = (1, x, {x_a x_b}_{a<b}, {x_a^2 / sqrt(2)}) of x / d^(1/4), or of x itself
    without ``scale`` (then s = q . k). Products are at least 1/2, so that linear
    attention over n keys has a denominator of at least n/2 and needs no eps.

    Shapes: x [..., n, d] -> [..., n, 1 + d + d (d + 1) / 2].
    Article: kexue.fm/archives/7919 and 8601.  Paper: arXiv 2402.18668.
    Differs: symmetric; the usual (1, x, vec(x x^T) / sqrt(2)) has 1 + d + d^2. Made in
    at least float32 and rounded to the dtype of x: pass float32 where products near
    their minimum matter.
    Cost: one multiplication a feature.
    Raises: TypeError or ValueError for an x that is not floating or has no last axis.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import taylor2_features
        >>> phi = taylor2_features(jnp.array([2.0, 3.0]), scale=False)
        >>> print(" ".join(f"{p:.3f}" for p in phi))
        1.000 2.000 3.000 6.000 2.828 6.364
    """
    name = "taylor2_features"
    wide = _input(name, x, scale)
    d = wide.shape[-1]
    left, right = (jnp.asarray(side) for side in np.triu_indices(d, 1))
    pairs = wide[..., left] * wide[..., right]
    one = jnp.ones((*wide.shape[:-1], 1), wide.dtype)
    squares = wide * wide * math.sqrt(0.5)
    phi = jnp.concatenate([one, wide, pairs, squares], -1)
    return phi.astype(jnp.result_type(x))


def taylor_features(x: jax.Array, *, order: int = 2, scale: bool = True) -> jax.Array:
    """Features with phi(q) . phi(k) = f_n(q . k / sqrt(d)) for any even n.

    phi_alpha(x) = x^alpha / sqrt(alpha!) of x / d^(1/4) for all exponents alpha with
    |alpha| <= n: the symmetric tensor powers, by degree and within one in the order of
    sorted tuples of indices. Without ``scale`` f_n(q . k).

    Shapes: x [..., n, d] -> [..., n, C(d + order, order)].
    Article: kexue.fm/archives/7919 and 8601.  Paper: arXiv 2402.18668.
    Differs: of order 2 it is taylor2_features in another order.
    Cost: one multiplication a feature; 153 and 4845 features at d = 16 for orders 2
    and 4.
    Raises: TypeError or ValueError for an x that is not floating or has no last axis,
    or an order that is not an even integer in 2..24.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import taylor_features
        >>> phi = taylor_features(jnp.array([[1.0], [-2.0]]), order=4, scale=False)
        >>> print(" ".join(f"{p:.4f}" for p in phi @ phi[1]))
        0.3333 34.3333
    """
    name = "taylor_features"
    wide = _input(name, x, scale)
    check_order(name, order)
    return _monomials(wide, int(order), False).astype(jnp.result_type(x))


def binomial_features(x: jax.Array, *, order: int = 2, scale: bool = True) -> jax.Array:
    """Features with phi(q) . phi(k) = (1 + s/n)^n, s = q . k / sqrt(d), for even n.

    The n-fold tensor power of (1, x / sqrt(n)) of x / d^(1/4), symmetric. It is never
    negative, but 0 at s = -n, unlike f_n. Without ``scale`` s = q . k.

    Shapes: x [..., n, d] -> [..., n, C(d + order, order)].
    Article: kexue.fm/archives/8601.  Paper: none.
    Differs: the article's tensor power has (1 + d)^n entries, most of them repeated.
    Cost: one multiplication a feature.
    Raises: TypeError or ValueError for an x that is not floating or has no last axis,
    or an order that is not an even integer in 2..24.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import binomial_features
        >>> phi = binomial_features(jnp.array([[1.0], [-2.0]]), scale=False)
        >>> print(phi @ phi.T)
        [[2.25 0.  ]
         [0.   9.  ]]
    """
    name = "binomial_features"
    wide = _input(name, x, scale)
    check_order(name, order)
    return _monomials(wide, int(order), True).astype(jnp.result_type(x))


def _input(name: str, x: jax.Array, scale: bool) -> jax.Array:
    """x in at least float32, over d^(1/4) if scaled."""
    checks.array(name, "x", x)
    checks.flag(name, "scale", scale)
    if x.ndim == 0 or x.shape[-1] == 0:
        wanted = "of shape [..., d] with d at least 1"
        raise checks.fail(name, "x", f"shape {x.shape}", wanted)
    wide = jnp.asarray(x, accumulation_dtype(x))
    return wide * x.shape[-1] ** -0.25 if scale else wide


class _Degree(NamedTuple):
    """The monomials of one degree: parent of the degree below, index, alpha!."""

    parents: np.ndarray
    indices: np.ndarray
    factorials: np.ndarray


@functools.lru_cache(maxsize=32)
def _degrees(d: int, order: int) -> tuple[_Degree, ...]:
    """Each sorted tuple of indices is one of the degree below with a last index."""
    found = []
    last, run, factorial = np.zeros(1, int), np.zeros(1, int), np.ones(1)
    for _ in range(order):
        counts = d - last
        parents = np.repeat(np.arange(last.size), counts)
        starts = np.repeat(np.cumsum(counts) - counts, counts)
        indices = last[parents] + np.arange(parents.size) - starts
        run = np.where(indices == last[parents], run[parents], 0) + 1
        factorial = factorial[parents] * run
        last = indices
        found.append(_Degree(parents, indices, factorial))
    return tuple(found)


def _monomials(x: jax.Array, order: int, binomial: bool) -> jax.Array:
    """All monomials up to the degree, each over the root of its weight's inverse."""
    power = jnp.ones((*x.shape[:-1], 1), x.dtype)
    parts = [power]
    for k, degree in enumerate(_degrees(x.shape[-1], order), 1):
        power = power[..., degree.parents] * x[..., degree.indices]
        weight = 1 / degree.factorials
        if binomial:
            weight = weight * (math.perm(order, k) / order**k)
        root = np.sqrt(weight).reshape((1,) * (x.ndim - 1) + (-1,))
        parts.append(power * jnp.asarray(root, x.dtype))
    return jnp.concatenate(parts, -1)
