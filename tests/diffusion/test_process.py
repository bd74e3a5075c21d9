"""Noising and posteriors against Bayes' rule; the family that keeps the marginals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.diffusion import (
    Schedule,
    cosine_schedule,
    ddim_posterior,
    kexue_schedule,
    linear_schedule,
    posterior,
    q_sample,
    reverse_sigma,
)
from tests.oracles import diffusion as oracle

N = 1000  # random instances of every theorem


def exact(schedule: Schedule) -> oracle.Chain:
    return oracle.Chain(*(np.asarray(part, np.float64) for part in schedule))


def instances(seed: int, T: int = 60, first: int = 1):
    """A random chain, and N random (t, x0, x_t) on it."""
    rng = np.random.default_rng(seed)
    c = oracle.chain(10 ** rng.uniform(-3, -0.3, T))
    t = rng.integers(first, T + 1, N)
    x0 = rng.normal(size=N)
    x_t = oracle.q_sample(c, x0, t, rng.normal(size=N))
    return rng, c, Schedule(*map(jnp.asarray, c)), t, x0, x_t


def test_q_sample_is_the_chain_of_its_single_steps() -> None:
    rng, c, schedule, t, x0, _ = instances(0)
    single = rng.normal(size=(61, N))
    x, gathered = x0.copy(), np.zeros(N)
    for s in range(1, 61):
        moving = s <= t
        x = np.where(moving, c.alpha[s] * x + c.beta[s] * single[s], x)
        gathered = np.where(
            moving, c.alpha[s] * gathered + c.beta[s] * single[s], gathered
        )
    noise = gathered / c.beta_bar[t]
    np.testing.assert_allclose(q_sample(schedule, x0, t, noise), x, atol=1e-12)
    assert abs(noise.var() - 1) < 6 * np.sqrt(2 / N)


def test_q_sample_at_0_is_the_data() -> None:
    x0 = jnp.asarray([1.5, -2.0])
    t = jnp.zeros(2, jnp.int32)
    np.testing.assert_array_equal(q_sample(kexue_schedule(), x0, t, 9 + x0), x0)


def test_posterior_is_bayes_rule_on_a_grid() -> None:
    _, c, schedule, t, x0, x_t = instances(1, first=2)
    got = posterior(schedule, x0, x_t, t)
    center, spread = np.asarray(got.mean), np.sqrt(np.asarray(got.variance))
    x = center[:, None] + np.linspace(-12, 12, 1201) * spread[:, None]
    before = t[:, None] - 1
    forward = (x - c.alpha_bar[before] * x0[:, None]) / c.beta_bar[before]
    step = (x_t[:, None] - c.alpha[t][:, None] * x) / c.beta[t][:, None]
    log_density = -(forward**2 + step**2) / 2
    density = np.exp(log_density - log_density.max(1, keepdims=True))
    density /= density.sum(1, keepdims=True)
    mean = (density * x).sum(1)
    variance = (density * (x - mean[:, None]) ** 2).sum(1)
    np.testing.assert_allclose(center, mean, atol=1e-9)
    np.testing.assert_allclose(spread**2, variance, rtol=1e-9)


def test_posterior_is_the_conditional_of_the_joint_normal() -> None:
    _, c, schedule, t, x0, x_t = instances(2)
    got, wanted = posterior(schedule, x0, x_t, t), oracle.posterior(c, x0, x_t, t)
    np.testing.assert_allclose(got.mean, wanted.mean, atol=1e-12)
    np.testing.assert_allclose(got.variance, wanted.variance, atol=1e-12)


def test_posterior_at_1_is_the_data() -> None:
    x0, x_1 = jnp.ones(3), jnp.zeros(3)
    got = posterior(kexue_schedule(), x0, x_1, jnp.ones(3, jnp.int32))
    np.testing.assert_allclose(got.mean, x0, rtol=1e-6)
    np.testing.assert_array_equal(got.variance, jnp.zeros(3))


def moments_after(schedule: Schedule, c: oracle.Chain, t, sigma, s):
    """Mean (per x_0) and variance of x_s, drawn by the family from x_t ~ p(. | x_0)."""
    one, zero = jnp.ones(N), jnp.zeros(N)
    of_x0 = ddim_posterior(schedule, one, zero, t, sigma, s=s)
    of_xt = ddim_posterior(schedule, zero, one, t, sigma, s=s)
    mean = np.asarray(of_x0.mean + of_xt.mean * c.alpha_bar[t])
    variance = np.asarray(of_xt.mean**2 * c.beta_bar[t] ** 2 + of_xt.variance)
    return mean, variance


def test_ddim_family_keeps_the_marginals_between_any_two_steps() -> None:
    rng, c, schedule, t, _, _ = instances(3)
    for s in (rng.integers(0, t), None):
        before = t - 1 if s is None else s
        sigma = rng.uniform(0, 1, N) * c.beta_bar[before]
        mean, variance = moments_after(schedule, c, t, sigma, s)
        np.testing.assert_allclose(mean, c.alpha_bar[before], atol=1e-12)
        np.testing.assert_allclose(variance, c.beta_bar[before] ** 2, atol=1e-12)


def test_ddim_family_needs_no_unit_sum_of_squares() -> None:
    rng = np.random.default_rng(4)
    noise = np.sqrt(np.concatenate([[0.0], np.cumsum(rng.uniform(0.1, 1, 60))]))
    c = oracle.Chain(np.ones(61), np.ones(61), rng.uniform(1, 1.5, 61), noise)
    schedule = Schedule(*map(jnp.asarray, c))
    t = rng.integers(1, 61, N)
    s = rng.integers(0, t)
    # Only chains with beta_bar_t >= (alpha_bar_t / alpha_bar_s) beta_bar_s are noising.
    sound = c.beta_bar[t] >= c.alpha_bar[t] / c.alpha_bar[s] * c.beta_bar[s]
    sigma = rng.uniform(0, 1, N) * c.beta_bar[s]
    mean, variance = moments_after(schedule, c, t, sigma, s)
    assert sound.sum() > 700
    np.testing.assert_allclose(mean[sound], c.alpha_bar[s][sound], atol=1e-10)
    np.testing.assert_allclose(variance[sound], c.beta_bar[s][sound] ** 2, atol=1e-10)


def test_ddim_family_holds_the_posterior() -> None:
    _, _, schedule, t, x0, x_t = instances(5)
    sigma = reverse_sigma(schedule, t, kind="posterior")
    member = ddim_posterior(schedule, x0, x_t, t, sigma)
    wanted = posterior(schedule, x0, x_t, t)
    np.testing.assert_allclose(member.mean, wanted.mean, atol=1e-12)
    np.testing.assert_allclose(member.variance, wanted.variance, atol=1e-12)


def test_ddim_family_without_noise_moves_along_eps() -> None:
    rng, c, schedule, t, x0, _ = instances(6)
    eps, s = rng.normal(size=N), rng.integers(0, t)
    x_t = oracle.q_sample(c, x0, t, eps)
    moved = ddim_posterior(schedule, x0, x_t, t, 0.0, s=s)
    np.testing.assert_allclose(moved.mean, oracle.q_sample(c, x0, s, eps), atol=1e-12)
    np.testing.assert_array_equal(moved.variance, np.zeros(N))


@pytest.mark.parametrize(
    ("made", "outside"), [(kexue_schedule, 3), (linear_schedule, 2)]
)
def test_too_large_a_sigma_is_taken_as_the_largest_of_the_family(made, outside) -> None:
    schedule = made(T=1000, dtype=jnp.float64)
    c, t = exact(schedule), np.arange(1, 1001)
    x0, x_t = np.linspace(-1, 1, 1000), np.linspace(2, -2, 1000)
    got = ddim_posterior(schedule, x0, x_t, t, c.beta[t])
    assert np.isfinite(got.mean).all()
    np.testing.assert_allclose(
        got.variance, np.minimum(c.beta[t], c.beta_bar[t - 1]) ** 2, rtol=1e-12
    )
    assert (np.asarray(got.variance) < c.beta[t] ** 2 * (1 - 1e-9)).sum() == outside
    # At the largest sigma x_s is fresh noise around the data, whatever x_t was.
    np.testing.assert_allclose(got.mean[:outside], (c.alpha_bar[t - 1] * x0)[:outside])


@pytest.mark.parametrize("sigma", [0.0, 0.3, 9.0])
def test_ddim_family_has_finite_gradients_at_its_edges(sigma: float) -> None:
    schedule = kexue_schedule(T=50)
    t = jnp.arange(1, 51)

    def total(schedule, x0, x_t, sigma):
        mean, variance = ddim_posterior(schedule, x0, x_t, t, sigma)
        return mean.sum() + variance.sum()

    inputs = (schedule, jnp.ones(50), jnp.ones(50), jnp.full(50, sigma))
    gradients = jax.grad(total, argnums=(0, 1, 2, 3))(*inputs)
    assert all(bool(jnp.isfinite(g).all()) for g in jax.tree.leaves(gradients))


def test_ddim_coefficient_of_the_data_keeps_float32() -> None:
    fine = cosine_schedule(T=4000, dtype=jnp.float64)
    schedule = Schedule(*(part.astype(jnp.float32) for part in fine))
    c, t = exact(fine), np.arange(2, 4001)
    zero, one = jnp.zeros(t.size, jnp.float32), jnp.ones(t.size, jnp.float32)
    got = np.asarray(ddim_posterior(schedule, one, zero, t, 0.0).mean, np.float64)
    slope = c.beta_bar[t - 1] / c.beta_bar[t]
    wanted = c.alpha_bar[t - 1] - c.alpha_bar[t] * slope
    single = [np.asarray(part, np.float32) for part in (c.alpha_bar, c.beta_bar)]
    naive = single[0][t - 1] - single[0][t] * (single[1][t - 1] / single[1][t])
    error = np.abs(got / wanted - 1).max()
    assert error < 1e-6
    assert np.abs(naive / wanted - 1).max() > 100 * error


def test_reverse_sigma_kinds() -> None:
    schedule = kexue_schedule(T=1000, dtype=jnp.float64)
    c, t = exact(schedule), np.arange(1, 1001)
    for kind in ("beta", "posterior", "zero"):
        wanted = oracle.reverse_sigma(c, t, kind)
        np.testing.assert_allclose(reverse_sigma(schedule, t, kind=kind), wanted)
    ratio = reverse_sigma(schedule, t, kind="posterior") / schedule.beta[1:]
    facts = {1: 0.0, 2: 0.57735, 10: 0.90458}
    for step, value in facts.items():
        assert float(ratio[step - 1]) == pytest.approx(value, abs=5e-6)


def test_one_step_for_all_of_x_may_be_a_python_integer() -> None:
    schedule, x0 = kexue_schedule(T=50), jnp.ones((2, 3, 4))
    each = q_sample(schedule, x0, jnp.full(2, 7), x0)
    np.testing.assert_array_equal(q_sample(schedule, x0, 7, x0), each)
    np.testing.assert_array_equal(
        posterior(schedule, x0, x0, 7).mean,
        posterior(schedule, x0, x0, jnp.full((2, 3), 7)).mean,
    )


@pytest.mark.parametrize("t", [0, 51, -1, [3, 51]])
def test_concrete_step_out_of_range_is_refused(t) -> None:
    schedule, x = kexue_schedule(T=50), jnp.ones(2)
    with pytest.raises(ValueError, match=r"posterior: `t` must be in 1\.\.50"):
        posterior(schedule, x, x, np.asarray(t))
    if np.all(np.asarray(t) != 0):
        with pytest.raises(ValueError, match=r"q_sample: `t` must be in 0\.\.50"):
            q_sample(schedule, x, np.asarray(t), x)


@pytest.mark.parametrize("t", [True, 1.0, "1", None, [1, 2]])
def test_step_of_another_kind_is_refused(t) -> None:
    with pytest.raises(TypeError, match="`t`"):
        q_sample(kexue_schedule(T=50), jnp.ones(2), t, jnp.ones(2))


def test_traced_step_out_of_range_is_the_nearest_step() -> None:
    schedule, x = kexue_schedule(T=50), jnp.ones(2)
    far = jax.jit(q_sample)(schedule, x, jnp.asarray([-3, 99]), x)
    np.testing.assert_allclose(
        far, q_sample(schedule, x, jnp.asarray([0, 50]), x), rtol=1e-6
    )


@pytest.mark.parametrize(("s", "t"), [(5, 5), (6, 5), (-1, 5), (51, 5)])
def test_earlier_step_must_be_earlier(s: int, t: int) -> None:
    x = jnp.ones(2)
    with pytest.raises(ValueError, match="ddim_posterior: `s` must be"):
        ddim_posterior(kexue_schedule(T=50), x, x, t, 0.0, s=s)


@pytest.mark.parametrize("sigma", [-0.1, float("nan"), "large", None, [0.1, 0.1]])
def test_sigma_of_another_kind_is_refused(sigma) -> None:
    x = jnp.ones(2)
    with pytest.raises((TypeError, ValueError), match="ddim_posterior: `sigma`"):
        ddim_posterior(kexue_schedule(T=50), x, x, 3, sigma)


def test_half_precision_data_meets_a_float32_schedule() -> None:
    schedule, t = kexue_schedule(T=50), jnp.asarray([1, 50])
    x = jnp.asarray([[0.3, -0.7], [1.1, 0.2]], jnp.bfloat16)
    got = q_sample(schedule, x, t, x)
    wide = q_sample(schedule, x.astype(jnp.float32), t, x.astype(jnp.float32))
    assert got.dtype == jnp.bfloat16
    np.testing.assert_array_equal(got, wide.astype(jnp.bfloat16))
    assert {part.dtype for part in posterior(schedule, x, x, t)} == {got.dtype}
