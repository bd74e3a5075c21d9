"""Softmax attention in float64 NumPy, query by query, from the formulas of the card."""

import numpy as np


def attention(q, k, v, *, keep=None, scale=None):
    """(out, lse) over the pairs to keep; a query without keys gives 0 and -inf."""
    scale = 1 / np.sqrt(q.shape[-1]) if scale is None else scale
    shape = (*q.shape[:-1], k.shape[-2])
    keep = np.broadcast_to(True if keep is None else keep, shape)
    out = np.zeros((*q.shape[:-1], v.shape[-1]))
    lse = np.full(q.shape[:-1], -np.inf)
    for place in np.ndindex(*q.shape[:-1]):
        kept = keep[place]
        if kept.any():
            scores = scale * (k[place[:-1]][kept] @ q[place])
            top = scores.max()
            weights = np.exp(scores - top)
            lse[place] = top + np.log(weights.sum())
            out[place] = weights @ v[place[:-1]][kept] / weights.sum()
    return out, lse


def band_mask(n, m, *, causal=False, band=None):
    low, high = (None, None) if band is None else band
    delta = np.arange(n)[:, None] - np.arange(m)[None]
    keep = np.full((n, m), True)
    if causal:
        keep &= delta >= 0
    if low is not None:
        keep &= delta >= low
    if high is not None:
        keep &= delta <= high
    return keep


def banded(q, k, v, mask=None, *, causal=False, band=None, scale=None):
    """(out, lse) with a band and a mask of keys [..., m] or of pairs [..., n, m]."""
    n, m = q.shape[-2], k.shape[-2]
    keep = band_mask(n, m, causal=causal, band=band)
    return attention(q, k, v, keep=keep if mask is None else keep & mask, scale=scale)


def merge(outs, lses):
    """Parts of an attention merged, the weights not shifted."""
    weights = np.exp(np.stack(lses))
    total = weights.sum(0)
    merged = (weights[..., None] * np.stack(outs)).sum(0)
    return merged / np.where(total == 0, 1, total)[..., None]
