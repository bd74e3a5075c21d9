"""Taylor softmax, its losses, features, attention in float64 NumPy, from the card."""

import itertools
import math
from typing import Any

import numpy as np

MINIMA = {  # order: (stationary point, minimum), to 12 digits
    2: (-1.0, 0.5),
    4: (-1.59607163798, 0.270394765205),
    6: (-2.18060712404, 0.149324841731),
    8: (-2.75900270996, 0.0832715201641),
    10: (-3.33355148527, 0.0466991135903),
    12: (-3.90545175762, 0.0262856285316),
    16: (-5.04388707261, 0.00838737537018),
    20: (-6.17753407829, 0.00269264054095),
}


def polynomial(x: Any, n: int) -> np.ndarray:
    """f_n(x), term by term."""
    x = np.asarray(x, np.float64)
    return sum((x**k / math.factorial(k) for k in range(n + 1)), np.zeros_like(x))


def stationary(n: int) -> float:
    """The only real root of f_{n-1}, by bisection."""
    low, high = -float(n), 0.0
    for _ in range(200):
        middle = (low + high) / 2
        below = polynomial(middle, n - 1) < 0
        low, high = (middle, high) if below else (low, middle)
    return (low + high) / 2


def minimum(n: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.asarray(stationary(n))
    return x, polynomial(x, n)


def taylor_exp(x: np.ndarray, order: int, monotone: bool = False) -> np.ndarray:
    return polynomial(np.maximum(x, stationary(order)) if monotone else x, order)


def log_taylor_exp(x: np.ndarray, order: int, monotone: bool = False) -> np.ndarray:
    return np.log(taylor_exp(x, order, monotone))


def softmax(
    x: np.ndarray,
    where: Any = None,
    *,
    order: int = 2,
    axis: int = -1,
    monotone: bool = False,
) -> np.ndarray:
    """The ratio itself; 0 in rows of which nothing is kept."""
    f = taylor_exp(x, order, monotone)
    f = f if where is None else f * where
    total = f.sum(axis, keepdims=True)
    return f / np.where(total > 0, total, 1)


def moved(logits: np.ndarray, labels: np.ndarray, margin: float) -> np.ndarray:
    """The logits, the true one less by the margin."""
    result = np.array(logits, np.float64)
    for place in np.ndindex(labels.shape):
        result[(*place, labels[place])] -= margin
    return result


def picked(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.take_along_axis(values, labels[..., None], -1)[..., 0]


def taylor_cross_entropy(
    logits: np.ndarray,
    labels: np.ndarray,
    margin: float,
    order: int,
    monotone: bool = False,
) -> np.ndarray:
    shifted = moved(logits, labels, margin)
    return -np.log(picked(softmax(shifted, order=order, monotone=monotone), labels))


def log_softmax(x: np.ndarray) -> np.ndarray:
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def soft_margin_cross_entropy(
    logits: np.ndarray, labels: np.ndarray, margin: float
) -> np.ndarray:
    return -picked(log_softmax(moved(logits, labels, margin)), labels)


def truncated_cross_entropy(
    logits: np.ndarray, labels: np.ndarray, terms: int
) -> np.ndarray:
    p = np.exp(picked(log_softmax(np.asarray(logits, np.float64)), labels))
    return sum((1 - p) ** k / k for k in range(1, terms + 1))


def attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    mask: Any = None,
    *,
    order: int = 2,
    causal: bool = False,
    monotone: bool = False,
    scale: float | None = None,
) -> np.ndarray:
    """One query after the other."""
    lead, n, m = q.shape[:-2], q.shape[-2], k.shape[-2]
    keep = np.ones((*lead, n, m), bool)
    keep = keep if mask is None else np.broadcast_to(mask, keep.shape)
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    out = np.zeros((*lead, n, v.shape[-1]))
    for place in np.ndindex(*lead, n):
        at, i = place[:-1], place[-1]
        kept = keep[place] & (~np.asarray(causal) | (np.arange(m) <= i))
        scores = k[at] @ q[place] * scale
        out[place] = softmax(scores, kept, order=order, monotone=monotone) @ v[at]
    return out


def features(x: np.ndarray, order: int, binomial: bool, scale: bool) -> np.ndarray:
    """Monomials by exponents, in the order of sorted tuples of indices."""
    x = np.asarray(x, np.float64)
    d = x.shape[-1]
    x = x * d**-0.25 if scale else x
    columns = []
    for degree in range(order + 1):
        for combination in itertools.combinations_with_replacement(range(d), degree):
            counts = [combination.count(a) for a in range(d)]
            square = 1 / math.prod(math.factorial(c) for c in counts)
            if binomial:
                square *= math.perm(order, degree) / order**degree
            columns.append(
                math.sqrt(square) * np.prod(x[..., list(combination)], axis=-1)
            )
    return np.stack(columns, -1)


def taylor2_features(x: np.ndarray, scale: bool) -> np.ndarray:
    """1, x, products of two different entries, squares over the root of 2."""
    x = np.asarray(x, np.float64)
    d = x.shape[-1]
    x = x * d**-0.25 if scale else x
    pairs = [x[..., a] * x[..., b] for a in range(d) for b in range(a + 1, d)]
    squares = [x[..., a] ** 2 / math.sqrt(2) for a in range(d)]
    columns = [np.ones(x.shape[:-1]), *np.moveaxis(x, -1, 0), *pairs, *squares]
    return np.stack(columns, -1)
