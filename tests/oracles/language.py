"""Float64 NumPy form of the pre-norm transformer, one token at a time."""

import math

import numpy as np


def gelu(x):
    """The tanh form, jax's default."""
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return x * (1 + np.tanh(inner)) / 2


def norm(layer, x):
    centered = x - x.mean()
    return centered / np.sqrt(x.var() + 1e-5) * layer["scale"] + layer["offset"]


def attention(q, k, v, causal):
    """q, k, v [n, d]: softmax attention by loops."""
    out = np.zeros_like(v)
    for i in range(len(q)):
        seen = range(i + 1) if causal else range(len(k))
        weights = np.exp([q[i] @ k[j] / math.sqrt(q.shape[1]) for j in seen])
        weights = weights / weights.sum()
        out[i] = sum(w * v[j] for w, j in zip(weights, seen, strict=True))
    return out


def transformer(params, tokens, heads, causal):
    """tokens [n] -> logits [n, outputs]."""
    x = params["word"][tokens]
    if "position" in params:
        x = x + params["position"][: len(tokens)]
    for _, block in sorted(params["blocks"].items()):
        h = np.stack([norm(block["attention_norm"], row) for row in x])
        q, k, v = (h @ block[name]["kernel"] for name in ("query", "key", "value"))
        parts = [np.split(a, heads, axis=1) for a in (q, k, v)]
        mixed = [attention(*part, causal) for part in zip(*parts, strict=True)]
        x = x + np.concatenate(mixed, 1) @ block["mix"]["kernel"]
        h = np.stack([norm(block["feed_norm"], row) for row in x])
        wide, narrow = block["wide"], block["narrow"]
        h = gelu(h @ wide["kernel"] + wide["bias"])
        x = x + h @ narrow["kernel"] + narrow["bias"]
    h = np.stack([norm(params["norm"], row) for row in x])
    return h @ params["out"]["kernel"] + params["out"]["bias"]
