"""Products and solves with the LegS matrix in O(n): diagonal and a running sum."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from kexue_jax._base import checks, numerics
from kexue_jax._base.varying import all_varying
from kexue_jax.ssm.hippo import NORMS, norm_scale


def legs_matvec(x: jax.Array, *, norm: str = "hippo") -> jax.Array:
    """The LegS matrix A times x.

    (A x)_i = i x_i - r_i sum_{j <= i} r_j x_j, r_i = sqrt(2 i + 1).

    Shapes: x [..., n] -> [..., n].
    Article: kexue.fm/archives/10137 (10114).  Paper: arXiv 2008.07669, appendix E.
    Differs: no.
    Cost: O(n) a row.
    Raises: TypeError or ValueError for bad arguments.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import legs_matvec
        >>> print(legs_matvec(jnp.array([1.0, 0.0, 0.0]), norm="lmu"))
        [-1. -3. -5.]
    """
    name = "legs_matvec"
    scale = check_rows(name, "x", x, norm)
    wide = jnp.asarray(x, numerics.accumulation_dtype(x)) / along(scale, x)
    return (matvec(wide) * along(scale, x)).astype(x.dtype)


def legs_solve(
    v: jax.Array, lam: float | jax.Array, *, norm: str = "hippo"
) -> jax.Array:
    """The solution z of (I - lam A) z = v, A the LegS matrix.

    S_i = ((1 - lam i) S_{i-1} + r_i v_i) / (1 + lam (i + 1)), S_{-1} = 0, r_i =
    sqrt(2 i + 1), is sum_{j <= i} r_j z_j, and z_i = (v_i - lam r_i S_{i-1}) / (1 +
    lam (i + 1)).

    Shapes: v [..., n], lam a scalar or [...] -> [..., n].
    Article: kexue.fm/archives/10137 (10114).  Paper: arXiv 2008.07669, appendix E.
    Differs: z is not the difference of the S, which cancels.
    Cost: O(n) a row; a loop over n on a CPU, depth O(log n) elsewhere.
    Raises: TypeError or ValueError for bad arguments.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import legs_solve
        >>> z = legs_solve(jnp.array([2.0, 6.0]), 1.0, norm="lmu")
        >>> print(f"{z[0]:.4f} {z[1]:.4f}")
        1.0000 1.0000
    """
    name = "legs_solve"
    scale = check_rows(name, "v", v, norm)
    dtype = numerics.accumulation_dtype(v)
    if checks.is_array(lam):
        checks.array(name, "lam", lam)
        if jnp.ndim(lam):
            checks.shapes(name, v=(v, "... n"), lam=(lam, "..."))
    else:
        checks.number(name, "lam", lam)
    step = jnp.broadcast_to(jnp.asarray(lam, dtype), v.shape[:-1])
    wide = jnp.asarray(v, dtype) / along(scale, v)
    return (solve(wide, step) * along(scale, v)).astype(v.dtype)


def matvec(x: jax.Array) -> jax.Array:
    """A x in the norm "hippo", of ``x [..., n]`` in at least float32."""
    i, r = orders(x)
    return i * x - r * jnp.cumsum(r * x, -1)


def solve(v: jax.Array, lam: jax.Array) -> jax.Array:
    """(I - lam A)^-1 v in the norm "hippo", v ``[..., n]``, lam ``[...]``."""
    i, r = orders(v)
    lam = lam[..., None]
    below = 1 + lam * (i + 1)
    factor, push = (1 - lam * i) / below, r * v / below
    sums = first_order(jnp.moveaxis(factor, -1, 0), jnp.moveaxis(push, -1, 0))
    sums = jnp.moveaxis(sums, 0, -1)
    before = jnp.concatenate([jnp.zeros_like(sums[..., :1]), sums[..., :-1]], -1)
    return (v - lam * r * before) / below


def first_order(a: jax.Array, b: jax.Array) -> jax.Array:
    """h_t = a_t h_{t-1} + b_t from h_{-1} = 0, over the first axis."""

    def in_turn(a: jax.Array, b: jax.Array) -> jax.Array:
        def step(h: jax.Array, parts: Any) -> Any:
            h = parts[0] * h + parts[1]
            return h, h

        start = all_varying(jnp.zeros_like(b[0]), a, b)[0]
        return lax.scan(step, start, (a, b))[1]

    def at_once(a: jax.Array, b: jax.Array) -> jax.Array:
        def join(one: Any, two: Any) -> Any:
            return one[0] * two[0], two[0] * one[1] + two[1]

        return lax.associative_scan(join, (a, b))[1]

    return lax.platform_dependent(a, b, cpu=in_turn, default=at_once)


def orders(like: jax.Array) -> tuple[jax.Array, jax.Array]:
    """i and sqrt(2 i + 1) along the last axis of ``like``, of its rank."""
    i = np.arange(like.shape[-1])
    return along(i, like), along(np.sqrt(2 * i + 1), like)


def along(values: np.ndarray, like: jax.Array) -> jax.Array:
    """``values [n]`` for the last axis of ``like``, in at least float32."""
    dtype = numerics.accumulation_dtype(like)
    return jnp.asarray(values, dtype).reshape((1,) * (like.ndim - 1) + (-1,))


def from_hippo(n: int, norm: str) -> np.ndarray:
    """What coefficients of the norm "hippo" are multiplied by to be of ``norm``."""
    return norm_scale("legs", n, "hippo", 0.0) / norm_scale("legs", n, norm, 0.0)


def check_rows(function: str, argument: str, value: Any, norm: Any) -> np.ndarray:
    """``from_hippo`` for rows of coefficients ``[..., n]``, which are checked."""
    checks.choice(function, "norm", norm, NORMS)
    checks.array(function, argument, value)
    checks.shapes(function, **{argument: (value, "... n")})
    if value.shape[-1] == 0:
        raise checks.fail(function, argument, "none", "of at least 1 coefficient")
    return from_hippo(value.shape[-1], norm)
