"""Stacks of layers and the cost of recomputing them, in plain NumPy."""

import math

import numpy as np


def stack(params, x):
    """x after L layers x + tanh(x w_l + b_l); leaves of params [L, ...]."""
    for w, b in zip(params["w"], params["b"], strict=True):
        x = x + np.tanh(x @ w + b[None])
    return x


def cost(layers, a, b, way, s=None):
    """Peak bytes and runs of a layer, counted one array at a time."""
    if way in ("none", "whole"):
        return layers * a + (b if way == "whole" else 0), layers * (
            3 + (way == "whole")
        )
    if way == "layers":
        return layers * b + a, 4 * layers
    lengths = [s] if isinstance(s, int) else list(s)
    size, kept = layers, 0
    for length in lengths:
        length = min(length, size)
        kept += sum(b for start in range(0, size, length))
        size = length
    inside = size * a if way == "segments" else size * b + a
    again = len(lengths) + (way == "nested")
    return kept + inside, (3 + again) * layers


def best_segment(layers, a, b):
    """The first length with the fewest bytes."""
    best, found = math.inf, 0
    for s in range(1, layers + 1):
        size = cost(layers, a, b, "segments", s)[0]
        if size < best:
            best, found = size, s
    return found
