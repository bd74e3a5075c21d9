"""The entropy of word pairs with vectors on a sphere, and the 8.33 log N rule."""

import functools
import math

import numpy as np

from kexue_jax._base import checks

_REACH, _NODES = 12.0, 128  # standard deviations of the peak, and points over them


def embedding_entropy_rate(*, n: int) -> float:
    """h_n, what n dimensions of two words' vectors take from the entropy 2 log N.

    With theta the angle of independent uniform directions (of density proportional to
    sin^(n-2) theta): h_n = log E e^(n cos theta) - E[e^(n cos theta) n cos theta] /
    E e^(n cos theta). The entropy of pairs of N words, p_ij proportional to
    exp(<v_i, v_j>), |v_i| = sqrt(n), is about 2 log N + h_n.

    Shapes: none -> float.
    Article: kexue.fm/archives/7695.  Paper: none.
    Differs: no. h_n / n is -0.286 at n = 2 and rises to its limit,
    -log((1 + sqrt 5) / 2) / 2 = -0.240606, of which the article's -0.24 is the round.
    Cost: 128 points in float64 on the host, whatever n.
    Raises: TypeError or ValueError unless n is an integer of at least 2.
    Example:
        >>> from kexue_jax.embeddings import embedding_entropy_rate
        >>> print(f"{embedding_entropy_rate(n=64):.4f}")
        -15.4734
    """
    checks.count("embedding_entropy_rate", "n", n, minimum=2)
    return _rate(int(n))


def min_embedding_dim(*, vocab: int, coef: float | None = 8.33) -> int:
    """The least dimension of word vectors by the minimum entropy rule.

    The least integer of at least coef log N, N = vocab; with coef None the least n at
    which 2 log N + h_n <= 0, h_n exact (``embedding_entropy_rate``). For the size of an
    attention head N is the length of the sequence.

    Shapes: none -> int.
    Article: kexue.fm/archives/7695, 8711, 8706.  Paper: none.
    Differs: 8.33 is 2/0.24; with the limit of h_n / n it is 8.3123. A heuristic: what
    dimensions are enough is for data to say.
    Cost: with coef None some 20 evaluations of h_n.
    Raises: TypeError or ValueError unless vocab is an integer of at least 2 and coef
    positive if given.
    Example:
        >>> from kexue_jax.embeddings import min_embedding_dim
        >>> [min_embedding_dim(vocab=size) for size in (512, 100_000)]
        [52, 96]
    """
    name = "min_embedding_dim"
    checks.count(name, "vocab", vocab, minimum=2)
    if coef is not None:
        checks.number(name, "coef", coef, minimum=0, open_minimum=True)
        return math.ceil(coef * math.log(vocab))
    # |h_n| rises with n, by about 0.24 a dimension.
    n = 2
    while 2 * math.log(vocab) + _rate(n) > 0:
        n *= 2
    below = max(n // 2, 1)
    while n - below > 1:
        middle = (n + below) // 2
        if 2 * math.log(vocab) + _rate(middle) > 0:
            below = middle
        else:
            n = middle
    return n


@functools.cache
def _rule() -> tuple[np.ndarray, np.ndarray]:
    """Points and weights of Gauss's rule on [-1, 1]."""
    return np.polynomial.legendre.leggauss(_NODES)


def _rate(n: int) -> float:
    """By Gauss's rule where the integrand is, its logarithm scaled to a peak of 0."""
    nodes, weights = _rule()
    # The peak of (n-2) log sin + n cos, where (n-2) cos = n sin^2, and its curvature.
    peak = (math.hypot(n - 2, 2 * n) - (n - 2)) / (2 * n)
    center = math.acos(peak)
    width = _REACH / math.sqrt(n * peak + (n - 2) / (1 - peak * peak + 1e-300))
    low, high = max(0.0, center - width), min(math.pi, center + width)
    theta = (low + high) / 2 + (high - low) / 2 * nodes
    exponent = (n - 2) * np.log(np.sin(theta)) + n * np.cos(theta)
    top = exponent.max()
    share = weights * np.exp(exponent - top)
    total = float(share.sum())
    mean = float((share * np.cos(theta)).sum()) / total
    # log of the integral of sin^(n-2): sqrt(pi) Gamma((n-1)/2) / Gamma(n/2).
    whole = math.log(math.pi) / 2 + math.lgamma((n - 1) / 2) - math.lgamma(n / 2)
    return float(top) + math.log(total * (high - low) / 2) - whole - n * mean
