"""Nearest neighbors after projection, sign hashes and PCA; the bias of cosines."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax import embeddings, evaluation

K = 10


class Search(NamedTuple):
    """Recall of the 10 nearest by method and size, one a draw; errors of cosines.

    ``bias`` has, by size and estimate, the mean error over pairs whose cosine is from
    0.5 to 0.95, one a draw.
    """

    recall: dict[str, dict[int, np.ndarray]]
    bias: dict[str, dict[int, np.ndarray]]


@functools.partial(jax.jit, static_argnames="k")
def nearest(queries: jax.Array, table: jax.Array, k: int = K) -> jax.Array:
    return evaluation.nearest_neighbors(queries, table, k=k).index


def recall(found: Any, truth: Any) -> float:
    """The share of the true neighbors that were found."""
    hits = np.asarray(found)[:, :, None] == np.asarray(truth)[:, None, :]
    return float(hits.any(1).mean())


def principal(table: np.ndarray) -> np.ndarray:
    """The principal directions as columns."""
    return np.linalg.svd(table - table.mean(0), full_matrices=False)[2].T


@functools.partial(jax.jit, static_argnames="n")
def _projected(key: jax.Array, queries: Any, table: Any, n: int) -> Any:
    a = embeddings.projection_matrix(key, n=n, m=table.shape[-1])
    return embeddings.project(a, queries), embeddings.project(a, table)


@functools.partial(jax.jit, static_argnames="n")
def _hashed(key: jax.Array, queries: Any, table: Any, n: int) -> Any:
    """Raw and corrected cosines of hashes, [queries, rows]."""
    a = embeddings.projection_matrix(key, n=n, m=table.shape[-1])
    words = [embeddings.pack_bits(embeddings.sign_hash(a, x)) for x in (queries, table)]
    one, other = words[0][:, None], words[1][None]
    return [
        embeddings.cosine_from_hash(one, other, n=n, corrected=corrected)
        for corrected in (False, True)
    ]


def measure(
    queries: np.ndarray,
    table: np.ndarray,
    sizes: Sequence[int],
    bits: Sequence[int],
    *,
    draws: int,
    seed: int,
) -> Search:
    """Recall of every method; hashes are of the vectors less the mean of the table."""
    mean = table.mean(0)
    q, t = (jnp.asarray(x - mean) for x in (queries, table))
    truth = nearest(q, t)
    axes = principal(table)
    found: dict[str, dict[int, Any]] = {"PCA": {}, "Gaussian projection": {}}
    keys = jax.random.split(jax.random.key(seed), draws)
    for n in sizes:
        basis = jnp.asarray(axes[:, :n])
        found["PCA"][n] = np.full(draws, recall(nearest(q @ basis, t @ basis), truth))
        found["Gaussian projection"][n] = np.array(
            [recall(nearest(*_projected(key, q, t, n)), truth) for key in keys]
        )
    unit = [x / jnp.linalg.norm(x, axis=-1, keepdims=True) for x in (q, t)]
    cosines = np.asarray(unit[0] @ unit[1].T)
    alike = np.asarray(jax.lax.top_k(jnp.asarray(cosines), K)[1])
    chosen = (cosines > 0.5) & (cosines < 0.95)
    names = ("sign hash, raw", "sign hash, corrected")
    hashed: dict[str, dict[int, list[float]]] = {name: {} for name in names}
    bias: dict[str, dict[int, list[float]]] = {name: {} for name in names}
    for n in bits:
        for key in keys:
            for name, estimate in zip(names, _hashed(key, q, t, n), strict=True):
                order = jax.lax.top_k(estimate, K)[1]
                hashed[name].setdefault(n, []).append(recall(order, alike))
                error = np.asarray(estimate)[chosen] - cosines[chosen]
                bias[name].setdefault(n, []).append(float(error.mean()))
    arrays = [
        {name: {n: np.array(v) for n, v in row.items()} for name, row in rows.items()}
        for rows in (hashed, bias)
    ]
    return Search({**found, **arrays[0]}, arrays[1])
