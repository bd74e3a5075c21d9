"""Moments of activations under N(0, 1), and activations rescaled by them."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks

REACH = 12.0  # N(0, 1) has 4e-33 of its mass beyond


class ActivationMoments(NamedTuple):
    """``mean`` E phi(z) and ``second`` E phi(z)^2 of z ~ N(0, 1)."""

    mean: jax.Array
    second: jax.Array


class SeluConstants(NamedTuple):
    """``scale`` and ``alpha`` of scale * (z > 0 ? z : alpha (e^z - 1))."""

    scale: float
    alpha: float


def activation_moments(
    phi: Callable[[jax.Array], jax.Array],
    *,
    kinks: Sequence[float] = (0.0,),
    nodes: int = 64,
) -> ActivationMoments:
    """The mean and the second moment of an activation of a standard normal input.

    E phi(z) and E phi(z)^2, z ~ N(0, 1), by Gauss-Legendre quadrature with ``nodes``
    points between neighbors of -12, ``kinks``, 12. The weights' variance that keeps the
    second moment through a dense layer of m inputs is 1 / (m E phi(z)^2).

    Shapes: phi an elementwise function -> ActivationMoments of [].
    Article: kexue.fm/archives/8620, 7180.  Paper: arXiv 1502.01852.
    Differs: Gauss-Hermite rules, the common choice, converge slowly at a kink: 128
    nodes give four digits for ReLU, split at 0 all sixteen. Name other kinks (6 for
    ReLU6).
    Cost: (kinks + 1) nodes values of phi, in the widest float that is on.
    Raises: TypeError or ValueError for a ``phi`` that is no elementwise function, kinks
    that are not in rising order within (-12, 12), fewer than 2 nodes.
    Example:
        >>> import jax
        >>> from kexue_jax.theory import activation_moments
        >>> [round(float(moment), 4) for moment in activation_moments(jax.nn.relu)]
        [0.3989, 0.5]
    """
    name = "activation_moments"
    checks.function(name, "phi", phi)
    checks.count(name, "nodes", nodes, minimum=2)
    points, weights = _rule(name, kinks, nodes)
    values = phi(jnp.asarray(points))
    if not checks.is_array(values) or values.shape != points.shape:
        got = f"a result of shape {jnp.shape(values)}"
        raise checks.fail(name, "phi", got, "an elementwise function")
    normal = jnp.asarray(weights, values.dtype)
    return ActivationMoments(jnp.vdot(normal, values), jnp.vdot(normal, values**2))


def rescale_activation(
    phi: Callable[[jax.Array], jax.Array],
    *,
    kinks: Sequence[float] = (0.0,),
    nodes: int = 64,
) -> Callable[[jax.Array], jax.Array]:
    """The activation divided by the root of its second moment under N(0, 1).

    phi(z) / sqrt(E phi(z)^2): LeCun's variance 1 / m keeps its second moment at 1.

    Shapes: phi an elementwise function -> a function [...] -> [...].
    Article: kexue.fm/archives/8620.  Paper: none.
    Differs: no.
    Cost: that of ``activation_moments``, once, where this is called.
    Raises: as ``activation_moments``.
    Example:
        >>> import jax
        >>> from kexue_jax.theory import activation_moments, rescale_activation
        >>> adjusted = rescale_activation(jax.nn.gelu)
        >>> round(float(activation_moments(adjusted).second), 5)
        1.0
    """
    name = "rescale_activation"
    checks.function(name, "phi", phi)
    checks.count(name, "nodes", nodes, minimum=2)
    _rule(name, kinks, nodes)
    second = activation_moments(phi, kinks=kinks, nodes=nodes).second

    def adjusted(z: jax.Array) -> jax.Array:
        values = phi(z)
        return (values / jnp.sqrt(second)).astype(values.dtype)

    return adjusted


def selu_constants(*, mean: float = 0.0, variance: float = 1.0) -> SeluConstants:
    """The constants with which SELU keeps a mean and a variance of a normal input.

    scale, alpha with E phi(z) = mean and Var phi(z) = variance for z ~ N(mean,
    variance), phi(z) = scale (z if z > 0 else alpha (e^z - 1)), by Newton's method on
    the two equations in closed form; at (0, 1) they are SELU's 1.0507 and 1.6733.

    Shapes: -> SeluConstants of Python floats.
    Article: kexue.fm/archives/7180.  Paper: arXiv 1706.02515.
    Differs: no.
    Cost: none worth the name; it runs on Python floats.
    Raises: TypeError or ValueError for numbers that are not finite, a variance that is
    not above 0, a pair that no constants keep.
    Example:
        >>> from kexue_jax.theory import selu_constants
        >>> [round(constant, 6) for constant in selu_constants()]
        [1.050701, 1.673263]
    """
    name = "selu_constants"
    checks.number(name, "mean", mean)
    checks.number(name, "variance", variance, minimum=0, open_minimum=True)
    up, below, up2, below2 = _half_moments(float(mean), math.sqrt(variance))
    wanted = variance + mean**2
    scale, alpha = 1.0, 1.5
    for _ in range(100):
        first = scale * (up + alpha * below) - mean
        second = scale**2 * (up2 + alpha**2 * below2) - wanted
        rows = (
            (up + alpha * below, scale * below),
            (2 * scale * (up2 + alpha**2 * below2), 2 * scale**2 * alpha * below2),
        )
        (a, b), (c, d) = rows
        size = a * d - b * c
        if size == 0:
            break
        scale, alpha = (
            scale - (d * first - b * second) / size,
            alpha - (a * second - c * first) / size,
        )
        if not (math.isfinite(scale) and math.isfinite(alpha)):
            break
        if abs(first) + abs(second) < 1e-15 * (1 + wanted):
            break
    if not (math.isfinite(scale) and abs(first) + abs(second) < 1e-12 * (1 + wanted)):
        raise checks.fail(name, "mean", (mean, variance), "kept by some constants")
    return SeluConstants(scale, alpha)


def _half_moments(mean: float, std: float) -> tuple[float, float, float, float]:
    """E of z, e^z - 1 and their squares, each over its side of 0 alone."""

    def tail(shift: float) -> float:  # P(z < 0) for a mean moved by shift * std^2
        return 0.5 * math.erfc((mean + shift * std**2) / (std * math.sqrt(2)))

    density = math.exp(-((mean / std) ** 2) / 2) / math.sqrt(2 * math.pi)
    above = 1 - tail(0)
    first = mean * above + std * density
    square = (mean**2 + std**2) * above + mean * std * density
    once, twice = (math.exp(k * mean + (k * std) ** 2 / 2) * tail(k) for k in (1, 2))
    return first, once - tail(0), square, twice - 2 * once + tail(0)


def _rule(name: str, kinks: Any, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights of the quadrature under N(0, 1)."""
    if not isinstance(kinks, (tuple, list)):
        got = f"a {type(kinks).__name__}"
        raise checks.fail_type(name, "kinks", got, "a tuple of numbers")
    for kink in kinks:
        bounds: Any = {"open_minimum": True, "open_maximum": True}
        checks.number(name, "kinks", kink, minimum=-REACH, maximum=REACH, **bounds)
    ends = np.array([-REACH, *kinks, REACH])
    if (np.diff(ends) <= 0).any():
        raise checks.fail(name, "kinks", tuple(kinks), "in rising order")
    unit, weight = np.polynomial.legendre.leggauss(nodes)
    half = np.diff(ends)[:, None] / 2
    points = (ends[:-1, None] + half * (1 + unit)).ravel()
    density = np.exp(-np.square(points) / 2) / math.sqrt(2 * math.pi)
    return points, (half * weight).ravel() * density
