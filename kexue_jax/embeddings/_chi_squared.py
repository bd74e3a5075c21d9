"""Tails of chi^2_n / n in logarithms, in float64 on the host, at every n."""

import math


def log_tails(n: int, eps: float) -> tuple[float, float]:
    """log P(chi^2_n / n >= 1 + eps) and log P(chi^2_n / n <= 1 - eps), 0 < eps < 1.

    Both are front(x) = x^a e^-x / Gamma(a + 1), a = n/2, x = a (1 +- eps), times a
    factor that is far from 0 and overflow; log front = a (log(1 + mu) - mu) less a
    Stirling term, with mu = +-eps: the exponent of Chernoff's bound.
    """
    a = n / 2
    lower = _log_front(a, -eps) + math.log(_series(a, a * (1 - eps)))
    x = a * (1 + eps)
    if x < a + 1:
        below = math.exp(_log_front(a, eps)) * _series(a, x)
        return math.log1p(-below), lower
    return _log_front(a, eps) + math.log(a * _fraction(a, x)), lower


def log_remainder(a: float) -> float:
    """log Gamma(a + 1) - a (log a - 1), from Stirling's series where a is large."""
    if a <= 20:
        return math.lgamma(a + 1) - a * (math.log(a) - 1)
    turn = 1 / (a * a)
    series = (1 / 12 - turn * (1 / 360 - turn * (1 / 1260 - turn / 1680))) / a
    return math.log(2 * math.pi * a) / 2 + series


def _log_front(a: float, mu: float) -> float:
    return a * (math.log1p(mu) - mu) - log_remainder(a)


def _series(a: float, x: float) -> float:
    """sum_i x^i / ((a + 1) ... (a + i)): P(chi^2 <= 2x) over the front."""
    total = term = 1.0
    i = 0
    while term > 1e-17 * total:
        i += 1
        term *= x / (a + i)
        total += term
    return total


def _fraction(a: float, x: float) -> float:
    """1/(x+1-a- 1(1-a)/(x+3-a- 2(2-a)/(x+5-a- ...))), by Lentz's method, x > a + 1."""
    b = x + 1 - a
    c, d = math.inf, 1 / b
    value = d
    for i in range(1, 1_000_000):
        factor = -i * (i - a)
        b += 2
        d = 1 / (factor * d + b)
        c = b + factor / c
        value *= c * d
        if abs(c * d - 1) < 1e-16:
            break
    return value
