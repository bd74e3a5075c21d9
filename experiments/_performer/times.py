"""Time of softmax attention and of a Performer by length, and where they cross."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments._harness.grids import doubles
from kexue_jax import attention

SHORTEST = 256
SIZES = "4 heads of 64, 256 features"
MASKS = {"bidirectional": False, "causal": True}
REPEATS = 3

Times = dict[str, dict[int, float]]


def by_length(longest: int) -> Times:
    """Seconds by form and length, the lengths doubling up to ``longest``."""
    w = attention.orthogonal_projection(jax.random.key(0), m=256, d=64)
    lengths = doubles(SHORTEST, longest)
    found: Times = {}
    for mask, causal in MASKS.items():
        for name, form in _forms(w, causal=causal).items():
            found[f"{name}, {mask}"] = {n: _seconds(form, n) for n in lengths}
    return found


def _forms(w: jax.Array, *, causal: bool) -> dict[str, Callable[..., jax.Array]]:
    return {
        "softmax": jax.jit(
            lambda q: attention.blockwise_attention(q, q, q, causal=causal)
        ),
        "Performer": jax.jit(
            lambda q: attention.performer_attention(q, q, q, w, causal=causal)
        ),
    }


def _seconds(form: Callable[..., Any], n: int) -> float:
    """The least of a few runs after a first one."""
    q = jnp.asarray(np.random.default_rng(0).normal(size=(4, n, 64)), jnp.float32)
    form(q).block_until_ready()
    found = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        form(q).block_until_ready()
        found.append(time.perf_counter() - began)
    return min(found)


def ratios(times: Times, mask: str) -> dict[int, float]:
    """The time of softmax over that of the Performer by length."""
    slow, fast = (times[f"{name}, {mask}"] for name in ("softmax", "Performer"))
    return {n: slow[n] / fast[n] for n in slow}


def from_on(found: Mapping[int, float], bound: float) -> float | None:
    """The length from which on the ratio is at least ``bound``; None if nowhere.

    Between two lengths it is log-log linear.
    """
    sizes = list(found)
    under = [i for i, n in enumerate(sizes) if found[n] < bound]
    if not under:
        return float(sizes[0])
    last = under[-1]
    if last == len(sizes) - 1:
        return None
    ends = sizes[last], sizes[last + 1]
    ratio = np.log([found[n] for n in ends])
    return float(np.exp(np.interp(np.log(bound), ratio, np.log(ends))))
