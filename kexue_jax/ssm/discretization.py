"""Linear systems from continuous to discrete time, the input held over each step."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from kexue_jax._base import checks, numerics
from kexue_jax._base.elimination import solved
from kexue_jax._base.varying import all_varying

METHODS = ("forward", "backward", "bilinear", "gbt", "zoh")
_IMPLICIT = {"forward": 0.0, "backward": 1.0, "bilinear": 0.5}
_SERIES_RADIUS = 0.5
_SERIES_TERMS = 15  # 0.5^15 / 16! is below the rounding of float64
_SQUARINGS = 24  # right for |dt a| up to 9e7; beyond it the exponential is NaN
# The diagonal approximant of e^x of order 13, good to rounding for norms up to 5.37.
_PADE = [math.comb(13, k) / math.perm(26, k) for k in range(14)]
_PADE_RADIUS = 5.37


class Discretized(NamedTuple):
    """The matrices of x_{k+1} = a x_k + b u_k.

    Article: kexue.fm/archives/10114. Paper: arXiv 2111.00396.
    """

    a: jax.Array
    b: jax.Array


def discretize(
    a: jax.Array,
    b: jax.Array,
    dt: float | jax.Array,
    *,
    method: str = "bilinear",
    alpha: float | jax.Array | None = None,
) -> Discretized:
    """The system x' = a x + b u, u held for a step dt, as one in discrete time.

    With w the weight of the step's implicit end (0 "forward", 1 "backward", 1/2
    "bilinear", alpha "gbt"): (I - w dt a)^-1 (I + (1 - w) dt a) and (I - w dt a)^-1
    dt b. "zoh" is exact: e^(dt a) and int_0^dt e^(s a) ds b, read off the exponential
    of [[a, b], [0, 0]] dt, for a singular a too.

    Shapes: a [..., n, n], b [..., n] or [..., n, m], real or complex; dt and alpha
    scalars or [...] -> Discretized(a [..., n, n], b of its own axes).
    Article: kexue.fm/archives/10114.  Paper: arXiv 2111.00396.
    Differs: the article's alpha is the weight of the explicit end. A step of LegS
    with its changing 1 / t is ``legs_step``'s.
    Cost: O(n^3) a system: a solve, and for "zoh" 30 products. No LAPACK: batches of its
    calls may wait for each other forever on a CPU.
    Raises: TypeError or ValueError for shapes that do not fit, dtypes that differ, an
    unknown method, an alpha for another method than "gbt" or none for that.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import discretize
        >>> a, b = discretize(jnp.array([[-2.0]]), jnp.ones(1), 1.0, method="backward")
        >>> print(f"{a[0, 0]:.4f} {b[0]:.4f}")
        0.3333 0.3333
    """
    name = "discretize"
    checks.array(name, "a", a, "inexact")
    checks.array(name, "b", b, "inexact")
    checks.same_dtype(name, a=a, b=b)
    checks.shapes(name, a=(a, "... n n"))
    n = a.shape[-1]
    if n == 0:
        raise checks.fail(name, "a", f"shape {a.shape}", "of at least one state")
    vector = np.ndim(b) == np.ndim(a) - 1
    checks.shapes(name, a=(a, "*a n n"), b=(b, "*b n" if vector else "*b n m"))
    dtype = numerics.accumulation_dtype(a)
    dt = _real(name, "dt", dt, dtype)
    weight = _implicit_weight(name, method, alpha, dtype)
    columns = b[..., None] if vector else b
    shapes = {"a": a.shape[:-2], "b": columns.shape[:-2], "dt": dt.shape}
    lead = checks.leading(name, {**shapes, "alpha": weight.shape})
    dt, weight = (
        jnp.broadcast_to(part, lead)[..., None, None] for part in (dt, weight)
    )
    step_a = dt * jnp.broadcast_to(a, (*lead, n, n)).astype(dtype)
    step_b = dt * jnp.broadcast_to(columns, (*lead, *columns.shape[-2:])).astype(dtype)
    if method == "zoh":
        new_a, new_b = _held(step_a, step_b)
    else:
        eye = jnp.broadcast_to(jnp.eye(n, dtype=dtype), step_a.shape)
        right = jnp.concatenate([eye + (1 - weight) * step_a, step_b], -1)
        both = solved(eye - weight * step_a, right)
        new_a, new_b = both[..., :n], both[..., n:]
    new_b = new_b[..., 0] if vector else new_b
    return Discretized(new_a.astype(a.dtype), new_b.astype(b.dtype))


def discretize_diagonal(
    lam: jax.Array,
    b: jax.Array,
    dt: float | jax.Array,
    *,
    method: str = "zoh",
    alpha: float | jax.Array | None = None,
) -> Discretized:
    """The diagonal system x' = lam x + b u, u held for a step dt, in discrete time.

    "zoh": e^(lam dt) and dt phi_1(lam dt) b, phi_1(z) = (e^z - 1) / z; the others as
    ``discretize`` has them, element by element.

    Shapes: lam [..., n] and b [..., n] or [..., n, m] of one dtype, real or complex;
    dt a scalar, [...] or, by state, [..., n], real; alpha a scalar ->
    Discretized(a [..., n], b of its own axes).
    Article: kexue.fm/archives/10162.  Paper: arXiv 2206.11893, 2208.04933 (dt by
    state).
    Differs: the papers divide by lam; phi_1 is exact at and near lam = 0, value and
    gradient.
    Cost: O(n), and O(n m) for b.
    Raises: TypeError or ValueError for shapes that do not fit, dtypes that differ, an
    unknown method, an alpha for another method than "gbt" or none for that.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import discretize_diagonal
        >>> a, b = discretize_diagonal(jnp.array([0.0, -1.0]), jnp.ones(2), 0.5)
        >>> print(f"{a[1]:.4f} {b[0]:.4f} {b[1]:.4f}")
        0.6065 0.5000 0.3935
    """
    name = "discretize_diagonal"
    checks.array(name, "lam", lam, "inexact")
    checks.array(name, "b", b, "inexact")
    checks.same_dtype(name, lam=lam, b=b)
    checks.shapes(name, lam=(lam, "... n"))
    vector = np.ndim(b) == np.ndim(lam)
    checks.shapes(name, lam=(lam, "*l n"), b=(b, "*b n" if vector else "*b n m"))
    dtype = numerics.accumulation_dtype(lam)
    dt = _real(name, "dt", dt, dtype)
    weight = _implicit_weight(name, method, alpha, dtype)
    if weight.shape:
        raise checks.fail(name, "alpha", f"shape {weight.shape}", "a scalar")
    dt = dt if dt.ndim >= lam.ndim else dt[..., None]
    columns = b[..., None] if vector else b
    shapes = {"lam": lam.shape, "b": columns.shape[:-1], "dt": dt.shape}
    shape = checks.leading(name, shapes)
    dt = jnp.broadcast_to(dt, shape)
    z = dt * jnp.broadcast_to(lam, shape).astype(dtype)
    columns = jnp.broadcast_to(columns, (*shape, columns.shape[-1])).astype(dtype)
    if method == "zoh":
        new_a, factor = jnp.exp(z), phi_1(z)
    else:
        factor = 1 / (1 - weight * z)
        new_a = (1 + (1 - weight) * z) * factor
    new_b = columns * (dt * factor)[..., None]
    new_b = new_b[..., 0] if vector else new_b
    return Discretized(new_a.astype(lam.dtype), new_b.astype(b.dtype))


def phi_1(z: jax.Array) -> jax.Array:
    """(e^z - 1) / z of real or complex z in at least float32, 1 at 0.

    A series below |z| = 1/2, where the quotient's gradient would cancel.
    """
    small = jnp.abs(lax.stop_gradient(z)) < _SERIES_RADIUS
    near = jnp.where(small, z, 0)
    series = jnp.ones_like(z)
    for k in range(_SERIES_TERMS, 0, -1):
        series = 1 + near * series / (k + 1)
    far = jnp.where(small, 1, z)
    return jnp.where(small, series, jnp.expm1(far) / far)


def _held(step_a: jax.Array, step_b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The exponential's two blocks, of ``[..., n, n]`` and ``[..., n, m]``."""
    n, m = step_b.shape[-2:]
    top = jnp.concatenate([step_a, step_b], -1)
    full = jnp.pad(top, [(0, 0)] * (top.ndim - 2) + [(0, m), (0, 0)])
    whole = _exponential(full)
    return whole[..., :n, :n], whole[..., :n, n:]


def _exponential(x: jax.Array) -> jax.Array:
    """e^x of ``[..., n, n]``: the Pade approximant at x / 2^s, squared s times."""
    size = lax.stop_gradient(jnp.abs(x)).sum(-2).max(-1)
    halvings = jnp.maximum(jnp.ceil(jnp.log2(size / _PADE_RADIUS)), 0)
    whole = halvings[..., None, None] <= _SQUARINGS
    scale = jnp.where(whole, 2 ** -halvings[..., None, None], jnp.nan)
    x = x * scale
    product = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)
    eye = jnp.broadcast_to(jnp.eye(x.shape[-1], dtype=x.dtype), x.shape)
    powers = [eye, product(x, x)]
    powers += [product(powers[1], powers[1])]
    powers += [product(powers[1], powers[2])]

    def part(start: int) -> jax.Array:
        """c_start + c_{start + 2} x^2 + ... + c_{start + 12} x^12."""
        low = sum(_PADE[start + 2 * i] * powers[i] for i in range(4))
        high = sum(_PADE[start + 8 + 2 * i] * powers[1 + i] for i in range(3))
        return low + product(powers[3], high)

    odd, even = product(x, part(1)), part(0)
    found, halvings = all_varying(solved(even - odd, even + odd), halvings)

    def square(found: jax.Array, i: jax.Array) -> tuple[jax.Array, None]:
        more = i < halvings[..., None, None]
        return jnp.where(more, product(found, found), found), None

    return lax.scan(square, found, jnp.arange(_SQUARINGS))[0]


def _real(function: str, argument: str, value: Any, dtype: Any) -> jax.Array:
    """A real number or array as an array of the real dtype of the computation."""
    if checks.is_array(value):
        checks.array(function, argument, value)
    else:
        checks.number(function, argument, value)
    return jnp.asarray(value, jnp.finfo(dtype).dtype)


def _implicit_weight(function: str, method: Any, alpha: Any, dtype: Any) -> jax.Array:
    """The weight of the implicit end; 0 for "zoh", which has none."""
    checks.choice(function, "method", method, METHODS)
    if method == "gbt":
        if alpha is None:
            got, wanted = "None", "the weight of the implicit end for the method 'gbt'"
            raise checks.fail_type(function, "alpha", got, wanted)
        if not checks.is_array(alpha):
            checks.number(function, "alpha", alpha, minimum=0, maximum=1)
        return _real(function, "alpha", alpha, dtype)
    if alpha is not None:
        wanted = f"None for the method {method!r}"
        raise checks.fail(function, "alpha", alpha, wanted)
    return jnp.asarray(_IMPLICIT.get(method, 0.0), jnp.finfo(dtype).dtype)
