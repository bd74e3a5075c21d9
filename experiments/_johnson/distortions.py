"""How far projections of every family move the distances of real vectors."""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax import embeddings

FAMILIES = (
    "gaussian",
    "rademacher",
    "sparse 3",
    "sparse root m",
    "orthonormal",
    "srht",
)


ONE_HOT = 32  # the dimension in which one-hot points are compared


class Spread(NamedTuple):
    """Distortions by draw: max |r - 1|, mean |r - 1|, standard deviation of r."""

    max: np.ndarray
    mean: np.ndarray
    std: np.ndarray


def allowed(family: str, n: int, m: int) -> bool:
    """Whether the family has a projection from m to n dimensions, not a rotation."""
    if family == "orthonormal":
        return n < m
    return family != "srht" or n < 1 << (m - 1).bit_length()


def image(key: jax.Array, x: jax.Array, family: str, n: int) -> jax.Array:
    """The rows of x in n dimensions, in random order, so that the first of them, put
    to scale, are a projection to fewer."""
    m = x.shape[-1]
    if family == "srht":
        key_s, key_p = jax.random.split(key)
        found = embeddings.srht_apply(embeddings.srht_init(key_s, n=n, m=m), x)
        return found[:, jax.random.permutation(key_p, n)]
    kind, *rest = family.split()
    s = None if not rest else 3.0 if rest == ["3"] else math.sqrt(m)
    a = embeddings.projection_matrix(key, n=n, m=m, kind=kind, sparsity=s)
    return embeddings.project(a, x)


@functools.partial(jax.jit, static_argnames=("family", "sizes"))
def _over_sizes(
    keys: jax.Array, x: jax.Array, family: str, sizes: tuple[int, ...]
) -> Any:
    most = max(sizes)

    def one(key: jax.Array) -> Any:
        y = image(key, x, family, most)
        first = {n: y[:, :n] * math.sqrt(most / n) for n in sizes}
        return {n: embeddings.distortion(x, part) for n, part in first.items()}

    return jax.lax.map(one, keys)


def spreads(
    x: np.ndarray, family: str, sizes: Sequence[int], *, draws: int, seed: int
) -> dict[int, Spread]:
    """By n, where there is such a projection; a draw is one matrix, cut to each n."""
    kept = tuple(n for n in sizes if allowed(family, n, x.shape[-1]))
    key = jax.random.fold_in(jax.random.key(seed), FAMILIES.index(family))
    found = _over_sizes(jax.random.split(key, draws), jnp.asarray(x), family, kept)
    return {n: Spread(*(np.asarray(v, float) for v in found[n])) for n in kept}


@functools.partial(jax.jit, static_argnames=("counts", "n"))
def _over_counts(keys: jax.Array, x: jax.Array, counts: tuple[int, ...], n: int) -> Any:
    def one(key: jax.Array) -> Any:
        y = image(key, x, "gaussian", n)
        return {c: embeddings.distortion(x[:c], y[:c]).max for c in counts}

    return jax.lax.map(one, keys)


def over_counts(
    x: np.ndarray, counts: Sequence[int], n: int, *, draws: int, seed: int
) -> dict[int, np.ndarray]:
    """The largest change among the first N rows, one a draw; the same draws for all."""
    keys = jax.random.split(jax.random.key(seed), draws)
    found = _over_counts(keys, jnp.asarray(x), tuple(counts), n)
    return {c: np.asarray(v, float) for c, v in found.items()}


def exact_mean(n: int) -> float:
    """E |chi^2_n / n - 1| = 2 a^(a-1) e^-a / Gamma(a), a = n/2."""
    a = n / 2
    return 2 * math.exp((a - 1) * math.log(a) - a - math.lgamma(a))


def exact_max(points: int, n: int) -> float:
    """The eps at which the exact union bound of a failure is one half."""
    low, high = 1e-4, 10.0
    for _ in range(40):
        eps = (low + high) / 2
        tails = embeddings.exact_norm_tail(jnp.asarray(eps, jnp.float32), n=n)
        failure = points * (points - 1) / 2 * float(sum(tails))
        low, high = (eps, high) if failure > 0.5 else (low, eps)
    return high
