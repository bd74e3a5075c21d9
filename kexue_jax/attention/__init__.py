"""Attention: softmax in O(n) memory, linear, random features, Taylor, sparse."""

__all__: list[str] = []
