"""Random projections, hashes and sketches in float64, from the method card."""

import math

import numpy as np
from scipy import special, stats


def log_mgf(lam, *, n):
    return n / 2 * np.log(n / (n - 2 * lam))


def chernoff(eps, *, n):
    """Both tails and the bound above them."""
    return (
        np.exp(n * (np.log1p(eps) - eps) / 2),
        np.exp(n * (np.log1p(-eps) + eps) / 2),
        np.exp(-n * eps**2 / 8),
    )


def exact_tails(eps, *, n):
    upper = stats.chi2.sf(n * (1 + eps), n)
    return upper, stats.chi2.cdf(n * (1 - eps), n)


def orthogonality(eps, *, n):
    return 4 * np.exp(-n * eps**2 / 8)


def failure(eps, *, num_points, n):
    return num_points * (num_points - 1) * np.exp(-n * eps**2 / 8)


def exact_dim(num_points, eps, delta):
    """One n after the other."""
    n = 1
    while num_points * (num_points - 1) / 2 * sum(exact_tails(eps, n=n)) > delta:
        n += 1
    return n


def orthonormal_rows(rows):
    """Gram and Schmidt."""
    done = []
    for row in rows:
        for _ in range(2):
            for other in done:
                row = row - (row @ other) * other
        done.append(row / np.linalg.norm(row))
    return np.array(done)


def matrix(draws, *, n, m, kind, sparsity=None):
    """From normal numbers, or from uniform ones, [n, m]."""
    if kind == "gaussian":
        return draws / math.sqrt(n)
    if kind == "orthonormal":
        return math.sqrt(m / n) * orthonormal_rows(draws)
    if kind == "rademacher":
        return np.where(draws < 0.5, -1, 1) / math.sqrt(n)
    s = sparsity or 3.0
    signs = np.where(draws < 0.5 / s, 1, np.where(draws < 1 / s, -1, 0))
    return math.sqrt(s / n) * signs


def project(a, v):
    return v @ a.T


def hadamard(d):
    """Normalized, by Sylvester's construction."""
    found = np.ones((1, 1))
    while len(found) < d:
        found = np.block([[found, found], [found, -found]])
    return found / math.sqrt(d)


def transform(x):
    return x @ hadamard(x.shape[-1])


def srht_matrix(signs, rows, m):
    """[n, m]."""
    width = len(signs)
    full = math.sqrt(width / len(rows)) * hadamard(width)[rows] * signs
    return full[:, :m]


def srht(parts, v):
    return v @ srht_matrix(*parts, v.shape[-1]).T


def sq_dists(x):
    return np.square(x[..., :, None, :] - x[..., None, :, :]).sum(-1)


def distortion(x, y):
    rows, columns = np.triu_indices(x.shape[-2], 1)
    before, after = (sq_dists(z)[..., rows, columns] for z in (x, y))
    ratio = after / before
    away = np.abs(ratio - 1)
    return away.max(-1), away.mean(-1), ratio.std(-1)


def sign_hash(a, v):
    return project(a, v) >= 0


def packed(bits):
    """Words of 32 bits, the first bit the lowest."""
    n = bits.shape[-1]
    wide = np.zeros((*bits.shape[:-1], -(-n // 32) * 32), np.uint64)
    wide[..., :n] = bits
    parts = wide.reshape(*bits.shape[:-1], -1, 32)
    return (parts * 2 ** np.arange(32, dtype=np.uint64)).sum(-1).astype(np.uint32)


def hamming(h1, h2):
    """Of boolean hashes, or of words bit by bit."""
    if h1.dtype == bool:
        return (h1 != h2).sum(-1)
    places = np.arange(32, dtype=np.uint32)
    bits = [(h[..., None] >> places) & 1 for h in (h1, h2)]
    return (bits[0] != bits[1]).sum((-2, -1))


def cosine(h1, h2, *, n=None, corrected=True):
    share = hamming(h1, h2) / (n or h1.shape[-1])
    return np.cos(np.pi * share) if corrected else 1 - 2 * share


def fly_hash(w, v, *, k):
    active = v @ w
    order = np.argsort(-active, axis=-1, kind="stable")[..., :k]
    found = np.zeros(active.shape, bool)
    np.put_along_axis(found, order, True, -1)
    return found


def randomized_svd(given, draws, *, k, power_iters):
    """From Omega = draws, with QR."""
    q = np.linalg.qr(given @ draws)[0]
    for _ in range(power_iters):
        q = np.linalg.qr(given @ np.linalg.qr(given.T @ q)[0])[0]
    u, s, vt = np.linalg.svd(q.T @ given, full_matrices=False)
    u = (q @ u)[:, :k]
    signs = np.sign(u[np.abs(u).argmax(0), np.arange(k)])
    return u * signs, s[:k], vt[:k] * signs[:, None]


def entropy_rate(n):
    """By Bessel functions: E e^(n cos) = Gamma(n/2) (2/n)^v I_v(n), v = n/2 - 1."""
    v = n / 2 - 1
    whole, next_ = special.ive(v, n), special.ive(v + 1, n)
    log_mean = special.gammaln(n / 2) + v * np.log(2 / n) + np.log(whole) + n
    return log_mean - n * next_ / whole


def divergence(p, q, k):
    logits = q @ np.swapaxes(k, -1, -2)
    logits = logits - logits.max(-1, keepdims=True)
    log_found = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    rows = (special.xlogy(p, p) - p * log_found).sum(-1)
    return rows.mean(-1)


def factors(mask, draws, *, d, beta):
    k = draws / math.sqrt(d)
    return beta * mask @ k, k
