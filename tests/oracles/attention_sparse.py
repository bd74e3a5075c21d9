"""Sparse, hashed, low-rank and shortened attention in float64 NumPy, from the card.

Patterns are boolean matrices written pair by pair; attention over them is that of
``tests.oracles.attention``.
"""

import numpy as np

from tests.oracles.attention import attention


def pattern(n, k, kind, causal=False):
    keep = np.zeros((n, n), bool)
    for i in range(n):
        for j in range(n):
            near, far = abs(i - j) <= k, (i - j) % k == 0 if k else i == j
            keep[i, j] = {"local": near, "atrous": far, "sparse": near or far}[kind]
            keep[i, j] &= j <= i or not causal
    return keep


def fixed(kind):
    """The attention of a pattern whose reach comes under the name that we use."""

    def attend(q, k, v, key_mask=None, *, causal=False, scale=None, **reach):
        keep = pattern(q.shape[-2], next(iter(reach.values())), kind, causal)
        if key_mask is not None:
            keep = keep & key_mask[..., None, :]
        return attention(q, k, v, keep=keep, scale=scale)[0]

    return attend


def explicit(q, k, v, mask=None, *, k_top, causal=False, scale=None):
    scale = 1 / np.sqrt(q.shape[-1]) if scale is None else scale
    scores = scale * q @ np.swapaxes(k, -1, -2)
    keep = np.ones(scores.shape, bool) if mask is None else mask & True
    keep = np.broadcast_to(keep, scores.shape).copy()
    if causal:
        keep &= np.tril(np.ones(scores.shape[-2:], bool))
    for place in np.ndindex(*scores.shape[:-1]):
        allowed = np.flatnonzero(keep[place])
        best = allowed[np.argsort(-scores[place][allowed])[:k_top]]
        keep[place] = np.isin(np.arange(scores.shape[-1]), best)
    return attention(q, k, v, keep=keep, scale=scale)[0]


def longformer(
    q,
    k,
    v,
    q_global=None,
    k_global=None,
    v_global=None,
    positions=None,
    key_mask=None,
    *,
    window,
    dilation=1,
    scale=None,
):
    n = q.shape[-2]
    seen = np.ones(n, bool) if key_mask is None else key_mask
    seen = np.broadcast_to(seen, q.shape[:-1])
    delta = np.arange(n)[:, None] - np.arange(n)[None]
    heads = q.shape[-3] if q.ndim > 2 else 1
    steps = dilation if isinstance(dilation, tuple) else (dilation,) * heads
    keep = np.stack(
        [(delta % s == 0) & (np.abs(delta) <= s * window // 2) for s in steps]
    )
    if positions is not None:
        keep[:, :, positions] = True
    keep = np.broadcast_to(keep if q.ndim > 2 else keep[0], (*q.shape[:-1], n))
    out = attention(q, k, v, keep=keep & seen[..., None, :], scale=scale)[0]
    if positions is not None:
        keep = seen[..., None, :]
        rows = attention(q_global, k_global, v_global, keep=keep, scale=scale)[0]
        out[..., positions, :] = rows
    return out


def bigbird_mask(draws, n, *, block_size, n_window, n_global, n_random):
    """Pairs of positions; ``draws`` [blocks, blocks] decide which blocks are random."""
    blocks = -(-n // block_size)
    joined = np.zeros((blocks, blocks), bool)
    for i in range(blocks):
        for j in range(blocks):
            joined[i, j] = abs(i - j) <= n_window // 2 or min(i, j) < n_global
        if i >= n_global:
            free = np.flatnonzero(~joined[i])
            joined[i, free[np.argsort(-draws[i][free])[:n_random]]] = True
    return np.repeat(np.repeat(joined, block_size, 0), block_size, 1)[:n, :n]


def bigbird(q, k, v, key_mask=None, *, draws, scale=None, **counts):
    keep = bigbird_mask(draws, q.shape[-2], **counts)
    if key_mask is not None:
        keep = keep & key_mask[..., None, :]
    return attention(q, k, v, keep=keep, scale=scale)[0]


def buckets(x, draws):
    """Of normals [rounds, d, b / 2]: [rounds, ..., n]."""
    turned = np.stack([x @ r for r in draws])
    return np.concatenate([turned, -turned], -1).argmax(-1)


def lsh_pairs(bucket, chunk_size):
    """Which i, j [n, n] one round with these buckets [n] joins."""
    n = len(bucket)
    order = sorted(range(n), key=lambda p: (bucket[p], p))
    chunk = np.empty(n, int)
    for place, position in enumerate(order):
        chunk[position] = place // chunk_size
    step = chunk[:, None] - chunk[None]
    return (bucket[:, None] == bucket[None]) & ((step == 0) | (step == 1))


def lsh(
    qk,
    v,
    key_mask=None,
    *,
    draws,
    n_buckets,
    n_rounds=1,
    chunk_size=None,
    causal=False,
    scale=None,
):
    """Softmax over the union of the rounds' pairs, a query itself only if alone."""
    n = qk.shape[-2]
    chunk_size = -(-2 * n // n_buckets) if chunk_size is None else chunk_size
    found = np.zeros((n_rounds, *qk.shape[:-1]), int)
    if n_buckets > 1:
        found = buckets(qk, draws)
    keep = np.zeros((*qk.shape[:-1], n), bool)
    for place in np.ndindex(*qk.shape[:-2]):
        for turn in range(n_rounds):
            keep[place] |= lsh_pairs(found[(turn, *place)], chunk_size)
    if causal:
        keep &= np.tril(np.ones((n, n), bool))
    if key_mask is not None:
        keep &= key_mask[..., None, :]
    others = keep & ~np.eye(n, dtype=bool)
    keep = np.where(others.any(-1, keepdims=True), others, keep)
    norms = np.sqrt((qk**2).sum(-1, keepdims=True) + 1e-12)
    return attention(qk, qk / norms, v, keep=keep, scale=scale)[0]


def linformer(q, k, v, e, f=None, key_mask=None, *, scale=None):
    f = e if f is None else f
    if key_mask is not None:
        k, v = k * key_mask[..., None], v * key_mask[..., None]
    return attention(q, e @ k, f @ v, scale=scale)[0]


def mean_pool(x, key_mask=None, *, stride):
    n = x.shape[-2]
    mask = np.ones(x.shape[:-1], bool) if key_mask is None else key_mask
    mask = np.broadcast_to(mask, x.shape[:-1])[..., None]
    parts = []
    for begin in range(0, n, stride):
        some = mask[..., begin : begin + stride, :]
        total = (x[..., begin : begin + stride, :] * some).sum(-2)
        parts.append(total / np.maximum(some.sum(-2), 1))
    return np.stack(parts, -2)


def pooled(q, k, v, key_mask=None, *, stride, scale=None):
    keep = None
    if key_mask is not None:
        wide = np.broadcast_to(key_mask, k.shape[:-1])
        keep = mean_pool(wide[..., None] * 1.0, stride=stride)[..., 0] > 0
        keep = keep[..., None, :]
    pooled = [mean_pool(x, key_mask, stride=stride) for x in (k, v)]
    return attention(q, *pooled, keep=keep, scale=scale)[0]


def strided_conv(x, kernel):
    size = len(kernel)
    parts = []
    for begin in range(0, x.shape[-2], size):
        some = x[..., begin : begin + size, :]
        parts.append(sum(some[..., t, :] @ kernel[t] for t in range(some.shape[-2])))
    return np.stack(parts, -2)


def softmax(x, axis):
    weights = np.exp(x - x.max(axis, keepdims=True))
    return weights / weights.sum(axis, keepdims=True)


def double(c, b, v, key_mask=None):
    if key_mask is not None:
        b = np.where(np.broadcast_to(key_mask, b.shape[:-1])[..., None], b, -1e300)
    gathered = np.swapaxes(softmax(b, -2), -1, -2) @ v
    return softmax(c, -1) @ gathered


def pyramid(x, *, sizes):
    h, w = x.shape[-3:-1]
    found = []
    for size in sizes:
        for a in range(size):
            for b in range(size):
                rows = slice(
                    int(np.floor(a * h / size)), int(np.ceil((a + 1) * h / size))
                )
                cols = slice(
                    int(np.floor(b * w / size)), int(np.ceil((b + 1) * w / size))
                )
                found.append(x[..., rows, cols, :].mean((-3, -2)))
    return np.stack(found, -2)


def asymmetric(q, k, v, *, sizes, scale=None):
    return attention(q, pyramid(k, sizes=sizes), pyramid(v, sizes=sizes), scale=scale)[
        0
    ]


def em(x, bases, key_mask=None, *, steps, temperature):
    mu = np.broadcast_to(bases, (*x.shape[:-2], *bases.shape[-2:]))
    mask = np.ones(x.shape[:-1]) if key_mask is None else key_mask * 1.0
    for _ in range(steps):
        z = softmax(x @ np.swapaxes(mu, -1, -2) / temperature, -1)
        kept = z * mask[..., None]
        mu = np.swapaxes(kept, -1, -2) @ x / kept.sum(-2)[..., None]
        mu = mu / np.sqrt((mu**2).sum(-1, keepdims=True) + 1e-12)
    return z @ mu, mu, z


def significance(q, k, key_mask=None, *, scale=None):
    n = q.shape[-2]
    mask = np.ones((*q.shape[:-3], n), bool) if key_mask is None else key_mask
    mask = np.broadcast_to(mask, (*q.shape[:-3], n))[..., None, :]
    values = np.broadcast_to(np.eye(n), (*q.shape[:-1], n))
    weights = attention(q, k, values, keep=mask[..., None, :], scale=scale)[0]
    return (weights * mask[..., None]).sum((-2, -3))


def select(x, score, key_mask=None, *, keep, keep_first):
    score = np.where(True if key_mask is None else key_mask, score, -np.inf)
    if keep_first:
        score = score.copy()
        score[..., 0] = np.inf
    index = np.sort(np.argsort(-score, -1, kind="stable")[..., :keep], -1)
    return np.take_along_axis(x, index[..., None], -2), index


def soft_select(x, score, retention, key_mask=None, *, keep_first):
    """Each token by itself: how many others come before it."""
    lead, n = score.shape[:-1], score.shape[-1]
    score = np.array(np.where(True if key_mask is None else key_mask, score, -np.inf))
    if keep_first:
        score[..., 0] = np.inf
    retention, out = np.broadcast_to(retention, score.shape), np.array(x)
    for place in np.ndindex(*lead):
        row = score[place]
        for j in range(n):
            rank = int((row > row[j]).sum() + (row[:j] == row[j]).sum())
            out[(*place, j)] *= retention[(*place, rank)]
    return out


def retention_penalty(retention):
    return sum(
        (layer + 1) * retention[..., layer, :].sum(-1)
        for layer in range(retention.shape[-2])
    )


def retained(retention):
    counts = np.maximum(np.ceil(retention.sum(-1) - 1e-4), 1).astype(int)
    return np.minimum.accumulate(counts, -1)


def reversible(f, g, params, x1, x2):
    for own_f, own_g in zip(*params, strict=True):
        x1 = x1 + f(own_f, x2)
        x2 = x2 + g(own_g, x1)
    return x1, x2


def reversible_back(f, g, params, y1, y2):
    for own_f, own_g in zip(*(p[::-1] for p in params), strict=True):
        y2 = y2 - g(own_g, y1)
        y1 = y1 - f(own_f, y2)
    return y1, y2
