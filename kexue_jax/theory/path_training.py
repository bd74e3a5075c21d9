"""Gradient descent that writes down what each sample has added to each prediction."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax._base import checks
from kexue_jax.theory._steps import check_loss
from kexue_jax.theory.path_kernel import Loss, path_step
from kexue_jax.theory.tangent_kernel import Apply, check_apply, check_inputs, high

REDUCTIONS = ("sum", "mean")


class PathTrace(NamedTuple):
    """A training, and the sum that a prediction is.

    ``final`` [a] or [a, k] = ``initial`` + ``attributions`` [a, n] or [a, n, k] summed
    over the n samples + ``residual``, what the sum misses; ``params`` are the last.

    Article: kexue.fm/archives/8009.
    """

    params: Any
    attributions: jax.Array
    initial: jax.Array
    final: jax.Array
    residual: jax.Array


def train_with_path_kernel(
    apply_fn: Apply,
    loss: Loss,
    params: Any,
    x: jax.Array,
    y: Any,
    order: jax.Array,
    learning_rate: jax.Array | float,
    x_test: jax.Array,
    *,
    reduction: str = "sum",
    nodes: int = 0,
    record_every: int = 1,
    chunk: int | None = None,
) -> PathTrace:
    """Training by gradient descent, with what each sample has added to predictions.

    Step s goes along minus the gradient of the sum (or mean) of loss(f(x_i), y_i) over
    i in order[s], times learning_rate (or its entry s), and adds ``path_step`` of
    these samples to their attributions: nodes=0 the Riemann sum, wrong by O(rate) in
    total; nodes > 0 exact but for the quadrature. With ``record_every`` = r > 1 and
    nodes=0 the kernel is computed at every r-th step only and integrated by trapezoids,
    each sample weighed by its visits between.

    Shapes: x [n, *d], y [n, ...] or a tree of such; order [steps, b], integers from 0
    to n - 1; learning_rate [] or [steps]; x_test [a, *d] -> PathTrace.
    Article: kexue.fm/archives/8009.  Paper: arXiv 2012.00152, 2308.00824.
    Differs: the article has the limit of a small rate and all samples at each step.
    Attributions are summed with the rounding errors carried along. What f_T - f_0 adds
    up to holds for one function of (params, x): no statistics of a batch, and dropout
    under the key of each step in ``path_step`` alone.
    Cost: a step of training and a ``path_step`` of its b samples each; with
    ``record_every`` = r > 1 a ``path_step`` of all n samples once in r steps, n / r a
    step, which pays where r > n / b. Memory of the attributions, with r > 1 half as
    much again, and of ``path_step``.
    Raises: TypeError or ValueError for a bad argument.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import train_with_path_kernel as train
        >>> square, one = lambda f, y: (f - y) ** 2 / 2, jnp.ones((1, 1))
        >>> order = jnp.zeros((3, 1), int)
        >>> data = jnp.zeros(1), one, one[0]
        >>> print(train(jnp.vdot, square, *data, order, 0.5, 2 * one).attributions)
        [[1.75]]
    """
    name = "train_with_path_kernel"
    outs = _check_data(name, apply_fn, loss, params, x, y, x_test)
    _check_course(name, order, learning_rate, reduction, nodes, record_every)
    if chunk is not None:
        checks.count(name, "chunk", chunk)
    kept, dtype = params, x_test.dtype
    params, x, x_test = high((params, x, x_test))
    rates = jnp.broadcast_to(jnp.asarray(learning_rate, x.dtype), order.shape[:1])
    if reduction == "mean":
        rates = rates / order.shape[1]

    one, several, velocity = _steps(apply_fn, loss, x, y, x_test, nodes, chunk)
    zeros = jnp.zeros((len(x_test), len(x), *((outs,) if outs else ())), x.dtype)
    first: Any = params, (zeros, zeros)
    course = (order, rates)
    if record_every > 1:
        first = *first, velocity(params)
        course = jax.tree.map(
            lambda v: v.reshape(-1, record_every, *v.shape[1:]), course
        )
    (last, (sums, _), *_), _ = lax.scan(
        one if record_every == 1 else several, first, course
    )
    initial, final = (
        jax.vmap(lambda r, p=p: apply_fn(p, r))(x_test) for p in (params, last)
    )
    trace = PathTrace(last, sums, initial, final, final - initial - sums.sum(1))
    trace = jax.tree.map(lambda v: v.astype(dtype), trace)
    return trace._replace(
        params=jax.tree.map(lambda v, p: v.astype(p.dtype), last, kept)
    )


def _steps(
    apply_fn: Apply, loss: Loss, x: Any, y: Any, x_test: Any, nodes: int, chunk: Any
) -> tuple[Any, Any, Any]:
    """The loop's body for each step, that for several, and all velocities at a point.

    A velocity is what a sample adds to a prediction in a unit of time; several steps
    hand the last on, so that each point is computed once.
    """

    def descend(params: Any, ids: jax.Array, rate: jax.Array) -> Any:
        def total(p: Any) -> jax.Array:
            rows = jax.vmap(lambda i: loss(apply_fn(p, x[i]), _row(y, i)))(ids)
            return rows.sum()

        step = jax.grad(total)(params)
        return jax.tree.map(lambda p, g: p - rate * g, params, step)

    def contribution(start: Any, end: Any, ids: Any, weights: jax.Array) -> jax.Array:
        samples = (x, y) if ids is None else (x[ids], _row(y, ids))
        options: dict[str, Any] = {"nodes": nodes, "chunk": chunk}
        return path_step(
            apply_fn, loss, start, end, x_test, *samples, weights, **options
        )

    def one(carry: Any, inputs: Any) -> tuple[Any, None]:
        start, sums = carry
        ids, rate = inputs
        end = descend(start, ids, rate)
        weights = jnp.broadcast_to(rate, ids.shape)
        added = contribution(start, end, ids, weights)
        added = jnp.zeros_like(sums[0]).at[:, ids].add(added)
        return (end, _add(sums, added)), None

    def several(carry: Any, inputs: Any) -> tuple[Any, None]:
        start, sums, before = carry
        ids, rate = inputs
        end, _ = lax.scan(lambda p, s: (descend(p, *s), None), start, inputs)
        spread = jnp.broadcast_to(rate[:, None], ids.shape).ravel()
        visits = jnp.zeros(x.shape[0], x.dtype).at[ids.ravel()].add(spread)
        visits = visits.reshape(1, -1, *(1,) * (before.ndim - 2))
        after = velocity(end)
        sums = _add(sums, visits * (before + after) / 2)
        return (end, sums, after), None

    def velocity(point: Any) -> jax.Array:
        return contribution(point, point, None, jnp.ones(x.shape[0], x.dtype))

    return one, several, velocity


def _row(y: Any, ids: jax.Array) -> Any:
    return jax.tree.map(lambda leaf: leaf[ids], y)


def _add(sums: tuple[jax.Array, jax.Array], added: jax.Array) -> Any:
    """Kahan's sum: the total and what its rounding has lost."""
    total, lost = sums
    corrected = added - lost
    new = total + corrected
    return new, (new - total) - corrected


def _check_data(
    name: str, apply_fn: Any, loss: Any, params: Any, x: Any, y: Any, x_test: Any
) -> int | None:
    check_inputs(name, "x", x)
    check_inputs(name, "x_test", x_test)
    if x_test.shape[1:] != x.shape[1:]:
        got, wanted = f"shape {x_test.shape}", f"of rows of shape {x.shape[1:]}"
        raise checks.fail(name, "x_test", got, wanted)
    outs = check_apply(name, apply_fn, params, x)
    check_loss(name, loss, outs, x, y)
    return outs


def _check_course(
    name: str, order: Any, rate: Any, reduction: Any, nodes: Any, every: Any
) -> None:
    checks.array(name, "order", order, "integer")
    if order.ndim != 2 or 0 in order.shape:
        wanted = "of shape [steps, b], neither of them 0"
        raise checks.fail(name, "order", f"shape {order.shape}", wanted)
    if checks.is_array(rate) and rate.ndim:
        checks.array(name, "learning_rate", rate)
        checks.shapes(name, order=(order, "s b"), learning_rate=(rate, "s"))
    elif not (checks.is_array(rate) and jnp.issubdtype(rate.dtype, jnp.floating)):
        checks.number(name, "learning_rate", rate, traced=True)
    checks.choice(name, "reduction", reduction, REDUCTIONS)
    checks.count(name, "nodes", nodes, minimum=0)
    checks.count(name, "record_every", every)
    if every > 1 and nodes:
        raise checks.fail(name, "record_every", every, "1 where `nodes` is not 0")
    if order.shape[0] % every:
        wanted = f"a divisor of the {order.shape[0]} steps of `order`"
        raise checks.fail(name, "record_every", every, wanted)
