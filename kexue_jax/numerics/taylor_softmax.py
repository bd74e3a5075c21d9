"""Softmax with an even Taylor polynomial in place of exp, and its logarithm."""

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.masks import safe_divide
from kexue_jax.numerics.exp_taylor import (
    GRADIENT_MODES,
    check_order,
    log_taylor,
    scaled_taylor,
    widened,
)


def taylor_softmax(
    x: jax.Array,
    *,
    order: int = 2,
    axis: int = -1,
    where: jax.Array | None = None,
    monotone: bool = False,
) -> jax.Array:
    """Probabilities f_n(x_i) / sum_k f_n(x_k) along an axis, for even n.

    Not invariant to shifts: the absolute size of x matters, and far from 0 a negative
    entry weighs as much as a positive one, unless ``monotone``, which replaces x by
    max(x, x*). Entries where ``where`` is False get 0 and no gradient; all of them, if
    none is kept.

    Shapes: x [...], where broadcasting to [...] -> [...].
    Article: kexue.fm/archives/7919.  Paper: arXiv 1511.05042 and 2011.11538.
    Differs: common code divides the polynomials themselves, which overflows (float16 at
    |x| = 18 and order 6); here both are divided by max(1, |x|)^n first, which is exact.
    Cost: 2n operations an entry and one division, no transcendental function.
    Raises: TypeError or ValueError for an x that is not a floating array, an order
    that is not an even integer in 2..24, an axis that x lacks, or a ``where`` that is
    not boolean or does not fit.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.numerics import taylor_softmax
        >>> x = jnp.array([-6.0, 0.0, 6.0])
        >>> print(" ".join(f"{p:.3f}" for p in taylor_softmax(x)))
        0.333 0.026 0.641
        >>> print(" ".join(f"{p:.3f}" for p in taylor_softmax(x, monotone=True)))
        0.019 0.038 0.943
    """
    name = "taylor_softmax"
    where = _checked(name, x, order, axis, where, monotone)
    wide = widened(x, order, monotone)
    return weights(wide, int(order), int(axis), where).astype(jnp.result_type(x))


def log_taylor_softmax(
    x: jax.Array,
    *,
    order: int = 2,
    axis: int = -1,
    where: jax.Array | None = None,
    monotone: bool = False,
    grad_mode: str = "finite",
) -> jax.Array:
    """Logarithms log f_n(x_i) - log sum_k f_n(x_k) along an axis, for even n.

    Stable at every magnitude; -inf where ``where`` is False. ``grad_mode`` as in
    ``log_taylor_exp``: "infinite" gives the gradient of softmax, at these
    probabilities.

    Shapes: x [...], where broadcasting to [...] -> [...].
    Article: kexue.fm/archives/7919.  Paper: arXiv 1511.05042 and 2011.11538.
    Differs: common code takes the logarithm of the ratio, which overflows.
    Cost: 2n multiply-adds and about five transcendental functions an entry.
    Raises: TypeError or ValueError as taylor_softmax, and for another grad_mode.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.numerics import log_taylor_softmax
        >>> print(log_taylor_softmax(jnp.array([-1e20, 1e20])).round(4))
        [-0.6931 -0.6931]
    """
    name = "log_taylor_softmax"
    where = _checked(name, x, order, axis, where, monotone)
    checks.choice(name, "grad_mode", grad_mode, GRADIENT_MODES)
    wide = widened(x, order, monotone)
    if where is not None:
        wide = jnp.where(where, wide, 0)
    logs = log_taylor(wide, int(order), grad_mode == "infinite")
    logs = normalized(logs, int(axis), where)
    return logs.astype(jnp.result_type(x))


def weights(x: jax.Array, order: int, axis: int, where: jax.Array | None) -> jax.Array:
    """The probabilities, of an x that is wide and clipped already."""
    shares = shares_of_peak(x, order, axis, where)
    return divided(shares, jnp.sum(shares, axis, keepdims=True))


def divided(shares: jax.Array, total: jax.Array) -> jax.Array:
    """``shares / total``, 0 where nothing is kept, with a gradient that keeps in range.

    The derivative of a quotient squares the total, which may be as small as 1 / n!.
    """
    unit = jax.lax.stop_gradient(jnp.where(total > 0, total, 1))
    return safe_divide(shares / unit, total / unit)


def shares_of_peak(
    x: jax.Array, order: int, axis: int, where: jax.Array | None
) -> jax.Array:
    """f_n(x) / peak^n with the peak max(1, |x|) along the axis; 0 where not kept."""
    if where is not None:
        x = jnp.where(where, x, 0)
    largest = jnp.max(jnp.abs(x), axis, keepdims=True, initial=1)
    shares = scaled_taylor(x, jax.lax.stop_gradient(largest), order)
    return shares if where is None else jnp.where(where, shares, 0)


def normalized(logs: jax.Array, axis: int, where: jax.Array | None) -> jax.Array:
    """``logs - logsumexp(logs)`` over the kept entries, -inf elsewhere."""
    if where is None:
        return logs - jax.nn.logsumexp(logs, axis, keepdims=True)
    kept = jnp.where(where, logs, -jnp.inf)
    top = jnp.max(kept, axis, keepdims=True, initial=-jnp.inf)
    top = jax.lax.stop_gradient(jnp.where(jnp.isfinite(top), top, 0))
    total = jnp.sum(jnp.where(where, jnp.exp(logs - top), 0), axis, keepdims=True)
    total = jnp.log(jnp.where(total > 0, total, 1)) + top
    return jnp.where(where, logs - total, -jnp.inf)


def _checked(
    name: str,
    x: jax.Array,
    order: int,
    axis: int,
    where: jax.Array | None,
    monotone: bool,
) -> jax.Array | None:
    """Check the arguments; ``where`` at the shape of x."""
    checks.array(name, "x", x)
    check_order(name, order)
    checks.flag(name, "monotone", monotone)
    checks.count(name, "axis", axis, minimum=-x.ndim)
    if axis >= x.ndim:
        raise checks.fail(name, "axis", axis, f"below the rank {x.ndim} of `x`")
    if where is None:
        return None
    checks.array(name, "where", where, "boolean")
    try:
        return jnp.broadcast_to(jnp.asarray(where), x.shape)
    except ValueError:
        wanted = f"of a shape that broadcasts to {tuple(x.shape)}"
        raise checks.fail(name, "where", f"shape {where.shape}", wanted) from None
