"""hippo_memory: its memories are the library's, and its rules catch what is wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments._harness.errors import UserError
from experiments._memory import claims, memories
from experiments._memory.measurement import Report, _by_parts
from experiments._memory.series import SERIES, load_series
from experiments.hippo_memory import numbers

CHANNELS = 3
SIZES = (16, 64)


def flat(value: float) -> np.ndarray:
    return np.full(CHANNELS, value)


def report() -> Report:
    """What the articles say, in numbers."""
    steps = {(m, n): flat(0.1) for m in memories.STEPS for n in SIZES}
    steps |= {("trapezoid", n): flat(0.01) for n in SIZES}
    steps |= {("exact", n): flat(1e-13) for n in SIZES}
    fits = {(m, n): flat(1 / n) for m in memories.MEASURES for n in SIZES}
    rates = {("LegS, exact", 3): flat(1e-13), ("LegS, trapezoid", 3): flat(0.01)}
    rates["LegT, zoh", 3] = flat(1.0)
    fourier = {(f, n): flat(0.1 if f == 2 else 0.5) for f in (1, 2) for n in SIZES}
    older = {"legt": 0.01, "fourier_real": 0.02, "legs": 0.7}
    parts = {"legs": np.full((5, CHANNELS), 0.3)}
    single = {m: flat(float(m != "forward")) for m in ("forward", "trapezoid")}
    return Report(fits, steps, {}, parts, older, rates, fourier, single, {}, {})


def verdicts(found: Report) -> list[str]:
    return [claim.verdict for claim in claims.all_claims(found)]


def test_every_claim_is_confirmed_where_all_is_as_the_articles_say() -> None:
    assert set(verdicts(report())) == {"confirmed"}


@pytest.mark.parametrize(
    ("place", "field", "key", "value"),
    [
        (0, "parts", "legs", np.array([[2.0] * CHANNELS] + [[0.1] * CHANNELS] * 4)),
        (1, "rates", ("LegS, exact", 3), flat(1e-3)),
        (2, "older", "legt", 0.5),
        (3, "fourier", (2, 16), flat(0.6)),
        (4, "steps", ("bilinear", 16), flat(0.001)),
        (5, "steps", ("ln_weight", 64), flat(0.001)),
        (6, "single", "forward", flat(1.0)),
        (7, "steps", ("exact", 16), flat(1e-3)),
        (8, "fits", ("legs", 64), flat(0.9)),
    ],
)
def test_each_claim_is_refuted_where_it_is_false(place, field, key, value) -> None:
    wrong = report()
    getattr(wrong, field)[key] = value
    assert verdicts(wrong)[place] == "refuted"


@pytest.mark.parametrize("name", SERIES)
def test_series_are_real_standardized_and_always_there(name) -> None:
    signals = load_series(name).signals
    assert signals.shape == {"eeg": (4, 800), "stock": (1, 1047)}[name]
    assert np.abs(signals.mean(-1)).max() < 1e-12
    assert np.abs(signals.std(-1) - 1).max() < 1e-12


def test_matrix_of_a_memory_is_its_recurrence() -> None:
    rng = np.random.default_rng(0)
    u = rng.normal(size=(2, 30))
    with jax.enable_x64(True):
        kept = memories.memory("legt", 4, 30, 10, "bilinear")
        wanted = np.zeros((2, 4))
        a, b = (np.asarray(m) for m in memories.ssm.hippo_matrices(measure="legt", n=4))
        eye = np.eye(4)
        left = np.linalg.inv(eye - a / 20)
        for k in range(30):
            right = wanted @ (eye + a / 20).T + u[:, k : k + 1] * b / 10
            wanted = right @ left.T
        assert np.abs(kept.coefficients(u) - wanted).max() < 1e-5
        legs = memories.memory("legs", 4, 30, 10, "exact")
        best = memories.projected(jnp.asarray(u), n=4)
        assert np.abs(legs.coefficients(u) - best).max() < 1e-13


def test_best_coefficients_of_a_fourier_window_are_inner_products() -> None:
    matrix = memories.window_projection("fourier_real", 5, 8)
    fine = (np.arange(8 * 4000) + 0.5) / (8 * 4000)
    for column, wave in enumerate((None, np.cos, np.sin, np.cos, np.sin)):
        order = (column + 1) // 2
        values = np.ones(8 * 4000)
        if wave is not None:
            values = np.sqrt(2) * wave(2 * np.pi * order * fine)
        wanted = values.reshape(8, -1).mean(-1) / 8
        assert np.abs(matrix[:, column] - wanted).max() < 1e-8


def test_what_no_read_out_reaches_counts_as_an_error_of_one() -> None:
    signals = np.random.default_rng(1).normal(size=(2, 50))
    by_part = _by_parts(signals[:, 40:], signals)
    assert np.allclose(by_part, np.array([1, 1, 1, 1, 0])[:, None])


@pytest.mark.parametrize("wrong", ["", "3", "0", "8,a", "1024", "8;16"])
def test_sizes_that_are_none_are_refused_in_one_line(wrong) -> None:
    with pytest.raises(UserError, match=r"flag --sizes=.*wanted even integers"):
        numbers(wrong)
