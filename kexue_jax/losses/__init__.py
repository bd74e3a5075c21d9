"""Losses of classifiers."""

__all__: list[str] = []
