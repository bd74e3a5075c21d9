"""Attention: softmax in O(n) memory, linear, random features, Taylor, sparse."""

from kexue_jax.attention.blockwise import blockwise_attention
from kexue_jax.attention.dense import AttentionPart, dense_attention
from kexue_jax.attention.hwfa import hwfa_attention
from kexue_jax.attention.merging import merge_attention
from kexue_jax.attention.taylor import blockwise_taylor_attention, taylor_attention
from kexue_jax.attention.taylor_features import (
    binomial_features,
    taylor2_features,
    taylor_features,
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
from kexue_jax.attention.self_extend import self_extend_attention

__all__ = [
    # softmax
    "AttentionPart",
    "blockwise_attention",
    "dense_attention",
    "merge_attention",
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
]
