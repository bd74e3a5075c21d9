"""Positions: rotary embeddings and their scalings, extension of learned tables."""

__all__: list[str] = []
