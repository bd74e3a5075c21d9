"""Fits of activations: the constants of GELU and their certificates."""

import math

import numpy as np
import pytest

from kexue_jax.numerics import (
    approximation_report,
    fit_activation,
    gelu_constants,
)
from tests.oracles import gelu as oracle

ROOT = math.sqrt(2 / math.pi)


def erf(x):
    return 2 * oracle.phi(x) - 1


def cubic(x, theta):
    return np.tanh(theta[0] * x + theta[1] * x**3)


def logistic(x, theta):
    return 0.5 + 0.5 * np.tanh(theta[0] * x / 2)


def fitted(criterion="minimax", end=4.0, **options):
    options = {"fixed": [True, False], **options}
    return fit_activation(
        erf, cubic, [ROOT, 0.036], domain=(0.0, end), criterion=criterion, **options
    )


def test_constants_of_the_article() -> None:
    found = gelu_constants()
    assert found["slope"] == ROOT
    assert found["taylor"] == pytest.approx(0.04553992412, abs=1e-11)
    assert found["tanh"] == pytest.approx(0.04471491, abs=1e-8)
    assert found["logistic"] == pytest.approx(1.70174490, abs=5e-8)
    # The article's digits: right to where its optimizer was.
    assert found["tanh"] == pytest.approx(0.04471491123850965, rel=1e-7)
    assert found["logistic"] == pytest.approx(1.7017449256323682, rel=1e-7)


def test_the_hybrid_fit_alternates_at_two_points() -> None:
    fit = fitted()
    assert fit.theta[0] == ROOT
    assert fit.theta[1] == pytest.approx(0.0356773374, abs=1e-9)
    assert fit.max_error == pytest.approx(3.578426e-4, rel=1e-6)
    inner = fit.extrema[np.abs(fit.extrema[:, 1]) > 3.5e-4]
    np.testing.assert_allclose(inner[:, 0], [1.2421, 2.5922], atol=1e-4)
    assert inner[0, 1] == pytest.approx(-inner[1, 1], rel=1e-9)
    # The cut-off is far enough: the error there is smaller.
    assert abs(fit.extrema[-1, 1]) < fit.max_error
    # No neighbor is better, on a grid of its own.
    x = np.linspace(0, 4, 20_001)
    for other in (0.999, 1.001):
        moved = np.abs(erf(x) - cubic(x, fit.theta * [1, other])).max()
        assert moved > fit.max_error


def test_fits_with_more_parameters() -> None:
    free = fitted(fixed=None)
    assert free.theta[0] == pytest.approx(0.798801, abs=1e-6)
    assert free.theta[1] / free.theta[0] == pytest.approx(0.0441687, abs=1e-7)
    assert free.max_error == pytest.approx(2.806e-4, abs=1e-7)
    sizes = np.sort(np.abs(free.extrema[:, 1]))[-3:]
    np.testing.assert_allclose(sizes, free.max_error, rtol=1e-9)

    def quintic(x, theta):
        return np.tanh(theta[0] * x + theta[1] * x**3 + theta[2] * x**5)

    fifth = fit_activation(erf, quintic, [0.79, 0.036, -1e-4], domain=(0.0, 4.0))
    np.testing.assert_allclose(
        fifth.theta, [0.7977178, 0.0367983, -3.1581e-4], atol=2e-7
    )
    assert fifth.max_error == pytest.approx(3.70e-5, abs=1e-7)
    # Its argument turns over: only good on the domain.
    assert quintic(np.array([14.0]), fifth.theta)[0] < 0


def test_other_criteria_give_other_constants() -> None:
    cases = (
        ({"criterion": "l2"}, 0.0448465, 3.93e-4),
        (
            {"criterion": "l2", "weight": lambda x: np.exp(-x * x / 2)},
            0.0451503,
            4.84e-4,
        ),
        ({"criterion": "l1"}, 0.0449684, 4.27e-4),
    )
    for options, coef, most in cases:
        fit = fitted(end=8.0, **options)
        assert fit.theta[1] / ROOT == pytest.approx(coef, abs=1.5e-6)
        assert fit.max_error == pytest.approx(most, abs=6e-7)
        assert abs(fit.theta[1] / ROOT - 0.044715) > 1e-4  # only minimax gives that
    taylor = fit_activation(
        erf, cubic, [0.7, 0.03], domain=(0.0, 4.0), criterion="taylor"
    )
    b = (4 - math.pi) / (3 * math.sqrt(2) * math.pi**1.5)
    np.testing.assert_allclose(taylor.theta, [ROOT, b], rtol=1e-9)


def test_logistic_fits() -> None:
    fit = fit_activation(oracle.phi, logistic, [1.7], domain=(0.0, 8.0))
    assert fit.max_error == pytest.approx(9.45731e-3, abs=1e-8)
    for scale, most in ((1.702, 9.48632e-3), (1.7, 9.56146e-3)):
        found = approximation_report(
            oracle.phi, lambda x, s=scale: logistic(x, [s]), domain=(-8.0, 8.0)
        )
        assert found.max_error == pytest.approx(most, abs=2e-8)
    wide = approximation_report(
        oracle.phi, lambda x: logistic(x, [math.pi / math.sqrt(3)]), domain=(-8.0, 8.0)
    )
    assert wide.max_error == pytest.approx(2.266e-2, abs=1e-5)
    squares = fit_activation(
        oracle.phi, logistic, [1.7], domain=(0.0, 8.0), criterion="l2"
    )
    assert squares.theta[0] == pytest.approx(1.70099, abs=1e-5)


def test_fits_of_gelu_itself() -> None:
    def tanh(x, theta):
        return oracle.tanh(x, coef=theta[0])

    fit = fit_activation(oracle.exact, tanh, [0.0447], domain=(0.0, 8.0))
    assert fit.theta[0] == pytest.approx(0.0443829, abs=1e-6)
    assert fit.max_error == pytest.approx(3.874e-4, abs=1e-7)

    def sigmoid(x, theta):
        return oracle.sigmoid(x, scale=theta[0])

    fit = fit_activation(oracle.exact, sigmoid, [1.7], domain=(0.0, 8.0))
    assert fit.theta[0] == pytest.approx(1.772934, abs=1e-6)
    assert fit.max_error == pytest.approx(1.392e-2, abs=1e-5)


def test_the_family_matters() -> None:
    def powers(x, theta):
        t = np.tanh(x)
        last = 1 - theta[0] - theta[1]
        return theta[0] * t + theta[1] * t**3 + last * t**5

    fit = fit_activation(erf, powers, [0.8, 0.1], domain=(0.0, 5.0))
    assert fit.max_error == pytest.approx(7.0e-3, abs=3e-4)


def test_known_best_polynomials() -> None:
    # x^n less its best polynomial of lower degree is Chebyshev's over 2^(n-1).
    for degree in (1, 2, 3, 4):
        fit = fit_activation(
            lambda x, n=degree + 1: x**n,
            lambda x, theta: np.polynomial.polynomial.polyval(x, theta),
            np.linspace(0.1, 0.2, degree + 1),
            domain=(-1.0, 1.0),
        )
        assert fit.max_error == pytest.approx(2.0**-degree, rel=1e-9)
        assert len(fit.extrema) == degree + 2


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"criterion": "best"}, "criterion"),
        ({"domain": (1.0, 1.0)}, "domain"),
        ({"domain": 4.0}, "domain"),
        ({"fixed": [True, True]}, "fixed"),
        ({"fixed": [True]}, "fixed"),
        ({"num": 3}, "num"),
        ({"theta0": [np.nan, 1.0]}, "theta0"),
        ({"target": 3}, "target"),
        ({"family": None}, "family"),
        ({"weight": 1.0}, "weight"),
    ],
)
def test_bad_arguments_are_named(change, name) -> None:
    given = {
        "target": erf,
        "family": cubic,
        "theta0": [0.8, 0.03],
        "domain": (0.0, 4.0),
    }
    given |= change
    target, family, theta0 = (given.pop(n) for n in ("target", "family", "theta0"))
    with pytest.raises((TypeError, ValueError), match=f"fit_activation: `{name}`"):
        fit_activation(target, family, theta0, **given)
