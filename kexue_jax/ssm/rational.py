"""RTF: a state space known by its rational transfer function, denominator over one.

The kernel K_l = c A^l b of any system of d states, l < L, has the generating function

    sum_l K_l z^l = (b_1 + b_2 z + ... + b_d z^(d-1)) / (1 + a_1 z + ... + a_d z^d)

at the L-th roots of unity, where b is the numerator of c (I - A^L) in place of c. The
parameters are a and b themselves, so that a kernel costs a few FFTs whatever d is.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from kexue_jax._base import checks
from kexue_jax._base.elimination import solved
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax._base.varying import all_varying
from kexue_jax.ssm.diagonal_conv import toeplitz
from kexue_jax.ssm.outputs import SsmOutput


class RtfCompanion(NamedTuple):
    """A recurrence x_k = a x_{k-1} + b u_k, y_k = c . x_k in companion form.

    a [..., d, d], b [..., d], c [..., d].
    """

    a: jax.Array
    b: jax.Array
    c: jax.Array


class RtfCoefficients(NamedTuple):
    """The denominator without its leading 1, and the numerator, [..., d] each."""

    a: jax.Array
    b: jax.Array


def rtf_kernel(a: jax.Array, b: jax.Array, *, length: int) -> jax.Array:
    """The convolution kernel of a rational transfer function, in time free of d.

    K = irfft(rfft(b) / rfft([1, a])), each folded modulo ``length`` first: the kernel
    c A^l e_0, l < length, of the companion matrix A and c (I - A^length) = b.

    Shapes: a, b [..., d] -> [..., length].
    Article: kexue.fm/archives/10180.  Paper: arXiv 2405.06147.
    Differs: article and paper need d < length; folding holds for every d. The DFT of
    the article's denominator sums over the d entries of a, not over length.
    Cost: O(length log length + d), three FFTs.
    Raises: TypeError or ValueError for shapes or dtypes that differ, a length below 1.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import rtf_kernel
        >>> a, b = jnp.array([-0.5]), jnp.array([1.0 - 0.5**4])
        >>> print(rtf_kernel(a, b, length=4).round(4))
        [1.    0.5   0.25  0.125]
    """
    name = "rtf_kernel"
    check_coefficients(name, a=a, b=b)
    checks.count(name, "length", length)
    dtype = accumulation_dtype(a)
    one = jnp.ones((*a.shape[:-1], 1), dtype)
    denominator = jnp.concatenate([one, a.astype(dtype)], -1)
    top = jnp.fft.rfft(folded(b.astype(dtype), length))
    bottom = jnp.fft.rfft(folded(denominator, length))
    return jnp.fft.irfft(top / bottom, length).astype(a.dtype)


def rtf_step(state: jax.Array, a: jax.Array, c: jax.Array, u: jax.Array) -> SsmOutput:
    """The output of one more input, and the state after it: a filter of d delays.

    x <- [u - a . x, x_0, ..., x_{d-2}], y = c . x, for each of h channels.

    Shapes: state [..., h, d], a, c [h, d], u [..., h] ->
    SsmOutput(state [..., h, d], out [..., h]).
    Article: kexue.fm/archives/10180.  Paper: arXiv 2405.06147.
    Differs: no. c is that of ``rtf_to_companion``, not the b of ``rtf_kernel``.
    Cost: O(h d).
    Raises: TypeError or ValueError for shapes or dtypes that do not fit.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import rtf_step
        >>> a, c = jnp.array([[-0.5, 0.0]]), jnp.array([[1.0, 0.0]])
        >>> state, out = rtf_step(jnp.ones((1, 2)), a, c, jnp.ones(1))
        >>> print(state, out)
        [[1.5 1. ]] [1.5]
    """
    name = "rtf_step"
    check_step(name, a, c, u, "... h")
    check_state(name, state, (*u.shape[:-1], *a.shape))
    state, out = _advance(*_wide(state, a, c, u))
    return SsmOutput(state, out.astype(u.dtype))


def rtf_scan(
    a: jax.Array, c: jax.Array, u: jax.Array, *, state: jax.Array | None = None
) -> SsmOutput:
    """The outputs of a whole sequence by the recurrence, and the state after it.

    ``rtf_step`` for one position after the other; from a zero state the same as the
    causal convolution with the kernel that c belongs to.

    Shapes: a, c [h, d], u [..., n, h], state [..., h, d] or None: zeros ->
    SsmOutput(state [..., h, d], out [..., n, h]).
    Article: kexue.fm/archives/10180.  Paper: arXiv 2405.06147.
    Differs: no.
    Cost: O(n h d) time in n steps. Training takes ``rtf_kernel``; this is for reading
    a prompt, or for going on from a state.
    Raises: TypeError or ValueError for shapes or dtypes that do not fit.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import rtf_scan
        >>> a, c = jnp.array([[-0.5]]), jnp.ones((1, 1))
        >>> print(rtf_scan(a, c, jnp.eye(3)[:, :1]).out[:, 0])
        [1.   0.5  0.25]
    """
    name = "rtf_scan"
    check_step(name, a, c, u, "... n h")
    shape = (*u.shape[:-2], *a.shape)
    start = jnp.zeros(shape, a.dtype) if state is None else state
    check_state(name, start, shape)
    start = jnp.asarray(start, accumulation_dtype(a))
    start, wide_a, wide_c, wide_u = all_varying(start, *_wide(a, c, u))

    def body(state: jax.Array, u: jax.Array) -> tuple[jax.Array, jax.Array]:
        return _advance(state, wide_a, wide_c, u)

    end, out = lax.scan(body, start, jnp.moveaxis(wide_u, -2, 0))
    return SsmOutput(end, jnp.moveaxis(out, 0, -2).astype(u.dtype))


def rtf_to_companion(
    a: jax.Array, b: jax.Array, *, length: int | None = None
) -> RtfCompanion:
    """The recurrence whose kernel ``rtf_kernel(a, b, length=length)`` is.

    The companion matrix A has the first row -a and ones below its diagonal, the input
    vector is e_0, and c solves c (I - A^length) = b. Without a length c = b, the
    recurrence of the rational function itself.

    Shapes: a, b [..., d] -> RtfCompanion(a [..., d, d], b [..., d], c [..., d]).
    Article: kexue.fm/archives/10180.  Paper: arXiv 2405.06147.
    Differs: no. A pole at a root of unity of order ``length`` makes c infinite.
    Cost: O(d^3 log length).
    Raises: TypeError or ValueError for shapes or dtypes that differ, a length below 1.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import rtf_to_companion
        >>> a, b = jnp.array([-0.5]), jnp.array([1.0 - 0.5**4])
        >>> print(rtf_to_companion(a, b, length=4).c)
        [1.]
    """
    name = "rtf_to_companion"
    check_coefficients(name, a=a, b=b)
    dtype, d = accumulation_dtype(a), a.shape[-1]
    matrix = jnp.broadcast_to(jnp.eye(d, k=-1, dtype=dtype), (*a.shape, d))
    matrix = matrix.at[..., 0, :].set(-a.astype(dtype))
    c = b.astype(dtype)
    if length is not None:
        checks.count(name, "length", length)
        with jax.default_matmul_precision("highest"):
            power = jnp.linalg.matrix_power(matrix, int(length))
        eye = jnp.broadcast_to(jnp.eye(d, dtype=dtype), power.shape)
        c = solved(eye - power.mT, c[..., None])[..., 0]
    unit = jnp.broadcast_to(jnp.eye(1, d, dtype=a.dtype)[0], a.shape)
    return RtfCompanion(matrix.astype(a.dtype), unit, c.astype(a.dtype))


def rtf_from_matrices(a: jax.Array, b: jax.Array, c: jax.Array) -> RtfCoefficients:
    """Denominator and numerator of c (I - z a)^-1 b, whatever the basis of a system.

    1 + sum_j a_j z^j = det(I - z a) and sum_j b_j z^j = det(I - z (a - b c)) less that:
    characteristic polynomials, by Samuelson's and Berkowitz's recursion.

    Shapes: a [..., d, d], b, c [..., d] real -> RtfCoefficients(a, b [..., d]).
    Article: kexue.fm/archives/10180.  Paper: arXiv 2405.06147.
    Differs: the article names the characteristic polynomials; the recursion has no
    division and no eigenvalues, so that it is differentiable everywhere.
    Cost: O(d^4). Coefficients of a large stable matrix grow as binomials do, and the
    kernel loses as many digits: from 30 states of HiPPO on nothing is left of it.
    Raises: TypeError or ValueError for shapes or dtypes that do not fit.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import rtf_from_matrices
        >>> one = jnp.ones(1)
        >>> print(rtf_from_matrices(jnp.array([[0.5]]), one, one).a)
        [-0.5]
    """
    name = "rtf_from_matrices"
    for argument, value in (("a", a), ("b", b), ("c", c)):
        checks.array(name, argument, value)
    checks.same_dtype(name, a=a, b=b, c=c)
    checks.shapes(name, a=(a, "... d d"), b=(b, "... d"), c=(c, "... d"))
    wide_a, wide_b, wide_c = _wide(a, b, c)
    outer = wide_b[..., :, None] * wide_c[..., None, :]
    bottom = _reversed_characteristic(wide_a)
    top = _reversed_characteristic(wide_a - outer) - bottom
    return RtfCoefficients(
        bottom[..., 1:].astype(a.dtype), top[..., 1:].astype(a.dtype)
    )


def folded(x: jax.Array, length: int) -> jax.Array:
    """``x [..., m]`` summed modulo ``length``: its polynomial's values at the roots."""
    rows = -(-x.shape[-1] // length)
    padding = [(0, 0)] * (x.ndim - 1) + [(0, rows * length - x.shape[-1])]
    return jnp.pad(x, padding).reshape(*x.shape[:-1], rows, length).sum(-2)


def check_coefficients(function: str, **arrays: Any) -> None:
    """Raise unless all are floating arrays of one shape [..., d], d >= 1, one dtype."""
    for argument, value in arrays.items():
        checks.array(function, argument, value)
    checks.same_dtype(function, **arrays)
    checks.shapes(function, **{key: (x, "... d") for key, x in arrays.items()})
    for argument, value in arrays.items():
        if value.shape[-1] == 0:
            got = f"shape {value.shape}"
            raise checks.fail(function, argument, got, "of at least one coefficient")


def check_step(function: str, a: Any, c: Any, u: Any, pattern: str) -> None:
    """Raise unless a, c are [h, d] and the input u has the pattern, in one dtype."""
    check_coefficients(function, a=a, c=c)
    checks.array(function, "u", u)
    checks.same_dtype(function, a=a, u=u)
    checks.shapes(function, a=(a, "h d"), u=(u, pattern))


def check_state(function: str, state: Any, shape: tuple[int, ...]) -> None:
    """Raise unless the state is a floating array of the shape."""
    checks.array(function, "state", state)
    if tuple(state.shape) != shape:
        wanted = f"of shape {list(shape)}"
        raise checks.fail(function, "state", f"shape {state.shape}", wanted)


def _advance(
    state: jax.Array, a: jax.Array, c: jax.Array, u: jax.Array
) -> tuple[jax.Array, jax.Array]:
    first = u - jnp.einsum("...hd,hd->...h", state, a)
    state = jnp.concatenate([first[..., None], state[..., :-1]], -1)
    return state, jnp.einsum("...hd,hd->...h", state, c)


def _wide(*arrays: jax.Array) -> list[jax.Array]:
    dtype = accumulation_dtype(*arrays)
    return [jnp.asarray(x, dtype) for x in arrays]


def _reversed_characteristic(a: jax.Array) -> jax.Array:
    """The d + 1 coefficients of det(I - z a), the constant 1 first.

    With a = [[m, c], [r, e]] those of m times 1 - e z - r c z^2 - r m c z^3 - ..., up
    to the size of a: from no row and column on to all.
    """
    d = a.shape[-1]
    exact: Any = {"precision": lax.Precision.HIGHEST}
    place = np.arange(d)

    def grow(poly: jax.Array, k: jax.Array) -> tuple[jax.Array, None]:
        row, column = (
            lax.dynamic_index_in_dim(a, k, axis, keepdims=False)
            for axis in (a.ndim - 2, a.ndim - 1)
        )
        corner = lax.dynamic_index_in_dim(row, k, row.ndim - 1)
        inside = (place < k).astype(a.dtype).reshape((1,) * (row.ndim - 1) + (d,))
        row = row * inside

        def power(v: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
            later = jnp.einsum("...ij,...j->...i", a, v, **exact) * inside
            return later, (row * v).sum(-1)

        _, products = lax.scan(power, column * inside, None, length=d - 1)
        one = jnp.ones_like(corner)
        factor = [one, -corner, -jnp.moveaxis(products, 0, -1)]
        lags = toeplitz(jnp.concatenate(factor, -1))
        grown = jnp.einsum("...j,...ji->...i", poly, lags, **exact)
        kept = (np.arange(d + 1) <= k + 1).reshape((1,) * (row.ndim - 1) + (d + 1,))
        return jnp.where(kept, grown, 0), None

    first = jnp.zeros((*a.shape[:-2], d + 1), a.dtype).at[..., 0].set(1)
    first, a = all_varying(first, a)
    return lax.scan(grow, first, jnp.arange(d))[0]
