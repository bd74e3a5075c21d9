"""Projections, hashes and sketches with batches divided by ``jax.shard_map``."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from kexue_jax import embeddings

KEY = jax.random.key(0)
MATRIX = jnp.asarray(np.random.default_rng(1).normal(size=(40, 24)))
SRHT = embeddings.SRHT(
    jnp.asarray(np.random.default_rng(2).choice([-1, 1], 32), jnp.int8),
    jnp.array([3, 20], jnp.int32),
)


def hashed(x):
    """Cosines of hashes, packed and not."""
    bits = embeddings.sign_hash(MATRIX, x)
    words = embeddings.pack_bits(bits)
    return (
        embeddings.cosine_from_hash(bits, bits[:, ::-1]),
        embeddings.cosine_from_hash(words, words[:, ::-1], n=40),
    )


FORMS = {
    "project": lambda x: embeddings.project(MATRIX, x),
    "hadamard": lambda x: embeddings.hadamard_transform(x[..., :16]),
    "srht": lambda x: embeddings.srht_apply(SRHT, x),
    "distances": embeddings.pairwise_sq_dists,
    "distortion": lambda x: embeddings.distortion(x, x[..., :3]),
    "sign_hash": hashed,
    "fly_hash": lambda x: embeddings.fly_hash(MATRIX.T, x, k=3),
    "randomized_svd": lambda x: embeddings.randomized_svd(KEY, x, k=2),
    "divergence": lambda x: embeddings.attention_divergence(
        jax.nn.softmax(x[..., :5]), x, x
    ),
    "tail": lambda x: embeddings.exact_norm_tail(jax.nn.sigmoid(x[..., 0]), n=9),
}


@pytest.mark.parametrize("name", FORMS)
def test_rows_of_the_batch_may_be_divided(name) -> None:
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 24)))
    mesh = jax.make_mesh((1,), ("batch",), axis_types=(AxisType.Auto,))
    rows = PartitionSpec("batch")
    divided = jax.shard_map(FORMS[name], mesh=mesh, in_specs=(rows,), out_specs=rows)
    got, wanted = jax.jit(divided)(x), jax.jit(FORMS[name])(x)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)
