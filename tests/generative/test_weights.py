"""Weights of models whose density is known, and both ways to look at a gap."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax.generative import (
    LinearGaussian,
    annealed_log_weights,
    bernoulli_log_prob,
    bits_per_dim,
    dequantize,
    effective_sample_size,
    elbo,
    gauss_hermite_log_prob,
    gaussian_kl,
    gaussian_log_prob,
    hierarchical_log_weights,
    iwae_bound,
    log_weights,
    refined_proposal,
)
from tests.generative.models import fixed, instances, keys

RANDOM = 1000


def of_proposals(found, mean, log_scale, m, seed=0):
    """log w [n, m] of every model for its proposal."""

    def one(key, model, x, mean, log_scale):
        encode = fixed(mean, log_scale)
        return log_weights(key, x, encode, model.log_lik, num_samples=m)

    run = jax.jit(jax.vmap(one))
    arrays = (jnp.asarray(a) for a in (found.x, mean, log_scale))
    return np.asarray(run(keys(len(found.x), seed), found.model, *arrays))


def test_density_and_posterior_of_the_linear_model_on_a_thousand() -> None:
    found = instances(RANDOM, 4, 3)
    log_prob = jax.jit(jax.vmap(lambda m, x: m.log_prob(x)))(found.model, found.x)
    posterior = jax.jit(jax.vmap(lambda m, x: m.posterior(x)))(found.model, found.x)
    np.testing.assert_allclose(log_prob, found.log_prob, atol=1e-11, rtol=1e-12)
    np.testing.assert_allclose(posterior.mean, found.mean, atol=1e-11)
    np.testing.assert_allclose(posterior.covariance, found.covariance, atol=1e-11)


def test_every_weight_of_the_posterior_is_the_density_itself() -> None:
    found = instances(RANDOM, 5, 2, diagonal=True)
    variance = np.diagonal(found.covariance, axis1=1, axis2=2)
    exact = of_proposals(found, found.mean, np.log(variance) / 2, 3)
    np.testing.assert_allclose(
        exact, np.stack([found.log_prob] * 3, 1), rtol=1e-12, atol=1e-12
    )
    # With any other proposal no single one is.
    wide = of_proposals(found, found.mean, np.log(variance) / 2 + 0.1, 3)
    assert np.abs(wide - found.log_prob[:, None]).min(1).mean() > 1e-2


def test_gap_of_the_lower_bound_is_the_divergence_from_the_posterior() -> None:
    """L_1 by quadrature, exact for quadratic log w, on a thousand models."""
    found = instances(RANDOM, 4, 2)
    rng = np.random.default_rng(1)
    mean = found.mean + rng.normal(size=found.mean.shape)
    log_scale = 0.5 * rng.normal(size=mean.shape)
    t, w = np.polynomial.hermite_e.hermegauss(3)
    points = np.stack(np.meshgrid(t, t), -1).reshape(-1, 2)
    weight = np.outer(w, w).ravel() / w.sum() ** 2
    z = mean[:, None] + np.exp(log_scale)[:, None] * points[None]

    def one(model, x, z, mean, log_scale):
        joint = jax.vmap(lambda z: model.log_lik(x, z))(z)
        prior = gaussian_log_prob(z, jnp.zeros(2), jnp.zeros(2))
        return joint + prior - gaussian_log_prob(z, mean, log_scale)

    log_w = jax.jit(jax.vmap(one))(found.model, found.x, z, mean, log_scale)
    gap = found.log_prob - (np.asarray(log_w) * weight).sum(1)
    precision = np.linalg.inv(found.covariance)
    away = mean - found.mean
    variance = np.exp(2 * log_scale)
    divergence = (
        np.einsum("nii,ni->n", precision, variance)
        + np.einsum("ni,nij,nj->n", away, precision, away)
        - 2
        + np.linalg.slogdet(found.covariance)[1]
        - 2 * log_scale.sum(1)
    ) / 2
    np.testing.assert_allclose(gap, divergence, rtol=1e-9, atol=1e-9)
    assert (gap > 0).all()


def test_sampled_and_analytic_bound_agree_on_average() -> None:
    """E log w = E log q(x|z) - KL: the form B of the loss, for M = 1 alone."""
    found = instances(RANDOM, 4, 2)
    log_scale = np.full(found.mean.shape, -0.5)
    m = 400
    log_w = of_proposals(found, found.mean, log_scale, m)

    def analytic(key, model, x, mean, log_scale):
        flat = lambda z: jnp.zeros(z.shape[:-1])  # noqa: E731
        encode = fixed(mean, log_scale)
        ways = {"log_prior": flat, "num_samples": m}
        lik = log_weights(key, x, encode, model.log_lik, **ways)
        entropy = jnp.sum(log_scale + math.log(2 * math.pi) / 2)
        # log q(x|z) alone: the proposal's own term is -|eps|^2 / 2 - entropy.
        eps = jax.random.normal(key, (m, 2))
        return jnp.mean(lik - entropy - jnp.sum(eps**2, -1) / 2, 0) - gaussian_kl(
            mean, log_scale
        )

    arrays = (found.x, found.mean, log_scale)
    wanted = jax.jit(jax.vmap(analytic))(keys(RANDOM), found.model, *arrays)
    gap = log_w.mean(1) - np.asarray(wanted)
    error = gap.std() / RANDOM**0.5
    assert abs(gap.mean()) < 5 * error and gap.std() > 1e-3


def hopeless():
    found = instances(1, 30, 10, seed=3)
    s2 = jnp.full(1, 0.05)
    rng = np.random.default_rng(0)
    model = LinearGaussian(found.model.w, found.model.b, s2)
    one = jax.tree.map(lambda a: a[0], model)
    x = one.w @ rng.normal(size=10) + one.b + 0.05**0.5 * rng.normal(size=30)
    return one, jnp.asarray(x)


def test_samples_of_the_prior_are_hopeless_and_the_posterior_is_exact() -> None:
    model, x = hopeless()
    exact = float(jax.jit(model.log_prob)(x))
    prior = fixed(np.zeros(10), np.zeros(10))

    @jax.jit
    def estimate(key):
        return iwae_bound(log_weights(key, x, prior, model.log_lik, num_samples=10_000))

    assert float(estimate(jax.random.key(0))) < exact - 50
    # The posterior is not diagonal here: turn the latent space to its axes.
    values, turned = np.linalg.eigh(jax.jit(model.posterior)(x).covariance)
    model = model._replace(w=model.w @ turned)
    known = fixed(jax.jit(model.posterior)(x).mean, np.log(values) / 2)
    one = log_weights(jax.random.key(0), x, known, model.log_lik, num_samples=1)
    assert abs(float(one[0]) - exact) < 1e-8


def test_known_share_of_a_mean_field_proposal() -> None:
    """ESS / M -> 1 / (1 + Var), the gap -> Var / (2 M), for one coupled posterior."""
    found = instances(1, 6, 2, seed=5)
    covariance, mean = found.covariance[0], found.mean[0]
    scale = np.sqrt(np.diagonal(covariance))
    # E w^2 / (E w)^2 = |S_q|^(1/2) |2 P - P_q|^(-1/2) |P| ... of two normal laws.
    p, own = np.linalg.inv(covariance), np.diag(1 / scale**2)
    left = 2 * p - own
    assert (np.linalg.eigvalsh(left) > 0).all()
    moment = np.linalg.det(p) / np.sqrt(np.linalg.det(own) * np.linalg.det(left))
    variance = moment - 1
    log_w = of_proposals(found, mean[None], np.log(scale)[None], 400_000)[0]
    ess = float(effective_sample_size(log_w)) / len(log_w)
    assert abs(ess * (1 + variance) - 1) < 0.02
    for m, near in ((20, 0.15), (50, 0.15)):
        bounds = np.asarray(iwae_bound(log_w.reshape(m, -1)))
        gap = found.log_prob[0] - bounds.mean()
        error = bounds.std() / len(bounds) ** 0.5
        assert abs(gap - variance / (2 * m)) < near * variance / (2 * m) + 5 * error


def test_an_exact_posterior_sample_among_the_weights_gives_an_upper_bound() -> None:
    """U_M >= log q(x) >= L_M on average over models and their points."""
    n, m = 20 * RANDOM, 5
    found = instances(n, 1, 1, seed=2)
    w, b, s2, x, exact, center, variance = (
        np.asarray(a).reshape(n)
        for a in (*found.model, found.x, found.log_prob, found.mean, found.covariance)
    )
    rng = np.random.default_rng(0)
    scale = 1.6 * np.sqrt(variance)

    def log_w(z):
        lik = -((x - w * z - b) ** 2) / (2 * s2) - np.log(2 * np.pi * s2) / 2
        prior = -(z**2) / 2
        return lik + prior + ((z - center) / scale) ** 2 / 2 + np.log(scale)

    others = center + scale * rng.normal(size=(m, n))
    low = np.asarray(iwae_bound(log_w(others))) - exact
    first = center + np.sqrt(variance) * rng.normal(size=(1, n))
    high = np.asarray(iwae_bound(log_w(np.concatenate([first, others[1:]])))) - exact
    error = max(low.std(), high.std()) / n**0.5
    assert low.mean() < -5 * error and high.mean() > 5 * error


def test_annealed_weights_are_unbiased_on_a_thousand_models() -> None:
    """E w = q(x) upwards, E w = 1 / q(x) from the posterior down, of few steps."""
    n = 4 * RANDOM
    found = instances(n, 3, 2, seed=9)
    rng = np.random.default_rng(0)
    scale = np.sqrt(np.diagonal(found.covariance, axis1=1, axis2=2))
    first, own = rng.normal(size=(2, *scale.shape))
    center = found.mean + scale / 2
    root = np.linalg.cholesky(found.covariance)
    posterior = found.mean + np.einsum("nij,nj->ni", root, own)
    betas = (0.0, 0.1, 0.3, 0.6, 1.0)
    ways = {"betas": betas, "step_size": 0.4, "leapfrog_steps": 2}

    def one(key, model, x, start, posterior, center, scale):
        unit = lambda z: gaussian_log_prob(z, jnp.zeros(2), jnp.zeros(2))  # noqa: E731
        joint = lambda z: unit(z) + model.log_lik(x, z)  # noqa: E731
        near = lambda z: gaussian_log_prob(z, center, jnp.log(scale))  # noqa: E731
        up = annealed_log_weights(key, start, near, joint, **ways)
        down = annealed_log_weights(key, posterior, joint, near, **ways)
        return up.log_w, down.log_w, up.accepted

    arrays = found.model, found.x, center + scale * first, posterior, center, scale
    up, down, accepted = map(np.asarray, jax.jit(jax.vmap(one))(keys(n), *arrays))
    assert 0.3 < accepted.mean() < 0.97  # moves are refused, and must be
    for ratio in (np.exp(up - found.log_prob), np.exp(down + found.log_prob)):
        error = ratio.std() / n**0.5
        assert abs(ratio.mean() - 1) < 5 * error < 0.15
        assert np.log(ratio).mean() < -0.03


def test_annealing_bounds_the_density_from_both_sides() -> None:
    found = instances(1, 6, 3, seed=1)
    model = jax.tree.map(lambda a: a[0], found.model)
    x, chains = jnp.asarray(found.x[0]), 400
    unit = lambda z: gaussian_log_prob(z, jnp.zeros(3), jnp.zeros(3))  # noqa: E731

    def joint(z):
        return unit(z) + model.log_lik(jnp.broadcast_to(x, (len(z), 6)), z)

    ways = {"betas": np.linspace(0, 1, 41), "step_size": 0.2, "leapfrog_steps": 5}
    rng = np.random.default_rng(0)
    root = np.linalg.cholesky(found.covariance[0])
    prior = rng.normal(size=(chains, 3))
    posterior = found.mean[0] + rng.normal(size=(chains, 3)) @ root.T

    @jax.jit
    def both(prior, posterior):
        up = annealed_log_weights(jax.random.key(0), prior, unit, joint, **ways)
        down = annealed_log_weights(jax.random.key(1), posterior, joint, unit, **ways)
        return up, down

    up, down = both(prior, posterior)
    assert up.accepted.mean() > 0.8 and down.accepted.mean() > 0.8
    exact = found.log_prob[0]
    low, high = elbo(up.log_w), -elbo(down.log_w)
    assert float(low) < exact < float(high) < float(low) + 2
    tight = float(iwae_bound(up.log_w)), -float(iwae_bound(down.log_w))
    assert max(abs(v - exact) for v in tight) < 0.2
    # One jump from start to end is plain importance sampling, far below.
    jump = joint(prior) - unit(prior)
    assert float(elbo(jump)) < float(low) - 1


def test_quadrature_is_the_density_on_a_thousand_models() -> None:
    found = instances(RANDOM, 4, 2)
    scale = np.sqrt(np.diagonal(found.covariance, axis1=1, axis2=2))

    def one(model, x, mean, scale):
        def joint(x, z):
            unit = gaussian_log_prob(z, jnp.zeros(2), jnp.zeros(2))
            return model.log_lik(x, z) + unit

        return gauss_hermite_log_prob(x, joint, mean, scale, nodes=32)

    arrays = (found.x, found.mean, scale)
    value = jax.jit(jax.vmap(one))(found.model, *arrays)
    correlation = np.abs(found.covariance[:, 0, 1]) / scale.prod(-1)
    plain = correlation < 0.5
    assert plain.sum() > 500
    error = np.abs(value - found.log_prob)
    assert error[plain].max() < 1e-9 and np.median(error) < 1e-12


def test_two_layers_are_one_where_the_upper_is_exact() -> None:
    """With q(z_1|z_2) = N(0, I) and p(z_2|z_1) = N(0, I) the upper layer cancels."""
    found = instances(1, 4, 2, seed=4)
    model, x = jax.tree.map(lambda a: a[0], found.model), jnp.asarray(found.x[0])
    encode = fixed(found.mean[0], np.zeros(2))
    unit = lambda z: (jnp.zeros_like(z), jnp.zeros_like(z))  # noqa: E731
    key = jax.random.key(0)
    two = hierarchical_log_weights(
        key, x, [encode, unit], [unit], model.log_lik, num_samples=7
    )
    first = jax.random.fold_in(key, 1)
    one = log_weights(first, x, encode, model.log_lik, num_samples=7)
    np.testing.assert_allclose(two, one, rtol=1e-12)


def test_two_exact_layers_give_every_sample_the_density() -> None:
    """z_2 -> z_1 -> x, all linear: p(z_1|x) p(z_2|z_1) is the whole posterior."""
    rng = np.random.default_rng(6)
    a, b, x = rng.normal(size=(3, RANDOM))
    s, t = rng.uniform(0.3, 1.5, (2, RANDOM))
    total = b * b * (a * a + s) + t
    exact = -(x * x / total + np.log(2 * np.pi * total)) / 2

    def one(key, a, b, s, t, x, wide):
        first, second = 1 / (1 / (a * a + s) + b * b / t), 1 / (1 + a * a / s)

        def line(factor, variance):
            return lambda v: (factor * v, jnp.zeros_like(v) + jnp.log(variance) / 2)

        encoders = [line(first * b / t, first), line(second * a / s, wide * second)]
        lik = lambda x, z: gaussian_log_prob(x, b * z, jnp.log(t) / 2)  # noqa: E731
        args = key, x[None], encoders, [line(a, s)], lik
        return hierarchical_log_weights(*args, num_samples=3)

    run = jax.jit(jax.vmap(one, (0,) * 6 + (None,)))
    found = run(keys(RANDOM), a, b, s, t, x, 1.0)
    np.testing.assert_allclose(found, np.stack([exact] * 3, 1), atol=1e-11)
    wide = run(keys(RANDOM), a, b, s, t, x, 1.2)
    assert np.abs(wide - exact[:, None]).min(1).mean() > 1e-2


def test_refining_finds_the_posterior() -> None:
    found = instances(50, 5, 2, diagonal=True)
    poor = found.mean + 1.5, np.zeros_like(found.mean)

    def one(key, model, x, mean, log_scale):
        return refined_proposal(
            key,
            x,
            fixed(mean, log_scale),
            model.log_lik,
            num_steps=500,
            learning_rate=0.03,
        )

    better = jax.jit(jax.vmap(one))(keys(50), found.model, found.x, *poor)
    assert np.abs(better.mean - found.mean).max() < 0.02
    variance = np.diagonal(found.covariance, axis1=1, axis2=2)
    assert np.abs(2 * better.log_scale - np.log(variance)).max() < 0.05


def test_bits_and_bytes() -> None:
    """A uniform law over bytes costs 8 bits a dimension, one over bits 1."""
    x = np.arange(256, dtype=np.int32).repeat(64)
    y = np.asarray(dequantize(jax.random.key(0), x))
    assert ((y >= x / 256) & (y < (x + 1) / 256 + 1e-7)).all() and y.max() < 1
    assert abs((y * 256 - x).mean() - 0.5) < 5 * 12**-0.5 / len(x) ** 0.5
    assert bits_per_dim(jnp.zeros(()), dims=3, levels=256) == 8
    halves = bernoulli_log_prob(jnp.ones(9), jnp.zeros(9))
    assert abs(float(bits_per_dim(halves, dims=9)) - 1) < 1e-12


def test_narrow_dtypes_round_once() -> None:
    """float32 within 1e-4 d of float64; sums of bfloat16 in float32."""
    found = instances(RANDOM, 6, 2)
    wide = of_proposals(found, found.mean, np.zeros_like(found.mean), 1)
    low = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), found)
    zeros = np.zeros_like(found.mean, np.float32)

    def one(model, x, mean, log_scale, eps):
        z = mean + jnp.exp(log_scale) * eps
        unit = gaussian_log_prob(z, jnp.zeros(2), jnp.zeros(2))
        return model.log_lik(x, z) + unit - gaussian_log_prob(z, mean, log_scale)

    eps = jax.vmap(lambda k: jax.random.normal(k, (1, 2)))(keys(RANDOM))[:, 0]
    arrays = low.x, low.mean, zeros, jnp.asarray(eps, jnp.float32)
    found32 = jax.jit(jax.vmap(one))(low.model, *arrays)
    assert np.abs(found32 - wide[:, 0]).max() < 6e-4
    many = jnp.full((1, 4096), 0.25, jnp.bfloat16)
    assert bernoulli_log_prob(many, jnp.zeros_like(many)).dtype == jnp.float32
