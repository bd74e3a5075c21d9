"""Data whose perfect predictor is known in closed form, to test any sampler with."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks, masks, numerics
from kexue_jax.diffusion._leading import leading


def gaussian_eps(
    x: jax.Array,
    alpha_bar: float | jax.Array,
    beta_bar: float | jax.Array,
    mean: float | jax.Array,
    variance: float | jax.Array,
) -> jax.Array:
    """The perfect prediction of eps for data x_0 ~ N(mean, variance).

    beta_bar (x - alpha_bar mean) / (alpha_bar^2 variance + beta_bar^2).

    Shapes: x [..., *d]; alpha_bar, beta_bar numbers or [...]; mean, variance numbers,
    scalars or [*d] (coordinates are independent) -> [..., *d].
    Article: kexue.fm/archives/9245.  Paper: arXiv 2201.06503.
    Differs: no; where both variances vanish the result is 0.
    Cost: O(size of x).
    Raises: TypeError or ValueError for arguments that do not fit.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.diffusion import gaussian_eps
        >>> print(gaussian_eps(jnp.ones(2), 0.8, 0.6, 0.0, 1.0))
        [0.6 0.6]
    """
    name = "gaussian_eps"
    checks.array(name, "x", x)
    alpha_bar, beta_bar = _levels(name, alpha_bar, beta_bar, x)
    center = _event(name, "mean", mean, x)
    spread = _event(name, "variance", variance, x, minimum=0)
    rate = masks.safe_divide(beta_bar, alpha_bar**2 * spread + beta_bar**2)
    wide = jnp.asarray(x, numerics.accumulation_dtype(x))
    return (rate * (wide - alpha_bar * center)).astype(x.dtype)


def mixture_eps(
    x: jax.Array,
    alpha_bar: float | jax.Array,
    beta_bar: float | jax.Array,
    means: jax.Array,
    variances: jax.Array,
    weights: jax.Array,
) -> jax.Array:
    """The perfect prediction of eps for data from a mixture of isotropic Gaussians.

    sum_k r_k beta_bar (x - alpha_bar means_k) / v_k, with v_k = alpha_bar^2 variances_k
    + beta_bar^2 and r_k = softmax_k(ln weights_k - D / 2 ln v_k - |x - alpha_bar
    means_k|^2 / (2 v_k)), D the number of coordinates.

    Shapes: x [..., *d]; alpha_bar, beta_bar numbers or [...]; means [K, *d]; variances,
    weights [K] -> [..., *d].
    Article: kexue.fm/archives/9245.  Paper: arXiv 2201.06503.
    Differs: no; a component of variance 0 is a point, so a whole training set can be
    the mixture. The sums are stable and the result stays finite at beta_bar = 0, where
    points count 0. Weights need not sum to 1.
    Cost: O(K times the size of x) time and memory.
    Raises: TypeError or ValueError for arguments that do not fit.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.diffusion import mixture_eps
        >>> means, zeros = jnp.array([[1.0], [-1.0]]), jnp.zeros(2)
        >>> x, weights = jnp.array([[0.0], [3.0]]), jnp.ones(2)
        >>> print(f"{mixture_eps(x, 0.8, 0.6, means, zeros, weights)[1, 0]:.4f}")
        3.6667
    """
    name = "mixture_eps"
    checks.array(name, "x", x)
    alpha_bar, beta_bar = _levels(name, alpha_bar, beta_bar, x)
    parts = {"means": means, "variances": variances, "weights": weights}
    for argument, value in parts.items():
        checks.array(name, argument, value)
    checks.shapes(
        name, variances=(variances, "K"), weights=(weights, "K"), means=(means, "K *d")
    )
    event = np.shape(means)[1:]
    checks.shapes(name, means=(means, "K *d"), x=(x, "... *d"))
    dtype = numerics.accumulation_dtype(x)
    wide = jnp.asarray(x, dtype)[None]

    def component(value: jax.Array) -> jax.Array:
        free = (1,) * (wide.ndim - np.ndim(value))
        shape = (np.shape(value)[0], *free, *np.shape(value)[1:])
        return jnp.asarray(value, dtype).reshape(shape)

    v = alpha_bar[None] ** 2 * component(variances) + beta_bar[None] ** 2
    distance = wide - alpha_bar[None] * component(means)
    axes = tuple(range(wide.ndim - len(event), wide.ndim))
    logits = _log(component(weights)) + _log_density(distance, v, axes)
    shares = jax.nn.softmax(logits, axis=0)
    rate = shares * masks.safe_divide(beta_bar[None], v)
    return (rate * distance).sum(0).astype(x.dtype)


def _log_density(distance: jax.Array, v: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """ln N(distance; 0, v), up to a constant, summed over ``axes`` (kept)."""
    # Far below any noise level; keeps the quotient finite at beta_bar = 0.
    v = jnp.maximum(v, jnp.finfo(v.dtype).tiny ** 0.5)
    size = math.prod(distance.shape[axis] for axis in axes)
    squares = (distance**2).sum(axes, keepdims=True)
    return -0.5 * (size * jnp.log(v) + squares / v)


def _log(weights: jax.Array) -> jax.Array:
    kept = weights > 0
    return jnp.where(kept, jnp.log(jnp.where(kept, weights, 1)), -jnp.inf)


def _levels(
    name: str, alpha_bar: Any, beta_bar: Any, x: Any
) -> tuple[jax.Array, jax.Array]:
    return (
        leading(name, "alpha_bar", alpha_bar, x, minimum=0, maximum=1),
        leading(name, "beta_bar", beta_bar, x, minimum=0),
    )


def _event(
    name: str, argument: str, value: Any, x: Any, *, minimum: float = -math.inf
) -> jax.Array:
    """A number, scalar or array [*d] as [1, ..., *d] of the rank of x."""
    if checks.is_array(value):
        checks.array(name, argument, value)
        if np.shape(value) != np.shape(x)[-np.ndim(value) or np.ndim(x) :]:
            wanted = f"a number, or of a shape that ends {list(np.shape(x))}"
            raise checks.fail(name, argument, f"shape {np.shape(value)}", wanted)
    else:
        checks.number(name, argument, value, minimum=minimum)
    values = jnp.asarray(value, numerics.accumulation_dtype(x))
    return values.reshape((1,) * (np.ndim(x) - values.ndim) + values.shape)
