"""Diagonals of the Fisher information, by which Child-Tuning D chooses components."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.optim._trees import check_real_tree, widen

Tree = Any


def empirical_fisher_diagonal(
    loss: Callable[[Tree, Tree], jax.Array],
    params: Tree,
    examples: Tree,
    *,
    chunk: int = 32,
    batch_gradients: bool = False,
) -> Tree:
    """The mean squared gradient of each parameter, over examples with their labels.

    F_i = 1/n sum_j (d loss(params, example_j) / d params_i)^2 with the loss
    -log p(y_j | x_j); with ``batch_gradients`` the squares of the mean gradients of
    n / chunk batches.

    Shapes: params, a tree of real floating arrays; examples, a tree of arrays
    [n, ...]; ``loss`` of one example gives a scalar -> a tree like params, in at least
    float32.
    Article: kexue.fm/archives/8764.  Paper: arXiv 2109.05687.
    Differs: no; ``batch_gradients`` is what the paper's code does (which clips each
    tensor's gradient first and leaves its dropout on: neither is done here), whose
    expectation is mean^2 + variance / chunk: a ranking that depends on the batch size.
    Cost: n gradients in n / chunk passes, ``chunk`` gradients held at a time.
    Raises: TypeError for leaves of the wrong kind or a ``loss`` that is no real scalar
    function; ValueError for examples without a common first axis, or if
    ``batch_gradients`` and chunk does not divide n.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import empirical_fisher_diagonal
        >>> loss = lambda w, x: jnp.sum(w * x)
        >>> x = jnp.array([[1.0, 0.0], [3.0, 2.0]])
        >>> print(empirical_fisher_diagonal(loss, jnp.ones(2), x))
        [5. 2.]
    """
    name = "empirical_fisher_diagonal"
    checks.function(name, "loss", loss)
    count = _check_data(name, params, "examples", examples, chunk)
    checks.flag(name, "batch_gradients", batch_gradients)
    _check_output(name, "loss", loss, params, examples, rank=0)
    if batch_gradients and count % chunk:
        got = f"{chunk} for {count} examples"
        wanted = "a divisor of their number under batch_gradients"
        raise checks.fail(name, "chunk", got, wanted)

    def squares(rows: Tree) -> Tree:
        if batch_gradients:
            gradient = jax.grad(_mean_of(loss))(params, rows)
            return jax.tree.map(lambda g: chunk * _square(g), gradient)
        each = jax.vmap(jax.grad(loss), (None, 0))(params, rows)
        return jax.tree.map(lambda g: jnp.sum(_square(g), 0), each)

    return _mean_over_chunks(squares, params, examples, count, chunk)


def true_fisher_diagonal(
    logits: Callable[[Tree, Tree], jax.Array],
    params: Tree,
    inputs: Tree,
    *,
    chunk: int = 8,
) -> Tree:
    """The diagonal of the Fisher information of a classifier, over all labels.

    F_i = 1/n sum_j sum_y p(y | x_j) (d log p(y | x_j) / d params_i)^2, with
    p = softmax(logits(params, x_j)).

    Shapes: params, a tree of real floating arrays; inputs, a tree of arrays [n, ...];
    ``logits`` of one input gives [classes] -> a tree like params, in at least float32.
    Article: kexue.fm/archives/8764.  Paper: arXiv 2109.05687, 2111.09839.
    Differs: the article has the observed label only (``empirical_fisher_diagonal``).
    Cost: as many gradients as classes for each input, chunk * classes held at a time.
    Raises: TypeError for leaves of the wrong kind or ``logits`` that give no real
    vector; ValueError for inputs without a common first axis.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import true_fisher_diagonal
        >>> logits = lambda w, x: w * x
        >>> print(true_fisher_diagonal(logits, jnp.zeros(2), jnp.ones(3)))
        [0.25 0.25]
    """
    name = "true_fisher_diagonal"
    checks.function(name, "logits", logits)
    count = _check_data(name, params, "inputs", inputs, chunk)
    _check_output(name, "logits", logits, params, inputs, rank=1)

    def expected(params: Tree, row: Tree) -> Tree:
        def log_probabilities(params: Tree) -> jax.Array:
            return jax.nn.log_softmax(_wide(logits(params, row)))

        found, pull = jax.vjp(log_probabilities, params)
        each = jax.vmap(pull)(jnp.eye(found.size, dtype=found.dtype))[0]
        weights = jnp.exp(found)
        return jax.tree.map(lambda g: jnp.tensordot(weights, _square(g), 1), each)

    def squares(rows: Tree) -> Tree:
        each = jax.vmap(expected, (None, 0))(params, rows)
        return jax.tree.map(lambda g: jnp.sum(g, 0), each)

    return _mean_over_chunks(squares, params, inputs, count, chunk)


def sampled_fisher_diagonal(
    key: jax.Array,
    logits: Callable[[Tree, Tree], jax.Array],
    params: Tree,
    inputs: Tree,
    *,
    chunk: int = 32,
) -> Tree:
    """An unbiased estimate of ``true_fisher_diagonal``: one drawn label an input.

    F_i = 1/n sum_j (d log p(y_j | x_j) / d params_i)^2 with y_j drawn from
    softmax(logits(params, x_j)), by ``jax.random.categorical`` and a key for each.

    Shapes: as ``true_fisher_diagonal``.
    Article: kexue.fm/archives/8764.  Paper: arXiv 2109.05687, 2111.09839.
    Differs: as ``true_fisher_diagonal``; FISH masks are made of this.
    Cost: n gradients, ``chunk`` held at a time.
    Raises: as ``true_fisher_diagonal``; TypeError unless ``key`` is a typed key.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.optim import sampled_fisher_diagonal
        >>> key, logits = jax.random.key(0), lambda w, x: w * x
        >>> print(sampled_fisher_diagonal(key, logits, jnp.zeros(2), jnp.ones((3,))))
        [0.25 0.25]
    """
    name = "sampled_fisher_diagonal"
    checks.key(name, "key", key)
    checks.function(name, "logits", logits)
    count = _check_data(name, params, "inputs", inputs, chunk)
    _check_output(name, "logits", logits, params, inputs, rank=1)

    def loss(params: Tree, row: tuple[jax.Array, Tree]) -> jax.Array:
        found = _wide(logits(params, row[1]))
        label = jax.random.categorical(row[0], jax.lax.stop_gradient(found))
        return -jax.nn.log_softmax(found)[label]

    def squares(rows: Tree) -> Tree:
        each = jax.vmap(jax.grad(loss), (None, 0))(params, rows)
        return jax.tree.map(lambda g: jnp.sum(_square(g), 0), each)

    rows = jax.random.split(key, count), inputs
    return _mean_over_chunks(squares, params, rows, count, chunk)


def _mean_over_chunks(
    squares: Callable[[Tree], Tree], params: Tree, rows: Tree, count: int, chunk: int
) -> Tree:
    """The sum of ``squares`` over chunks of rows, and over what is left, by count."""
    whole = count // chunk
    parts = []
    if whole == 1:  # without sums of the parameters' size beside
        parts.append(squares(jax.tree.map(lambda x: x[:chunk], rows)))
    elif whole:
        chunks = jax.tree.map(
            lambda x: x[: whole * chunk].reshape(whole, chunk, *x.shape[1:]), rows
        )

        def add(total: Tree, part: Tree) -> tuple[Tree, None]:
            return jax.tree.map(jnp.add, total, squares(part)), None

        zeros = jax.tree.map(jnp.zeros_like, widen(params))
        parts.append(jax.lax.scan(add, zeros, chunks)[0])
    if whole * chunk < count:
        parts.append(squares(jax.tree.map(lambda x: x[whole * chunk :], rows)))
    total = parts[0] if len(parts) == 1 else jax.tree.map(jnp.add, *parts)
    return jax.tree.map(lambda x: x / count, total)


def _mean_of(loss: Callable[[Tree, Tree], jax.Array]) -> Callable[..., jax.Array]:
    def mean(params: Tree, rows: Tree) -> jax.Array:
        return jnp.mean(jax.vmap(loss, (None, 0))(params, rows))

    return mean


def _square(gradient: jax.Array) -> jax.Array:
    return jnp.square(_wide(gradient))


def _wide(x: jax.Array) -> jax.Array:
    return x.astype(accumulation_dtype(x))


def _check_data(name: str, params: Tree, argument: str, rows: Tree, chunk: int) -> int:
    """The number of rows, after the checks of everything but the function."""
    check_real_tree(name, "params", params)
    leaves = jax.tree.leaves(rows)
    wanted = "arrays of one first axis, of size 1 or more"
    if not leaves:
        raise checks.fail(name, argument, f"{rows!r}", wanted)
    for leaf in leaves:
        if not checks.is_array(leaf):
            raise checks.fail_type(name, argument, f"a {type(leaf).__name__}", wanted)
        if not leaf.ndim or not leaf.shape[0] or leaf.shape[0] != leaves[0].shape[0]:
            raise checks.fail(name, argument, f"shape {leaf.shape}", wanted)
    checks.count(name, "chunk", chunk)
    return leaves[0].shape[0]


def _check_output(
    name: str, argument: str, function: Any, params: Tree, rows: Tree, *, rank: int
) -> None:
    """Raise unless ``function`` of one row gives a real array of the rank."""
    row = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), rows)
    found = jax.eval_shape(function, params, row)
    shape = getattr(found, "shape", None)
    real = shape is not None and jnp.issubdtype(found.dtype, jnp.floating)
    if shape is None or len(shape) != rank or not real:
        wanted = "a function whose value is a real " + ("vector" if rank else "scalar")
        raise checks.fail_type(name, argument, f"one with value {found}", wanted)
