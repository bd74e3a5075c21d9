"""Losses of classifiers."""

from kexue_jax.losses.taylor import (
    soft_margin_cross_entropy,
    taylor_cross_entropy,
    truncated_cross_entropy,
)

__all__ = [
    # taylor
    "soft_margin_cross_entropy",
    "taylor_cross_entropy",
    "truncated_cross_entropy",
]
