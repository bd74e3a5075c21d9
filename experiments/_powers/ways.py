"""Signs of n^(n+1) - (n+1)^n computed in several ways, and where each goes wrong."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax import numerics


class Way(NamedTuple):
    """A way to get the sign: a name, and int32 n -> signs."""

    name: str
    signs: Callable[[jax.Array], jax.Array]


class Failures(NamedTuple):
    """How many integers of a range a way gets wrong, and the first of them."""

    count: int
    first: int | None


def _common(n: jax.Array) -> jax.Array:
    x = n.astype(jnp.float32)
    safe = jnp.where(n > 0, x, 1)
    gap = (x + 1) * jnp.log(safe) - x * jnp.log(x + 1)
    return jnp.where(n > 0, jnp.sign(gap), -1)


def _powers(n: jax.Array) -> jax.Array:
    x = n.astype(jnp.float32)
    left, right = x ** (x + 1), (x + 1) ** x
    return (left > right).astype(jnp.int8) - (left < right).astype(jnp.int8)


def _wrapped(n: jax.Array) -> jax.Array:
    left, right = n ** (n + 1), (n + 1) ** n
    return (left > right).astype(jnp.int8) - (left < right).astype(jnp.int8)


LOG, RULE = "log n - n log1p(1/n), float32", "comparison with the crossover"
COMMON = "(n+1) log n - n log(n+1), float32"
FLOATS, INTEGERS = "powers in float32", "powers in int32"
WAYS = (
    Way(LOG, lambda n: jnp.sign(numerics.log_power_gap(n))),
    Way(RULE, numerics.compare_consecutive_powers),
    Way(COMMON, _common),
    Way(FLOATS, _powers),
    Way(INTEGERS, _wrapped),
)


def exact(n: np.ndarray) -> np.ndarray:
    """The signs, proved: -1 for n <= 2, else 1 (n > e > (1 + 1/n)^n)."""
    return np.where(n <= 2, -1, 1)


def failures(way: Way, start: int, stop: int, chunk: int) -> Failures:
    """Of the integers start, ..., stop - 1."""
    run, count, first = jax.jit(way.signs), 0, None
    for low in range(start, stop, chunk):
        n = np.arange(low, min(low + chunk, stop), dtype=np.int32)
        padded = np.resize(n, chunk)
        wrong = np.asarray(run(jnp.asarray(padded)))[: len(n)] != exact(n)
        count += int(wrong.sum())
        if first is None and wrong.any():
            first = int(n[wrong.argmax()])
    return Failures(count, first)
