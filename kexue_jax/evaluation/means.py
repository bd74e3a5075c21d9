"""Power means of scores: arithmetic, geometric, harmonic and every order between."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype

Order = float | jax.Array


def power_mean(
    scores: jax.Array,
    p: float | jax.Array,
    *,
    weights: jax.Array | None = None,
    where: jax.Array | None = None,
) -> jax.Array:
    """The weighted power mean of order p of the scores along the last axis.

    M_p = (sum_k w_k s_k^p)^(1/p) over the tasks k that ``where`` keeps, with the
    weights scaled to sum to 1 there; M_0 = exp(sum_k w_k ln s_k), M_inf and M_-inf the
    largest and smallest score. It rises in p, and is the common value where all scores
    are equal. dM_p/ds_k = w_k (s_k / M_p)^(p - 1).

    A mean of fewer tasks is another quantity: rows whose ``where`` differ must not be
    ranked against each other (``leaderboard`` refuses to).

    Shapes: scores [..., k], p a number or [], weights [k] or as scores, where (True =
    keep) broadcastable to scores -> [...].
    Article: kexue.fm/archives/8783.  Paper: arXiv 2112.01342.
    Differs: orders other than 1 are of positive scores (p > 0: zeros too) and refuse
    others, never clip them: a Matthews correlation may be negative. So is an order that
    is an array, 1 too: only a number p chooses the plain sum. Where values are not
    known (under jit) the answer is NaN. Everything runs on logarithms, so that no order
    overflows; near p = 0 four cumulants of ln s replace the quotient. A weight of 0
    leaves a task out.
    Cost: O(k) a row, a logarithm and an exponential an entry.
    Raises: TypeError or ValueError for bad shapes or kinds, p = NaN, and, where they
    are known, NaN or infinite scores, scores that p does not allow, negative weights, a
    row without a task.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.evaluation import power_mean
        >>> scores = jnp.array([2.0, 8.0])
        >>> print([f"{power_mean(scores, p):.2f}" for p in (-1, 0, 0.5, 1, 2)])
        ['3.20', '4.00', '4.50', '5.00', '5.83']
    """
    return checked_mean("power_mean", scores, p, weights, where)


def arithmetic_mean(
    scores: jax.Array,
    *,
    weights: jax.Array | None = None,
    where: jax.Array | None = None,
) -> jax.Array:
    """The weighted arithmetic mean of the scores along the last axis.

    sum_k w_k s_k, ``power_mean`` of order 1: scores of any sign.

    Shapes: scores [..., k] -> [...]; weights and where as in ``power_mean``.
    Article: kexue.fm/archives/8783.  Paper: arXiv 2112.01342.
    Differs: a score that is missing must be named in ``where``: NaN is refused.
    Cost: O(k) a row.
    Raises: as ``power_mean`` does.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.evaluation import arithmetic_mean
        >>> print(arithmetic_mean(jnp.array([2.0, 8.0]), weights=jnp.array([3.0, 1.0])))
        3.5
    """
    return checked_mean("arithmetic_mean", scores, 1, weights, where)


def geometric_mean(
    scores: jax.Array,
    *,
    weights: jax.Array | None = None,
    where: jax.Array | None = None,
) -> jax.Array:
    """The weighted geometric mean of positive scores along the last axis.

    exp(sum_k w_k ln s_k), ``power_mean`` of order 0: about mean - variance / (2 mean)
    for a small spread. Scaling a task for all rows changes no order of rows; turning
    accuracies into error rates may: it means scores of which higher is better.

    Shapes: scores [..., k] -> [...]; weights and where as in ``power_mean``.
    Article: kexue.fm/archives/8783.  Paper: arXiv 2112.01342.
    Differs: scores of 0 and below are refused, where common code gives 0 or NaN.
    Cost: O(k) a row.
    Raises: as ``power_mean`` does.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.evaluation import geometric_mean
        >>> print(f"{geometric_mean(jnp.array([2.0, 8.0])):.3f}")
        4.000
    """
    return checked_mean("geometric_mean", scores, 0, weights, where)


def harmonic_mean(
    scores: jax.Array,
    *,
    weights: jax.Array | None = None,
    where: jax.Array | None = None,
) -> jax.Array:
    """The weighted harmonic mean of positive scores along the last axis.

    1 / sum_k (w_k / s_k), ``power_mean`` of order -1: about mean - variance / mean for
    a small spread; total over total where scores are rates over equal work.

    Shapes: scores [..., k] -> [...]; weights and where as in ``power_mean``.
    Article: kexue.fm/archives/8783.  Paper: arXiv 2112.01342.
    Differs: scores of 0 and below are refused, where common code gives 0 or nonsense.
    Cost: O(k) a row.
    Raises: as ``power_mean`` does.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.evaluation import harmonic_mean
        >>> print(f"{harmonic_mean(jnp.array([2.0, 8.0])):.3f}")
        3.200
    """
    return checked_mean("harmonic_mean", scores, -1, weights, where)


def checked_mean(
    name: str, scores: Any, p: Any, weights: Any = None, where: Any = None
) -> jax.Array:
    """``power_mean`` for the function ``name``, which its errors are to name."""
    return wide_mean(name, scores, p, weights, where).astype(scores.dtype)


def wide_mean(
    name: str, scores: Any, p: Any, weights: Any = None, where: Any = None
) -> jax.Array:
    """``checked_mean`` in at least float32: ranks must not see the rounding."""
    order = order_of(name, p)
    kept = check_scores(name, scores, weights, where)
    _check_values(name, scores, order, weights, kept)
    return mean_of(scores, order, weights, kept)


def order_of(name: str, p: Any) -> Order:
    """A static order as a float, one that may be traced as an array []."""
    if isinstance(p, (jax.Array, np.ndarray)):
        checks.array(name, "p", p)
        checks.shapes(name, p=(p, ""))
        return jnp.asarray(p)
    number = isinstance(p, (int, float, np.integer, np.floating))
    if isinstance(p, bool) or not number:
        raise checks.fail_type(name, "p", f"a {type(p).__name__}", "a number")
    if math.isnan(p):
        raise checks.fail(name, "p", p, "a number, infinite or not")
    return float(p)


def check_scores(name: str, scores: Any, weights: Any, where: Any) -> Any:
    """Raise unless kinds and shapes are right; the mask, all True for None."""
    checks.array(name, "scores", scores)
    checks.shapes(name, scores=(scores, "... k"))
    if scores.shape[-1] == 0:
        wanted = "of at least one task along the last axis"
        raise checks.fail(name, "scores", f"shape {scores.shape}", wanted)
    if weights is not None:
        checks.array(name, "weights", weights)
        if weights.shape not in (scores.shape[-1:], scores.shape):
            wanted = f"of shape [{scores.shape[-1]}] or {scores.shape}"
            raise checks.fail(name, "weights", f"shape {weights.shape}", wanted)
    if where is None:
        return np.ones(scores.shape, bool)
    checks.array(name, "where", where, "boolean")
    checks.broadcastable(name, "where", where, scores.shape)
    return where


def _check_values(name: str, scores: Any, p: Order, weights: Any, where: Any) -> None:
    """Raise for values that are known and for which there is no such mean."""
    shape = scores.shape
    mask = checks.known(where)
    if mask is None:
        return
    mask = np.broadcast_to(mask, shape)
    weights = None if weights is None else checks.known(weights)
    if weights is not None:
        if not (np.isfinite(weights).all() and (weights >= 0).all()):
            raise checks.fail(name, "weights", "others", "finite and not negative")
        mask = mask & (weights > 0).reshape(
            (1,) * (len(shape) - weights.ndim) + (weights.shape)
        )
        if not mask.any(-1).all():
            raise checks.fail(name, "weights", "a row of zeros", "above 0 somewhere")
    if not mask.any(-1).all():
        raise checks.fail(name, "where", "a row without", "True for a task a row")
    values = checks.known(scores)
    if values is None or not values.size:
        return
    values = values.astype(np.float64)[mask]
    if not np.isfinite(values).all():
        wanted = "finite wherever `where` keeps it (a missing score is False there)"
        raise checks.fail(name, "scores", "NaN or infinite entries", wanted)
    low = values.min()
    unbounded = isinstance(p, float) and (p == 1 or math.isinf(p))
    order = checks.known(p)
    zeros = order is not None and order > 0
    if not unbounded and not (low >= 0 if zeros else low > 0):
        wanted = f"{'not negative' if zeros else 'positive'} for a mean of order {p}"
        raise checks.fail(name, "scores", low, wanted)


def mean_of(scores: Any, p: Order, weights: Any, where: Any) -> jax.Array:
    """The mean in at least float32 without checks of values: NaN where is none."""
    dtype = accumulation_dtype(scores)
    s, kept = jnp.asarray(scores, dtype), jnp.broadcast_to(where, scores.shape)
    if weights is None:
        w = kept.astype(dtype)
    else:
        w = jnp.broadcast_to(_lifted(jnp.asarray(weights, dtype), s.ndim), s.shape)
        kept = kept & (w > 0)
        w = jnp.where(kept, w, 0)
    w = w / jnp.sum(w, -1, keepdims=True)
    if isinstance(p, float) and p == 1:
        found = jnp.sum(w * jnp.where(kept, s, 0), -1)
    elif isinstance(p, float) and math.isinf(p):
        sign = 1 if p > 0 else -1
        found = sign * jnp.max(jnp.where(kept, sign * s, -jnp.inf), -1)
    else:
        # Beyond the limit the mean is the largest or smallest score to rounding.
        limit = float(jnp.finfo(dtype).max) ** 0.5
        if isinstance(p, float):
            p = min(max(p, -limit), limit)
        order = jnp.clip(jnp.asarray(p, dtype), -limit, limit)
        found = _by_logarithms(s, order, w, kept)
    return jnp.where(jnp.any(kept, -1), found, jnp.nan)


def _lifted(array: jax.Array, rank: int) -> jax.Array:
    """The array with leading axes of size 1 up to ``rank``."""
    return array.reshape((1,) * (rank - array.ndim) + array.shape)


def _by_logarithms(
    s: jax.Array, p: jax.Array, w: jax.Array, kept: jax.Array
) -> jax.Array:
    """M_p = exp(c + ln(sum w exp(p u)) / p) with u = ln s - c, c the mean of ln s."""
    positive = kept & (s > 0)
    zero = kept & (s == 0)
    none = jnp.any(kept & ~positive & ~(zero & (p > 0)), -1)
    logs = jnp.log(jnp.where(positive, s, 1))
    center = jnp.sum(w * logs, -1)
    u = jnp.where(positive, logs - center[..., None], 0)
    # Where the quotient's slope by p cancels and the series of p no longer errs.
    small = float(jnp.finfo(s.dtype).eps) ** 0.25
    near = jnp.abs(p) * jnp.max(jnp.abs(u), -1) < small
    near = near & ~jnp.any(zero, -1)
    far = _log_quotient(u, jnp.where(near, 1, p), w, positive)
    close = _series(u, jnp.where(near, p, 0), w)
    mean = jnp.exp(center + jnp.where(near, close, far))
    return jnp.where(none, jnp.nan, mean)


def _series(u: jax.Array, p: jax.Array, w: jax.Array) -> jax.Array:
    """ln(sum w exp(p u)) / p to the third power of p, for sum w u = 0."""
    second, third, fourth = (jnp.sum(w * u**k, -1) for k in (2, 3, 4))
    fourth = fourth - 3 * second**2
    return p * (second / 2 + p * (third / 6 + p * fourth / 24))


def _log_quotient(
    u: jax.Array, p: jax.Array, w: jax.Array, positive: jax.Array
) -> jax.Array:
    """ln(sum w exp(p u)) / p over positive scores, -inf without one; p of one a row.

    t + ln(1 + sum w (exp(p (u - t)) - 1)) / p loses nothing where p u is small and t is
    0, and does not overflow where t is the u of the largest p u. Scores of 0 have
    exp(p u) = 0.
    """
    fixed, order = jax.lax.stop_gradient((u, p))
    sign = jnp.where(order < 0, -1, 1)[..., None].astype(u.dtype)
    top = jnp.max(jnp.where(positive, sign * fixed, -jnp.inf), -1) * sign[..., 0]
    wide = jnp.abs(order) * jnp.max(jnp.abs(fixed), -1) > 1
    some = jnp.any(positive, -1)
    top = jnp.where(wide & some, top, 0)
    parts = jnp.where(positive, p[..., None] * (u - top[..., None]), 0)
    total = jnp.sum(w * jnp.where(positive, jnp.expm1(parts), -1), -1)
    found = top + jnp.log1p(jnp.where(some, total, 0)) / p
    return jnp.where(some, found, -jnp.inf)
