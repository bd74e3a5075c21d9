"""The bound against exact divergences, exact likelihoods and the card's numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.diffusion import (
    Schedule,
    analytic_variance,
    elbo_bits_per_dim,
    kexue_schedule,
    surrogate_schedule,
)
from tests.diffusion.test_losses import network
from tests.oracles import diffusion as oracle

LN2 = np.log(2)


def small_chain(seed: int = 0, T: int = 7) -> tuple[oracle.Chain, Schedule]:
    rng = np.random.default_rng(seed)
    c = oracle.chain(10 ** rng.uniform(-2, -0.3, T))
    return c, Schedule(*map(jnp.asarray, c))


def pixels(seed: int, shape: tuple[int, ...], levels: int = 256, std: float = 0.3):
    """A quantized normal: data whose exact distribution is known."""
    x = np.random.default_rng(seed).normal(size=shape) * std
    return (
        np.clip(np.rint((x + 1) / 2 * (levels - 1)), 0, levels - 1) / (levels - 1) * 2
        - 1
    )


def bound_of(eps_fn, schedule: Schedule, x0: np.ndarray, seed: int, **options):
    """``elbo_bits_per_dim`` under jit, with the key of ``seed``."""
    run = jax.jit(lambda key, x: elbo_bits_per_dim(key, eps_fn, schedule, x, **options))
    return run(jax.random.key(seed), x0)


def draws(key: jax.Array, x0: np.ndarray, T: int) -> list[np.ndarray]:
    one = functools.partial(jax.random.normal, shape=x0.shape, dtype=x0.dtype)
    return [np.asarray(one(jax.random.fold_in(key, t))) for t in range(T + 1)]


def gaussian_eps(schedule: Schedule, std: float):
    """The exact eps of data N(0, std^2), from the card."""

    def eps_fn(x, t):
        a, b = (v[t][:, None] for v in (schedule.alpha_bar, schedule.beta_bar))
        return b * x / (a**2 * std**2 + b**2)

    return eps_fn


def optimal_sigma(c: oracle.Chain, std: float) -> np.ndarray:
    """The exact std of x_{t-1} given x_t for data N(0, std^2)."""
    total = c.alpha_bar**2 * std**2 + c.beta_bar**2
    return c.beta * np.sqrt(np.concatenate([[1.0], total[:-1]]) / total)


@pytest.mark.parametrize(
    ("sigma", "param"),
    [
        ("posterior", "eps"),
        ("posterior", "eps1"),
        ("posterior", "x0"),
        ("beta", "v"),
        ("beta", "score"),
        ("given", "eps"),
    ],
)
def test_equals_the_divergences_of_the_chain(sigma: str, param: str) -> None:
    c, schedule = small_chain()
    x0, key = pixels(1, (16, 2, 3)), jax.random.key(2)
    given = optimal_sigma(c, 0.5)
    kind = jnp.asarray(given) if sigma == "given" else sigma
    got = bound_of(network, schedule, x0, 2, sigma=kind, param=param)
    wanted = oracle.elbo_bits_per_dim(
        network,
        c,
        x0,
        draws(key, x0, 7),
        sigma=given if sigma == "given" else sigma,
        param=param,
    )
    for mine, theirs in zip(got, wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10)


def test_prior_term_of_the_default_schedule() -> None:
    schedule = kexue_schedule(T=1000, dtype=jnp.float64)
    c = oracle.Chain(*map(np.asarray, schedule))
    last = oracle.Normal(c.alpha_bar[-1] * 1.0, c.beta_bar[-1] ** 2)
    exact = oracle.normal_kl(last, oracle.Normal(0.0, 1.0))
    assert exact == pytest.approx(2.1e-5, abs=5e-7)
    for dtype in (jnp.float32, jnp.float64):
        single = Schedule(*(part.astype(dtype) for part in schedule))
        run = jax.jit(elbo_bits_per_dim, static_argnums=1)
        ones = jnp.ones((2, 3), dtype)
        got = run(jax.random.key(0), network, single, ones).prior
        np.testing.assert_allclose(got * LN2, exact, rtol=1e-6)


def test_diffusion_term_has_its_exact_expectation() -> None:
    std, B, T = 0.3, 20_000, 20
    schedule = surrogate_schedule(T=T, dtype=jnp.float64)
    c = oracle.Chain(*map(np.asarray, schedule))
    x0 = pixels(3, (B, 2), std=std)
    bound = bound_of(gaussian_eps(schedule, std), schedule, x0, 4, sigma="beta")
    t = np.arange(2, T + 1)
    a, b = c.alpha_bar[t][:, None], c.beta_bar[t][:, None]
    total = a**2 * std**2 + b**2
    power = np.mean(x0**2, axis=1)
    # eps - eps* = (a^2 std^2 eps - a b x_0) / total
    error = (a**4 * std**4 + a**2 * b**2 * power) / total**2
    weight = oracle.loss_weight(c, t, "vae", "beta")[:, None]
    ratio = (oracle.reverse_sigma(c, t, "posterior") / c.beta[t]) ** 2
    rest = 0.5 * (ratio - 1 - np.log(ratio)).sum()

    def z_score(expected: np.ndarray) -> float:
        gap = np.asarray(bound.diffusion) * LN2 - expected
        return abs(gap.mean()) / (gap.std() / np.sqrt(B))

    terms = (weight * error).sum(0)
    assert z_score(rest + terms) < 5
    assert z_score(rest + 2 * terms) > 50  # the 1/2 that 9152 drops
    assert z_score(terms) > 50  # the divergence of the variances forgotten


def test_bound_lies_above_the_exact_likelihood_and_tightens() -> None:
    # With the exact eps every reverse step is linear, so that the model's x_1 is
    # normal and its distribution over levels is known.
    std, B, T = 0.3, 20_000, 40
    schedule = surrogate_schedule(T=T, dtype=jnp.float64)
    c = oracle.Chain(*map(np.asarray, schedule))
    x0 = pixels(5, (B, 4), std=std)
    total = c.alpha_bar**2 * std**2 + c.beta_bar**2
    slope = (1 - c.beta**2 / total) / c.alpha
    true = -oracle.discretized_log_likelihood(x0, 0 * x0, std, 256).mean(1) / LN2
    own = oracle.reverse_sigma(c, np.arange(1, T + 1), "posterior")
    sigmas = {
        "posterior": np.concatenate([[0, c.beta[1]], own[1:]]),
        "beta": c.beta,
        "best": optimal_sigma(c, std),
    }
    gain = c.alpha_bar[1] * std**2 / total[1]
    above = {}
    for name, sigma in sigmas.items():
        kind = jnp.asarray(sigma) if name == "best" else name
        bound = bound_of(gaussian_eps(schedule, std), schedule, x0, 6, sigma=kind)
        variance = 1.0
        for t in range(T, 1, -1):
            variance = slope[t] ** 2 * variance + sigma[t] ** 2
        spread = np.sqrt(gain**2 * variance + sigma[1] ** 2)
        log_prob = oracle.discretized_log_likelihood(x0, 0 * x0, spread, 256)
        gap = np.asarray(bound.bits_per_dim) + log_prob.mean(1) / LN2
        assert gap.mean() > -5 * gap.std() / np.sqrt(B), name
        above[name] = np.asarray(bound.bits_per_dim) - true
    # Above the truth too, by nothing that 5 standard errors show if sigma is best.
    noise = {name: gap.std() / np.sqrt(B) for name, gap in above.items()}
    assert abs(above["best"].mean()) < 5 * noise["best"] < 0.03
    assert above["beta"].mean() > 5 * noise["beta"] + 0.03
    assert above["posterior"].mean() > 5 * noise["posterior"] + 0.3


def test_a_worse_network_has_a_worse_bound() -> None:
    std, schedule = 0.3, surrogate_schedule(T=40, dtype=jnp.float64)
    x0 = pixels(7, (2000, 4), std=std)
    right = gaussian_eps(schedule, std)
    bits = [
        float(bound_of(eps_fn, schedule, x0, 8).bits_per_dim.mean())
        for eps_fn in (
            right,
            lambda x, t: 0.95 * right(x, t),
            lambda x, t: jnp.zeros_like(x),
        )
    ]
    assert bits[0] < bits[1] < bits[2]


@pytest.mark.parametrize("num_t", [1, 6])
def test_estimate_from_few_steps_is_unbiased(num_t: int) -> None:
    B, schedule = 40_000, surrogate_schedule(T=25, dtype=jnp.float64)
    x0 = np.broadcast_to(pixels(9, (1, 2)), (B, 2)).copy()
    full = bound_of(network, schedule, x0, 10)
    few = bound_of(network, schedule, x0, 11, num_t=num_t)

    def z_score(scale: float) -> float:
        gap = float(full.diffusion.mean() - scale * few.diffusion.mean())
        noise = float(full.diffusion.var() + scale**2 * few.diffusion.var())
        return abs(gap) / np.sqrt(noise / B)

    assert z_score(1.0) < 5
    assert z_score(25 / 24) > 5  # T steps counted where T - 1 are summed
    np.testing.assert_array_equal(few.prior, full.prior)


def test_more_steps_mean_less_noise() -> None:
    schedule = surrogate_schedule(T=50, dtype=jnp.float64)
    x0 = np.broadcast_to(pixels(12, (1, 4)), (4000, 4)).copy()
    spread = [
        float(bound_of(network, schedule, x0, 13, num_t=num_t).diffusion.std())
        for num_t in (1, 20)
    ]
    assert spread[0] > 2 * spread[1]


def test_parts_make_up_the_whole_and_one_step_is_enough() -> None:
    _, schedule = small_chain(T=1)
    for num_t in (None, 4):
        bound = bound_of(network, schedule, pixels(14, (3, 2)), 0, num_t=num_t)
        np.testing.assert_array_equal(bound.diffusion, np.zeros(3))
        parts = bound.prior + bound.diffusion + bound.reconstruction
        np.testing.assert_allclose(bound.bits_per_dim, parts)


def test_network_is_traced_twice_and_the_sum_is_one_scan() -> None:
    traces = []

    def eps_fn(x, t):
        traces.append((x.shape, t.dtype))
        return 0.1 * x

    run = jax.jit(lambda key, x: elbo_bits_per_dim(key, eps_fn, kexue_schedule(), x))
    x0 = jnp.zeros((2, 3), jnp.float32)
    for seed in range(2):
        bound = run(jax.random.key(seed), x0)
    assert traces == [((2, 3), jnp.int32)] * len(traces)
    assert len(traces) == 2
    assert bound.bits_per_dim.dtype == jnp.float32
    assert np.isfinite(bound.bits_per_dim).all()


def test_float32_agrees_with_float64() -> None:
    fine = kexue_schedule(T=200, dtype=jnp.float64)
    x0 = pixels(15, (64, 8))
    results = []
    for dtype in (jnp.float64, jnp.float32):
        schedule = Schedule(*(part.astype(dtype) for part in fine))
        wide = jnp.asarray(x0, dtype)
        results.append(bound_of(gaussian_eps(schedule, 0.3), schedule, wide, 16))
    # The draws of the two dtypes differ, so only the means over the batch can agree.
    for exact, single in zip(*results, strict=True):
        exact, single = np.asarray(exact), np.asarray(single, np.float64)
        noise = np.sqrt((exact.var() + single.var()) / 64) + 1e-6 * abs(exact.mean())
        assert abs(exact.mean() - single.mean()) < 5 * noise


def test_analytic_variance_of_normal_data() -> None:
    std, schedule = 0.4, surrogate_schedule(T=20, dtype=jnp.float64)
    c = oracle.Chain(*map(np.asarray, schedule))
    data = np.random.default_rng(17).normal(size=(50_000, 2)) * std
    got = np.asarray(
        analytic_variance(
            jax.random.key(18), gaussian_eps(schedule, std), schedule, data, bounds=None
        )
    )
    exact = std**2 * c.beta_bar**2 / (c.alpha_bar**2 * std**2 + c.beta_bar**2)
    # The estimate multiplies the relative noise of c_t by (beta_bar / alpha_bar)^2 c_t.
    scale = (c.beta_bar / c.alpha_bar) ** 2 - exact
    noise = scale * np.sqrt(2 / data.size)
    assert got[0] == 0
    assert (np.abs(got - exact) <= 6 * noise + 1e-12).all()
    below = got[1:6] / exact[1:6] - 1  # where it is sharp, the value itself
    assert np.abs(below).max() < 0.1


@pytest.mark.parametrize(
    ("param", "bounds"), [("eps", (-1.0, 1.0)), ("x0", (0.0, 0.5)), ("v", None)]
)
def test_analytic_variance_equals_the_oracle(param: str, bounds) -> None:
    c, schedule = small_chain(T=7)
    data, key = pixels(19, (12, 3)), jax.random.key(20)
    got = analytic_variance(key, network, schedule, data, param=param, bounds=bounds)
    noises = draws(key, data, 7)
    wanted = oracle.analytic_variance(network, c, data, noises, param, bounds)
    np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-12)


def test_analytic_variance_is_cut_to_its_range() -> None:
    schedule, data = kexue_schedule(T=50), jnp.zeros((3, 4))
    key = jax.random.key(21)
    blind = analytic_variance(key, lambda x, t: jnp.zeros_like(x), schedule, data)
    ratio = (schedule.beta_bar / schedule.alpha_bar) ** 2
    np.testing.assert_allclose(blind, jnp.minimum(ratio, 1), rtol=1e-6)
    loud = analytic_variance(key, lambda x, t: 3 * jnp.ones_like(x), schedule, data)
    np.testing.assert_array_equal(loud, jnp.zeros(51))


def test_analytic_variance_makes_the_tightest_bound() -> None:
    std, schedule = 0.3, surrogate_schedule(T=30, dtype=jnp.float64)
    c = oracle.Chain(*map(np.asarray, schedule))
    eps_fn = gaussian_eps(schedule, std)
    data = pixels(22, (20_000, 2), std=std)
    run = jax.jit(lambda key: analytic_variance(key, eps_fn, schedule, data))
    implied = np.asarray(run(jax.random.key(23)))
    t = np.arange(1, 31)
    gamma = c.alpha_bar[t - 1] * c.beta[t] ** 2 / c.beta_bar[t] ** 2
    own = oracle.reverse_sigma(c, t, "posterior")
    sigma = np.concatenate([[1.0], np.sqrt(own**2 + gamma**2 * implied[1:])])
    np.testing.assert_allclose(sigma[1:], optimal_sigma(c, std)[1:], rtol=0.02)
    bits = [
        float(
            bound_of(eps_fn, schedule, data[:2000], 24, sigma=kind).bits_per_dim.mean()
        )
        for kind in (jnp.asarray(sigma), "posterior", "beta")
    ]
    assert bits[0] < min(bits[1:])


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"levels": 1}, "levels"),
        ({"sigma": "zero"}, "sigma"),
        ({"sigma": None}, "sigma"),
        ({"sigma": jnp.ones(50)}, "sigma"),
        ({"num_t": 0}, "num_t"),
        ({"num_t": 2.5}, "num_t"),
        ({"param": "noise"}, "param"),
    ],
)
def test_bad_input_of_the_bound_is_refused(change: dict, argument: str) -> None:
    schedule, x0 = kexue_schedule(T=50), jnp.zeros((2, 3))
    match = f"elbo_bits_per_dim: `{argument}`"
    with pytest.raises((TypeError, ValueError), match=match):
        elbo_bits_per_dim(jax.random.key(0), network, schedule, x0, **change)


@pytest.mark.parametrize(
    "bounds", [(1.0, -1.0), (0.0,), 3.0, ("a", "b"), (0.0, np.inf)]
)
def test_bad_bounds_are_refused(bounds) -> None:
    schedule, x0 = kexue_schedule(T=50), jnp.zeros((2, 3))
    with pytest.raises((TypeError, ValueError), match="analytic_variance: `bounds`"):
        analytic_variance(jax.random.key(0), network, schedule, x0, bounds=bounds)
