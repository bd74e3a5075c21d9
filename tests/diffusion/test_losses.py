"""The loss and its weights against what each derivation minimizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.diffusion import (
    Schedule,
    convert,
    cosine_schedule,
    ddpm_loss,
    ddpm_loss_at,
    kexue_schedule,
    linear_schedule,
    loss_weight,
)
from tests.oracles import diffusion as oracle

PARAMS = ("eps", "eps1", "x0", "v", "score")
KINDS = ("simple", "regression", "vae", "x0", "score", "min_snr")
N = 1000


def network(x, t):
    """Some nonlinear function of x and t, in NumPy and in JAX."""
    bend = np.tanh if isinstance(x, np.ndarray) else jnp.tanh
    t = t.reshape(t.shape + (1,) * (x.ndim - 1))
    return bend(0.7 * x + 0.01 * t) - 0.3 * x


def instances(seed: int, T: int = 80, shape: tuple[int, ...] = (2, 3)):
    rng = np.random.default_rng(seed)
    c = oracle.chain(10 ** rng.uniform(-3, -0.5, T))
    t = rng.integers(1, T + 1, N)
    x0, eps = rng.normal(size=(N, *shape)), rng.normal(size=(N, *shape))
    return c, Schedule(*map(jnp.asarray, c)), t, x0, eps


def example_sum(values) -> np.ndarray:
    return np.asarray(values).reshape(N, -1).sum(1)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("weight", KINDS)
@pytest.mark.parametrize("param", PARAMS)
def test_equals_the_oracle(param: str, weight: str, reduction: str) -> None:
    c, schedule, t, x0, eps = instances(0)
    options = {"param": param, "weight": weight, "reduction": reduction}
    got = ddpm_loss_at(network, schedule, x0, t, eps, **options)
    wanted = oracle.ddpm_loss_at(network, c, x0, t, eps, **options)
    for mine, theirs in zip(got, wanted, strict=True):
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(mine, theirs, atol=1e-10 * scale)


@pytest.mark.parametrize("param", PARAMS)
@pytest.mark.parametrize("weight", KINDS)
def test_perfect_predictor_gives_0(param: str, weight: str) -> None:
    _, schedule, t, x0, eps = instances(1)

    def knows(x_t, t):
        return convert(schedule, x_t, t, jnp.asarray(eps), from_="eps", to=param)

    got = ddpm_loss_at(knows, schedule, x0, t, eps, param=param, weight=weight)
    assert float(got.squared_error.max()) < 1e-18


def test_predicting_no_noise_gives_d() -> None:
    def blind(x, t):
        return jnp.zeros_like(x)

    x0 = jnp.zeros((20_000, 4, 3))
    got = ddpm_loss(jax.random.key(0), blind, kexue_schedule(), x0)
    d = 12
    assert abs(float(got.loss) - d) < 6 * np.sqrt(2 * d / 20_000)
    mean = ddpm_loss(jax.random.key(0), blind, kexue_schedule(), x0, reduction="mean")
    assert float(mean.loss) == pytest.approx(float(got.loss) / d, rel=1e-6)


def test_eps_x0_and_v_losses_agree_after_weighting() -> None:
    c, schedule, t, x0, eps = instances(2)
    x_t = oracle.q_sample(c, x0, t, eps)
    a, b = (v[t] for v in (c.alpha_bar, c.beta_bar))
    out = network(x_t, t)
    loss = ddpm_loss_at(network, schedule, x0, t, eps).per_example
    np.testing.assert_allclose(loss, example_sum((eps - out) ** 2), rtol=1e-12)
    x0_hat = convert(schedule, x_t, t, out, from_="eps", to="x0")
    np.testing.assert_allclose(
        example_sum((x0 - x0_hat) ** 2), b**2 / a**2 * loss, rtol=1e-9
    )
    v = convert(schedule, x_t, t, eps, from_="eps", to="v")
    v_hat = convert(schedule, x_t, t, out, from_="eps", to="v")
    np.testing.assert_allclose(example_sum((v - v_hat) ** 2), loss / a**2, rtol=1e-9)
    # and a network of x0 or v, trained under the weight, has that very loss
    for param, target, own in (("x0", x0, a**2 / b**2), ("v", v, a**2)):
        got = ddpm_loss_at(network, schedule, x0, t, eps, param=param).per_example
        error = example_sum((np.asarray(target) - out) ** 2)
        np.testing.assert_allclose(got, own * error, rtol=1e-9)


def test_x0_and_score_weights_are_those_of_their_regressions() -> None:
    c, schedule, t, x0, eps = instances(3)
    x_t = oracle.q_sample(c, x0, t, eps)
    out = network(x_t, t)
    for kind, to in (("x0", "x0"), ("score", "score")):
        exact = oracle.convert(c, x_t, t, eps, "eps", to)
        guess = oracle.convert(c, x_t, t, out, "eps", to)
        got = ddpm_loss_at(network, schedule, x0, t, eps, weight=kind).per_example
        np.testing.assert_allclose(got, example_sum((exact - guess) ** 2), rtol=1e-9)


@pytest.mark.parametrize("sigma", ["posterior", "beta"])
def test_vae_weight_is_the_divergence_of_the_reverse_step(sigma: str) -> None:
    c, schedule, t, x0, eps = instances(4)
    x_t = oracle.q_sample(c, x0, t, eps)
    x0_hat = oracle.predict_x0(c, x_t, t, network(x_t, t))
    distance = oracle.posterior(c, x0, x_t, t).mean
    distance = distance - oracle.posterior(c, x0_hat, x_t, t).mean
    std = oracle.reverse_sigma(c, t, sigma)
    std = np.where(t == 1, c.beta[1], std)
    divergence = example_sum(distance**2) / (2 * std**2)
    got = ddpm_loss_at(network, schedule, x0, t, eps, weight="vae", sigma=sigma)
    np.testing.assert_allclose(got.per_example, divergence, rtol=1e-8)


def test_regression_weight_is_that_of_the_step_before() -> None:
    # 9119 regresses x_{t-1} = (x_t - beta_t eps_t) / alpha_t, which for a given x_t is
    # (beta_t / alpha_t)^2 of the eps1 error.
    c, schedule, t, x0, eps = instances(5)
    x_t = oracle.q_sample(c, x0, t, eps)
    scale = (c.beta[t] / c.alpha[t])[:, None, None]
    eps1 = oracle.convert(c, x_t, t, eps, "eps", "eps1")
    guess = oracle.convert(c, x_t, t, network(x_t, t), "eps", "eps1")
    got = ddpm_loss_at(network, schedule, x0, t, eps, weight="regression").per_example
    np.testing.assert_allclose(
        got, example_sum((scale * (eps1 - guess)) ** 2), rtol=1e-9
    )


@pytest.mark.parametrize("sigma", ["posterior", "beta"])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_equal_the_card(kind: str, sigma: str) -> None:
    for made in (kexue_schedule, linear_schedule, cosine_schedule):
        schedule = made(T=1000, dtype=jnp.float64)
        c = oracle.Chain(*map(np.asarray, schedule))
        t = np.arange(1, 1001)
        got = loss_weight(schedule, t, kind=kind, sigma=sigma)
        wanted = oracle.loss_weight(c, t, kind, sigma)
        np.testing.assert_allclose(got, wanted, rtol=1e-9)


def test_kl_weights_at_t_2_and_T() -> None:
    schedule, t = kexue_schedule(T=1000, dtype=jnp.float64), np.array([2, 1000])
    own = loss_weight(schedule, t, kind="vae", sigma="posterior")
    beta = loss_weight(schedule, t, kind="vae", sigma="beta")
    assert float(own[0]) == pytest.approx(1.00004, abs=5e-6)
    assert float(beta[0]) == pytest.approx(0.33335, abs=5e-6)
    assert float(own[1]) == pytest.approx(0.0102045, abs=5e-7)
    assert float(beta[1]) == pytest.approx(0.0102045, abs=5e-7)


def test_special_kl_cases() -> None:
    c, schedule, t, *_ = instances(6)
    alpha, beta, bar = c.alpha[t], c.beta[t], c.beta_bar
    beta_case = beta**2 / (2 * alpha**2 * bar[t] ** 2)
    got = loss_weight(schedule, t, kind="vae", sigma="beta")
    np.testing.assert_allclose(got, beta_case, rtol=1e-12)
    later = t[t >= 2]
    own_case = (beta / alpha)[t >= 2] ** 2 / (2 * bar[later - 1] ** 2)
    got = loss_weight(schedule, later, kind="vae", sigma="posterior")
    np.testing.assert_allclose(got, own_case, rtol=1e-12)
    assert np.isinf(loss_weight(schedule, np.array(1), kind="vae", sigma="posterior"))


def test_vae_loss_at_t_1_is_finite_with_the_weight_of_beta() -> None:
    schedule, t = kexue_schedule(T=50), jnp.array([1, 1])
    x0 = jnp.ones((2, 3))

    def loss(schedule):
        return ddpm_loss_at(network, schedule, x0, t, x0, weight="vae").loss

    beta = ddpm_loss_at(network, schedule, x0, t, x0, weight="vae", sigma="beta").loss
    value, gradient = jax.value_and_grad(loss)(schedule)
    assert float(value) == pytest.approx(float(beta))
    assert all(bool(jnp.isfinite(part).all()) for part in gradient)


def test_min_snr_is_1_in_the_noise_and_falls_near_the_data() -> None:
    schedule, t = kexue_schedule(T=1000, dtype=jnp.float64), np.arange(1, 1001)
    snr = np.asarray(schedule.alpha_bar / schedule.beta_bar)[1:] ** 2
    got = np.asarray(loss_weight(schedule, t, kind="min_snr", gamma=5.0))
    np.testing.assert_array_equal(got[snr <= 5], 1)
    np.testing.assert_allclose(got[snr > 5], 5 / snr[snr > 5])
    wider = loss_weight(schedule, t, kind="min_snr", gamma=1e9)
    np.testing.assert_array_equal(wider, 1)


def test_random_form_is_the_form_at_its_draws() -> None:
    schedule, x0 = kexue_schedule(T=50), jnp.ones((8, 3))
    key = jax.random.key(3)
    key_t, key_noise = jax.random.split(key)
    t = jax.random.randint(key_t, (8,), 1, 51, jnp.int32)
    noise = jax.random.normal(key_noise, (8, 3), x0.dtype)
    got = ddpm_loss(key, network, schedule, x0, param="v", weight="min_snr")
    wanted = ddpm_loss_at(network, schedule, x0, t, noise, param="v", weight="min_snr")
    for mine, theirs in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_every_step_is_drawn_equally_often() -> None:
    def blind(x, t):
        return jnp.zeros_like(x)

    T, B = 20, 40_000
    with pytest.warns(UserWarning):
        schedule = kexue_schedule(T=T, rescale=False)
    t = ddpm_loss(jax.random.key(1), blind, schedule, jnp.zeros((B, 1))).t
    counts = np.bincount(np.asarray(t), minlength=T + 1)
    assert counts[0] == 0
    assert counts.size == T + 1
    chi_square = ((counts[1:] - B / T) ** 2 / (B / T)).sum()
    assert chi_square < 75  # 19 degrees of freedom: a false alarm in 1e7


def test_bfloat16_data_gives_a_float32_loss() -> None:
    schedule, T = kexue_schedule(T=100), 100
    rng = np.random.default_rng(7)
    x0, eps = (jnp.asarray(rng.normal(size=(N, 64)), jnp.bfloat16) for _ in range(2))
    t = jnp.asarray(rng.integers(1, T + 1, N))
    seen = []

    def network(x, t):
        seen.append(x.dtype)
        return jnp.zeros_like(x)

    got = ddpm_loss_at(network, schedule, x0, t, eps)
    assert seen == [jnp.bfloat16]
    assert {got.loss.dtype, got.per_example.dtype} == {jnp.dtype("float32")}
    exact = example_sum(np.asarray(eps, np.float64) ** 2)
    np.testing.assert_allclose(got.per_example, exact, rtol=1e-6)
    low = np.asarray(jnp.sum((eps**2), axis=1), np.float64)
    assert np.abs(low / exact - 1).max() > 1e-3


def test_error_of_an_x0_network_is_not_lost_in_float32_near_the_data() -> None:
    # Through a conversion x_t / beta_bar_1 would leave an error of 1e-5 in eps.
    schedule = kexue_schedule(T=1000)
    x0 = jnp.asarray(np.random.default_rng(8).normal(size=(N, 3)), jnp.float32)
    t = jnp.ones(N, jnp.int32)
    near = x0 * (1 + 2e-7)
    got = ddpm_loss_at(lambda x, t: near, schedule, x0, t, x0, param="x0")
    c = oracle.Chain(*(np.asarray(part, np.float64) for part in schedule))
    exact = np.asarray(near, np.float64) - np.asarray(x0, np.float64)
    exact = (c.alpha_bar[1] / c.beta_bar[1]) ** 2 * example_sum(exact**2)
    np.testing.assert_allclose(got.per_example, exact, rtol=1e-5)


def test_loss_is_differentiable_in_the_network() -> None:
    schedule, x0 = kexue_schedule(T=50, dtype=jnp.float64), jnp.ones((4, 3))

    def loss(w):
        return ddpm_loss(jax.random.key(0), lambda x, t: w * x, schedule, x0).loss

    w, step = 0.3, 1e-6
    numeric = (loss(w + step) - loss(w - step)) / (2 * step)
    assert float(jax.grad(loss)(w)) == pytest.approx(float(numeric), rel=1e-7)


def test_a_network_that_changes_the_shape_is_refused() -> None:
    schedule, x0 = kexue_schedule(T=50), jnp.ones((4, 3))
    for wrong in (lambda x, t: x[..., None], lambda x, t: x[:1], lambda x, t: None):
        with pytest.raises(ValueError, match=r"ddpm_loss: `eps_fn`.*keeps the shape"):
            ddpm_loss(jax.random.key(0), wrong, schedule, x0)


@pytest.mark.parametrize(
    "options",
    [
        {"param": "noise"},
        {"weight": "snr"},
        {"sigma": "zero"},
        {"gamma": 0.0},
        {"reduction": "none"},
    ],
)
def test_unknown_choice_is_refused(options: dict) -> None:
    schedule, x0 = kexue_schedule(T=50), jnp.ones((4, 3))
    with pytest.raises(ValueError, match=f"ddpm_loss: `{next(iter(options))}`"):
        ddpm_loss(jax.random.key(0), network, schedule, x0, **options)
