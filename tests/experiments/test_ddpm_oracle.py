"""ddpm_oracle: the closed forms are the card's, the rules catch what is wrong."""

import functools

import jax
import numpy as np
import pytest

from experiments._oracle import draws, flow, gaussian, guidance, modes, pitfalls
from kexue_jax import diffusion

CARD = {  # output variance of DDIM on unit data, by (S, eta)
    (10, 0): 0.690298,
    (50, 0): 0.929185,
    (1000, 0): 0.996334,
    (10, 1): 0.548657,
    (50, 1): 0.857512,
    (1000, 1): 0.991162,
}


@functools.lru_cache
def report() -> gaussian.Report:
    return gaussian.measure(40, 400, [0])


def verdicts(claims) -> dict[str, str]:
    return {claim.text: claim.verdict for claim in claims}


@pytest.mark.parametrize("S", [10, 50, 1000])
def test_closed_forms_are_those_of_the_card(S: int) -> None:
    found = gaussian.closed_forms(1000, S)
    for eta in (0, 1):
        assert abs(found[f"eta={eta}"][1][0] - CARD[S, eta]) < 5e-7
    assert found["analytic"] < 1e-12
    assert found["beta on N(0, 1)"] < 1e-12 and found["posterior on a point"] < 1e-12


def test_ode_errors_are_those_of_the_card() -> None:
    card = {
        "Euler": (-3.6e-2, -1.0e-2, -0.5e-2),
        "Heun": (2.2e-2, 1.1e-3, 2.8e-4),
        "RK4": (-4e-4, -4e-7, -2.5e-8),
        "Euler, time s^2": (0.48, 0.11, 0.055),
        "DDIM (exponential)": (-0.25, -0.055, -0.028),
    }
    for index, n in enumerate((10, 50, 100)):
        found = flow.exact_errors(1000, n)
        for name, wanted in card.items():
            assert abs(found[name] / wanted[index] - 1) < 0.07, (name, n)


def test_ddim_is_euler_in_one_pair_of_coordinates_only() -> None:
    changed, plain = flow.ddim_as_euler(100).values()
    assert changed < 1e-12 and plain > 1e-2


def test_samples_of_the_right_law_pass_and_of_a_wrong_one_do_not() -> None:
    x = np.random.default_rng(0).normal(0.5, 0.5, (100_000, 2))
    right, limit = np.full(2, 0.25), draws.allowed(4)
    assert 4.8 < limit < 5.3
    assert np.abs(draws.variance_z(x, right)).max() < limit
    assert np.abs(draws.mean_z(x, np.full(2, 0.5), right)).max() < limit
    assert np.abs(draws.variance_z(x, right * 1.05)).min() > limit
    assert np.abs(draws.mean_z(x, np.full(2, 0.49), right)).min() > limit
    assert abs(draws.share_z(0.51, 0.5, 10_000) - 2) < 1e-9


def test_the_z_score_of_a_variance_is_standard_normal() -> None:
    x = np.random.default_rng(1).normal(size=(40, 20_000))
    z = draws.variance_z(x, np.ones(20_000))
    assert abs(z.mean()) < 0.03 and abs(z.std() - 1) < 0.03


def test_the_remarks_on_sigma_and_steps_hold_and_would_be_refuted_if_not() -> None:
    right = verdicts(gaussian.claims(report()))
    turned = report()._replace(steps=report().steps[::-1])
    wrong = verdicts(gaussian.claims(turned))
    fewer = next(text for text in right if text.startswith("fewer steps"))
    assert right[fewer] == "confirmed" and wrong[fewer] == "refuted"
    smaller = next(text for text in right if text.startswith("smaller sigma"))
    assert right[smaller] == "confirmed"
    swapped = dict(report().exact)
    for S in report().steps:
        swapped[S, "eta=0"], swapped[S, "eta=1"] = (
            swapped[S, "eta=1"],
            swapped[S, "eta=0"],
        )
    other = verdicts(gaussian.claims(report()._replace(exact=swapped)))
    assert other[smaller] == "refuted"


def test_samples_off_the_closed_form_are_refuted() -> None:
    text = "our samplers draw from the closed forms"
    assert verdicts(gaussian.claims(report()))[text] == "confirmed"
    off = report()._replace(worst={"mean": [0.5], "variance": [6.5]})
    assert verdicts(gaussian.claims(off))[text] == "refuted"


def test_the_literal_schedule_is_no_noise_below_1000_steps() -> None:
    with jax.enable_x64(True):
        for T, wanted in ((50, 0.774), (100, 0.601), (200, 0.364), (500, 0.080)):
            literal = pitfalls.build(T, "literal", "float64")
            assert abs(literal.alpha_bar[-1] - wanted) < 6e-4
            found = pitfalls.ends(literal, np.arange(1, T + 1), 1.0)
            rescaled = pitfalls.build(T, "rescaled", "float64")
            better = pitfalls.ends(rescaled, np.arange(1, T + 1), 1.0)
            for law in pitfalls.LAWS:
                assert abs(better.mean[law]) < 0.05 * abs(found.mean[law])


def test_classifier_gradient_is_that_of_bayes() -> None:
    x = np.linspace(-2, 2, 9)[:, None]
    alpha_bar, beta_bar = 0.6, 0.8
    total = alpha_bar**2 * guidance.VARIANCE + beta_bar**2
    density = [
        np.exp(-((x - alpha_bar * center) ** 2) / (2 * total))
        for center in guidance.CENTERS
    ]
    wanted = np.log(density[1] / (density[0] + density[1]))
    found = guidance.log_share(x, alpha_bar, beta_bar)
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_the_tilted_law_without_tilt_is_the_class() -> None:
    mean, deviation = guidance.tilted(0.0)
    assert abs(mean - 0.5) < 1e-9 and abs(deviation - 0.5) < 1e-9
    means, deviations = zip(*map(guidance.tilted, guidance.WEIGHTS), strict=True)
    assert (np.diff(means) > 0).all() and (np.diff(deviations) < 0).all()


def test_modes_are_counted() -> None:
    x = np.array([-1.0, -0.96, 1.0, 1.2])
    near, shares, spread = modes.counted(modes.POINTS, x)
    assert near == 0.75 and shares == [0.5, 0.5]
    assert abs(spread - np.sqrt((0.04**2 + 0.2**2) / 4)) < 1e-12


def test_the_mode_of_no_weight_changes_nothing() -> None:
    schedule = diffusion.kexue_schedule(T=40, dtype="float32")
    x = np.linspace(-3, 3, 13, dtype=np.float32)[:, None]
    t = np.full(13, 7, np.int32)
    both = [*modes.POINTS, modes.UNUSED]
    with_it = modes.predictor(schedule, zip(*both, strict=True))(x, t)
    without = modes.predictor(schedule, zip(*modes.POINTS, strict=True))(x, t)
    np.testing.assert_allclose(with_it, without, rtol=1e-6, atol=1e-7)
