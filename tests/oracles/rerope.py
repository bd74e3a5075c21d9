"""Rotary attention in float64 NumPy, each pair of query and key rotated by itself."""

import math

import numpy as np

from tests.oracles import positions as oracle


def pair_scores(q, k, freqs, rho, interleaved=True):
    """q_i . R^(-rho_ij) k_j for q [n, d], k [m, d], rho [n, m], by complex numbers."""

    def complex_pairs(x):
        x = np.asarray(x, np.float64)
        half = x.shape[-1] // 2
        if interleaved:
            return x[..., 0::2] + 1j * x[..., 1::2]
        return x[..., :half] + 1j * x[..., half:]

    turns = np.exp(-1j * rho[..., None] * np.asarray(freqs, np.float64))
    products = complex_pairs(q)[:, None].conj() * complex_pairs(k)[None] * turns
    return products.real.sum(-1)


def softmax_rows(scores, keep, v):
    """Attention row by row; 0 where nothing is kept."""
    out = np.zeros((scores.shape[0], v.shape[-1]))
    for i, row in enumerate(scores):
        if keep[i].any():
            weights = np.where(keep[i], np.exp(row - row[keep[i]].max()), 0)
            out[i] = weights @ np.asarray(v, np.float64) / weights.sum()
    return out


def attention(
    q,
    k,
    v,
    *,
    freqs,
    window,
    leak=math.inf,
    group=None,
    positions=None,
    causal=True,
    key_mask=None,
    mask=None,
    interleaved=True,
    scale=None,
    block_size=None,
):
    """ReRoPE and its family for q [..., n, d]; fewer heads of k and v are repeated."""
    q = np.asarray(q)
    n, d = q.shape[-2:]
    if np.shape(k)[:-2] != q.shape[:-2]:
        times = q.shape[-3] // k.shape[-3]
        k, v = np.repeat(k, times, -3), np.repeat(v, times, -3)
    keep = np.ones((*q.shape[:-1], n), bool)
    if causal:
        keep &= np.tri(n, dtype=bool)
    if key_mask is not None:
        keep &= np.asarray(key_mask)[..., None, :]
    if mask is not None:
        keep &= np.asarray(mask)
    where = np.arange(n) if positions is None else np.asarray(positions)
    where = np.broadcast_to(where, q.shape[:-1])
    out = np.zeros((*q.shape[:-1], np.shape(v)[-1]))
    for place in np.ndindex(q.shape[:-2]):
        t = where[place]
        if group is None:
            rho = oracle.relative(t[:, None] - t[None, :], window, leak, causal)
        else:
            rho = oracle.self_extend(t, t, window, group, causal).astype(float)
        scores = pair_scores(q[place], k[place], freqs, rho, interleaved)
        scores = scores * (d**-0.5 if scale is None else scale)
        out[place] = softmax_rows(scores, keep[place], v[place])
    return out


def hwfa(q, k, v, *, freqs, window, train_length, floor=0.0, key_mask=None, **rest):
    """A window with rotary positions, or all keys and the log-n factor."""
    n, d = np.shape(q)[-2:]
    delta = np.arange(n)[:, None] - np.arange(n)[None, :]
    if window is None:
        factor = oracle.log_n(np.arange(n), train_length, floor)
        q = np.asarray(q) * factor[:, None]
        rest = {"key_mask": key_mask, **rest}
        return attention(q, k, v, freqs=np.zeros(d // 2), window=None, **rest)
    near = delta < window
    return attention(
        q, k, v, freqs=freqs, window=None, mask=near, key_mask=key_mask, **rest
    )


def decode(keys, values, q, *, freqs, window, leak, mask=None, interleaved=True):
    """The last row of attention over keys [m, d] by the query of position m - 1."""
    m, d = np.shape(keys)
    rho = oracle.relative(m - 1 - np.arange(m), window, leak)[None]
    scores = pair_scores(np.asarray(q)[None], keys, freqs, rho, interleaved) / d**0.5
    keep = np.ones((1, m), bool) if mask is None else np.asarray(mask)[None]
    return softmax_rows(scores, keep, values)[0]
