"""What each training sample has added to a prediction along the path of training."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from kexue_jax._base import checks
from kexue_jax.theory._steps import check_like, check_samples, check_step
from kexue_jax.theory.tangent_kernel import (
    Apply,
    check_apply,
    check_inputs,
    contract,
    high,
    outputs,
    pairs,
    tangent_kernel,
)

Loss = Callable[[jax.Array, Any], jax.Array]


def sample_displacements(
    apply_fn: Apply, loss: Loss, params: Any, x: jax.Array, y: Any, weights: jax.Array
) -> Any:
    """What each sample moves the parameters in a step of gradient descent.

    d_i = -weights_i dloss(apply_fn(params, x_i), y_i) / dparams = weights_i J(x_i)^T
    alpha_i with alpha_i = -dloss/df; params + sum_i d_i is the next point. For another
    optimizer, linear in the gradients, apply it to each: a momentum sum_r c_r d_i(r), a
    diagonal P d_i; a weight decay is one more row.

    Shapes: apply_fn (params, x [*d]) -> [] or [k]; loss (output, target) -> []; x
    [b, *d], y [b, ...] or a tree of such, weights [b], the learning rate times the
    weight of each sample -> a tree like params with leaves [b, ...].
    Article: kexue.fm/archives/8009.  Paper: arXiv 2012.00152.
    Differs: no.
    Cost: b backward passes, O(b P) memory.
    Raises: TypeError or ValueError for a bad argument.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import sample_displacements
        >>> square = lambda f, y: (f - y) ** 2 / 2
        >>> one, x = jnp.ones(2), jnp.eye(2)
        >>> print(sample_displacements(jnp.vdot, square, one, x, 2 * one, one))
        [[1. 0.]
         [0. 1.]]
    """
    name = "sample_displacements"
    check_samples(name, apply_fn, loss, params, x, y, weights)
    kept = params
    params, x, weights = high((params, x, weights))
    found = jax.vmap(lambda *row: _displacement(apply_fn, loss, params, *row))(
        x, y, weights
    )
    return jax.tree.map(lambda d, p: d.astype(p.dtype), found, kept)


def attribute_step(
    apply_fn: Apply,
    params: Any,
    next_params: Any,
    displacements: Any,
    x_test: jax.Array,
    *,
    nodes: int = 4,
    chunk: int | None = None,
) -> jax.Array:
    """What each displacement of a step has added to each prediction.

    [int_0^1 J_{params + u (next_params - params)}(x) du] d_i, the integral by
    ``nodes`` points of Gauss and Legendre; nodes=0 takes J at ``params``, the Riemann
    sum. Where sum_i d_i = next_params - params the sum over i is f_next(x) - f(x),
    whatever the optimizer and its rate.

    Shapes: apply_fn (params, x [*d]) -> [] or [k]; displacements a tree like params
    with leaves [b, ...]; x_test [a, *d] -> [a, b], or [a, b, k].
    Article: kexue.fm/archives/8009.  Paper: arXiv 2308.00824.
    Differs: the article has J at ``params`` alone, exact only for a rate of 0.
    Cost: a k max(nodes, 1) backward passes and a b k P operations; with ``chunk`` = c
    rows at a time, O(c k P) memory beside the displacements.
    Raises: TypeError or ValueError for a bad argument.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import attribute_step
        >>> cube = lambda params, x: x * params**3
        >>> zero, one = jnp.zeros(()), jnp.ones(())
        >>> print(attribute_step(cube, zero, one, jnp.ones(1), jnp.ones(1), nodes=2))
        [[1.]]
    """
    name = "attribute_step"
    check_step(name, apply_fn, params, next_params, x_test, nodes, chunk)
    check_like(name, "displacements", displacements, params, extra=1)
    dtype = x_test.dtype
    start, end, rows, x = high((params, next_params, displacements, x_test))
    found = _attributed(apply_fn, start, end, rows, x, lambda d: d, nodes, chunk)
    scalar = check_apply(name, apply_fn, params, x_test) is None
    return (found[..., 0] if scalar else found).astype(dtype)


def path_step(
    apply_fn: Apply,
    loss: Loss,
    params: Any,
    next_params: Any,
    x_test: jax.Array,
    x: jax.Array,
    y: Any,
    weights: jax.Array,
    *,
    nodes: int = 0,
    chunk: int | None = None,
) -> jax.Array:
    """What each sample of a step of gradient descent has added to each prediction.

    weights_i [int_0^1 J_{params + u (next_params - params)}(x) du] J_params(x_i)^T
    alpha_i, alpha_i = -dloss/df: ``attribute_step`` of ``sample_displacements``, with
    nodes=0 the tangent kernel K(x, x_i) alpha_i.

    Shapes: x_test [a, *d]; x [b, *d], y [b, ...] or a tree of such, weights [b], the
    learning rate times the weight of each sample -> [a, b], or [a, b, k].
    Article: kexue.fm/archives/8009.  Paper: arXiv 2012.00152, 2308.00824.
    Differs: the exact form (nodes > 0) is not symmetric in x and x_i.
    Cost: a k max(nodes, 1) + b backward passes; with ``chunk`` = c, rows of each set at
    a time: O(c k P) memory, and the passes of x again for every chunk of x_test.
    Raises: TypeError or ValueError for a bad argument.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import path_step
        >>> loss = lambda f, y: (f - y) ** 2 / 2
        >>> start, end, x = jnp.zeros(1), jnp.ones(1), jnp.ones((1, 1))
        >>> print(path_step(jnp.vdot, loss, start, end, 3 * x, x, x[0], x[0]))
        [[3.]]
    """
    name = "path_step"
    check_step(name, apply_fn, params, next_params, x_test, nodes, chunk)
    check_inputs(name, "x", x)
    if x.shape[1:] != x_test.shape[1:]:
        got, wanted = f"shape {x.shape}", f"of rows of shape {x_test.shape[1:]}"
        raise checks.fail(name, "x", got, wanted)
    check_samples(name, apply_fn, loss, params, x, y, weights)
    scalar = check_apply(name, apply_fn, params, x_test) is None
    dtype = x_test.dtype
    wide = high((params, next_params, x_test, x, weights))
    params, next_params, x_test, x, weights = wide

    def displaced(row: Any) -> Any:
        return _displacement(apply_fn, loss, params, *row)

    rows = (x, y, weights)
    steps = params, next_params, rows
    found = _attributed(apply_fn, *steps, x_test, displaced, nodes, chunk)
    return (found[..., 0] if scalar else found).astype(dtype)


def path_change(
    apply_fn: Apply,
    params: Any,
    next_params: Any,
    x_test: jax.Array,
    *,
    nodes: int = 4,
) -> jax.Array:
    """How a step of any optimizer has changed each prediction.

    int_0^1 J_{params + u (next_params - params)}(x) (next_params - params) du by
    ``nodes`` points of Gauss and Legendre, or with J at ``params`` for nodes=0: the sum
    of ``attribute_step`` over all displacements, to compare with f_next(x) - f(x).

    Shapes: x_test [a, *d] -> [a], or [a, k].
    Article: kexue.fm/archives/8009.  Paper: arXiv 2308.00824.
    Differs: no.
    Cost: a max(nodes, 1) forward derivatives, no memory of the size of J.
    Raises: TypeError or ValueError for a bad argument.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import path_change
        >>> cube = lambda params, x: x * params**3
        >>> zero, one = jnp.zeros(()), jnp.ones(())
        >>> print(path_change(cube, zero, one, jnp.ones(1), nodes=2))
        [1.]
    """
    name = "path_change"
    check_step(name, apply_fn, params, next_params, x_test, nodes, None)
    dtype = x_test.dtype
    params, next_params, x_test = high((params, next_params, x_test))
    moved = jax.tree.map(jnp.subtract, next_params, params)

    def change(u: jax.Array) -> jax.Array:
        point = _between(params, moved, u)

        def along(x: jax.Array) -> jax.Array:
            return jax.jvp(lambda p: apply_fn(p, x), (point,), (moved,))[1]

        return jax.vmap(along)(x_test)

    return _integral(change, nodes, x_test.dtype).astype(dtype)


def path_kernel(
    apply_fn: Apply, path: Any, times: jax.Array, xa: jax.Array, xb: jax.Array
) -> jax.Array:
    """The tangent kernel integrated along a path of parameters.

    int K_{path(t)}(x, x') dt, by trapezoids between the points of ``path``.

    Shapes: path a tree of leaves [s, ...], times [s], rising; xa [a, *d], xb [b, *d] ->
    [a, b], or [a, b, k, k].
    Article: kexue.fm/archives/8009.  Paper: arXiv 2012.00152.
    Differs: that of gradient flow, symmetric and positive semidefinite; of single steps
    exactly there is ``path_step``.
    Cost: s tangent kernels, one at a time.
    Raises: TypeError or ValueError for a bad argument.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import path_kernel
        >>> path, times = jnp.zeros((3, 2)), jnp.array([0.0, 1.0, 3.0])
        >>> x = jnp.ones((1, 2))
        >>> print(path_kernel(jnp.vdot, path, times, x, x))
        [[6.]]
    """
    name = "path_kernel"
    checks.array(name, "times", times)
    if times.ndim != 1 or times.shape[0] < 2:
        wanted = "of shape [s] with s > 1"
        raise checks.fail(name, "times", f"shape {times.shape}", wanted)
    if not jax.tree.leaves(path):
        raise checks.fail_type(name, "path", f"a {type(path).__name__}", "a tree")
    for leaf in jax.tree.leaves(path):
        checks.array(name, "path", leaf)
        checks.shapes(name, times=(times, "s"), path=(leaf, "s *d"))
    check_inputs(name, "xa", xa)
    check_inputs(name, "xb", xb)
    if xb.shape[1:] != xa.shape[1:]:
        got, wanted = f"shape {xb.shape}", f"of rows of shape {xa.shape[1:]}"
        raise checks.fail(name, "xb", got, wanted)
    check_apply(name, apply_fn, jax.tree.map(lambda leaf: leaf[0], path), xa)
    dtype = xa.dtype
    path, times, xa, xb = high((path, times, xa, xb))
    half = jnp.diff(times) / 2
    weights = jnp.pad(half, (0, 1)) + jnp.pad(half, (1, 0))

    def add(total: jax.Array, point: Any) -> tuple[jax.Array, None]:
        params, weight = point
        return total + weight * tangent_kernel(apply_fn, params, xa, xb), None

    first = jax.tree.map(lambda leaf: leaf[0], path)
    like = jax.eval_shape(lambda p: tangent_kernel(apply_fn, p, xa, xb), first)
    total, _ = lax.scan(add, jnp.zeros(like.shape, like.dtype), (path, weights))
    return total.astype(dtype)


def _displacement(
    apply_fn: Apply, loss: Loss, params: Any, x: Any, y: Any, weight: jax.Array
) -> Any:
    grads = jax.grad(lambda p: loss(apply_fn(p, x), y))(params)
    return jax.tree.map(lambda g: -weight * g, grads)


def _attributed(
    apply_fn: Apply,
    params: Any,
    next_params: Any,
    samples: Any,
    x_test: jax.Array,
    displaced: Callable[[Any], Any],
    nodes: int,
    chunk: int | None,
) -> jax.Array:
    """[a, b, k]: the mean Jacobian of each test row times each displacement."""
    flat = outputs(apply_fn)
    moved = jax.tree.map(jnp.subtract, next_params, params)

    def left(row: jax.Array) -> Any:
        def at(u: jax.Array) -> Any:
            return jax.jacrev(flat)(_between(params, moved, u), row)

        return _integral(at, nodes, x_test.dtype)

    def both(mean: Any, sample: Any) -> jax.Array:
        step = jax.tree.map(lambda d: d[None], displaced(sample))
        return contract(mean, step)[:, 0]

    return pairs(left, both, x_test, samples, chunk)


def _between(params: Any, moved: Any, u: jax.Array) -> Any:
    return jax.tree.map(lambda p, d: p + u * d, params, moved)


def _integral(at: Callable[[jax.Array], Any], nodes: int, dtype: Any) -> Any:
    """The integral of ``at`` over [0, 1] by Gauss and Legendre; at(0) without nodes."""
    if not nodes:
        return at(jnp.zeros((), dtype))
    places, weights = np.polynomial.legendre.leggauss(nodes)
    points = jnp.asarray((places + 1) / 2, dtype), jnp.asarray(weights / 2, dtype)

    def add(total: Any, point: Any) -> tuple[Any, None]:
        u, weight = point
        return jax.tree.map(lambda t, v: t + weight * v, total, at(u)), None

    like = jax.eval_shape(at, points[0][0])
    zeros = jax.tree.map(lambda v: jnp.zeros(v.shape, v.dtype), like)
    return lax.scan(add, zeros, points)[0]
