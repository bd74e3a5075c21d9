"""Exact moments on Gaussian data: the card's numbers, and samples that agree."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.diffusion import (
    ddim_sample,
    ddim_taus,
    ddpm_sample,
    ddpm_step,
    gaussian_moments,
    kexue_schedule,
    linear_schedule,
)
from tests.diffusion.chains import gaussian_fn, normals
from tests.oracles import diffusion_sampling as oracle

T = 1000
SCHEDULE = kexue_schedule(T=T, dtype=jnp.float64)
FULL = ddim_taus(T=T, S=T)
KEY = jax.random.key(11)


def variance_of(taus=FULL, **options) -> float:
    return float(gaussian_moments(SCHEDULE, taus, **options).variance)


@pytest.mark.parametrize("last_noise", [False, True])
@pytest.mark.parametrize("sigma", ["eta", "beta", "posterior", "zero", "analytic"])
def test_equals_the_numpy_recursion(sigma: str, last_noise: bool) -> None:
    exact = oracle.kexue(T)
    for S, start, eta in ((1, "noise", 1.0), (7, "marginal", 0.3), (333, "noise", 0.9)):
        taus = ddim_taus(T=T, S=S)
        options = {"mean": 0.4, "variance": 0.3, "sigma": sigma, "eta": eta}
        options |= {"last_noise": last_noise, "start": start}
        got = gaussian_moments(SCHEDULE, taus, **options)
        wanted = oracle.moments(exact, taus.tolist(), **options)
        np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-14)


def test_ancestral_output_variance_of_the_card() -> None:
    # Unit data: 1.000000 (beta) and 0.991162 (posterior); variance 0.25: 0.250853 and
    # 0.246226. All with the noise of the last step, which is beta_1^2 = 2e-5.
    for data, sigma, wanted in (
        (1.0, "beta", 1.000000),
        (1.0, "posterior", 0.991162),
        (0.25, "beta", 0.250853),
        (0.25, "posterior", 0.246226),
    ):
        got = variance_of(sigma=sigma, variance=data, last_noise=True)
        assert abs(got - wanted) < 5e-7, (data, sigma, got)


def test_sigma_beta_is_exactly_optimal_for_unit_data_at_any_stride() -> None:
    for S in (1, 5, 50, 1000):
        taus = ddim_taus(T=T, S=S)
        got = variance_of(taus, sigma="beta", last_noise=True)
        assert abs(got - 1) < 1e-12


def test_posterior_is_exactly_optimal_for_one_point() -> None:
    for S in (5, 50, 1000):
        taus = ddim_taus(T=T, S=S)
        got = gaussian_moments(
            SCHEDULE, taus, mean=0.7, variance=0.0, sigma="posterior", start="marginal"
        )
        assert abs(got.mean - 0.7) < 1e-12 and got.variance < 1e-20


@pytest.mark.parametrize(
    ("S", "eta", "wanted"),
    [
        (10, 0.0, 0.690298),
        (50, 0.0, 0.929185),
        (1000, 0.0, 0.996334),
        (10, 1.0, 0.548657),
        (50, 1.0, 0.857512),
        (1000, 1.0, 0.991162),
    ],
)
def test_ddim_output_variance_of_the_card(S: int, eta: float, wanted: float) -> None:
    assert abs(variance_of(ddim_taus(T=T, S=S), eta=eta) - wanted) < 5e-7


@pytest.mark.parametrize("data", [0.04, 0.25, 1.0, 3.0])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_analytic_variance_makes_the_output_variance_exact(eta, data) -> None:
    for S in (5, 10, 50):
        got = gaussian_moments(
            SCHEDULE,
            ddim_taus(T=T, S=S),
            mean=0.3,
            variance=data,
            sigma="analytic",
            eta=eta,
            last_noise=True,
            start="marginal",
        )
        assert abs(got.variance / data - 1) < 1e-14
        assert abs(got.mean / 0.3 - 1) < 1e-13


@pytest.mark.parametrize("data", [0.25, 1.0])
def test_less_noise_gives_more_output_variance(data: float) -> None:
    # The author's remark, in 9181: smaller sigma, noisier and more diverse images.
    for S in (10, 50, 200, 1000):
        taus = ddim_taus(T=T, S=S)
        out = [variance_of(taus, eta=e, variance=data) for e in (0, 0.25, 0.5, 0.75, 1)]
        assert all(b < a for a, b in itertools.pairwise(out)), out


@pytest.mark.parametrize("data", [0.25, 1.0])
def test_fewer_steps_give_smoother_output(data: float) -> None:
    for eta in (0.0, 0.5, 1.0):
        out = [
            variance_of(ddim_taus(T=T, S=S), eta=eta, variance=data)
            for S in (5, 10, 20, 50, 100, 1000)
        ]
        assert all(a < b < data for a, b in itertools.pairwise(out)), out


@pytest.mark.parametrize("data", [0.01, 0.001])
def test_sigma_hat_is_best_only_with_all_steps(data: float) -> None:
    # On concentrated data, as images are, the large variance is the best of three at S
    # = T and never on a short chain; it is the worst of all at S = 10 and 20.
    for S in (10, 20, 50, 100, 1000):
        taus = ddim_taus(T=T, S=S)
        errors = {
            kind: abs(
                variance_of(taus, variance=data, last_noise=True, **options) ** 0.5
                - data**0.5
            )
            for kind, options in {
                "ddim": {"eta": 0.0},
                "posterior": {"eta": 1.0},
                "sigma_hat": {"sigma": "beta"},
            }.items()
        }
        best, worst = min(errors, key=errors.get), max(errors, key=errors.get)
        assert (best == "sigma_hat") == (S == T), (S, errors)
        assert worst == "sigma_hat" or S > 20


def test_other_schedules_and_traced_arguments() -> None:
    traces = []

    @jax.jit
    def run(schedule, taus, mean, variance, eta):
        traces.append(1)
        return gaussian_moments(
            schedule, taus, mean=mean, variance=variance, sigma="analytic", eta=eta
        )

    for make in (kexue_schedule, linear_schedule):
        schedule = make(T=100, dtype=jnp.float64)
        exact = jax.tree.map(np.asarray, schedule)
        for S, eta in ((20, 0.2), (20, 0.7)):
            taus = ddim_taus(T=100, S=S)
            numbers = (jnp.asarray(v) for v in (0.1, 0.5, eta))
            got = run(schedule, taus, *numbers)
            wanted = oracle.moments(
                exact, taus.tolist(), mean=0.1, variance=0.5, sigma="analytic", eta=eta
            )
            np.testing.assert_allclose(got, wanted, rtol=1e-12)
    assert len(traces) == 1
    low = gaussian_moments(kexue_schedule(), FULL, eta=1.0)
    assert low.variance.dtype == jnp.float32 and abs(low.variance - 0.991162) < 1e-4


# Monte Carlo. The sample variance v of N normals of variance V has standard deviation
# V sqrt(2 / (N - 1)) to first order; |v - V| < 5 of these fails by chance with
# probability 6e-7.
N = 1 << 16


def z_score(x: jax.Array, variance: float) -> float:
    found = np.var(np.asarray(x, np.float64), ddof=1)
    return float((found / variance - 1) / np.sqrt(2 / (N - 1)))


def start() -> jax.Array:
    return normals(0, N, 1).astype(jnp.float32)


@pytest.mark.parametrize(
    ("taus", "options", "sampler"),
    [
        (ddim_taus(T=T, S=10), {"eta": 0.0}, {"eta": 0.0}),
        (ddim_taus(T=T, S=10), {"eta": 1.0}, {"eta": 1.0}),
        (ddim_taus(T=T, S=37), {"sigma": "beta"}, {"sigma_hat": True}),
    ],
)
def test_drawn_samples_have_the_exact_variance(taus, options, sampler) -> None:
    for data in (0.25, 1.0):
        schedule = kexue_schedule(T=T)
        perfect = gaussian_fn(schedule, 0.0, data)
        got = ddim_sample(KEY, perfect, schedule, start(), taus, **sampler).x
        assert abs(z_score(got, variance_of(taus, variance=data, **options))) < 5


@pytest.mark.parametrize("sigma", ["beta", "posterior", "zero"])
def test_drawn_ancestral_samples_have_the_exact_variance(sigma: str) -> None:
    schedule = kexue_schedule(T=T)
    perfect = gaussian_fn(schedule, 0.0, 0.25)
    got = ddpm_sample(KEY, perfect, schedule, start(), sigma=sigma, last_noise=True).x
    exact = variance_of(variance=0.25, sigma=sigma, last_noise=True)
    assert abs(z_score(got, exact)) < 5


def test_drawn_samples_with_analytic_variance_have_that_of_the_data() -> None:
    schedule, data = kexue_schedule(T=T), 0.25
    alpha_bar, beta_bar = schedule.alpha_bar, schedule.beta_bar
    variance = beta_bar**2 * data / (alpha_bar**2 * data + beta_bar**2)
    perfect, taus = gaussian_fn(schedule, 0.0, data), ddim_taus(T=T, S=10)
    options = {"eta": 0.5, "variance": variance, "last_noise": True}
    got = ddim_sample(KEY, perfect, schedule, start(), taus, **options).x
    assert abs(z_score(got, data)) < 5


def test_wrong_constants_are_caught() -> None:
    # alpha_tau and beta_tau of the full chain reused on a sub-chain, what the card says
    # never to do; and a sigma too large by a fifth.
    schedule, taus = kexue_schedule(T=T), ddim_taus(T=T, S=50)
    perfect = gaussian_fn(schedule, 0.0, 0.25)

    def wrong(x, t):
        at = jnp.full(N, t)
        noise = jax.random.normal(jax.random.fold_in(KEY, t), x.shape, x.dtype)
        eps = perfect(x, at)
        return ddpm_step(schedule, x, eps, at, noise, sigma="posterior"), None

    reused, _ = jax.lax.scan(wrong, start(), jnp.asarray(taus[::-1]))
    exact = variance_of(taus, variance=0.25, eta=1.0)
    right = ddim_sample(KEY, perfect, schedule, start(), taus, eta=1.0).x
    louder = ddim_sample(KEY, perfect, schedule, start(), taus, eta=1.2).x
    assert abs(z_score(right, exact)) < 5
    assert abs(z_score(reused, exact)) > 50 and abs(z_score(louder, exact)) > 10


@pytest.mark.parametrize(
    ("argument", "changes"),
    [
        ("schedule", {"schedule": None}),
        ("taus", {"taus": [0, 3]}),
        ("mean", {"mean": None}),
        ("mean", {"mean": float("nan")}),
        ("variance", {"variance": -1.0}),
        ("sigma", {"sigma": "big"}),
        ("eta", {"eta": -1.0}),
        ("last_noise", {"last_noise": None}),
        ("start", {"start": "data"}),
    ],
)
def test_bad_input_is_refused_by_name(argument: str, changes: dict) -> None:
    call = {"schedule": SCHEDULE, "taus": [5, 9], **changes}
    with pytest.raises(
        (ValueError, TypeError), match=rf"gaussian_moments: `{argument}"
    ):
        gaussian_moments(**call)
