"""One step of S4 in O(n): the bilinear step of a normal plus low-rank system."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks
from kexue_jax.ssm.modes import spread_leading, step_sizes
from kexue_jax.ssm.outputs import SsmOutput
from kexue_jax.ssm.s4_spectrum import low_rank_modes


class S4Step(NamedTuple):
    """A = (diag(d) - q p^H diag(d)) (diag(e) - p p^H) and B = b, by their factors.

    d, e, b [..., n], p, q [..., n, r].
    """

    d: jax.Array
    e: jax.Array
    p: jax.Array
    q: jax.Array
    b: jax.Array


def s4_step_matrices(
    lam: jax.Array,
    p: jax.Array,
    b: jax.Array,
    dt: float | jax.Array,
    *,
    half: bool = False,
) -> S4Step:
    """The bilinear step of x' = (diag(lam) - p p^H) x + b u, without a dense matrix.

    With d = 1 / (2/dt - lam) and q = d p (I + p^H d p)^-1: A1 = diag(d) - q p^H
    diag(d), A0 = diag(2/dt + lam) - p p^H, A = A1 A0, B = 2 A1 b.

    Shapes: lam, b [..., n], p [..., n, r], dt a number or [...]; all [...] broadcast ->
    S4Step(d, e, b [..., n], p, q [..., n, r]). With ``half`` the modes stand for
    themselves and their conjugates.
    Article: kexue.fm/archives/10162.  Paper: arXiv 2111.00396.
    Differs: any rank, and half of the modes. Bilinear, as the kernel is: public code
    that steps otherwise gets outputs that are 1e-2 off.
    Cost: O(n r^2).
    Raises: TypeError or ValueError for shapes or dtypes that do not fit.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import s4_step_matrices
        >>> one = jnp.array([1.0 + 0j])
        >>> step = s4_step_matrices(-one, 0 * one[:, None], one, 1.0)
        >>> print((step.d * step.e).real.round(4), step.b.real.round(4))
        [0.3333] [0.6667]
    """
    name = "s4_step_matrices"
    low_rank_modes(name, lam, p, b=b)
    checks.flag(name, "half", half)
    dt = step_sizes(name, dt, lam)
    own = {"lam": (lam, 1), "p": (p, 2), "b": (b, 1), "dt": (dt, 0)}
    lam, p, b, dt = spread_leading(name, **own)
    rate = 2 / dt[..., None]
    d = 1 / (rate - lam)
    q = d[..., None] * p
    q = _divided(q, projected(p, q, half))
    drawn = projected(p, (d * b)[..., None], half)
    new = 2 * (d * b - jnp.einsum("...nr,...rk->...n", q, drawn))
    return S4Step(d, rate + lam, p, q, new)


def s4_step(
    state: jax.Array,
    step: S4Step,
    c: jax.Array,
    u: jax.Array,
    *,
    half: bool = False,
) -> SsmOutput:
    """The output of one more input, and the state after it, in O(n).

    x <- A x + B u, y = Re(c x), twice that with ``half``; A and B by the factors of
    ``s4_step_matrices``, and c the row of the recurrence (not the truncated one).

    Shapes: state [..., h, n] complex, step with [h, n] and [h, n, r], c [h, n], u
    [..., h] -> SsmOutput(state [..., h, n], out [..., h]).
    Article: kexue.fm/archives/10162.  Paper: arXiv 2111.00396.
    Differs: no.
    Cost: O(h n r).
    Raises: TypeError or ValueError for shapes or dtypes that do not fit.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import s4_step, s4_step_matrices
        >>> one = jnp.ones((1, 1)) + 0j
        >>> step = s4_step_matrices(-one, 0 * one[..., None], one, 1.0)
        >>> print(s4_step(3 * one, step, one, jnp.ones(1)).out.round(4))
        [1.6667]
    """
    name = "s4_step"
    if not isinstance(step, S4Step):
        got = f"a {type(step).__name__}"
        raise checks.fail_type(name, "step", got, "an S4Step of s4_step_matrices")
    checks.flag(name, "half", half)
    check_read(name, state, c, u)
    h, n = c.shape
    for field in ("d", "e", "b"):
        if getattr(step, field).shape != (h, n):
            got = f"shape {getattr(step, field).shape}"
            raise checks.fail(name, f"step.{field}", got, f"of shape [{h}, {n}]")
    wide = u.astype(jnp.finfo(c.dtype).dtype)
    moved = along(step.e, state) * state
    moved = moved - _spread(step.p, projected(step.p, state[..., None], half))
    moved = along(step.d, state) * moved
    moved = moved - _spread(step.q, projected(step.p, moved[..., None], half))
    new = moved + along(step.b, state) * wide[..., None]
    return SsmOutput(new, read(c, new, half).astype(u.dtype))


def _divided(q: jax.Array, g: jax.Array) -> jax.Array:
    """q (I + g)^-1, ``[..., n, r]`` and ``[..., r, r]``, column by column.

    Without pivots: for modes Re lam < 0 the Hermitian part of g is positive, so that of
    I + g and of what is left after each column is at least I.
    """
    count = g.shape[-1]
    eye = jnp.broadcast_to(jnp.eye(count, dtype=g.dtype), g.shape)
    both = jnp.concatenate([eye + g, q], -2)
    for j in range(count):
        row = both[..., j : j + 1, :]
        column = both[..., j : j + 1] / row[..., j : j + 1]
        here = (np.arange(count) == j).reshape((1,) * (g.ndim - 1) + (count,))
        both = jnp.where(here, column, both - column * row)
    return both[..., count:, :]


def check_read(function: str, state: Any, c: Any, u: Any) -> None:
    """Raise unless c is [h, n], the state [..., h, n] and u [..., h]."""
    checks.array(function, "c", c, "complex")
    checks.array(function, "state", state, "complex")
    checks.same_dtype(function, c=c, state=state)
    checks.array(function, "u", u)
    checks.shapes(function, c=(c, "h n"), u=(u, "... h"), state=(state, "... h n"))


def along(x: jax.Array, like: jax.Array) -> jax.Array:
    """``x [h, n]`` with the number of axes of ``like [..., h, n]``."""
    return x.reshape((1,) * (like.ndim - x.ndim) + x.shape)


def read(c: jax.Array, state: jax.Array, half: bool) -> jax.Array:
    """Re(c x) over the modes, and over their conjugates too where half is given."""
    out = jnp.einsum("hn,...hn->...h", c, state).real
    return 2 * out if half else out


def projected(p: jax.Array, x: jax.Array, half: bool) -> jax.Array:
    """p^H x, ``[..., n, r]`` and ``[..., n, k] -> [..., r, k]``, over all modes."""
    found = jnp.einsum("...nr,...nk->...rk", p.conj(), x)
    return (2 * found.real).astype(x.dtype) if half else found


def _spread(p: jax.Array, weights: jax.Array) -> jax.Array:
    return jnp.einsum("...nr,...rk->...n", p, weights)
