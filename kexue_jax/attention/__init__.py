"""Attention: softmax in O(n) memory, linear, random features, Taylor, sparse."""

from kexue_jax.attention.blockwise import blockwise_attention
from kexue_jax.attention.dense import AttentionPart, dense_attention
from kexue_jax.attention.merging import merge_attention

__all__ = [
    # softmax
    "AttentionPart",
    "blockwise_attention",
    "dense_attention",
    "merge_attention",
]
