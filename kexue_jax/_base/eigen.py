"""Eigenvectors of symmetric matrices that a vmap does not make a batch of.

A batch of matrices of some hundred rows, in a program that has other such batches at
the same time, may never come back from the CPU runtime of jaxlib 0.10.2: all of its
threads wait (``_base.elimination`` says the same of solutions). One matrix at a time,
it does, and takes no longer: LAPACK has the cores to itself.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

Pair = tuple[jax.Array, jax.Array]


def eigenpairs(a: jax.Array) -> Pair:
    """Rising eigenvalues ``[..., n]`` and eigenvectors, as columns, ``[..., n, n]``.

    Of symmetric or Hermitian a ``[..., n, n]``; no gradient.
    """
    lead = a.shape[:-2]
    values, vectors = _each(lax.stop_gradient(a).reshape(-1, *a.shape[-2:]))
    return values.reshape(*lead, *values.shape[1:]), vectors.reshape(a.shape)


@custom_vmap
def _each(a: jax.Array) -> Pair:
    return lax.platform_dependent(a, cpu=lambda a: lax.map(_pairs, a), default=_pairs)


@_each.def_vmap
def _each_of_more(
    size: int, batched: list[bool], a: jax.Array
) -> tuple[Pair, tuple[bool, bool]]:
    del batched
    values, vectors = _each(a.reshape(-1, *a.shape[2:]))
    values = values.reshape(size, -1, *values.shape[1:])
    return (values, vectors.reshape(a.shape)), (True, True)


def _pairs(a: jax.Array) -> Pair:
    values, vectors = jnp.linalg.eigh(a)
    return values, vectors
