"""Attention by products of features in float64 NumPy: the matrix of weights, in full.

Written from the method cards, importing nothing of the library.
"""

import math

import numpy as np


def pairs(n, length, *, causal=False, key_mask=None, prefix_length=None, lead=()):
    """Which query sees which key, bool [*lead, n, length]."""
    i, j = np.arange(n)[:, None], np.arange(length)
    seen = np.ones((*lead, n, length), bool)
    if causal:
        seen &= j <= i
    if prefix_length is not None:
        prefix = np.broadcast_to(np.asarray(prefix_length), lead)[..., None, None]
        seen |= j < prefix
    if key_mask is not None:
        key_mask = np.broadcast_to(key_mask, (*lead, length))
        seen &= key_mask[..., None, :]
    return seen


def divide(top, bottom):
    return np.where(bottom != 0, top / np.where(bottom != 0, bottom, 1), 0.0)


def linear(
    phi_q, phi_k, v, *, numerator=None, eps=1e-6, normalize=True, mask=None, **masks
):
    """sum_j w_ij v_j / (sum_j w_ij + eps)."""
    lead, n, length = phi_q.shape[:-2], phi_q.shape[-2], phi_k.shape[-2]
    seen = pairs(n, length, lead=lead, **masks)
    if mask is not None:
        seen &= mask
    weights = np.where(seen, phi_q @ np.swapaxes(phi_k, -1, -2), 0)
    top = weights
    if numerator is not None:
        q, k = numerator
        top = np.where(seen, q @ np.swapaxes(k, -1, -2), 0)
    if not normalize:
        return top @ v
    return divide(top @ v, weights.sum(-1, keepdims=True) + eps)


def log_weights(u_q, u_k):
    """log sum_r exp(u_q_ir + u_k_jr), [..., n, l]."""
    both = u_q[..., :, None, :] + u_k[..., None, :, :]
    top = both.max(-1)
    return top + np.log(np.exp(both - top[..., None]).sum(-1))


def log_linear(u_q, u_k, v, **masks):
    """The softmax over keys of log sum_r exp(u_q_ir + u_k_jr)."""
    n, length = u_q.shape[-2], u_k.shape[-2]
    seen = pairs(n, length, lead=u_q.shape[:-2], **masks)
    scores = np.where(seen, log_weights(u_q, u_k), -np.inf)
    some = seen.any(-1, keepdims=True)
    top = np.where(some, scores.max(-1, keepdims=True), 0)
    weights = np.exp(scores - top)
    return divide(weights @ v, weights.sum(-1, keepdims=True))


def efficient(q, k, v, **masks):
    """Channel by channel a softmax over the keys seen, mixed by softmax(q)."""
    n, length = q.shape[-2], k.shape[-2]
    seen = pairs(n, length, lead=q.shape[:-2], **masks)
    out = np.zeros((*q.shape[:-1], v.shape[-1]))
    mixture = softmax(q)
    for c in range(q.shape[-1]):
        scores = np.where(seen, k[..., None, :, c], -np.inf)
        some = seen.any(-1, keepdims=True)
        top = np.where(some, scores.max(-1, keepdims=True), 0)
        weights = np.exp(scores - top)
        weights = divide(weights, weights.sum(-1, keepdims=True))
        out += mixture[..., c : c + 1] * (weights @ v)
    return out


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def elu1(x):
    return np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))


def relu_features(x, *, eps=0.0, power=1):
    return np.maximum(x, 0) ** power + eps


def exp_features(x, *, is_query):
    axis = -1 if is_query else (-2, -1)
    return np.exp(x - x.max(axis, keepdims=True))


def cosine_features(x):
    norm = np.sqrt((x * x).sum(-1, keepdims=True) + 1e-12)
    return np.concatenate([np.ones_like(norm), x / norm], -1)


def project(x, w, scale):
    if scale:
        x = x / x.shape[-1] ** 0.25
    return x, x @ np.swapaxes(w, -1, -2)


def softmax_features(x, w, *, kind="positive", scale=True):
    """The features of the Performer that estimate exp(q . k / sqrt(d))."""
    m = w.shape[-2]
    x, p = project(x, w, scale)
    half = (x * x).sum(-1, keepdims=True) / 2
    if kind == "positive":
        return np.exp(p - half) / math.sqrt(m)
    if kind == "hyperbolic":
        return np.exp(np.concatenate([p, -p], -1) - half) / math.sqrt(2 * m)
    return np.exp(half) * np.concatenate([np.cos(p), np.sin(p)], -1) / math.sqrt(m)


def log_softmax_features(x, w, *, is_query, scale=True):
    x, p = project(x, w, scale)
    return p if is_query else p - (x * x).sum(-1, keepdims=True) / 2


def generalized_features(x, w, *, eps=1e-3):
    p = x if w is None else project(x, w, False)[1]
    return np.maximum(p, 0) + eps


def performer(q, k, v, w, *, kind="positive", eps=1e-3, **masks):
    """Attention by the kernel of the features, in the open."""
    if kind == "generalized":
        phi = [generalized_features(x, w, eps=eps) for x in (q, k)]
        return linear(*phi, v, eps=0.0, **masks)
    if kind == "trig":
        phi = [softmax_features(x, w, kind=kind) for x in (q, k)]
        return linear(*phi, v, eps=0.0, **masks)
    if kind == "hyperbolic":
        w = np.concatenate([w, -w], -2)
    u_q = log_softmax_features(q, w, is_query=True)
    u_k = log_softmax_features(k, w, is_query=False)
    return log_linear(u_q, u_k, v, **masks)


def gram_schmidt(columns):
    """Orthonormal columns, each with a positive part along its own column."""
    found = []
    for column in columns.T:
        for _ in range(2):  # the second time removes what rounding left
            for other in found:
                column = column - (column @ other) * other
        found.append(column / np.sqrt(column @ column))
    return np.stack(found, 1)


def orthogonal_projection(blocks, rows, order, *, m, d, norms):
    """Rows of orthogonal directions with norms by one of the rules."""
    directions = np.concatenate([gram_schmidt(block).T for block in blocks])[:m]
    if norms == "chi":
        lengths = np.sqrt((rows * rows).sum(-1))
    elif norms == "sqrt_d":
        lengths = np.full(m, math.sqrt(d))
    else:
        i = np.arange(1, m + 1)
        share = i / (m + 1) if norms == "quantile" else (i - 0.5) / m
        lengths = chi_quantiles(share, d)[order]
    return directions * lengths[:, None]


def chi_quantiles(shares, d):
    """The R with P(chi_d <= R) = share, by bisection on Simpson's rule."""

    def share_below(radius):
        x = np.linspace(0, radius, 20_001)
        y = np.zeros_like(x)
        y[1:] = np.exp((d - 1) * np.log(x[1:]) - x[1:] ** 2 / 2)
        if d == 1:
            y[0] = 1.0
        weights = np.ones_like(x)
        weights[1:-1:2], weights[2:-1:2] = 4, 2
        total = (weights * y).sum() * (x[1] - x[0]) / 3
        return total / math.exp((d / 2 - 1) * math.log(2) + math.lgamma(d / 2))

    found = []
    for share in shares:
        low, high = 0.0, math.sqrt(d) + 12
        for _ in range(60):
            middle = (low + high) / 2
            below = share_below(middle) < share
            low, high = (middle, high) if below else (low, middle)
        found.append((low + high) / 2)
    return np.array(found)
