"""Weights divided by their largest singular value, which a vector follows."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.masks import safe_divide, safe_root
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax._base.varying import all_varying


class SpectralNormalized(NamedTuple):
    """What ``spectral_normalize`` returns: w over sigma, u to go on from, and sigma.

    Article: kexue.fm/archives/6051.
    """

    w: jax.Array
    u: jax.Array
    sigma: jax.Array


def spectral_normalize(
    w: jax.Array, u: jax.Array, *, n_iter: int = 1
) -> SpectralNormalized:
    """A layer's weights over their largest singular value, by power iteration.

    With W = w as a matrix [m, out], n_iter times v = W u / |W u| and u = W^T v /
    |W^T v|; then sigma = v^T W u, with no gradient through u and v, and w / sigma.

    Kernels of convolutions [kh, kw, in, out] are taken as [kh kw in, out]. The
    convolution itself may stretch by up to sqrt(kh kw) times more.

    Shapes: w [*m, out] with at least one axis before the last, u [out] -> w [*m, out],
    u [out], sigma [].
    Article: kexue.fm/archives/6051.  Paper: arXiv 1802.05957.
    Differs: here kernels stand as inputs by outputs, so that u is what the paper's
    code calls v. Where W u is 0 the weights come out as 0 and u stays as it was.
    Cost: n_iter + 1 products of the matrix with two vectors.
    Raises: TypeError or ValueError for arrays that are not floating or of two dtypes,
    a ``w`` of one axis, a ``u`` of another length, n_iter below 1.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.generative import spectral_normalize
        >>> w, u = jnp.diag(jnp.array([4.0, 1.0])), jnp.array([1.0, 0.0])
        >>> print(spectral_normalize(w, u).w.diagonal())
        [1.   0.25]
    """
    name = "spectral_normalize"
    _check_weights(name, w)
    checks.array(name, "u", u)
    checks.shapes(name, w=(w, "*m out"), u=(u, "out"))
    checks.same_dtype(name, w=w, u=u)
    checks.count(name, "n_iter", n_iter)
    matrix = _matrix(w)
    v, new = _iterated(matrix, u.astype(matrix.dtype), n_iter)
    sigma = _product(v, _product(matrix, new))
    divided = safe_divide(w.astype(matrix.dtype), sigma.reshape((1,) * w.ndim))
    parts = divided, new, sigma
    return SpectralNormalized(*(part.astype(w.dtype) for part in parts))


def spectral_vector(key: jax.Array, w: jax.Array, *, n_iter: int = 15) -> jax.Array:
    """The vector from which ``spectral_normalize`` starts for a layer's weights.

    A random direction after n_iter power iterations with the weights' matrix, so that
    one iteration a step is enough from then on.

    Shapes: key [], w [*m, out] -> u [out], of length 1.
    Article: kexue.fm/archives/6051.  Paper: arXiv 1802.05957.
    Differs: the common code iterates at the start only if it is asked to.
    Cost: n_iter products of the matrix with two vectors.
    Raises: TypeError or ValueError for a bad key, a ``w`` that is no floating array of
    two axes or more, n_iter below 1.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.generative import spectral_vector
        >>> w = jnp.diag(jnp.array([4.0, 1.0]))
        >>> u = spectral_vector(jax.random.key(0), w)
        >>> print(round(float(abs(u[0])), 4))
        1.0
    """
    name = "spectral_vector"
    checks.key(name, "key", key)
    _check_weights(name, w)
    checks.count(name, "n_iter", n_iter)
    matrix = _matrix(w)
    start = jax.random.normal(key, (w.shape[-1],), matrix.dtype)
    u = _unit(start, jnp.full_like(start, 1 / math.sqrt(w.shape[-1])))
    return _iterated(matrix, u, n_iter)[1].astype(w.dtype)


def _iterated(
    matrix: jax.Array, u: jax.Array, n_iter: int
) -> tuple[jax.Array, jax.Array]:
    """v and u after the iterations, without a gradient."""
    matrix, u = all_varying(*jax.lax.stop_gradient((matrix, u)))

    def turn(u: jax.Array) -> tuple[jax.Array, jax.Array]:
        v = _unit(_product(matrix, u), jnp.zeros_like(matrix[:, 0]))
        return v, _unit(_product(matrix.T, v), u)

    if n_iter > 1:
        u = jax.lax.fori_loop(1, n_iter, lambda _, u: turn(u)[1], u)
    return turn(u)


def _unit(vector: jax.Array, otherwise: jax.Array) -> jax.Array:
    """The vector over its length, or another where that is 0."""
    length = safe_root(jnp.sum(jnp.square(vector)))
    return jnp.where(length > 0, safe_divide(vector, length[None]), otherwise)


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _matrix(w: jax.Array) -> jax.Array:
    return w.reshape(-1, w.shape[-1]).astype(accumulation_dtype(w))


def _check_weights(name: str, w: Any) -> None:
    checks.array(name, "w", w)
    if w.ndim < 2 or not w.size:
        wanted = "of shape [..., in, out], not empty"
        raise checks.fail(name, "w", f"shape {w.shape}", wanted)
