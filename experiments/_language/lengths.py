"""What forms of attention take at each length: compiled memory, and time."""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._harness.grids import doubles
from kexue_jax import attention

WIDE = 64  # features of a head
ROOM = 2**29  # bytes of temporary memory above which a form is compiled and not run
REPEATS = 5


class Costs(NamedTuple):
    """Of the value and the gradients of one head, by length: bytes and seconds.

    ``seconds`` ends where the memory would not fit in ``ROOM``.
    """

    memory: dict[int, int]
    seconds: dict[int, float]


def _features(q: Any, k: Any) -> tuple[jax.Array, jax.Array]:
    return attention.elu1(q), attention.elu1(k)


FORMS: dict[str, Callable[..., jax.Array]] = {
    "softmax, causal": lambda q, k, v: attention.dense_attention(q, k, v, causal=True),
    "softmax in blocks, causal": lambda q, k, v: attention.blockwise_attention(
        q, k, v, causal=True
    ),
    "linear, bidirectional": lambda q, k, v: attention.linear_attention(
        *_features(q, k), v
    ),
    "linear in chunks, causal": lambda q, k, v: attention.linear_attention(
        *_features(q, k), v, causal=True
    ),
    "linear by tokens, causal": lambda q, k, v: attention.recurrent_linear_attention(
        *_features(q, k), v
    ),
    "linear by cumulative sums, causal": lambda q, k, v: (
        attention.cumulative_linear_attention(*_features(q, k), v)
    ),
}
LINEAR = ("linear, bidirectional", "linear in chunks, causal")


def by_length(form: Callable[..., jax.Array], longest: int) -> Costs:
    """The costs of a form at 256, 512, ... up to ``longest``."""

    def total(q: Any, k: Any, v: Any) -> Any:
        return jax.value_and_grad(lambda *x: form(*x).sum(), (0, 1, 2))(q, k, v)

    found = Costs({}, {})
    for n in doubles(256, longest):
        shape = jax.ShapeDtypeStruct((1, n, WIDE), jnp.float32)
        compiled = jax.jit(total).lower(shape, shape, shape).compile()
        analysis: Any = compiled.memory_analysis()
        found.memory[n] = int(analysis.temp_size_in_bytes)
        if found.memory[n] <= ROOM:
            found.seconds[n] = _seconds(compiled, n)
    return found


def _seconds(compiled: Callable[..., Any], n: int) -> float:
    """The median of a few runs after a first one."""
    drawn = np.random.default_rng(0).normal(size=(3, 1, n, WIDE))
    given = [jnp.asarray(x, jnp.float32) for x in drawn]
    jax.block_until_ready(compiled(*given))
    found = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        jax.block_until_ready(compiled(*given))
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def slope(sizes: dict[int, Any]) -> float:
    """The exponent of the length in the upper half of the table, log-log fit."""
    n, size = (np.log(np.array(list(a), float)) for a in (sizes, sizes.values()))
    upper = slice(len(n) // 2 - (len(n) == 2), None)
    return float(np.polyfit(n[upper], size[upper], 1)[0])
