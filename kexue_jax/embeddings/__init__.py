"""Vectors in fewer dimensions: random projections, hashes, sketches, their sizes."""

from kexue_jax.embeddings.attention_capacity import (
    AttentionFactors,
    attention_divergence,
    sparse_attention_factors,
)
from kexue_jax.embeddings.concentration import (
    ExactNormTail,
    UnitNormTail,
    exact_norm_tail,
    jl_failure_bound,
    orthogonality_bound,
    unit_norm_log_mgf,
    unit_norm_tail,
)
from kexue_jax.embeddings.distances import Distortion, distortion, pairwise_sq_dists
from kexue_jax.embeddings.entropy_rate import embedding_entropy_rate, min_embedding_dim
from kexue_jax.embeddings.fly_hash import fly_hash, fly_projection
from kexue_jax.embeddings.hadamard import (
    SRHT,
    hadamard_transform,
    srht_apply,
    srht_init,
)
from kexue_jax.embeddings.jl_dimension import jl_dim
from kexue_jax.embeddings.random_projection import project, projection_matrix
from kexue_jax.embeddings.randomized_svd import RandomizedSVD, randomized_svd
from kexue_jax.embeddings.sign_hash import (
    cosine_from_hash,
    hamming,
    pack_bits,
    sign_hash,
)

__all__ = [
    # attention_capacity
    "AttentionFactors",
    "attention_divergence",
    "sparse_attention_factors",
    # concentration
    "ExactNormTail",
    "UnitNormTail",
    "exact_norm_tail",
    "jl_failure_bound",
    "orthogonality_bound",
    "unit_norm_log_mgf",
    "unit_norm_tail",
    # distances
    "Distortion",
    "distortion",
    "pairwise_sq_dists",
    # entropy_rate
    "embedding_entropy_rate",
    "min_embedding_dim",
    # fly_hash
    "fly_hash",
    "fly_projection",
    # hadamard
    "SRHT",
    "hadamard_transform",
    "srht_apply",
    "srht_init",
    # jl_dimension
    "jl_dim",
    # random_projection
    "project",
    "projection_matrix",
    # randomized_svd
    "RandomizedSVD",
    "randomized_svd",
    # sign_hash
    "cosine_from_hash",
    "hamming",
    "pack_bits",
    "sign_hash",
]
