"""The gradient of a mean over a batch, in parts that fit the memory."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from experiments._harness.mesh import whole


def value_and_grad(
    loss: Callable[[Any, Any, jax.Array], jax.Array],
    params: Any,
    batch: Any,
    *,
    parts: int = 1,
) -> tuple[jax.Array, Any]:
    """The mean over ``parts`` equal parts of ``batch`` of ``loss`` and its gradient.

    ``loss(params, part, number)`` is a mean over the rows of a part; ``number`` (0,
    1, ...) is for what differs between parts, such as a dropout key. What is drawn per
    example belongs in ``batch``: then the result is that of one part but for rounding.
    Part i holds the rows i, i + parts, ..., so that each device keeps its own.
    Parameters that are divided over devices reach ``loss`` whole.
    """

    def mean(params: Any, part: Any, number: jax.Array) -> jax.Array:
        return loss(whole(params), part, number)

    def part_of(leaf: jax.Array, number: Any) -> jax.Array:
        rows = leaf.reshape(leaf.shape[0] // parts, parts, *leaf.shape[1:])
        return rows[:, number]

    def found(number: Any) -> tuple[jax.Array, Any]:
        part = jax.tree.map(lambda leaf: part_of(leaf, number), batch)
        return jax.value_and_grad(mean)(params, part, number)

    if parts == 1:
        return jax.value_and_grad(mean)(params, batch, jnp.zeros((), jnp.int32))
    for leaf in jax.tree.leaves(batch):
        if leaf.shape[0] % parts:
            raise ValueError(
                f"value_and_grad: a leaf of {leaf.shape[0]} rows does not divide into "
                f"{parts} parts."
            )
    first = jnp.zeros((), jnp.int32)
    zeros = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(found, first)
    )
    if jax.default_backend() == "cpu":
        # XLA on a CPU runs the convolutions of a loop's body many times slower than
        # outside of one.
        total = zeros
        for number in range(parts):
            total = jax.tree.map(jnp.add, total, found(_after(total, number)))
    else:
        numbers = jnp.arange(parts, dtype=jnp.int32)
        total, _ = lax.scan(
            lambda sums, n: (jax.tree.map(jnp.add, sums, found(n)), None),
            zeros,
            numbers,
        )
    return jax.tree.map(lambda leaf: leaf / parts, total)


def _after(tree: Any, number: int) -> jax.Array:
    """``number``, which cannot be known before every array of ``tree`` is computed.

    XLA on a CPU drops an optimization barrier before it orders the operations, and then
    keeps the activations of several parts. It cannot know that no NaN is in ``tree``;
    if one is, the mean of the parts is not finite whatever the number.
    """
    seen = sum(leaf.ravel()[0].astype(jnp.float32) for leaf in jax.tree.leaves(tree))
    return jnp.where(jnp.isnan(seen), 0, jnp.int32(number))
