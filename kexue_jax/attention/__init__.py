"""Attention: softmax in O(n) memory, linear, random features, Taylor, sparse."""

from kexue_jax.attention._features import AttentionStep
from kexue_jax.attention._running import LogLinearState
from kexue_jax.attention.anchors import (
    EMAttention,
    asymmetric_attention,
    em_attention,
    pyramid_pool,
)
from kexue_jax.attention.bigbird import bigbird_attention
from kexue_jax.attention.blockwise import blockwise_attention
from kexue_jax.attention.dense import AttentionPart, dense_attention
from kexue_jax.attention.downsampling import (
    SelectedTokens,
    mean_pool,
    repeat_tokens,
    select_tokens,
    strided_conv,
    token_significance,
)
from kexue_jax.attention.efficient import efficient_attention, efficient_attention_step
from kexue_jax.attention.feature_maps import (
    cosine_features,
    elu1,
    exp_features,
    feature_softmax,
    relu_features,
)
from kexue_jax.attention.hashing import lsh_attention, lsh_buckets
from kexue_jax.attention.hwfa import hwfa_attention
from kexue_jax.attention.linear import (
    LinearAttentionState,
    linear_attention,
    linear_attention_step,
)
from kexue_jax.attention.linear_forms import (
    cumulative_linear_attention,
    quadratic_linear_attention,
    recurrent_linear_attention,
)
from kexue_jax.attention.log_linear import (
    log_linear_attention,
    log_linear_attention_step,
)
from kexue_jax.attention.longformer import longformer_attention
from kexue_jax.attention.low_rank import (
    double_attention,
    linformer_attention,
    pooled_attention,
    strided_attention,
)
from kexue_jax.attention.merging import merge_attention
from kexue_jax.attention.mitchell import mitchell_attention
from kexue_jax.attention.performer import (
    generalized_features,
    log_softmax_features,
    performer_attention,
    performer_step,
    softmax_features,
)
from kexue_jax.attention.projections import (
    gaussian_projection,
    orthogonal_projection,
    redrawn_projection,
)
from kexue_jax.attention.rerope import dense_rerope_attention, rerope_attention
from kexue_jax.attention.rerope_decode import (
    DecodeStep,
    RawKeyCache,
    RopeCache,
    raw_decode_step,
    rerope_cache,
    rerope_decode_step,
)
from kexue_jax.attention.reversible import (
    ReversiblePair,
    reversible_inverse,
    reversible_layers,
)
from kexue_jax.attention.self_extend import self_extend_attention
from kexue_jax.attention.soft_selection import (
    retained_tokens,
    retention_penalty,
    soft_select_tokens,
)
from kexue_jax.attention.sparse import (
    atrous_attention,
    explicit_sparse_attention,
    local_attention,
    sparse_attention,
    sparse_mask,
)
from kexue_jax.attention.taylor import blockwise_taylor_attention, taylor_attention
from kexue_jax.attention.taylor_features import (
    binomial_features,
    taylor2_features,
    taylor_features,
)

__all__ = [
    # softmax
    "AttentionPart",
    "blockwise_attention",
    "dense_attention",
    "merge_attention",
    # mitchell
    "mitchell_attention",
    # Taylor
    "binomial_features",
    "blockwise_taylor_attention",
    "taylor2_features",
    "taylor_attention",
    "taylor_features",
    # rotary
    "DecodeStep",
    "RawKeyCache",
    "RopeCache",
    "dense_rerope_attention",
    "hwfa_attention",
    "raw_decode_step",
    "rerope_attention",
    "rerope_cache",
    "rerope_decode_step",
    "self_extend_attention",
    # sparse
    "atrous_attention",
    "bigbird_attention",
    "explicit_sparse_attention",
    "local_attention",
    "longformer_attention",
    "sparse_attention",
    "sparse_mask",
    # hashing
    "ReversiblePair",
    "lsh_attention",
    "lsh_buckets",
    "reversible_inverse",
    "reversible_layers",
    # low rank
    "EMAttention",
    "asymmetric_attention",
    "double_attention",
    "em_attention",
    "linformer_attention",
    "pooled_attention",
    "pyramid_pool",
    "strided_attention",
    # downsampling
    "SelectedTokens",
    "mean_pool",
    "repeat_tokens",
    "retained_tokens",
    "retention_penalty",
    "select_tokens",
    "soft_select_tokens",
    "strided_conv",
    "token_significance",
    # feature maps
    "cosine_features",
    "elu1",
    "exp_features",
    "feature_softmax",
    "relu_features",
    # linear
    "AttentionStep",
    "LinearAttentionState",
    "cumulative_linear_attention",
    "linear_attention",
    "linear_attention_step",
    "quadratic_linear_attention",
    "recurrent_linear_attention",
    # features by their logarithms
    "LogLinearState",
    "efficient_attention",
    "efficient_attention_step",
    "log_linear_attention",
    "log_linear_attention_step",
    # performer
    "gaussian_projection",
    "generalized_features",
    "log_softmax_features",
    "orthogonal_projection",
    "performer_attention",
    "performer_step",
    "redrawn_projection",
    "softmax_features",
]
