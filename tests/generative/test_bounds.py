"""The order of the bounds, their gap, and what corrections of it do and do not."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from kexue_jax.generative import (
    ciwae,
    delta_corrected,
    effective_sample_size,
    elbo,
    iwae_bound,
    jackknife_bound,
    miwae,
)

RANDOM = 1000


def log_weights(m, seed=0, scale=2.0):
    rng = np.random.default_rng(seed)
    return scale * rng.normal(size=(m, RANDOM))


def test_bounds_are_ordered_on_a_thousand_samples() -> None:
    """elbo <= miwae <= iwae, ciwae between, and leaving weights out lowers the mean."""
    log_w = log_weights(6)

    @jax.jit
    def bounds(log_w):
        grouped = [miwae(log_w, groups=g) for g in (6, 3, 2, 1)]
        return elbo(log_w), iwae_bound(log_w), ciwae(log_w, beta=0.4), grouped

    low, high, mixed, grouped = jax.tree.map(np.asarray, bounds(log_w))
    np.testing.assert_allclose(grouped[0], low, atol=1e-12)
    np.testing.assert_allclose(grouped[-1], high, atol=1e-12)
    assert all((a <= b + 1e-12).all() for a, b in itertools.pairwise(grouped[::2]))
    assert all((low <= g + 1e-12).all() & (g <= high + 1e-12).all() for g in grouped)
    assert (low < mixed).all() and (mixed < high).all()
    for m in (2, 6):
        rest = np.stack([np.delete(log_w[:m], j, 0) for j in range(m)], 1)
        whole = np.asarray(iwae_bound(log_w[:m]))
        assert (np.asarray(iwae_bound(rest)).mean(0) < whole + 1e-12).all()


def test_bounds_of_constant_weights_are_equal() -> None:
    log_w = np.broadcast_to(np.random.default_rng(0).normal(size=RANDOM), (4, RANDOM))
    for found in (
        iwae_bound(log_w),
        elbo(log_w),
        miwae(log_w, groups=2),
        jackknife_bound(log_w),
        delta_corrected(log_w),
    ):
        np.testing.assert_allclose(found, log_w[0], atol=1e-12)
    np.testing.assert_allclose(effective_sample_size(log_w), 4, atol=1e-12)


def expectations(log_w, p, largest):
    """E of the bound by enumeration of all samples of n values, M = 1..largest."""
    found = []
    for m in range(1, largest + 1):
        places = np.array(list(itertools.product(range(log_w.shape[-1]), repeat=m)))
        weight = p[:, places].prod(-1)
        bound = np.asarray(iwae_bound(log_w[:, places], axis=-1))
        found.append((weight * bound).sum(-1))
    return np.array(found)


def test_expected_bounds_rise_to_the_density_and_the_mean_weight_is_unbiased() -> None:
    """L_1 <= L_2 <= ... <= log E w, exactly, for a thousand laws of w."""
    rng = np.random.default_rng(1)
    log_w = 2 * rng.normal(size=(RANDOM, 3))
    p = rng.dirichlet(np.ones(3), RANDOM)
    exact = np.log((p * np.exp(log_w)).sum(-1))
    found = expectations(log_w, p, 5)
    assert (np.diff(found, axis=0) >= -1e-12).all() and (found <= exact + 1e-12).all()
    np.testing.assert_allclose(found[0], (p * log_w).sum(-1), atol=1e-12)
    # Equality for every M if the weight is constant.
    constant = np.broadcast_to(log_w[:, :1], log_w.shape)
    np.testing.assert_allclose(
        expectations(constant, p, 3), log_w[None, :, 0].repeat(3, 0), atol=1e-12
    )


def two_valued(m, ratio, p):
    """E of an estimate of two-valued weights: log w by count, and the law of counts."""
    log_w = np.zeros((m, m + 1))
    log_w[np.arange(m)[:, None] < np.arange(m + 1)[None]] = 1.0
    law = stats.binom.pmf(np.arange(m + 1)[None], m, p[:, None])
    return log_w[None] * np.log(ratio)[:, None, None], law


def test_gap_falls_as_half_the_variance_over_m_and_twice_that_is_refused() -> None:
    rng = np.random.default_rng(2)
    ratio, p = rng.uniform(0.3, 3, RANDOM), rng.uniform(0.2, 0.8, RANDOM)
    mean = p * ratio + 1 - p
    variance = (p * ratio**2 + 1 - p) / mean**2 - 1
    kept = variance > 1e-3
    for m, bound in ((16, 0.25), (48, 0.08)):
        log_w, law = two_valued(m, ratio, p)
        bounds = np.asarray(iwae_bound(log_w, axis=1))
        gap = np.log(mean) - (law * bounds).sum(-1)
        error = np.abs(gap / (variance / (2 * m)) - 1)[kept]
        assert error.max() < bound
    assert np.abs(gap / (variance / m) - 1)[kept].min() > 0.4


def test_corrections_take_the_leading_bias_away() -> None:
    """Errors of E by exact laws: plain O(1 / M), both others O(1 / M^2)."""
    ratio, p = np.array([10.0]), np.array([0.5])
    exact = np.log(p * ratio + 1 - p)
    errors = {}

    @jax.jit
    def estimates(log_w):
        return {
            "plain": iwae_bound(log_w),
            "delta": delta_corrected(log_w),
            "jackknife": jackknife_bound(log_w),
            "second": jackknife_bound(log_w, order=2),
        }

    for m in (20, 40):
        log_w, law = two_valued(m, ratio, p)
        for name, value in estimates(log_w[0]).items():
            errors[name, m] = float((law[0] * np.asarray(value)).sum() - exact[0])
    assert errors["plain", 20] < 0
    fall = {name: errors[name, 20] / errors[name, 40] for name, m in errors if m == 20}
    assert 1.8 < fall["plain"] < 2.2
    assert fall["delta"] > 3.5 and fall["jackknife"] > 3.5 and abs(fall["second"]) > 6
    sizes = [abs(errors[name, 40]) for name in ("plain", "delta", "jackknife")]
    assert sizes[1] < sizes[0] / 5 and sizes[2] < sizes[0] / 5
    # Corrections overshoot: here both lie above the density.
    assert errors["jackknife", 20] > 0 and errors["delta", 20] > 0


def test_jackknife_loses_no_digits_where_one_weight_is_nearly_all() -> None:
    log_w = jnp.array([0.0, -40.0, -41.0])
    wanted = [float(iwae_bound(jnp.delete(log_w, j))) for j in range(3)]
    found = jackknife_bound(log_w)
    expected = 3 * float(iwae_bound(log_w)) - 2 * np.mean(wanted)
    assert abs(found - expected) < 1e-12 * abs(expected)


@pytest.mark.parametrize("f", [iwae_bound, jackknife_bound, delta_corrected])
def test_order_and_scale_of_weights_change_nothing(f) -> None:
    log_w = log_weights(5)
    base = np.asarray(f(log_w))
    turned = np.random.default_rng(0).permutation(5)
    np.testing.assert_allclose(f(log_w[turned]), base, atol=1e-12)
    np.testing.assert_allclose(f(log_w - 700) + 700, base, atol=1e-9)


def test_effective_sample_size_is_that_of_the_variance() -> None:
    log_w = log_weights(7)
    w = np.exp(log_w)
    ratio = w.var(0) / w.mean(0) ** 2
    np.testing.assert_allclose(effective_sample_size(log_w), 7 / (1 + ratio))
    assert (np.asarray(effective_sample_size(log_w)) >= 1).all()


def second_moment(c, k):
    """E w^2 / (E w)^2 of the posterior as a proposal with c^2 times its covariance."""
    return (c * c / np.sqrt(2 * c * c - 1)) ** k


def test_a_wide_proposal_has_the_known_variance_and_a_narrow_one_none() -> None:
    """w = N(z; 0, 1) / N(z; 0, c^2): the ratio by quadrature, the share by samples."""
    t, w = np.polynomial.hermite_e.hermegauss(120)
    w = w / w.sum()
    rng = np.random.default_rng(3)
    for c in rng.uniform(0.9, 2.0, RANDOM):
        log_w = np.log(c) + t * t / 2 - c * c * t * t / 2
        ratio = (w * np.exp(2 * log_w)).sum() / (w * np.exp(log_w)).sum() ** 2
        assert abs(ratio / second_moment(c, 1) - 1) < 1e-6
    assert second_moment(1.5, 10) == pytest.approx(6.331, abs=5e-4)

    def share(c, m, seed):
        eps = jax.random.normal(jax.random.key(seed), (m, 10))
        log_w = jnp.sum(jnp.log(c) + eps**2 / 2 - c * c * eps**2 / 2, -1)
        return float(effective_sample_size(log_w)) / m

    assert share(1.5, 100_000, 0) == pytest.approx(1 / 6.331, abs=0.006)
    narrow = [share(0.7, 1000, seed) for seed in range(8)]
    assert np.median(narrow) < 0.05 and np.median(narrow) < share(1.5, 1000, 1) / 3


def test_behind_narrow_proposals_bounded_likelihoods_have_no_variance() -> None:
    """E w^2 within |z| < R settles for scales^2 above 1 / 2, and else grows for ever.

    Bits whose logits are bounded, as behind a tanh: on a thousand models each.
    """
    rng = np.random.default_rng(4)
    slope, shift = rng.normal(size=(2, RANDOM, 3))
    x, mean = rng.integers(0, 2, (RANDOM, 3)), rng.uniform(-1, 1, (RANDOM, 1))
    reach = np.array([20.0, 40.0])
    z = np.linspace(-1, 1, 401)
    for low, high in ((0.2, 0.48), (0.6, 1.5)):
        variance = rng.uniform(low, high, (RANDOM, 1))
        found = []
        for r in reach:
            bits = slope[:, None] * np.tanh(r * z[:, None]) + shift[:, None]
            lik = (x[:, None] * bits - np.logaddexp(0, bits)).sum(-1)
            away = (r * z - mean) ** 2 / (2 * variance)
            log_square = 2 * lik - (r * z) ** 2 + away
            found.append(np.asarray(iwae_bound(log_square, axis=1)) + np.log(r))
        growth = found[1] - found[0]
        if high < 0.5:
            assert growth.min() > 10
        else:
            assert np.abs(growth).max() < 1e-3


def test_weights_of_zero_give_minus_infinity_and_never_nan() -> None:
    """Where all are 0, in a column beside one that has a value, with its gradient."""
    log_w = np.stack([np.full(4, -np.inf), log_weights(4)[:, 0]], 1)
    estimates = [
        delta_corrected,
        lambda w: jackknife_bound(w, order=1),
        lambda w: jackknife_bound(w, order=2),
    ]
    for f in estimates:
        value, slope = jax.jit(
            lambda w, f=f: (f(w), jax.grad(lambda v: f(v[:, None])[0])(w[:, 1]))
        )(log_w)
        assert np.isneginf(value[0]) and np.isfinite(value[1])
        np.testing.assert_allclose(value[1], f(jnp.asarray(log_w[:, 1:]))[0])
        assert np.isfinite(slope).all()
    part = jnp.asarray([0.0, -np.inf, -1.0])
    np.testing.assert_allclose(ciwae(part, beta=0.0), iwae_bound(part))
    slope = jax.grad(lambda w: ciwae(w, beta=0.0))(part)
    np.testing.assert_allclose(slope, jax.grad(iwae_bound)(part))
    assert np.isneginf(ciwae(part, beta=0.5))
