"""Normalizations over the features of a token, and a dense layer scaled at run time."""

from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype


def layer_norm(
    x: jax.Array,
    scale: jax.Array | None = None,
    offset: jax.Array | None = None,
    *,
    eps: float | jax.Array = 1e-6,
) -> jax.Array:
    """The features of each token with mean 0 and variance 1, scaled and shifted.

    (x - mean) / sqrt(variance + eps) * scale + offset, moments over the last axis.

    Shapes: x [..., d], scale [d], offset [d] -> [..., d].
    Article: kexue.fm/archives/8620.  Paper: arXiv 1607.06450.
    Differs: no. eps matters for small inputs: of embeddings with standard deviation
    0.0176 it takes 0.16 % at 1e-6 (flax), 1.6 % at 1e-5 (PyTorch), nothing at 1e-12
    (BERT).
    Cost: two passes over x, in at least float32.
    Raises: TypeError or ValueError for arrays that are not floating or do not fit, an
    ``eps`` below 0.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import layer_norm
        >>> print(layer_norm(jnp.array([1.0, 3.0]), eps=0.0))
        [-1.  1.]
    """
    name = "layer_norm"
    _checked(name, x, scale, offset, eps)
    wide = x.astype(accumulation_dtype(x))
    centered = wide - wide.mean(-1, keepdims=True)
    return _scaled(centered, scale, offset, eps).astype(x.dtype)


def rms_norm(
    x: jax.Array, scale: jax.Array | None = None, *, eps: float | jax.Array = 1e-6
) -> jax.Array:
    """The features of each token with mean square 1, scaled.

    x / sqrt(mean(x^2) + eps) * scale, the mean over the last axis.

    Shapes: x [..., d], scale [d] -> [..., d].
    Article: kexue.fm/archives/8620.  Paper: arXiv 1910.07467.
    Differs: no.
    Cost: one pass over x, in at least float32.
    Raises: TypeError or ValueError for arrays that are not floating or do not fit, an
    ``eps`` below 0.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import rms_norm
        >>> print(rms_norm(jnp.array([4.0, 0.0, 0.0, 0.0]), eps=0.0))
        [2. 0. 0. 0.]
    """
    name = "rms_norm"
    _checked(name, x, scale, None, eps)
    return _scaled(x.astype(accumulation_dtype(x)), scale, None, eps).astype(x.dtype)


def ntk_dense(x: jax.Array, w: jax.Array, b: jax.Array | None = None) -> jax.Array:
    """A dense layer whose kernel has variance 1, scaled where it is used.

    y = x w / sqrt(m) + b, m the number of inputs.

    It is the layer of kernel w / sqrt(m): at a rate eta it learns as that one does at
    eta / m by gradient descent, at eta / sqrt(m) by signs of gradients (about Adam).

    Shapes: x [..., m], w [m, n], b [n] -> [..., n].
    Article: kexue.fm/archives/8620.  Paper: arXiv 1806.07572.
    Differs: no.
    Cost: one product.
    Raises: TypeError or ValueError for arrays that are not floating or do not fit.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import ntk_dense
        >>> print(ntk_dense(jnp.ones(4), jnp.ones((4, 1))))
        [2.]
    """
    name = "ntk_dense"
    for argument, value in (("x", x), ("w", w), ("b", b)):
        if value is not None or argument != "b":
            checks.array(name, argument, value)
    checks.shapes(name, x=(x, "... m"), w=(w, "m n"), b=(b, "n"))
    wide = accumulation_dtype(x, w)
    y = jnp.matmul(x, w, preferred_element_type=wide) / x.shape[-1] ** 0.5
    if b is not None:
        y = y + _along_last(b.astype(wide), y)
    return y.astype(x.dtype)


def _scaled(x: jax.Array, scale: Any, offset: Any, eps: Any) -> jax.Array:
    size = jnp.mean(jnp.square(x), axis=-1, keepdims=True) + eps
    # The inner where keeps the gradient finite where all of it is 0.
    x = x * jnp.where(size > 0, jax.lax.rsqrt(jnp.where(size > 0, size, 1)), 0)
    if scale is not None:
        x = x * _along_last(scale.astype(x.dtype), x)
    if offset is not None:
        x = x + _along_last(offset.astype(x.dtype), x)
    return x


def _along_last(values: jax.Array, like: jax.Array) -> jax.Array:
    return values.reshape((1,) * (like.ndim - 1) + values.shape)


def _checked(name: str, x: Any, scale: Any, offset: Any, eps: Any) -> None:
    checks.array(name, "x", x)
    for argument, value in (("scale", scale), ("offset", offset)):
        if value is not None:
            checks.array(name, argument, value)
    checks.shapes(name, x=(x, "... d"), scale=(scale, "d"), offset=(offset, "d"))
    checks.number(name, "eps", eps, minimum=0, traced=True)
