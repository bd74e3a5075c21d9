"""The four-variable loss is the reduced one in expectation, exactly and by chance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.diffusion import (
    Schedule,
    ddpm_loss_at,
    four_variable_loss,
    four_variable_loss_at,
    kexue_schedule,
    loss_weight,
    reduced_variance_loss,
    reduced_variance_loss_at,
    surrogate_schedule,
)
from tests.diffusion.test_losses import network
from tests.oracles import diffusion as oracle

N, D = 1000, 6


def instances(seed: int, T: int = 80):
    rng = np.random.default_rng(seed)
    c = oracle.chain(10 ** rng.uniform(-3, -0.5, T))
    t = rng.integers(1, T + 1, N)
    x0, eps = rng.normal(size=(N, D)), rng.normal(size=(N, D))
    return rng, c, Schedule(*map(jnp.asarray, c)), t, x0, eps


def rotated(c: oracle.Chain, t, eps, omega):
    """The two noises whose sum is eps and whose orthogonal part is omega."""
    new = (c.beta[t] / c.beta_bar[t])[:, None]
    old = (c.alpha[t] * c.beta_bar[t - 1] / c.beta_bar[t])[:, None]
    return old * eps + new * omega, new * eps - old * omega


@pytest.mark.parametrize("param", ["eps1", "eps", "v"])
def test_four_variable_is_reduced_plus_constant_exactly(param: str) -> None:
    # The loss is a quadratic in omega whose matrix is a multiple of the identity, so
    # the two points +-omega, |omega_i| = 1, give its normal expectation exactly.
    rng, c, schedule, t, x0, eps = instances(0)
    omega = rng.choice([-1.0, 1.0], size=(N, D))
    total = np.zeros(N)
    for sign in (1, -1):
        older, last = rotated(c, t, eps, sign * omega)
        four = four_variable_loss_at(network, schedule, x0, t, older, last, param=param)
        total += np.asarray(four.per_example) / 2
    reduced = reduced_variance_loss_at(network, schedule, x0, t, eps, param=param)
    np.testing.assert_allclose(total, reduced.per_example, rtol=1e-11)
    constant = D * (c.alpha[t] * c.beta_bar[t - 1] / c.beta_bar[t]) ** 2
    got = reduced.per_example - reduced.squared_error
    np.testing.assert_allclose(got, constant, atol=1e-12)


def test_gauss_hermite_expectation_over_omega() -> None:
    _, c, schedule, t, x0, eps = instances(1)
    nodes, weights = np.polynomial.hermite_e.hermegauss(4)
    total = np.zeros(N)
    for node, weight in zip(nodes, weights / np.sqrt(2 * np.pi), strict=True):
        older, last = rotated(c, t, eps, np.full((N, D), node))
        four = four_variable_loss_at(network, schedule, x0, t, older, last)
        total += weight * np.asarray(four.per_example)
    reduced = reduced_variance_loss_at(network, schedule, x0, t, eps)
    np.testing.assert_allclose(total, reduced.per_example, rtol=1e-11)


def test_equal_expectation_by_simulation_and_a_wrong_constant_is_caught() -> None:
    B, T = 60_000, 20
    schedule = surrogate_schedule(T=T, dtype=jnp.float64)
    x0 = jnp.asarray(np.random.default_rng(2).normal(size=(B, D)))
    four = four_variable_loss(jax.random.key(1), network, schedule, x0)
    reduced = reduced_variance_loss(jax.random.key(2), network, schedule, x0)
    c, t = oracle.Chain(*map(np.asarray, schedule)), np.asarray(reduced.t)

    def z_score(constant: np.ndarray) -> float:
        terms = np.asarray(reduced.squared_error) + constant
        gap = np.asarray(four.per_example).mean() - terms.mean()
        noise = np.asarray(four.per_example).var() + terms.var()
        return abs(gap) / np.sqrt(noise / B)

    before, bar = c.beta_bar[t - 1] ** 2, c.beta_bar[t] ** 2
    assert z_score(D * c.alpha[t] ** 2 * before / bar) < 5  # two-sided: 6e-7
    assert z_score(D * before / bar) > 10  # alpha_t^2 forgotten
    assert z_score(D * c.beta[t] ** 2 / bar) > 10  # the other coefficient
    assert z_score(np.zeros(B)) > 10  # left unsaid, as in the article


def test_reduced_loss_has_less_variance_in_value_and_gradient() -> None:
    B, schedule = 20_000, surrogate_schedule(T=20, dtype=jnp.float64)
    x0 = jnp.ones((B, D))

    def gradients(loss, key):
        def value(w):
            return loss(key, lambda x, t: w * x, schedule, x0, param="eps").per_example

        return jax.jvp(value, (0.3,), (1.0,))

    four, slope4 = gradients(four_variable_loss, jax.random.key(3))
    reduced, slope = gradients(reduced_variance_loss, jax.random.key(4))
    assert float(four.var()) > 1.5 * float(reduced.var())
    assert float(slope4.var()) > 1.5 * float(slope.var())
    noise = np.sqrt((float(slope4.var()) + float(slope.var())) / B)
    assert abs(float(slope4.mean() - slope.mean())) < 5 * noise


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("param", ["eps1", "eps", "x0", "v", "score"])
def test_both_equal_their_oracle(param: str, reduction: str) -> None:
    rng, c, schedule, t, x0, eps = instances(3)
    older = rng.normal(size=(N, D))
    options = {"param": param, "reduction": reduction}
    pairs = (
        (
            four_variable_loss_at(network, schedule, x0, t, older, eps, **options),
            oracle.four_variable_loss_at(network, c, x0, t, older, eps, **options),
        ),
        (
            reduced_variance_loss_at(network, schedule, x0, t, eps, **options),
            oracle.reduced_variance_loss_at(network, c, x0, t, eps, **options),
        ),
    )
    for got, wanted in pairs:
        for mine, theirs in zip(got, wanted, strict=True):
            scale = np.abs(theirs).max()
            np.testing.assert_allclose(mine, theirs, atol=1e-10 * scale)


def test_reduced_loss_is_the_ddpm_loss_under_the_blogs_first_weight() -> None:
    _, c, schedule, t, x0, eps = instances(4)
    simple = ddpm_loss_at(network, schedule, x0, t, eps).per_example
    reduced = reduced_variance_loss_at(network, schedule, x0, t, eps, param="eps")
    ratio = (c.beta[t] / c.beta_bar[t]) ** 2
    np.testing.assert_allclose(reduced.squared_error, ratio * simple, rtol=1e-9)
    # the regression of x_{t-1} has (beta_t / alpha_t)^2 of that
    weight = np.asarray(loss_weight(schedule, t, kind="regression"))
    np.testing.assert_allclose(weight, (c.beta[t] / c.alpha[t]) ** 2 * ratio)


def test_at_t_1_both_losses_are_one() -> None:
    _, _, schedule, _, x0, eps = instances(5)
    t = np.ones(N, np.int32)
    four = four_variable_loss_at(network, schedule, x0, t, 9 * eps, eps)
    reduced = reduced_variance_loss_at(network, schedule, x0, t, eps)
    np.testing.assert_allclose(four.per_example, reduced.per_example, rtol=1e-9)


def test_random_forms_are_the_forms_at_their_draws() -> None:
    schedule, x0, key = kexue_schedule(T=50), jnp.ones((8, 3)), jax.random.key(6)
    keys = jax.random.split(key, 3)
    t = jax.random.randint(keys[0], (8,), 1, 51, jnp.int32)
    older, last = (jax.random.normal(k, (8, 3), x0.dtype) for k in keys[1:])
    got = four_variable_loss(key, network, schedule, x0, param="eps")
    wanted = four_variable_loss_at(network, schedule, x0, t, older, last, param="eps")
    for mine, theirs in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    key_t, key_noise = jax.random.split(key)
    t = jax.random.randint(key_t, (8,), 1, 51, jnp.int32)
    noise = jax.random.normal(key_noise, (8, 3), x0.dtype)
    got = reduced_variance_loss(key, network, schedule, x0)
    wanted = reduced_variance_loss_at(network, schedule, x0, t, noise)
    for mine, theirs in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("loss", [four_variable_loss, reduced_variance_loss])
def test_bad_input_is_refused(loss) -> None:
    schedule, x0, key = kexue_schedule(T=50), jnp.ones((4, 3)), jax.random.key(0)
    name = loss.__name__
    with pytest.raises(ValueError, match=f"{name}: `eps_fn`"):
        loss(key, lambda x, t: x[:2], schedule, x0)
    with pytest.raises(TypeError, match=f"{name}: `key`"):
        loss(0, network, schedule, x0)
    with pytest.raises(ValueError, match=f"{name}: `x0`"):
        loss(key, network, schedule, jnp.asarray(1.0))
    with pytest.raises(ValueError, match=f"{name}: `reduction`"):
        loss(key, network, schedule, x0, reduction="none")
