"""Ranks of systems, and how much they hang on the mean and on the tasks."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.masks import safe_divide
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.evaluation.means import wide_mean

METHODS = ("min", "average", "dense")


class RankAgreement(NamedTuple):
    """tau: Kendall's tau-b; pairs ordered alike, and pairs turned around (int32)."""

    tau: jax.Array
    concordant: jax.Array
    inversions: jax.Array


class RankSensitivity(NamedTuple):
    """Means and ranks of m systems under P orders, and how the orders agree.

    values and ranks [..., P, m]; tau and inversions [..., P, P].
    """

    values: jax.Array
    ranks: jax.Array
    tau: jax.Array
    inversions: jax.Array


def rank(
    values: jax.Array, *, method: str = "min", tolerance: float = 0.0
) -> jax.Array:
    """The rank of each value along the last axis, 1 for the highest.

    Sorted downward, a run of values each within ``tolerance`` of the next is a tie.
    "min": 1 + the number of values above the tie; "average": the mean of the places
    that the tie takes; "dense": 1 + the number of ties above.

    Shapes: values [..., m] -> [..., m] of int32, of the dtype of values for "average".
    Article: kexue.fm/archives/8783.  Paper: none.
    Differs: scores published with one decimal tie within 0.05 or so: say it by
    ``tolerance``. NaN comes last.
    Cost: O(m log m) a row; no gradient.
    Raises: TypeError or ValueError unless values are floating, ``method`` is one of the
    three and ``tolerance`` is not negative.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.evaluation import rank
        >>> values = jnp.array([90.0, 92.0, 90.0, 80.0])
        >>> print(rank(values), rank(values, method="average"))
        [2 1 2 4] [2.5 1.  2.5 4. ]
    """
    _check_ranking("rank", method, tolerance)
    checks.array("rank", "values", values)
    checks.shapes("rank", values=(values, "... m"))
    return ranks_of(values, method, tolerance)


def _check_ranking(name: str, method: str, tolerance: float) -> None:
    checks.choice(name, "method", method, METHODS)
    checks.number(name, "tolerance", tolerance, minimum=0)


def ranks_of(values: jax.Array, method: str, tolerance: float) -> jax.Array:
    """``rank`` without checks."""
    count = values.shape[-1]
    if count == 0:
        kind = values.dtype if method == "average" else jnp.int32
        return jnp.zeros(values.shape, kind)
    v = jnp.asarray(jax.lax.stop_gradient(values), accumulation_dtype(values))
    order = jnp.argsort(-v, axis=-1, stable=True)
    descending = jnp.take_along_axis(v, order, -1)
    above, below = descending[..., :-1], descending[..., 1:]
    tied = (above == below) | (above - below <= tolerance)  # inf - inf is NaN
    opens = jnp.concatenate([jnp.ones_like(tied, shape=(*v.shape[:-1], 1)), ~tied], -1)
    axis = v.ndim - 1
    place = jnp.broadcast_to(jnp.arange(1, count + 1, dtype=jnp.int32), v.shape)
    if method == "dense":
        found = jnp.cumsum(opens, -1, dtype=jnp.int32)
    else:
        found = jax.lax.cummax(jnp.where(opens, place, 0), axis)
    if method == "average":
        closes = jnp.concatenate([opens[..., 1:], jnp.ones_like(opens[..., :1])], -1)
        last = jnp.where(closes, place, count)
        last = jax.lax.cummin(last, axis, reverse=True)
        found = ((found + last) / 2).astype(values.dtype)
    return jnp.take_along_axis(found, jnp.argsort(order, axis=-1), -1)


def kendall_tau(a: jax.Array, b: jax.Array) -> RankAgreement:
    """Kendall's tau-b between two scorings of m systems, with the counts of pairs.

    tau = (C - D) / sqrt((C + D + T_a) (C + D + T_b)): C pairs are ordered alike, D
    (``inversions``) the other way around, T_a are tied in a alone and T_b in b alone.
    It is 0 where all of a or all of b are tied. NaN is tied with everything.

    Shapes: a, b [..., m] -> three of [...].
    Article: kexue.fm/archives/8783.  Paper: Kendall 1945 (ties).
    Differs: no.
    Cost: O(m^2) a row; no gradient.
    Raises: TypeError or ValueError unless a and b are floating, of one shape and dtype,
    with at least two systems.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.evaluation import kendall_tau
        >>> a, b = jnp.array([3.0, 2.0, 1.0]), jnp.array([3.0, 1.0, 2.0])
        >>> print(f"{kendall_tau(a, b).tau:.3f}", kendall_tau(a, b).inversions)
        0.333 1
    """
    for argument, value in (("a", a), ("b", b)):
        checks.array("kendall_tau", argument, value)
    checks.shapes("kendall_tau", a=(a, "... m"), b=(b, "... m"))
    checks.same_dtype("kendall_tau", a=a, b=b)
    if a.shape[-1] < 2:
        raise checks.fail("kendall_tau", "a", f"shape {a.shape}", "of two systems")
    return _agreement(a, b)


def _agreement(a: jax.Array, b: jax.Array) -> RankAgreement:
    dtype = accumulation_dtype(a, b)
    first, second = (
        (v[..., :, None] > v[..., None, :]).astype(jnp.int32)
        - (v[..., :, None] < v[..., None, :]).astype(jnp.int32)
        for v in (jax.lax.stop_gradient(a), jax.lax.stop_gradient(b))
    )

    def pairs(which: jax.Array) -> jax.Array:
        return jnp.sum(which, (-2, -1), dtype=jnp.int32) // 2

    alike, turned = pairs(first * second > 0), pairs(first * second < 0)
    ordered = [pairs(v != 0).astype(dtype) for v in (first, second)]
    tau = safe_divide(
        (alike - turned).astype(dtype), jnp.sqrt(ordered[0]) * jnp.sqrt(ordered[1])
    )
    return RankAgreement(tau.astype(a.dtype), alike, turned)


def rank_sensitivity(
    scores: jax.Array,
    *,
    orders: Sequence[float] = (1.0, 0.0, -1.0),
    weights: jax.Array | None = None,
    where: jax.Array | None = None,
) -> RankSensitivity:
    """Means, ranks and agreement of m systems under power means of several orders.

    values[i] = M_{orders[i]} of each system's scores; ranks by method "min"; tau and
    inversions between orders i and j.

    Shapes: scores [..., m, k], weights [k] or as scores, where broadcastable to scores
    -> values, ranks [..., P, m], tau, inversions [..., P, P].
    Article: kexue.fm/archives/8783.  Paper: arXiv 2112.01342.
    Differs: no.
    Cost: O(P m (k + log m) + P^2 m^2).
    Raises: TypeError or ValueError as ``power_mean`` does, and unless ``orders`` is a
    sequence of at least one order and there are two systems.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.evaluation import rank_sensitivity
        >>> found = rank_sensitivity(jnp.array([[60.0, 10.0], [34.0, 33.0]]))
        >>> print(found.ranks.tolist(), found.inversions[0].tolist())
        [[1, 2], [2, 1], [2, 1]] [0, 1, 1]
    """
    name = "rank_sensitivity"
    _check_table(name, scores)
    if not isinstance(orders, Sequence) or isinstance(orders, str) or not orders:
        got, wanted = repr(orders), "a sequence of numbers, not empty"
        raise checks.fail_type(name, "orders", got, wanted)
    for order in orders:
        checks.number(name, "orders", order)
    means = [wide_mean(name, scores, p, weights, where) for p in orders]
    wide = jnp.stack(means, -2)
    pairs = _agreement(wide[..., :, None, :], wide[..., None, :, :])
    ranks = ranks_of(wide, "min", 0.0)
    values, tau = (part.astype(scores.dtype) for part in (wide, pairs.tau))
    return RankSensitivity(values, ranks, tau, pairs.inversions)


def _check_table(name: str, scores: jax.Array) -> None:
    checks.array(name, "scores", scores)
    checks.shapes(name, scores=(scores, "... m k"))
    if scores.shape[-2] < 2:
        wanted = "of two systems along axis -2"
        raise checks.fail(name, "scores", f"shape {scores.shape}", wanted)


def leave_one_out_ranks(
    scores: jax.Array, p: float | jax.Array, *, weights: jax.Array | None = None
) -> jax.Array:
    """The ranks of m systems with one task after the other left out.

    Entry [j, i] is the rank (method "min") of system i under the power mean of order p
    over the tasks other than j.

    Shapes: scores [..., m, k], p a number or [], weights [k] or as scores ->
    [..., k, m] of int32.
    Article: kexue.fm/archives/8783.  Paper: none.
    Differs: no.
    Cost: O(k m (k + log m)).
    Raises: TypeError or ValueError as ``power_mean`` does, and unless there are two
    systems and two tasks.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.evaluation import leave_one_out_ranks
        >>> scores = jnp.array([[90.0, 50.0, 70.0], [60.0, 60.0, 72.0]])
        >>> print(leave_one_out_ranks(scores, 1).tolist())
        [[2, 1], [1, 2], [1, 2]]
    """
    name = "leave_one_out_ranks"
    _check_table(name, scores)
    tasks = scores.shape[-1]
    if tasks < 2:
        wanted = "of two tasks along axis -1"
        raise checks.fail(name, "scores", f"shape {scores.shape}", wanted)
    shape = (*scores.shape[:-2], tasks, *scores.shape[-2:])
    each = jnp.broadcast_to(jnp.asarray(scores)[..., None, :, :], shape)
    left = ~jnp.eye(tasks, dtype=bool)[:, None, :]
    left = left.reshape((1,) * (len(shape) - 3) + left.shape)
    if weights is not None and checks.is_array(weights) and weights.ndim > 1:
        checks.shapes(name, scores=(scores, "*s"), weights=(weights, "*s"))
        weights = jnp.broadcast_to(jnp.asarray(weights)[..., None, :, :], shape)
    return ranks_of(wide_mean(name, each, p, weights, left), "min", 0.0)


def bootstrap_ranks(
    key: jax.Array, scores: jax.Array, p: float | jax.Array, *, samples: int = 1000
) -> jax.Array:
    """The ranks of m systems on tasks drawn anew, with replacement, again and again.

    Each sample is k tasks ``jax.random.randint(key, (samples, k), 0, k)``; a task that
    is drawn twice counts twice. Ranks by method "min" of the power mean of order p.

    Shapes: scores [..., m, k], p a number or [] -> [..., samples, m] of int32.
    Article: kexue.fm/archives/8783.  Paper: none.
    Differs: no.
    Cost: O(samples m (k + log m)) time, as much memory for its means.
    Raises: TypeError or ValueError as ``power_mean`` does, and unless there are two
    systems and ``samples`` is an integer of at least 1.
    Example:
        >>> import jax
        >>> from kexue_jax.evaluation import bootstrap_ranks
        >>> scores = jax.numpy.array([[90.0, 80.0, 70.0], [80.0, 70.0, 60.0]])
        >>> print(bootstrap_ranks(jax.random.key(0), scores, 0, samples=2))
        [[1 2]
         [1 2]]
    """
    name = "bootstrap_ranks"
    checks.key(name, "key", key)
    _check_table(name, scores)
    checks.count(name, "samples", samples)
    tasks = scores.shape[-1]
    if tasks == 0:
        wanted = "of at least one task"
        raise checks.fail(name, "scores", f"shape {scores.shape}", wanted)
    drawn = jax.random.randint(key, (samples, tasks), 0, tasks)
    counts = jnp.sum(jax.nn.one_hot(drawn, tasks, dtype=scores.dtype), 1)
    shape = (*scores.shape[:-2], samples, *scores.shape[-2:])
    each = jnp.broadcast_to(jnp.asarray(scores)[..., None, :, :], shape)
    counts = counts[:, None, :].reshape((1,) * (len(shape) - 3) + (samples, 1, tasks))
    weights = jnp.broadcast_to(counts, shape)
    return ranks_of(wide_mean(name, each, p, weights), "min", 0.0)
