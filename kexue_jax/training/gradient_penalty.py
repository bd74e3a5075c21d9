"""Penalties on gradients by the input and by the parameters, for any function."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax._base import checks, trees
from kexue_jax._base.numerics import accumulation_dtype

Function = Callable[..., Any]


def input_gradient_penalty(
    f: Function, x: jax.Array, *, targets: Any = None
) -> jax.Array:
    """The squared norm of each example's gradient by its input.

    |grad_x f(x_i)|^2, or |grad_x f(x_i, targets_i)|^2, for every example i.

    Shapes: f a function of one example [*d] (and of its targets) to a scalar,
    x [n, *d], targets a tree of arrays [n, *] or None -> [n].
    Article: kexue.fm/archives/8796.  Paper: arXiv 2111.15090.
    Differs: no.
    Cost: one forward and one backward pass over the batch.
    Raises: TypeError or ValueError for an ``f`` that is no function to a scalar, an
    ``x`` that is no floating array with a batch axis, targets of another length.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.training import input_gradient_penalty
        >>> x = jnp.array([[3.0, 4.0], [1.0, 0.0]])
        >>> print(input_gradient_penalty(lambda x: (x**2).sum(), x))
        [100.   4.]
    """
    name = "input_gradient_penalty"
    _check_batch(name, f, x, targets)
    more = () if targets is None else (targets,)
    _check_scalar(name, f, *(_first(a) for a in (x, *more)))
    grads = jax.vmap(jax.grad(f))(x, *more)
    wide = grads.astype(accumulation_dtype(grads)).reshape(x.shape[0], -1)
    return jnp.sum(jnp.square(wide), axis=-1).astype(x.dtype)


def dirichlet_energy(f: Function, x: jax.Array) -> jax.Array:
    """The mean squared Frobenius norm of the Jacobian of a function over the data.

    mean_i |df(x_i)/dx|_F^2, the geometric complexity of the papers.

    Shapes: f a function of one example [*d] to an array of any shape, x [n, *d] -> [].
    Article: kexue.fm/archives/8796.  Paper: arXiv 2111.15090, 2209.13083.
    Differs: no.
    Cost: a backward pass for each entry of f's result, or a forward pass for each of
    x's, whichever are fewer.
    Raises: TypeError or ValueError for an ``f`` that is no function to a real array,
    an ``x`` that is no floating array with a batch axis.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.training import dirichlet_energy
        >>> x = jnp.array([[3.0, 4.0], [1.0, 0.0]])
        >>> print(dirichlet_energy(lambda x: jnp.stack([2 * x[0], x[1] ** 2]), x))
        36.0
    """
    name = "dirichlet_energy"
    _check_batch(name, f, x, None)
    result = jax.eval_shape(f, _first(x))
    if not _is_real(result):
        raise checks.fail(name, "f", f"a result {result}", "a function to a real array")
    example = _first(x)
    by = jax.jacrev if result.size <= example.size else jax.jacfwd
    jacobian = jax.vmap(by(f))(x)
    wide = jnp.square(jacobian.astype(accumulation_dtype(jacobian)))
    return (jnp.sum(wide) / x.shape[0]).astype(x.dtype)


def parameter_gradient_penalty(
    f: Function, params: Any, batch: Any, *, group: int | None = None
) -> jax.Array:
    """The squared norm of the gradient by the parameters: of the mean, or by groups.

    mean over groups B of |grad_params mean_{i in B} f(params, batch_i)|^2, groups of
    ``group`` neighbors: None is the whole batch (|grad L|^2 of the mean loss L), 1 one
    example each (what the inequality of kexue.fm/archives/8796 speaks of), m between
    is the penalty that minibatches of m put on plain SGD.

    Shapes: f a function of params (a tree) and of one example to a scalar, batch a tree
    of arrays [n, *] -> [].
    Article: kexue.fm/archives/8796, 7787.  Paper: arXiv 2009.11162, 2101.12176.
    Differs: the article takes the two means for one; see ``theory.mlp_gradient_bound``.
    Cost: a forward and a backward pass; with groups also n / group gradients in memory
    (for perceptrons ``mlp_parameter_penalty`` needs none).
    Raises: TypeError or ValueError for an ``f`` that is no function to a scalar, trees
    that hold other than arrays, lengths that differ, a ``group`` that does not divide.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.training import parameter_gradient_penalty
        >>> f, x = lambda p, x: p * x, jnp.array([1.0, -1.0])
        >>> p = jnp.array(3.0)
        >>> [float(parameter_gradient_penalty(f, p, x, group=g)) for g in (None, 1)]
        [0.0, 1.0]
    """
    name = "parameter_gradient_penalty"
    checks.function(name, "f", f)
    _check_params(name, params)
    length = _batch_length(name, "batch", batch)
    if group is not None:
        checks.count(name, "group", group)
        if length % group:
            raise checks.fail(name, "group", group, f"a divisor of {length}")
    _check_scalar(name, f, params, _first(batch))

    def mean(params: Any, part: Any) -> jax.Array:
        values = jax.vmap(f, (None, 0))(params, part)
        return jnp.mean(values.astype(accumulation_dtype(values)))

    if group is None:
        return _squared_norm(jax.grad(mean)(params, batch))
    parts = jax.tree.map(lambda a: a.reshape(-1, group, *a.shape[1:]), batch)
    grads = jax.vmap(jax.grad(mean), (None, 0))(params, parts)
    total = _squared_norm(grads)
    return total / (length // group)


def implicit_gradient_loss(
    f: Function, *, learning_rate: float | jax.Array
) -> Function:
    """The loss whose gradient flow gradient descent follows at a finite learning rate.

    L + (learning_rate / 4) |grad_params L|^2: with it the flow is learning_rate^2 away
    from the steps of gradient descent in fixed time, without it learning_rate.

    Shapes: f(params, *inputs) to a scalar -> a function of the same arguments to [].
    Article: kexue.fm/archives/7787.  Paper: arXiv 2009.11162.
    Differs: no. The rate is that of plain descent; with momentum m a step takes the
    time learning_rate / (1 - m), and the rate to give is learning_rate (1 + m) /
    (1 - m)^2. Adam's has no such form. Of a schedule give the rate of the step.
    Cost: a gradient within the loss; its own gradient takes one Hessian product more.
    For less memory wrap ``f`` in ``remat``.
    Raises: TypeError or ValueError for an ``f`` that is no function, a rate below 0;
    when called, for an ``f`` that gives no scalar, parameters that are no floats.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.training import implicit_gradient_loss
        >>> loss = implicit_gradient_loss(lambda p: (p**2).sum(), learning_rate=0.1)
        >>> print(round(float(loss(jnp.array([1.0, 2.0]))), 4))
        5.5
    """
    name = "implicit_gradient_loss"
    checks.function(name, "f", f)
    checks.number(name, "learning_rate", learning_rate, minimum=0, traced=True)

    def loss(params: Any, *inputs: Any) -> jax.Array:
        _check_params(name, params)
        _check_scalar(name, f, params, *inputs)
        value, grads = jax.value_and_grad(f)(params, *inputs)
        return (value + 0.25 * learning_rate * _squared_norm(grads)).astype(value.dtype)

    return loss


def _squared_norm(tree: Any) -> jax.Array:
    """The sum of squares of all entries, in at least float32, in the leaves' dtype."""
    leaves = jax.tree.leaves(tree)
    total: Any = 0
    for leaf in leaves:
        total = total + jnp.sum(jnp.square(leaf.astype(accumulation_dtype(leaf))))
    return total.astype(jnp.result_type(*leaves))


def _first(tree: Any) -> Any:
    """One example of a batch, as shapes."""
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), tree)


def _is_real(result: Any) -> bool:
    return hasattr(result, "dtype") and jnp.issubdtype(result.dtype, jnp.floating)


def _check_scalar(name: str, f: Function, *inputs: Any) -> None:
    result = jax.eval_shape(f, *inputs)
    if not _is_real(result) or result.shape != ():
        wanted = "a function to a real scalar"
        raise checks.fail(name, "f", f"a result {result}", wanted)


def _check_params(name: str, params: Any) -> None:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    for path, leaf in leaves:
        place = f" at {trees.path_name(path)}" if path else ""
        wanted = "a tree of floating arrays"
        if not checks.is_array(leaf):
            got = f"a {type(leaf).__name__}{place}"
            raise checks.fail_type(name, "params", got, wanted)
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            got = f"dtype {leaf.dtype}{place}"
            raise checks.fail_type(name, "params", got, wanted)
    if not leaves:
        raise checks.fail(name, "params", "no leaves", "a tree of floating arrays")


def _check_batch(name: str, f: Any, x: Any, targets: Any) -> None:
    checks.function(name, "f", f)
    checks.array(name, "x", x)
    if x.ndim < 1 or not x.shape[0]:
        raise checks.fail(name, "x", f"shape {x.shape}", "of shape [n, ...], n >= 1")
    if targets is not None:
        length = _batch_length(name, "targets", targets)
        if length != x.shape[0]:
            wanted = f"of length {x.shape[0]}, as x is"
            raise checks.fail(name, "targets", f"length {length}", wanted)


def _batch_length(name: str, argument: str, batch: Any) -> int:
    """The common first axis of all leaves."""
    lengths = set()
    for leaf in jax.tree.leaves(batch, is_leaf=lambda v: v is None):
        if not checks.is_array(leaf):
            got = f"a {type(leaf).__name__}"
            raise checks.fail_type(name, argument, got, "a tree of arrays [n, ...]")
        checks.array(name, argument, leaf, "number")
        lengths.add(leaf.shape[0] if leaf.ndim else 0)
    if len(lengths) != 1 or lengths == {0}:
        got = f"first axes {sorted(lengths)}"
        raise checks.fail(name, argument, got, "a tree of arrays [n, ...], n >= 1")
    return lengths.pop()
