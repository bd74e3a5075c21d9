"""Errors of low-rank approximations: the best, randomized SVD, the article's recipe."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax import embeddings

BEST, RAW, TURNED = "best", "article: Gaussian Q", "article: Q made orthonormal"
STEPS = (0, 1, 2)


def correct(steps: int) -> str:
    """The name of randomized SVD with so many power steps."""
    return f"randomized SVD, q = {steps}"


@functools.partial(jax.jit, static_argnames=("k", "steps"))
def _errors(keys: jax.Array, matrix: jax.Array, k: int, steps: int) -> jax.Array:
    def one(key: jax.Array) -> jax.Array:
        u, s, vt = embeddings.randomized_svd(key, matrix, k=k, power_iters=steps)
        return jnp.linalg.norm(matrix - (u * s[None]) @ vt)

    return jax.lax.map(one, keys)


@functools.partial(jax.jit, static_argnames=("k", "kind"))
def _article(keys: jax.Array, matrix: jax.Array, k: int, kind: str) -> jax.Array:
    """|M - M Q Q^T| for a Q drawn without looking at M."""
    m = matrix.shape[-1]

    def one(key: jax.Array) -> jax.Array:
        a = embeddings.projection_matrix(key, n=k, m=m, kind=kind)
        q = a if kind == "gaussian" else a * (k / m) ** 0.5
        return jnp.linalg.norm(matrix - (matrix @ q.T) @ q)

    return jax.lax.map(one, keys)


def errors(
    rows: np.ndarray, ranks: Sequence[int], *, draws: int, seed: int
) -> dict[str, dict[int, np.ndarray]]:
    """|M - approximation| / |M| (Frobenius) by form and rank, one a draw."""
    matrix = jnp.asarray(rows)
    values = np.linalg.svd(rows, compute_uv=False)
    size = np.linalg.norm(values)
    keys = jax.random.split(jax.random.key(seed), draws)
    found: dict[str, dict[int, Any]] = {BEST: {}}
    for k in ranks:
        found[BEST][k] = np.full(draws, np.linalg.norm(values[k:]))
        for steps in STEPS:
            row = found.setdefault(correct(steps), {})
            row[k] = _errors(keys, matrix, k, steps)
        for name, kind in ((RAW, "gaussian"), (TURNED, "orthonormal")):
            found.setdefault(name, {})[k] = _article(keys, matrix, k, kind)
    return {
        name: {k: np.asarray(v, float) / size for k, v in row.items()}
        for name, row in found.items()
    }
