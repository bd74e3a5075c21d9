"""Random projections fast and dense, randomized SVD, packed hashes, distances."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark.case import Case, Peer
from experiments.benchmark.peers_embeddings import (
    numpy_hamming,
    sklearn_distances,
    sklearn_projection,
    sklearn_svd,
)
from kexue_jax import embeddings
from kexue_jax.embeddings.hadamard import hadamard_butterfly

WIDE, KEPT, VECTORS = 65_536, 1024, 32
SKETCH: dict[str, Any] = {"k": 32, "oversample": 8, "power_iters": 1}


def normal(seed: int, *shape: int) -> jax.Array:
    """Normal numbers."""
    draw = np.random.default_rng(seed)
    return jnp.asarray(draw.standard_normal(shape, np.float32))


def projections(seed: int) -> tuple[Any, ...]:
    """An SRHT from 65,536 to 1,024, 32 vectors, and the matrix of the SRHT."""
    srht = embeddings.srht_init(jax.random.key(seed), n=KEPT, m=WIDE)
    signs, matrix = np.asarray(srht.signs, np.float32), np.empty((KEPT, WIDE), "f4")
    columns = np.arange(WIDE, dtype=np.int32)
    for place, row in enumerate(np.asarray(srht.rows)):
        odd = np.bitwise_count(columns & row) & 1
        matrix[place] = np.where(odd, -signs, signs) / KEPT**0.5
    return srht, normal(seed, VECTORS, WIDE), jnp.asarray(matrix)


def rows(seed: int, *, count: int, d: int) -> tuple[jax.Array]:
    """Vectors [count, d]."""
    return (normal(seed, count, d),)


def spectrum(seed: int) -> tuple[jax.Array, jax.Array]:
    """[2048, 1024] with singular values 1/i, and a key."""
    left, right = (np.linalg.qr(normal(seed, s, 256))[0] for s in (2048, 1024))
    values = 1 / np.arange(1, 257, dtype=np.float32)
    return jnp.asarray((left * values) @ right.T), jax.random.key(seed)


def sketched(matrix: jax.Array, key: jax.Array) -> jax.Array:
    return embeddings.randomized_svd(key, matrix, **SKETCH).s


def whole(matrix: jax.Array, key: jax.Array) -> jax.Array:
    full = jnp.linalg.svd(matrix, full_matrices=False)
    return full[1][: SKETCH["k"]]


def hashes(seed: int) -> tuple[jax.Array, jax.Array]:
    """A table of 20,000 hashes of 256 bits as words, and 64 queries."""
    draw = np.random.default_rng(seed)
    made = (draw.integers(0, 2**32, (n, 8), np.uint32) for n in (20_000, 64))
    table, queries = map(jnp.asarray, made)
    return table, queries


def packed(table: jax.Array, queries: jax.Array) -> jax.Array:
    return embeddings.hamming(queries[:, None], table[None])


def unpacked(table: jax.Array, queries: jax.Array) -> jax.Array:
    """By a product of +-1."""
    places = jnp.arange(32, dtype=jnp.uint32)[None, None]
    signs = [
        2.0 * (h[..., None] >> places & 1).astype(jnp.float32) - 1
        for h in (queries, table)
    ]
    a, b = (s.reshape(len(s), -1) for s in signs)
    return ((a.shape[-1] - a @ b.T) / 2).astype(jnp.int32)


def differences(x: jax.Array) -> jax.Array:
    return jax.lax.map(lambda row: jnp.square(x - row[None]).sum(-1), x)


CASES = (
    Case(
        "embeddings.srht_65536",
        projections,
        lambda srht, v, matrix: embeddings.srht_apply(srht, v),
        lambda srht, v, matrix: embeddings.project(matrix, v),
        (Peer("scikit-learn", sklearn_projection, module="sklearn"),),
        tolerance=1e-4,
        goal=0.1,
        about=f"{VECTORS} vectors from {WIDE} to {KEPT} dimensions by the Hadamard "
        "transform; twin and peer: the dense matrix of the same projection",
    ),
    Case(
        "embeddings.srht_65536_gradient",
        projections,
        jax.grad(lambda s, v, m: jnp.sum(embeddings.srht_apply(s, v) ** 2), 1),
        jax.grad(lambda s, v, m: jnp.sum(embeddings.project(m, v) ** 2), 1),
        tolerance=1e-4,
        goal=0.1,
        about="the gradient of its squared norm by the vectors; twin: dense",
    ),
    Case(
        "embeddings.hadamard_65536",
        functools.partial(rows, count=VECTORS, d=WIDE),
        embeddings.hadamard_transform,
        hadamard_butterfly,
        tolerance=1e-5,
        goal=0.7,
        about=f"Hadamard transforms of {VECTORS} vectors of {WIDE}; twin: butterfly",
    ),
    Case(
        "embeddings.randomized_svd",
        spectrum,
        sketched,
        whole,
        (Peer("scikit-learn", sklearn_svd(**SKETCH), module="sklearn"),),
        tolerance=0.02,
        goal=1.0,
        about="the 32 largest singular values of [2048, 1024], one power step; twin: "
        "the whole SVD",
    ),
    Case(
        "embeddings.hamming_20000",
        hashes,
        packed,
        unpacked,
        (Peer("numpy", numpy_hamming),),
        tolerance=1e-6,
        goal=1.0,
        about="64 hashes of 256 bits against 20,000, packed; twin: a product of signs",
    ),
    Case(
        "embeddings.pairwise_sq_dists",
        functools.partial(rows, count=1024, d=512),
        embeddings.pairwise_sq_dists,
        differences,
        (Peer("scikit-learn", sklearn_distances, module="sklearn"),),
        tolerance=1e-5,
        goal=1.0,
        about="squared distances of 1,024 rows of 512; twin: differences, row by row",
    ),
)
