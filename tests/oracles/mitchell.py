"""Mitchell's arithmetic in float64 from exponents and mantissas, by the method card."""

import numpy as np


def parts(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """n and f of |x| = 2^n (1 + f)."""
    half, n = np.frexp(np.abs(x))
    return n - 1, 2 * half - 1


def antilog(n: np.ndarray, s: np.ndarray) -> np.ndarray:
    """2^n 2^floor(s) (1 + s - floor(s))."""
    whole = np.floor(s)
    return np.ldexp(1 + s - whole, (n + whole).astype(int))


def mul(a, b, *, offset: float = 0.0, **_) -> np.ndarray:
    a, b = np.broadcast_arrays(np.asarray(a, float), np.asarray(b, float))
    (i, x), (j, y) = parts(a), parts(b)
    found = antilog(i + j, x + y + offset) * np.sign(a) * np.sign(b)
    return np.where((a == 0) | (b == 0), 0, found)


def div(a, b, **_) -> np.ndarray:
    a, b = np.broadcast_arrays(np.asarray(a, float), np.asarray(b, float))
    (i, x), (j, y) = parts(a), parts(b)
    return np.where(a == 0, 0, antilog(i - j, x - y) * np.sign(a) * np.sign(b))


def matmul(a, b, *, offset: float = 0.0, **_) -> np.ndarray:
    return mul(a[..., :, :, None], b[..., None, :, :], offset=offset).sum(-2)


def log2(x, **_) -> np.ndarray:
    n, f = parts(x)
    return n + f


def exp2(y, **_) -> np.ndarray:
    return antilog(np.zeros_like(y), np.asarray(y, float))


def sqrt(x) -> np.ndarray:
    return exp2(log2(x) / 2)


def rsqrt(x, *, tuned: bool, newton_steps: int) -> np.ndarray:
    less = (0x5F400000 - 0x5F3759DF) / 2**23 if tuned else 0.0
    y = exp2(-log2(x) / 2 - less)
    for _ in range(newton_steps):
        y = y * (1.5 - 0.5 * x * y * y)
    return y


def conv(x, kernel, *, padding: str, offset: float = 0.0, **_) -> np.ndarray:
    """One axis of space, strides of 1."""
    width = kernel.shape[0]
    before = (width - 1) // 2 if padding == "SAME" else 0
    after = width - 1 - before if padding == "SAME" else 0
    x = np.pad(x, ((0, 0), (before, after), (0, 0)))
    count = x.shape[1] - width + 1
    rows = np.stack([x[:, i : i + count] for i in range(width)], 2)
    return mul(rows[..., None], kernel, offset=offset).sum((2, 3))


def by_strings(p: str, q: str) -> float:
    """The article's algorithm on binary numbers written out: shift and concatenate."""

    def logarithm(text: str) -> tuple[int, str]:
        whole, _, rest = text.partition(".")
        digits = (whole + rest).lstrip("0")
        lead = len(whole) - 1 - (len(whole + rest) - len(digits))
        return lead, digits[1:]

    (i, x), (j, y) = logarithm(p), logarithm(q)
    size = max(len(x), len(y), 1)
    total = int(x.ljust(size, "0") or "0", 2) + int(y.ljust(size, "0") or "0", 2)
    carry, rest = divmod(total, 2**size)
    return (
        float(int("1" + format(rest, f"0{size}b"), 2)) / 2**size * 2 ** (i + j + carry)
    )


def attention(q, k, v, mask=None, *, scale, causal, offset=0.0, **_) -> np.ndarray:
    """The softmax exact, every product Mitchell's."""
    keep = np.ones(q.shape[:-1] + (k.shape[-2],), bool) if mask is None else mask
    if causal:
        keep = keep & (np.arange(q.shape[-2])[:, None] >= np.arange(k.shape[-2]))
    scores = matmul(q, np.swapaxes(k, -1, -2), offset=offset)
    scores = mul(scores, np.full_like(scores, scale), offset=offset)
    weights = np.where(keep, np.exp(scores - scores.max(-1, keepdims=True)), 0)
    total = weights.sum(-1, keepdims=True)
    return matmul(weights / np.where(total == 0, 1, total), v, offset=offset)
