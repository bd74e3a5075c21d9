"""Fits of an elementary function to an activation, in float64 on the host."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from kexue_jax._base import checks

CRITERIA = ("minimax", "l2", "l1", "taylor")
Family = Callable[[np.ndarray, np.ndarray], np.ndarray]
Target = Callable[[np.ndarray], np.ndarray]
_ROOT = math.sqrt(2 / math.pi)


class FitResult(NamedTuple):
    """A fitted function: its parameters, its errors, where its error is extreme.

    ``extrema`` [m, 2] holds x and the error f - g at the local extrema of the error
    over the domain: of a minimax fit of k free parameters k + 1 of them, of equal size
    and alternating signs, prove that it is the best.

    Article: kexue.fm/archives/7309.
    """

    theta: np.ndarray
    max_error: float
    rms_error: float
    extrema: np.ndarray


class ApproximationReport(NamedTuple):
    """Errors of one function against another on a domain, and where they are largest.

    Article: kexue.fm/archives/7309.
    """

    max_error: float
    at: float
    rms_error: float
    mean_error: float


def fit_activation(
    target: Target,
    family: Family,
    theta0: Sequence[float] | np.ndarray,
    *,
    domain: tuple[float, float],
    criterion: str = "minimax",
    weight: Target | None = None,
    fixed: Sequence[bool] | None = None,
    num: int = 4001,
) -> FitResult:
    """The parameters of a family of functions that come nearest to a target.

    theta minimizing over x in the domain: "minimax" max |f(x) - g(x, theta)|, by
    Remez's exchange from the least squares; "l2" the integral of weight (f - g)^2, by
    Gauss and Newton; "l1" that of weight |f - g|, by reweighted least squares; "taylor"
    matches the first odd and even derivatives at 0 that theta can reach.

    Shapes: target [n] -> [n] and family ([n], theta [k]) -> [n] of NumPy float64;
    theta0 [k], the start; ``fixed`` [k], True where a parameter stays -> a FitResult.
    Article: kexue.fm/archives/7309.  Paper: none.
    Differs: the article minimizes the maximum over a grid by Powell's method, whose
    last digits are noise.
    Cost: ``num`` values of both functions some hundred times, on the host.
    Raises: TypeError or ValueError for arguments of other kinds, an empty domain, no
    free parameter, fewer than 16 points; ValueError where a fit does not converge.
    Example:
        >>> import numpy as np
        >>> from kexue_jax.numerics import fit_activation
        >>> line = lambda x, t: t[0] + t[1] * x
        >>> fit = fit_activation(np.exp, line, [1.0, 1.0], domain=(0.0, 1.0))
        >>> print(fit.theta.round(4), round(fit.max_error, 4))
        [0.8941 1.7183] 0.1059
    """
    name = "fit_activation"
    checks.function(name, "target", target)
    checks.function(name, "family", family)
    checks.choice(name, "criterion", criterion, CRITERIA)
    if weight is not None:
        checks.function(name, "weight", weight)
    start = checks.concrete(name, "theta0", theta0, "number").astype(float)
    if start.ndim != 1 or not start.size or not np.isfinite(start).all():
        raise checks.fail(name, "theta0", repr(theta0), "a row of finite numbers")
    free = _free(name, fixed, len(start))
    low, high = _ends(name, domain)
    checks.count(name, "num", num, minimum=16)
    x = np.linspace(low, high, int(num))

    def whole(part: np.ndarray) -> np.ndarray:
        theta = start.copy()
        theta[free] = part
        return theta

    def error(part: np.ndarray, x: np.ndarray = x) -> np.ndarray:
        return np.asarray(target(x), float) - np.asarray(family(x, whole(part)), float)

    density = np.ones_like(x) if weight is None else np.asarray(weight(x), float)
    if criterion == "taylor":
        part = _taylor(name, error, start[free])
    else:
        part = _least_squares(error, start[free], density)
        if criterion == "l1":
            part = _least_absolute(error, part, density)
        elif criterion == "minimax":
            part = _exchange(name, error, part, x)
    found = error(part)
    peaks = _peaks(lambda x: error(part, x), x)
    return FitResult(
        whole(part),
        float(max(np.abs(found).max(), np.abs(peaks[:, 1]).max())),
        float(np.sqrt(np.mean(found**2))),
        peaks,
    )


def approximation_report(
    f: Target, g: Target, *, domain: tuple[float, float], num: int = 100_001
) -> ApproximationReport:
    """How far one function is from another on an interval.

    The largest |f - g| with its x, the root of the mean square and the mean of f - g,
    on ``num`` points at equal distances.

    Shapes: f and g [n] -> [n] of NumPy float64 -> an ApproximationReport.
    Article: kexue.fm/archives/7309.  Paper: none.
    Differs: no.
    Cost: ``num`` values of both, on the host.
    Raises: TypeError or ValueError for arguments of other kinds or an empty domain.
    Example:
        >>> import numpy as np
        >>> from kexue_jax.numerics import approximation_report
        >>> found = approximation_report(np.sin, lambda x: x, domain=(0.0, 1.0))
        >>> round(found.max_error, 4), found.at
        (0.1585, 1.0)
    """
    name = "approximation_report"
    checks.function(name, "f", f)
    checks.function(name, "g", g)
    low, high = _ends(name, domain)
    checks.count(name, "num", num, minimum=2)
    x = np.linspace(low, high, int(num))
    gap = np.asarray(f(x), float) - np.asarray(g(x), float)
    place = int(np.abs(gap).argmax())
    return ApproximationReport(
        float(np.abs(gap[place])),
        float(x[place]),
        float(np.sqrt(np.mean(gap**2))),
        float(gap.mean()),
    )


def gelu_constants() -> dict[str, float]:
    """The constants of GELU's approximations, found anew.

    "slope" sqrt(2/pi); "taylor" (4 - pi) / (6 pi) = 0.04554, the cubic of Taylor's
    series; "tanh" 0.044715, that of the least maximal error of erf(x / sqrt(2)) with
    the slope kept; "logistic" 1.70174, the scale of the least maximal error of Phi.

    Shapes: none; Python floats by name.
    Article: kexue.fm/archives/7309.  Paper: arXiv 1606.08415.
    Differs: the article's 0.04471491123850965 and 1.7017449256323682 are right to eight
    and seven digits. The constants are best for erf and Phi, not for GELU.
    Cost: two fits on 4,001 points, on the host.
    Raises: nothing.
    Example:
        >>> from kexue_jax.numerics import gelu_constants
        >>> {name: round(value, 6) for name, value in gelu_constants().items()}
        {'slope': 0.797885, 'taylor': 0.04554, 'tanh': 0.044715, 'logistic': 1.701745}
    """
    tanh = fit_activation(
        normal_erf,
        tanh_cubic,
        [_ROOT, 0.036],
        domain=(0.0, 4.0),
        fixed=[True, False],
    )
    logistic = fit_activation(
        lambda x: (1 + normal_erf(x)) / 2,
        lambda x, theta: 1 / (1 + np.exp(-theta[0] * x)),
        [1.7],
        domain=(0.0, 8.0),
    )
    return {
        "slope": _ROOT,
        "taylor": (4 - math.pi) / (6 * math.pi),
        "tanh": float(tanh.theta[1] / tanh.theta[0]),
        "logistic": float(logistic.theta[0]),
    }


def normal_erf(x: np.ndarray) -> np.ndarray:
    """erf(x / sqrt(2)) in float64."""
    return np.array([math.erf(v / math.sqrt(2)) for v in np.ravel(x)]).reshape(
        np.shape(x)
    )


def tanh_cubic(x: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """tanh(a x + b x^3)."""
    return np.tanh(theta[0] * x + theta[1] * x**3)


def _free(name: str, fixed: Any, count: int) -> np.ndarray:
    if fixed is None:
        return np.ones(count, bool)
    held = checks.concrete(name, "fixed", fixed, "boolean")
    if held.shape != (count,):
        raise checks.fail(name, "fixed", f"shape {held.shape}", f"of {count} bools")
    if held.all():
        raise checks.fail(name, "fixed", "only True", "False for a parameter or more")
    return ~held


def _ends(name: str, domain: Any) -> tuple[float, float]:
    wanted = "a pair of finite numbers, the first below the second"
    if not isinstance(domain, (tuple, list)) or len(domain) != 2:
        raise checks.fail_type(name, "domain", repr(domain), wanted)
    low, high = domain
    for end in (low, high):
        checks.number(name, "domain", end)
    if not low < high:
        raise checks.fail(name, "domain", repr(domain), wanted)
    return float(low), float(high)


def _jacobian(error: Any, part: np.ndarray, x: np.ndarray | None = None) -> np.ndarray:
    """d error / d theta [n, k], by central differences of the fourth order."""
    more = () if x is None else (x,)
    columns = []
    for place in range(len(part)):
        step = np.zeros_like(part)
        step[place] = 1e-3 * max(1.0, abs(part[place])) * 2.0**-2
        one = error(part + step, *more) - error(part - step, *more)
        two = error(part + 2 * step, *more) - error(part - 2 * step, *more)
        columns.append((8 * one - two) / (12 * step[place]))
    return np.stack(columns, -1)


def _solve(residual: Any, slopes: Any, part: np.ndarray) -> np.ndarray:
    """Levenberg and Marquardt on a sum of squares, until a step moves nothing."""
    damping, value = 1e-3, residual(part)
    for _ in range(200):
        a, size = slopes(part), float(value @ value)
        normal = a.T @ a
        scale = np.diag(np.diag(normal) + 1e-30)
        step = -np.linalg.solve(normal + damping * scale, a.T @ value)
        moved = residual(part + step)
        if np.isfinite(moved).all() and float(moved @ moved) <= size:
            part, value, damping = part + step, moved, max(damping / 10, 1e-12)
            if np.abs(step).max() < 1e-13 * max(1.0, np.abs(part).max()):
                return part
        elif damping > 1e12:
            return part
        else:
            damping *= 10
    return part


def _least_squares(error: Any, part: np.ndarray, density: np.ndarray) -> np.ndarray:
    root = np.sqrt(density)
    return _solve(
        lambda p: root * error(p),
        lambda p: root[:, None] * _jacobian(error, p),
        part,
    )


def _least_absolute(error: Any, part: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Least squares weighted by 1 / |error|, held away from 0 by less and less."""
    for floor in np.geomspace(1e-2, 1e-9, 60) * max(np.abs(error(part)).max(), 1e-300):
        part = _least_squares(
            error, part, density / np.maximum(np.abs(error(part)), floor)
        )
    return part


def _peaks(error: Any, x: np.ndarray) -> np.ndarray:
    """x and error at local extrema, between points by parabolas, and at the ends."""
    values = error(x)
    rises = np.diff(values)
    inner = 1 + np.flatnonzero(rises[:-1] * rises[1:] < 0)
    places = [x[0], x[-1]]
    step = x[1] - x[0]
    for i in inner:
        left, middle, right = values[i - 1 : i + 2]
        bend = left - 2 * middle + right
        places.append(x[i] + 0.5 * step * (left - right) / bend)
    places = np.sort(np.array(places))
    return np.stack([places, error(places)], -1)


def _alternating(peaks: np.ndarray, count: int) -> np.ndarray | None:
    """The ``count`` neighbors of alternating sign whose least size is largest."""
    runs: list[np.ndarray] = []
    for peak in peaks:
        if peak[1] == 0:
            continue
        if runs and np.sign(runs[-1][1]) == np.sign(peak[1]):
            runs[-1] = max(runs[-1], peak, key=lambda p: abs(p[1]))
        else:
            runs.append(peak)
    if len(runs) < count:
        return None
    windows = [np.array(runs[i : i + count]) for i in range(len(runs) - count + 1)]
    return max(windows, key=lambda w: np.abs(w[:, 1]).min())


def _exchange(name: str, error: Any, part: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Remez: equal errors at k + 1 extrema, then the extrema again."""
    count = len(part) + 1
    for _ in range(60):
        peaks = _peaks(lambda v, p=part: error(p, v), x)
        chosen = _alternating(peaks, count)
        if chosen is None:
            wanted = f"a start whose error changes sign {len(part)} times or more"
            raise checks.fail(name, "theta0", "a fit whose error does not", wanted)
        places, signs = chosen[:, 0], np.sign(chosen[:, 1])
        most = np.abs(peaks[:, 1]).max()
        if most - np.abs(chosen[:, 1]).min() < 1e-13 * max(most, 1e-300) + 1e-16:
            return part
        both = np.append(part, np.abs(chosen[:, 1]).mean())

        def residual(p: np.ndarray, at: Any = places, s: Any = signs) -> np.ndarray:
            return error(p[:-1], at) - s * p[-1]

        def slopes(p: np.ndarray, at: Any = places, s: Any = signs) -> np.ndarray:
            return np.column_stack([_jacobian(error, p[:-1], at), -s])

        moved = _solve(residual, slopes, both)[:-1]
        if np.abs(moved - part).max() < 1e-14 * max(1.0, np.abs(part).max()):
            return moved
        part = moved
    return part


def _taylor(name: str, error: Any, part: np.ndarray) -> np.ndarray:
    """Derivatives at 0 from a polynomial on Chebyshev's points around it."""
    degree, radius = 21, 0.75
    points = radius * np.cos(np.pi * (np.arange(64) + 0.5) / 64)

    def coefficients(p: np.ndarray) -> np.ndarray:
        fit = np.polynomial.Chebyshev.fit(
            points, error(p, points), degree, domain=[-radius, radius]
        )
        return fit.convert(kind=np.polynomial.Polynomial).coef[:8]

    # Those that some parameter moves, the lowest first.
    moves = np.zeros(8)
    for place in range(len(part)):
        step = np.zeros_like(part)
        step[place] = 0.05 * max(1.0, abs(part[place]))
        moves += np.abs(coefficients(part + step) - coefficients(part - step))
    orders = np.flatnonzero(moves > 1e-6)[: len(part)]
    if len(orders) < len(part):
        wanted = "parameters that derivatives at 0 below the eighth decide"
        raise checks.fail(name, "theta0", f"{len(part)} parameters", wanted)
    for _ in range(50):
        columns = []
        for place in range(len(part)):
            step = np.zeros_like(part)
            step[place] = 1e-4 * max(1.0, abs(part[place]))
            change = coefficients(part + step) - coefficients(part - step)
            columns.append(change[orders] / (2 * step[place]))
        step = np.linalg.solve(np.stack(columns, -1), coefficients(part)[orders])
        part = part - step
        if np.abs(step).max() < 1e-13:
            break
    return part
