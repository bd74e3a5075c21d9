"""Relaxed smoothness, ||Hessian|| <= l0 + l1 ||gradient||: bounds and best steps."""

from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.masks import safe_divide
from kexue_jax._base.numerics import accumulation_dtype

Number = float | jax.Array
RULES = ("inverse", "log")

_SERIES = 15  # terms of (e^z - 1 - z) / z^2 that reach 1e-16 for z < 1/2


def relaxed_step_size(
    grad_norm: jax.Array, *, l0: Number, l1: Number, rule: str = "inverse"
) -> jax.Array:
    """The step, a multiple of the gradient, that relaxed smoothness recommends.

    "inverse" 1 / (l0 + l1 n), the article's, the soft form of clipping;
    "log" ln(1 + l1 n / (l0 + l1 n)) / (l1 n), the minimizer of ``descent_bound``,
    for a gradient of norm n = ``grad_norm``. Both are 1 / l0 at n = 0; far out the step
    has the length 1 / l1 or ln 2 / l1.

    Shapes: grad_norm [...] -> [...].
    Article: kexue.fm/archives/7469.  Paper: arXiv 1905.11881.
    Differs: the article calls "inverse" the best; under the paper's smoothness (a bound
    on the Hessian) "log" is, and "inverse" lowers the loss by at least 3 - e = 0.28
    times step n^2 instead of 1/2. k / (l0 + l1 n) is safe for k < 1.2564, not 2.
    Cost: a few operations an entry.
    Raises: TypeError for a ``grad_norm`` that is no floating array; TypeError or
    ValueError unless l0 > 0, l1 >= 0 and ``rule`` is one of the two.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import relaxed_step_size
        >>> norms = jnp.array([0.0, 1.0, 9.0])
        >>> print(relaxed_step_size(norms, l0=1.0, l1=1.0))
        [1.  0.5 0.1]
    """
    name = "relaxed_step_size"
    checks.array(name, "grad_norm", grad_norm)
    check_smoothness(name, l0, l1)
    checks.choice(name, "rule", rule, RULES)
    return step_size(grad_norm, l0, l1, rule)


def descent_bound(
    grad_norm: jax.Array, step: jax.Array, *, l0: Number, l1: Number
) -> jax.Array:
    """What a gradient step changes the loss by, at most.

    f(x - step g) - f(x) <= -step n^2 + ``value_bound(n, step n)`` for a gradient g of
    norm n = ``grad_norm``.

    Shapes: grad_norm [...], step [...], broadcast -> [...].
    Article: kexue.fm/archives/7469.  Paper: arXiv 1905.11881.
    Differs: the article's quadratic bound -step n^2 + (l0 + l1 n) (step n)^2 / 2 does
    not follow from the paper's smoothness, and fails for theta^4; this one holds.
    Cost: a few operations an entry; e^(l1 step n) may overflow to infinity.
    Raises: TypeError for arguments that are no floating arrays of one dtype;
    ValueError for shapes that do not broadcast, or unless l0 > 0 and l1 >= 0.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import descent_bound
        >>> n, step = jnp.ones(3), jnp.array([0.0, 0.4, 0.9])
        >>> found = descent_bound(n, step, l0=1.0, l1=1.0)
        >>> print([round(float(x), 3) for x in found])
        [0.0, -0.216, 0.219]
    """
    name = "descent_bound"
    both = _together(name, grad_norm, step, "step", l0, l1)
    n, eta = (x.astype(accumulation_dtype(x)) for x in both)
    found = -eta * n * n + _gap(n, eta * n, l0, l1)
    return found.astype(grad_norm.dtype)


def value_bound(
    grad_norm: jax.Array, distance: jax.Array, *, l0: Number, l1: Number
) -> jax.Array:
    """How far the loss may be from its tangent at a distance.

    f(y) - f(x) - <g, y - x> <= (l0 + l1 n) (e^(l1 r) - 1 - l1 r) / l1^2 for a gradient
    g at x of norm n = ``grad_norm`` and r = ||y - x|| = ``distance``; l1 = 0 gives
    l0 r^2 / 2.

    Shapes: grad_norm [...], distance [...], broadcast -> [...].
    Article: kexue.fm/archives/7469.  Paper: arXiv 1905.11881.
    Differs: the article has (l0 + l1 n) r^2 / 2, under a smoothness of differences
    that theta^4, its example, does not have.
    Cost: a few operations an entry; e^(l1 r) may overflow to infinity.
    Raises: as ``descent_bound``.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import value_bound
        >>> print(value_bound(jnp.array(0.0), jnp.array(1.0), l0=1.0, l1=1.0).round(4))
        0.7183
    """
    both = _together("value_bound", grad_norm, distance, "distance", l0, l1)
    n, r = (x.astype(accumulation_dtype(x)) for x in both)
    return _gap(n, r, l0, l1).astype(grad_norm.dtype)


def gradient_bound(
    grad_norm: jax.Array, distance: jax.Array, *, l0: Number, l1: Number
) -> jax.Array:
    """How far the gradient may be from itself at a distance.

    ||grad f(y) - grad f(x)|| <= (l0 + l1 n) (e^(l1 r) - 1) / l1 for a gradient at x of
    norm n = ``grad_norm`` and r = ||y - x|| = ``distance``; l1 = 0 gives l0 r.

    Shapes: grad_norm [...], distance [...], broadcast -> [...].
    Article: kexue.fm/archives/7469.  Paper: arXiv 1905.11881.
    Differs: the article has (l0 + l1 n) r, as a definition; see ``value_bound``.
    Cost: a few operations an entry; e^(l1 r) may overflow to infinity.
    Raises: as ``descent_bound``.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import gradient_bound
        >>> n, r = jnp.array(0.0), jnp.array(1.0)
        >>> print(round(float(gradient_bound(n, r, l0=1.0, l1=1.0)), 4))
        1.7183
    """
    both = _together("gradient_bound", grad_norm, distance, "distance", l0, l1)
    n, r = (x.astype(accumulation_dtype(x)) for x in both)
    found = (_at(l0, n) + _at(l1, n) * n) * r * _first_rest(_at(l1, n) * r)
    return found.astype(grad_norm.dtype)


def step_size(grad_norm: jax.Array, l0: Number, l1: Number, rule: str) -> jax.Array:
    """``relaxed_step_size`` without its checks."""
    n = grad_norm.astype(accumulation_dtype(grad_norm))
    pull = _at(l1, n) * n
    whole = _at(l0, n) + pull
    found = 1 / whole
    if rule == "log":
        share = pull / whole  # ln(1 + share) / pull = found ln(1 + share) / share
        small = share < 1e-20
        ratio = jnp.log1p(share) / jnp.where(small, 1, share)
        found = found * jnp.where(small, 1 - share / 2, ratio)
    return found.astype(grad_norm.dtype)


def check_smoothness(name: str, l0: Number, l1: Number) -> None:
    """Raise unless l0 > 0 and l1 >= 0."""
    checks.number(name, "l0", l0, minimum=0, open_minimum=True, traced=True)
    checks.number(name, "l1", l1, minimum=0, traced=True)


def _together(
    name: str, grad_norm: Any, other: Any, argument: str, l0: Number, l1: Number
) -> tuple[jax.Array, jax.Array]:
    """Both arrays in one shape, checked."""
    checks.array(name, "grad_norm", grad_norm)
    checks.array(name, argument, other)
    checks.same_dtype(name, grad_norm=grad_norm, **{argument: other})
    shapes = {"grad_norm": grad_norm.shape, argument: other.shape}
    shape = checks.leading(name, shapes)
    check_smoothness(name, l0, l1)
    return jnp.broadcast_to(grad_norm, shape), jnp.broadcast_to(other, shape)


def _at(value: Number, like: jax.Array) -> jax.Array:
    return jnp.asarray(value, like.dtype)


def _gap(n: jax.Array, r: jax.Array, l0: Number, l1: Number) -> jax.Array:
    whole = _at(l0, n) + _at(l1, n) * n
    return whole * r * r * _second_rest(_at(l1, n) * r)


def _first_rest(z: jax.Array) -> jax.Array:
    """(e^z - 1) / z, and 1 at 0."""
    return jnp.where(z == 0, 1 + z / 2, safe_divide(jnp.expm1(z), z))


def _second_rest(z: jax.Array) -> jax.Array:
    """(e^z - 1 - z) / z^2, and 1/2 at 0."""
    small = jnp.abs(z) < 0.5
    near, far = jnp.where(small, z, 0), jnp.where(small, 1, z)
    series = jnp.zeros_like(near)
    for k in range(_SERIES, 1, -1):
        series = (1 + series) * near / (k + 1)
    return jnp.where(small, (1 + series) / 2, (jnp.expm1(far) - far) / (far * far))
