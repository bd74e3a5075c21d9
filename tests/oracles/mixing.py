"""Selective scan, retention and WKV in float64 NumPy, one step after the other.

Written from the method card, importing nothing of the library.
"""

import numpy as np


def selective_scan(x, delta, a, b, c, d=None, *, state=None):
    """h = exp(delta a) h + (delta b) x, y = h c + d x; states (e, n) by channel."""
    x, delta, a, b, c = (np.asarray(p) for p in (x, delta, a, b, c))
    lead, (length, e), n = x.shape[:-2], x.shape[-2:], a.shape[1]
    h = np.zeros((*lead, e, n)) if state is None else np.swapaxes(state, -1, -2)
    out = np.zeros(x.shape)
    for t in range(length):
        step = delta[..., t, :, None]
        entering = step * b[..., t, None, :] * x[..., t, :, None]
        h = np.exp(step * a) * h + entering
        out[..., t, :] = (h * c[..., t, None, :]).sum(-1)
    if d is not None:
        out = out + np.asarray(d) * x
    return np.swapaxes(h, -1, -2), out


def retention(q, k, v, log_decay, *, state=None):
    """s = gamma s + k^T v, o = q s."""
    q, k, v = (np.asarray(x) for x in (q, k, v))
    lead, length = q.shape[:-2], q.shape[-2]
    gamma = np.exp(np.broadcast_to(log_decay, (*lead, length)))
    s = np.zeros((*lead, q.shape[-1], v.shape[-1])) if state is None else state
    out = np.zeros((*lead, length, v.shape[-1]))
    for t in range(length):
        s = gamma[..., t, None, None] * s + k[..., t, :, None] * v[..., t, None, :]
        out[..., t, :] = (q[..., t, :, None] * s).sum(-2)
    return s, out


def wkv(r, k, v, log_decay, log_bonus, *, article=True):
    """The formula of the article, or the official one, exponents not guarded."""
    r, k, v, log_decay, log_bonus = map(np.asarray, (r, k, v, log_decay, log_bonus))
    y = z = np.zeros((*k.shape[:-2], k.shape[-1]))
    decay, bonus, out = np.exp(log_decay), np.exp(log_bonus), np.zeros(v.shape)
    for t in range(k.shape[-2]):
        e = np.exp(k[..., t, :])
        before = y + bonus * e * v[..., t, :], z + bonus * e
        y, z = decay * y + e * v[..., t, :], decay * z + e
        more = (bonus * decay - 1) * e
        after = y + more * v[..., t, :], z + more
        top, bottom = after if article else before
        out[..., t, :] = top / bottom / (1 + np.exp(-r[..., t, :]))
    return out


def wkv_as_published(r, k, v, log_decay, log_bonus):
    """As the article's code has it: -log lambda in the place of lambda."""
    r, k, v, log_decay, log_bonus = map(np.asarray, (r, k, v, log_decay, log_bonus))
    y = z = np.zeros((*k.shape[:-2], k.shape[-1]))
    decay, out = np.exp(log_decay), np.zeros(v.shape)
    for t in range(k.shape[-2]):
        e = np.exp(k[..., t, :])
        y, z = decay * y + e * v[..., t, :], decay * z + e
        more = (np.exp(log_bonus) * -log_decay - 1) * e
        mean = (y + more * v[..., t, :]) / (z + more)
        out[..., t, :] = mean / (1 + np.exp(-r[..., t, :]))
    return out
