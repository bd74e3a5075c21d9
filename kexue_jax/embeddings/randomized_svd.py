"""The largest singular values and vectors of a matrix by random sketches of it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype

SIDES = ("left", "right")


class RandomizedSVD(NamedTuple):
    """u [..., n, k], s [..., k], vt [..., k, m] with matrix ~ u diag(s) vt."""

    u: jax.Array
    s: jax.Array
    vt: jax.Array


def randomized_svd(
    key: jax.Array,
    matrix: jax.Array,
    *,
    k: int,
    oversample: int = 8,
    power_iters: int = 1,
    side: str = "left",
) -> RandomizedSVD:
    """The k largest singular values of a matrix M and their vectors, nearly.

    With l = min(k + oversample, n, m) and Omega = normal(key, [m, l]): Q an orthonormal
    basis of the range of M Omega, then power_iters times that of M (M^T Q) with a basis
    in between; Q^T M = U' S V^T by SVD, U = Q U'; the k largest are kept. "right":
    the same of M^T, Omega [n, l], for Q^T: M ~ (M Q) Q^T. Of each column of u the
    first entry of the largest modulus (to rounding) is made positive.

    Shapes: matrix [..., n, m] -> RandomizedSVD(u [..., n, k], s [..., k],
    vt [..., k, m]).
    Article: kexue.fm/archives/8706.  Paper: arXiv 0909.4061.
    Differs: the article projects with a Gaussian Q drawn without looking at M and takes
    Q Q^T for 1. That has rank k: where M has less and this errs by rounding alone, it
    errs by sqrt((m + 1) / k) |M| (sqrt(1 - k/m) |M| with an orthonormal Q). Q must come
    from M. Leading axes share Omega.
    Cost: 4 n m l (power_iters + 1) flops, SVDs of [n, l] and [l, m]. Gradients follow
    the subspace that was found; as for any SVD they want distinct singular values.
    Raises: TypeError or ValueError for a bad key, a matrix that is not a floating array
    of at least two axes, k not from 1 to min(n, m), counts below 0, a bad side.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.embeddings import randomized_svd
        >>> matrix = jnp.outer(jnp.arange(6.0), jnp.ones(4))
        >>> print(f"{randomized_svd(jax.random.key(0), matrix, k=1).s[0]:.4f}")
        14.8324
    """
    name = "randomized_svd"
    checks.key(name, "key", key)
    checks.array(name, "matrix", matrix)
    checks.shapes(name, matrix=(matrix, "... n m"))
    smaller = min(matrix.shape[-2:])
    checks.count(name, "k", k)
    if k > smaller:
        raise checks.fail(name, "k", k, f"at most {smaller}, the smaller side")
    checks.count(name, "oversample", oversample, minimum=0)
    checks.count(name, "power_iters", power_iters, minimum=0)
    checks.choice(name, "side", side, SIDES)
    wide = jnp.asarray(matrix, accumulation_dtype(matrix))
    width = min(k + oversample, smaller)
    if side == "left":
        u, s, vt = _factors(key, wide, width, power_iters)
    else:
        v, s, ut = _factors(key, wide.mT, width, power_iters)
        u, vt = ut.mT, v.mT
    u, s, vt = u[..., :, :k], s[..., :k], vt[..., :k, :]
    signs = _signs(u)
    found = (u * signs, s, vt * signs.mT)
    return RandomizedSVD(*(value.astype(matrix.dtype) for value in found))


def _signs(u: jax.Array) -> jax.Array:
    """[..., 1, k]: those of the first entry of each column that is the largest.

    Equal ones part by rounding: what is nearly the largest counts as such.
    """
    sizes = jax.lax.stop_gradient(jnp.abs(u))
    near = 1 - float(jnp.finfo(u.dtype).eps) ** 0.5
    large = sizes >= near * jnp.max(sizes, -2, keepdims=True)
    first = jnp.argmax(large, -2, keepdims=True)
    negative = jnp.take_along_axis(u, first, -2) < 0
    return jnp.where(negative, -1, 1).astype(u.dtype)


def _factors(
    key: jax.Array, matrix: jax.Array, width: int, power_iters: int
) -> tuple[jax.Array, ...]:
    omega = jax.random.normal(key, (matrix.shape[-1], width), matrix.dtype)
    q = _basis(_product(matrix, omega))
    for _ in range(power_iters):
        q = _basis(_product(matrix, _basis(_product(matrix.mT, q))))
    u, s, vt = jnp.linalg.svd(_product(q.mT, matrix), full_matrices=False)
    return _product(q, u), s, vt


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


@jax.custom_jvp
def _basis(y: jax.Array) -> jax.Array:
    """An orthonormal basis of the columns of y, full also where y has less rank.

    Only its span is used. The derivative is the one without rotation in the span,
    (1 - Q Q^T) dY R^-1 with y = Q R, whatever repeats among the singular values.
    """
    return jnp.linalg.svd(y, full_matrices=False)[0]


@_basis.defjvp
def _basis_jvp(
    primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    (y,), (dy,) = primals, tangents
    q, s, wt = jnp.linalg.svd(y, full_matrices=False)
    unit = float(jnp.finfo(y.dtype).eps) * max(y.shape[-2:])
    kept = s > unit * jnp.max(s, -1, keepdims=True)
    inverse = jnp.where(kept, 1 / jnp.where(kept, s, 1), 0)
    moved = _product(dy, wt.mT) * inverse[..., None, :]
    return q, moved - _product(q, _product(q.mT, moved))
