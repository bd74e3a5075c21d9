"""The experiment gelu: errors of forms, and how its claims are judged."""

import numpy as np
import pytest

from experiments._gelu import claims, constants
from experiments._gelu.training import ACTIVATIONS, Answer, Cell
from kexue_jax.numerics.activation_fit import normal_erf, tanh_cubic

SEEDS = [0, 1, 2]


def report(more: float, noise: float = 0.0) -> claims.Report:
    """Networks of the tanh form are better by ``more``, give or take the noise."""
    answers = {}
    for name in ACTIVATIONS:
        gain = more if name == "tanh" else 0.0
        answers[name] = {
            Cell(1e-3, s): Answer(
                0.9, 0.9 + gain + noise * (s - 1) * (name == "tanh"), (0.9,) * 5
            )
            for s in SEEDS
        }
    return claims.Report({}, {}, {}, answers, [1e-3], SEEDS)


@pytest.mark.parametrize(
    ("more", "noise", "verdict"),
    [
        (0.0, 0.0, "confirmed"),
        (0.004, 0.004, "qualified"),
        (0.02, 0.0, "refuted"),
        (-0.02, 0.0, "refuted"),
    ],
)
def test_equal_means_within_a_margin(more, noise, verdict) -> None:
    claim = claims._same(report(more, noise), "tanh", "as good")
    assert claim.verdict == verdict
    assert claims._swap(report(more, noise), "tanh").verdict == "confirmed"


def test_forms_have_the_errors_of_the_card() -> None:
    for form in constants.FORMS:
        assert constants.errors(form).most == pytest.approx(form.card, rel=2e-3)


def test_a_wrong_constant_refutes() -> None:
    found = report(0.0)._replace(constants={"tanh": 0.0455, "logistic": 1.702})
    assert claims._constants(found).verdict == "refuted"


def test_every_fit_is_of_erf() -> None:
    x = np.linspace(0, 4, 50)
    for name, fit in constants.fits().items():
        error = np.abs(normal_erf(x) - tanh_cubic(x, fit.theta)).max()
        assert error <= fit.max_error * (1 + 1e-9) < 1e-3, name
