"""Critics, functions of a batch [B, *d] to one number an example: values and slopes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.masks import safe_root
from kexue_jax._base.numerics import accumulation_dtype

Critic = Callable[[Any], Any]


def check_batch(name: str, argument: str, x: Any) -> None:
    """Raise unless ``x`` is a floating array with an axis of examples."""
    checks.array(name, argument, x)
    if x.ndim < 1 or not x.shape[0]:
        wanted = "of shape [B, ...], B >= 1"
        raise checks.fail(name, argument, f"shape {x.shape}", wanted)


def check_critic(name: str, argument: str, critic: Any, x: jax.Array) -> None:
    """Raise unless ``critic`` gives one real number an example."""
    checks.function(name, argument, critic)
    result = jax.eval_shape(critic, jax.ShapeDtypeStruct(x.shape, x.dtype))
    real = hasattr(result, "dtype") and jnp.issubdtype(result.dtype, jnp.floating)
    if not real or result.shape != x.shape[:1]:
        wanted = f"a function of [B, ...] to real numbers [B], B = {x.shape[0]}"
        raise checks.fail(name, argument, f"one to {result}", wanted)


def value_and_slope(critic: Critic, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """D(x) [B] and, for each example, its gradient by the example [B, *d].

    One backward pass: the gradient of the sum over the batch is that of each example
    where the value of an example depends on that example alone.
    """
    value, pull = jax.vjp(critic, x)
    (slope,) = pull(jnp.ones_like(value))
    return value, slope


def example_sum(values: jax.Array) -> jax.Array:
    """The sum over all axes but the first, in at least float32: [B, *d] -> [B]."""
    wide = values.astype(accumulation_dtype(values))
    return jnp.sum(wide, axis=tuple(range(1, values.ndim)))


def example_norm(values: jax.Array) -> jax.Array:
    """The Euclidean norm over all axes but the first, its gradient 0 at 0."""
    return safe_root(example_sum(jnp.square(values.astype(accumulation_dtype(values)))))


def along_examples(values: jax.Array, like: jax.Array) -> jax.Array:
    """``values [B]`` with trailing axes of size 1, to meet ``like [B, *d]``."""
    return values.reshape(values.shape + (1,) * (like.ndim - 1))


@jax.custom_jvp
def linear_along(value: jax.Array, x: jax.Array, slope: jax.Array) -> jax.Array:
    """``value [B]``, with ``slope [B, *d]`` as its derivative by ``x [B, *d]``."""
    return value


@linear_along.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    value, x, slope = primals
    moved, step, _ = tangents
    along = example_sum(slope.astype(accumulation_dtype(slope)) * step)
    return linear_along(value, x, slope), moved + along.astype(moved.dtype)
