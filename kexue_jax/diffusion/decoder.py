"""The discretized normal decoder: the probability of one level of a pixel."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype, expand_trailing

# Below this Phi is taken from its continued fraction, of which so many terms reach
# float64 there.
_TAIL, _TERMS = -8.0, 12
# Half widths below this, over sigma and times the hazard, are integrated directly.
_NARROW = 0.25
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(5)


def discretized_log_likelihood(
    x: jax.Array, mean: jax.Array, sigma: float | jax.Array, *, levels: int
) -> jax.Array:
    """The log-probability of each entry's level under a normal distribution.

    ln[Phi((x + delta - mean) / sigma) - Phi((x - delta - mean) / sigma)], delta =
    1 / (levels - 1) half a level, with Phi(-inf) below the first level -1 and Phi(inf)
    above the last level 1, so that the probabilities of the levels sum to 1.

    Shapes: x on the grid of ``levels`` over [-1, 1] and mean [..., *d], sigma > 0 a
    number or [...] -> [..., *d], in at least float32.
    Article: kexue.fm/archives/9152.  Paper: arXiv 2006.11239, eq. 13.
    Differs: not the difference of two Phi with a floor (1e-12 in the common code), but
    a log difference that keeps value and gradient exact in the tails, and a quadrature
    of the density where a level is narrow against sigma.
    Cost: about 80 operations an entry.
    Raises: TypeError or ValueError for a wrong dtype or shape, levels < 2, or a number
    sigma <= 0.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.diffusion import discretized_log_likelihood
        >>> x = jnp.array([-1.0, 1.0])
        >>> log_prob = discretized_log_likelihood(x, jnp.zeros(2), 0.1, levels=2)
        >>> print(f"{jnp.exp(log_prob)[0]:.4f}")
        0.5000
    """
    name = "discretized_log_likelihood"
    checks.array(name, "x", x)
    checks.array(name, "mean", mean)
    checks.shapes(name, x=(x, "*d"), mean=(mean, "*d"))
    checks.count(name, "levels", levels, minimum=2)
    dtype = accumulation_dtype(x, mean)
    sigma = _check_sigma(name, sigma, x, dtype)
    x, mean, delta = x.astype(dtype), mean.astype(dtype), 1 / (levels - 1)
    middle, half = (x - mean) / sigma, delta / sigma
    half = jnp.broadcast_to(half, middle.shape)
    narrow, m, width = _fold(middle, half)
    # All four ends at once: a < b of the folded level, and those of the outer levels.
    ends = jnp.stack([m - width, m + width, middle + half, half - middle])
    log_phi, log_hazard = _log_ndtr_and_hazard(ends)
    # ln(Phi(b) / Phi(a)) is (a^2 - b^2) / 2 = -2 m width and the hazards phi / Phi,
    # which does not cancel however far out a and b lie.
    ratio = log_hazard[0] - log_hazard[1] - 2 * m * width
    wide = log_phi[1] + jnp.log1p(-jnp.exp(-ratio))
    inner = jnp.where(narrow, _narrow_interval(middle, half, narrow), wide)
    outer = jnp.where(x < delta - 1, log_phi[2], log_phi[3])
    return jnp.where((x < delta - 1) | (x > 1 - delta), outer, inner)


def _check_sigma(name: str, sigma: Any, x: jax.Array, dtype: Any) -> jax.Array:
    """``sigma`` as an array that meets x; raise unless a number > 0 or [...]."""
    if checks.is_array(sigma) and np.ndim(sigma):
        checks.array(name, "sigma", sigma)
        if sigma.shape != x.shape[: sigma.ndim]:
            wanted = f"of a shape that starts that of `x`, {x.shape}"
            raise checks.fail(name, "sigma", f"shape {sigma.shape}", wanted)
    else:
        checks.number(name, "sigma", sigma, minimum=0, open_minimum=True, traced=True)
    return expand_trailing(jnp.asarray(sigma, dtype), x)


def _fold(middle: jax.Array, half: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Where a level is narrow; and for the others their middle <= 0 and half width.

    Each of two branches sees harmless values where the other is taken, so that the
    gradients of both are finite.
    """
    m = -jnp.abs(middle)
    narrow = (half < _NARROW) & (-m * half < _NARROW)
    return narrow, jnp.where(narrow, 0, m), jnp.where(narrow, 1, half)


def _narrow_interval(
    middle: jax.Array, half: jax.Array, narrow: jax.Array
) -> jax.Array:
    """The density at the middle times the width, by the mean of exp(-m s - s^2 / 2)."""
    m, half = jnp.where(narrow, middle, 0), jnp.where(narrow, half, 1)
    mean = jnp.zeros_like(m)
    for node, weight in zip(_NODES.tolist(), _WEIGHTS.tolist(), strict=True):
        s = node * half
        mean = mean + weight / 2 * jnp.exp(-m * s - s**2 / 2)
    return jnp.log(2 * half) + _log_density(m) + jnp.log(mean)


def _log_density(x: jax.Array) -> jax.Array:
    return -(x**2) / 2 - math.log(2 * math.pi) / 2


def _log_ndtr_and_hazard(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """ln Phi(x) and ln(phi(x) / Phi(x)), exact in value and gradient for every x."""
    near, tail = jnp.maximum(x, _TAIL), jnp.minimum(x, _TAIL)
    log_phi, log_hazard = jax.scipy.special.log_ndtr(near), jnp.log(_far_hazard(tail))
    far = x < _TAIL
    return (
        jnp.where(far, _log_density(tail) - log_hazard, log_phi),
        jnp.where(far, log_hazard, _log_density(near) - log_phi),
    )


def _far_hazard(x: jax.Array) -> jax.Array:
    """phi(x) / Phi(x) far below 0: y + 1 / (y + 2 / (y + 3 / (y + ...))), y = -x."""
    hazard = -x
    for term in range(_TERMS, 0, -1):
        hazard = term / hazard - x
    return hazard
