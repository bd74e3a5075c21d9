"""The schedules against the card's constants, and the traps that come with T."""

import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.diffusion import (
    Schedule,
    cosine_schedule,
    kexue_schedule,
    linear_schedule,
    paper_notation,
    schedule_from_alpha_bar,
    schedule_from_ddpm_betas,
    surrogate_schedule,
)
from tests.oracles import diffusion as oracle

EVERY = (kexue_schedule, linear_schedule, cosine_schedule, surrogate_schedule)


def wide(schedule: Schedule) -> oracle.Chain:
    return oracle.Chain(*(np.asarray(part, np.float64) for part in schedule))


def random_chain(seed: int, T: int = 1000) -> oracle.Chain:
    """beta_t^2 over four decades: a chain as no schedule of ours."""
    rng = np.random.default_rng(seed)
    return oracle.chain(10 ** rng.uniform(-4.5, -1.5, T))


@pytest.mark.parametrize(
    ("made", "exact"),
    [
        (kexue_schedule, oracle.kexue),
        (linear_schedule, oracle.linear),
        (cosine_schedule, oracle.cosine),
    ],
)
def test_equals_the_definition(made, exact) -> None:
    for mine, theirs in zip(made(T=1000, dtype=jnp.float64), exact(1000), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-11)


def test_alpha_bar_at_the_end_of_the_default() -> None:
    end = float(kexue_schedule(T=1000, dtype=jnp.float64).alpha_bar[-1])
    assert end == pytest.approx(0.00648203, abs=5e-9)
    assert np.log(end) == pytest.approx(-5.0387, abs=5e-5)
    assert np.exp(-5) == pytest.approx(0.0067379, abs=5e-8)


def test_alpha_bar_at_the_end_of_linear_and_cosine() -> None:
    linear = float(linear_schedule(T=1000, dtype=jnp.float64).alpha_bar[-1])
    assert linear == pytest.approx(0.00635282, abs=5e-9)
    cosine = float(cosine_schedule(T=1000, dtype=jnp.float64).alpha_bar[-1])
    assert cosine == pytest.approx(4.93e-5, abs=5e-8)


def test_default_betas_of_the_article() -> None:
    beta = kexue_schedule(T=1000, dtype=jnp.float64).beta
    assert float(beta[1]) == pytest.approx(0.0044721, abs=5e-8)
    assert float(beta[-1]) == pytest.approx(0.1414214, abs=5e-8)


def test_surrogate_stays_within_0_0387_of_the_default_in_log() -> None:
    exact = np.log(np.asarray(kexue_schedule(T=1000, dtype=jnp.float64).alpha_bar))
    gap = np.abs(exact + 5 * (np.arange(1001) / 1000) ** 2).max()
    assert gap == pytest.approx(0.0387, abs=5e-5)
    surrogate = surrogate_schedule(T=1000, dtype=jnp.float64)
    ours = np.abs(np.log(np.asarray(surrogate.alpha_bar)) - exact).max()
    assert ours == pytest.approx(gap, rel=1e-12)


@pytest.mark.parametrize("made", [*EVERY, "random"])
def test_posterior_coefficients_make_up_one_over_alpha(made) -> None:
    c = random_chain(1) if made == "random" else wide(made(T=1000, dtype=jnp.float64))
    alpha, beta, a, b = (part[1:] for part in c)
    before_a, before_b = c.alpha_bar[:-1], c.beta_bar[:-1]
    total = alpha * before_b**2 / b**2 + before_a * beta**2 / (a * b**2)
    np.testing.assert_allclose(total, 1 / alpha, rtol=1e-12)


@pytest.mark.parametrize("made", [*EVERY, "random"])
def test_ddim_coefficient_at_eta_1_is_that_of_ddpm(made) -> None:
    c = random_chain(2) if made == "random" else wide(made(T=1000, dtype=jnp.float64))
    t = np.arange(1, 1001)
    sigma = oracle.reverse_sigma(c, t, "posterior")
    root = np.sqrt(c.beta_bar[t - 1] ** 2 - sigma**2)
    coefficient = c.beta_bar[t] - c.alpha[t] * root
    np.testing.assert_allclose(coefficient, c.beta[t] ** 2 / c.beta_bar[t], atol=5e-15)


def test_posterior_sigma_over_beta() -> None:
    c = wide(kexue_schedule(T=1000, dtype=jnp.float64))
    ratio = oracle.reverse_sigma(c, np.arange(1, 1001), "posterior") / c.beta[1:]
    assert ratio[0] == 0
    assert ratio[1] == pytest.approx(0.57735, abs=5e-6)
    assert ratio[9] == pytest.approx(0.90458, abs=5e-6)
    assert 1 - ratio[-1] == pytest.approx(4e-7, abs=5e-8)


@pytest.mark.parametrize(("made", "last"), [(kexue_schedule, 3), (linear_schedule, 2)])
def test_sigma_beta_leaves_the_ddim_family_near_zero(made, last: int) -> None:
    c = wide(made(T=1000, dtype=jnp.float64))
    outside = np.flatnonzero(c.beta_bar[:-1] < c.beta[1:]) + 1
    assert outside.tolist() == list(range(1, last + 1))


@pytest.mark.parametrize(
    ("T", "end"), [(50, 0.774), (100, 0.601), (200, 0.364), (500, 0.080)]
)
def test_literal_schedule_off_T_1000_warns_that_it_is_not_noise(T, end) -> None:
    with pytest.warns(UserWarning, match=f"alpha_bar_T = {end:.3f} at T = {T}"):
        schedule = kexue_schedule(T=T, rescale=False)
    assert float(schedule.alpha_bar[-1]) == pytest.approx(end, abs=5e-4)
    with pytest.warns(UserWarning, match="not noise"):
        linear_schedule(T=T, rescale=False)


def test_literal_schedule_at_T_2000_is_past_noise_without_warning() -> None:
    end = float(kexue_schedule(T=2000, rescale=False).alpha_bar[-1])
    assert end == pytest.approx(4e-5, abs=5e-6)


def test_rescaled_default_at_T_100() -> None:
    end = float(kexue_schedule(T=100, dtype=jnp.float64).alpha_bar[-1])
    assert end == pytest.approx(0.0044, abs=5e-5)


@pytest.mark.parametrize("made", EVERY)
def test_every_T_ends_in_noise(made) -> None:
    for T in (21, 22, 30, 50, 100, 250, 999, 1001, 4000):
        c = wide(made(T=T))
        assert c.alpha.shape == (T + 1,)
        assert 0 < c.alpha_bar[-1] < 0.02
        assert all(np.isfinite(part).all() for part in c)
        assert (np.diff(c.alpha_bar) < 0).all()


@pytest.mark.parametrize("made", [kexue_schedule, linear_schedule])
def test_short_chains_are_refused_with_the_way_out(made) -> None:
    with pytest.raises(ValueError, match=r"`T` must be at least 21"):
        made(T=20)
    assert surrogate_schedule(T=1).T == cosine_schedule(T=1).T == 1


@pytest.mark.parametrize("made", EVERY)
def test_beta_bar_in_float32_is_exact_where_one_minus_square_is_not(made) -> None:
    exact = np.asarray(made(T=1000, dtype=jnp.float64).beta_bar)[1:]
    single = made(T=1000, dtype=jnp.float32)
    stored = np.asarray(single.beta_bar, np.float64)[1:]
    assert np.abs(stored / exact - 1).max() < 1e-7


def test_one_minus_alpha_bar_squared_loses_three_digits_at_t_1() -> None:
    exact = float(kexue_schedule(T=1000, dtype=jnp.float64).beta_bar[1])
    alpha_bar = np.float32(kexue_schedule(T=1000).alpha_bar[1])
    lost = float(np.float32(1) - alpha_bar**2) / exact**2 - 1
    assert 1e-3 < abs(lost) < 1e-2


@pytest.mark.parametrize("made", EVERY)
def test_index_zero_is_the_data(made) -> None:
    schedule = made(T=50)
    assert [float(part[0]) for part in schedule] == [1.0, 0.0, 1.0, 0.0]


def test_notations_of_the_papers() -> None:
    schedule = linear_schedule(T=1000, dtype=jnp.float64)
    paper = paper_notation(schedule)
    np.testing.assert_allclose(paper.ddpm_beta, np.linspace(1e-4, 0.02, 1000))
    np.testing.assert_allclose(paper.ddpm_alpha, 1 - np.linspace(1e-4, 0.02, 1000))
    np.testing.assert_allclose(paper.ddpm_alpha_bar, np.cumprod(paper.ddpm_alpha))
    np.testing.assert_array_equal(paper.ddim_alpha, paper.ddpm_alpha_bar)
    rest = 1 - paper.ddpm_alpha_bar
    np.testing.assert_allclose(np.asarray(schedule.beta_bar)[1:] ** 2, rest, rtol=1e-9)


def test_notations_and_back_on_random_schedules() -> None:
    for seed in range(1000):
        c = random_chain(seed, T=5)
        paper = paper_notation(Schedule(*map(jnp.asarray, c)))
        betas = schedule_from_ddpm_betas(paper.ddpm_beta, dtype=jnp.float64)
        rates = np.sqrt(paper.ddim_alpha)
        bars = schedule_from_alpha_bar(rates, dtype=jnp.float64)
        for mine, other, exact in zip(betas, bars, c, strict=True):
            np.testing.assert_allclose(mine, exact, rtol=1e-12)
            np.testing.assert_allclose(other, exact, rtol=1e-9)
