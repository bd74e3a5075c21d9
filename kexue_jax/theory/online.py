"""Gradient descent on a stream of losses, with what its regret is made of."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks, trees
from kexue_jax._base.masks import safe_root
from kexue_jax._base.numerics import accumulation_dtype


class OnlineTrace(NamedTuple):
    """What ``online_sgd`` saw in T steps.

    ``params`` theta_{T+1}; ``mean`` the mean of theta_1..theta_T and ``weighted_mean``
    that weighted by the rates; ``losses`` [T] L_t(theta_t), before step t; ``rates``
    and ``gradient_norms`` [T]. With a comparator ``excess`` [T], L_t(theta_t) less
    L_t(comparator), and ``distances`` [T + 1], |theta_t - comparator|; else None.
    """

    params: Any
    mean: Any
    weighted_mean: Any
    losses: jax.Array
    rates: jax.Array
    gradient_norms: jax.Array
    excess: jax.Array | None
    distances: jax.Array | None


def online_sgd(
    f: Callable[[Any, Any], jax.Array],
    params: Any,
    batches: Any,
    *,
    schedule: Callable[[jax.typing.ArrayLike], Any],
    projection: Callable[[Any], Any] | None = None,
    comparator: Any = None,
) -> OnlineTrace:
    """Projected stochastic gradient descent over a stream of batches, and its trace.

    theta_{t+1} = projection(theta_t - eta_t grad f(theta_t, batch_t)),
    eta_t = schedule(t - 1), t = 1..T, from theta_1 = params.

    Shapes: f a function of params (a tree) and of one batch to a scalar, batches a tree
    of arrays [T, *], comparator a tree as params -> OnlineTrace.
    Article: kexue.fm/archives/9902, 11469.  Paper: Zinkevich 2003.
    Differs: schedules count from 0, as optax's do, the article from 1; losses are those
    before the step, as the theorem has them. Everything runs in at least float32. The
    theorem is not about momentum, Adam or decoupled decay; an L2 term within f it
    covers, at another bound of the gradients.
    Cost: one gradient and one projection a step, one loss more with a comparator; no
    iterate is kept.
    Raises: TypeError or ValueError for an ``f``, a schedule or a projection that is no
    function of the right result, params or a comparator that are no floating arrays or
    not alike, batches without a common length.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import online_sgd
        >>> f = lambda p, g: g * p
        >>> trace = online_sgd(f, jnp.array(1.0), jnp.ones(3), schedule=lambda t: 0.5)
        >>> print(trace.losses, trace.params, trace.mean)
        [1.  0.5 0. ] -0.5 0.5
    """
    name = "online_sgd"
    length = _checked(name, f, params, batches, schedule, projection, comparator)
    like = params
    params, comparator = (
        jax.tree.map(lambda p: jnp.asarray(p, accumulation_dtype(p)), tree)
        for tree in (params, comparator)
    )
    number = accumulation_dtype(*jax.tree.leaves(params))

    def step(carry: Any, batch: Any) -> Any:
        count, theta, mean, weighted, total = carry
        rate = jnp.asarray(schedule(count), number)
        loss, grads = jax.value_and_grad(f)(theta, batch)
        seen = [loss, rate, _length(grads)]
        if comparator is not None:
            seen += [loss - f(comparator, batch), _distance(theta, comparator)]
        total = total + rate
        share = jnp.where(total > 0, rate / jnp.where(total > 0, total, 1), 0)
        mean = _toward(mean, theta, 1 / (count + 1).astype(number))
        weighted = _toward(weighted, theta, share)
        theta = jax.tree.map(lambda p, g: p - (rate * g).astype(p.dtype), theta, grads)
        theta = theta if projection is None else projection(theta)
        return (count + 1, theta, mean, weighted, total), seen

    start = (jnp.zeros((), jnp.int32), params, params, params, jnp.zeros((), number))
    (_, theta, mean, weighted, _), seen = jax.lax.scan(
        step, start, batches, length=length
    )
    results = [
        jax.tree.map(lambda a, p: a.astype(p.dtype), t, like)
        for t in (theta, mean, weighted)
    ]
    if comparator is not None:
        seen[4] = jnp.append(seen[4], _distance(theta, comparator))
    out = jnp.result_type(*jax.tree.leaves(like))
    found = [a.astype(out) for a in seen] + [None] * (5 - len(seen))
    return OnlineTrace(*results, *found)


def regret(
    losses: jax.Array, f: Callable[[Any, Any], jax.Array], comparator: Any, batches: Any
) -> jax.Array:
    """The average regret after each step against one fixed choice of parameters.

    sum_{s<=t} [losses_s - f(comparator, batches_s)] / t.

    Shapes: losses [T], f a function of params and of one batch to a scalar, comparator
    a tree, batches a tree of arrays [T, *] -> [T].
    Article: kexue.fm/archives/9902.  Paper: Zinkevich 2003.
    Differs: the regret of the article is that against the losses that were drawn; its
    L(theta) of the population is another number at any T.
    Cost: T losses at once, a prefix sum.
    Raises: TypeError or ValueError for losses that are no floating [T], an ``f`` that
    gives no scalar, batches of another length.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import regret
        >>> losses, batches = jnp.array([1.0, 0.5]), jnp.ones(2)
        >>> print(regret(losses, lambda p, g: g * p, jnp.array(-1.0), batches))
        [2.   1.75]
    """
    name = "regret"
    checks.array(name, "losses", losses)
    checks.shapes(name, losses=(losses, "T"))
    checks.function(name, "f", f)
    length = _length_of(name, batches)
    if length != losses.shape[0]:
        wanted = f"of length {losses.shape[0]}, as losses are"
        raise checks.fail(name, "batches", f"length {length}", wanted)
    _check_params(name, "comparator", comparator)
    _check_scalar(name, f, comparator, batches)
    theirs = jax.vmap(f, (None, 0))(comparator, batches)
    wide = accumulation_dtype(losses, theirs)
    excess = jnp.cumsum(losses.astype(wide) - theirs.astype(wide))
    counts = jnp.arange(1, length + 1, dtype=wide)
    return (excess / counts).astype(losses.dtype)


def _toward(tree: Any, target: Any, share: jax.Array) -> Any:
    return jax.tree.map(lambda a, b: a + share.astype(a.dtype) * (b - a), tree, target)


def _length(tree: Any) -> jax.Array:
    """The Euclidean norm of all entries, with a gradient of 0 at 0."""
    total: Any = sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree))
    return safe_root(total)


def _distance(tree: Any, other: Any) -> jax.Array:
    return _length(jax.tree.map(jnp.subtract, tree, other))


def _checked(
    name: str,
    f: Any,
    params: Any,
    batches: Any,
    schedule: Any,
    projection: Any,
    other: Any,
) -> int:
    """The number of steps, after the checks of all arguments."""
    checks.function(name, "f", f)
    checks.function(name, "schedule", schedule)
    if projection is not None:
        checks.function(name, "projection", projection)
    _check_params(name, "params", params)
    length = _length_of(name, batches)
    _check_scalar(name, f, params, batches)
    if other is not None:
        _check_params(name, "comparator", other)
        _check_alike(name, "comparator", other, params)
    rate = jax.eval_shape(schedule, jax.ShapeDtypeStruct((), jnp.int32))
    if jnp.shape(rate) != ():
        got = f"a result of shape {jnp.shape(rate)}"
        raise checks.fail(name, "schedule", got, "a function of a step to a scalar")
    if projection is not None:
        _check_alike(name, "projection", jax.eval_shape(projection, params), params)
    return length


def _check_alike(name: str, argument: str, tree: Any, params: Any) -> None:
    def shapes(tree: Any) -> Any:
        return [leaf.shape for leaf in jax.tree.leaves(tree)]

    same = jax.tree.structure(tree) == jax.tree.structure(params)
    if not same or shapes(tree) != shapes(params):
        wanted = "of the names and shapes of params"
        raise checks.fail(name, argument, f"shapes {shapes(tree)}", wanted)


def _check_params(name: str, argument: str, params: Any) -> None:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    for path, leaf in leaves:
        if not (checks.is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating)):
            got = f"a {type(leaf).__name__} at {trees.path_name(path) or 'the root'}"
            raise checks.fail_type(name, argument, got, "a tree of floating arrays")
    if not leaves:
        raise checks.fail_type(name, argument, "no leaves", "a tree of floating arrays")


def _length_of(name: str, batches: Any) -> int:
    """The common first axis of all leaves."""
    lengths = set()
    for leaf in jax.tree.leaves(batches, is_leaf=lambda v: v is None):
        if not checks.is_array(leaf):
            got = f"a {type(leaf).__name__}"
            raise checks.fail_type(name, "batches", got, "a tree of arrays [T, ...]")
        checks.array(name, "batches", leaf, "number")
        lengths.add(leaf.shape[0] if leaf.ndim else 0)
    if len(lengths) != 1 or lengths == {0}:
        got = f"first axes {sorted(lengths)}"
        raise checks.fail(name, "batches", got, "a tree of arrays [T, ...], T >= 1")
    return lengths.pop()


def _check_scalar(name: str, f: Any, params: Any, batches: Any) -> None:
    first = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), batches)
    result = jax.eval_shape(f, params, first)
    floating = hasattr(result, "dtype") and jnp.issubdtype(result.dtype, jnp.floating)
    if not floating or result.shape != ():
        raise checks.fail(
            name, "f", f"a result {result}", "a function to a real scalar"
        )
