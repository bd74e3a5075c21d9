"""The log-n factor and the entropy that it keeps."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.positions import log_n_mask_scale, log_n_scale


def test_card_values() -> None:
    assert log_n_scale(jnp.array([4095]), 512) == pytest.approx(4 / 3, rel=1e-6)
    both = [log_n_scale(jnp.arange(512), 512, floor=f) for f in (0.0, 1.0)]
    assert (both[1] == 1).all()  # leaves short inputs alone
    assert (both[0][:-1] < 1).all() and both[0][-1] == pytest.approx(1, rel=1e-6)
    assert both[0][0] == 0  # one key: its softmax is 1 whatever the score


def test_positions_count_from_zero() -> None:
    i = np.arange(1000)
    wanted = np.log(i + 1) / math.log(64)
    got = log_n_scale(jnp.asarray(i, jnp.float64), 64, floor=0.0)
    np.testing.assert_allclose(got, wanted, atol=1e-14)
    assert np.abs(got[1:] - np.log(i[1:]) / math.log(64)).max() > 0.1


def test_bidirectional_counts_unmasked_keys_with_the_authors_floor() -> None:
    mask = jnp.arange(600)[None] < jnp.array([[0], [3], [16], [512], [600]])
    got = log_n_mask_scale(mask, 512)
    wanted = np.log([16, 16, 16, 512, 600]) / math.log(512)
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    assert (log_n_mask_scale(mask, 512, floor=1.0)[:4] == 1).all()


def entropy(n: int, d: int, rate: float) -> float:
    rng = np.random.default_rng(n)
    keys = rng.normal(size=(n, d))
    keys *= math.sqrt(d) / np.linalg.norm(keys, axis=-1, keepdims=True)
    scores = rate * math.sqrt(d) * keys[:, 0]
    p = np.exp(scores - scores.max())
    p /= p.sum()
    return float(-(p * np.log(np.maximum(p, 1e-300))).sum())


def test_entropy_on_the_sphere_follows_the_formula_not_its_linearization() -> None:
    d = 16
    for rate in (1 / math.sqrt(d), 0.5):
        x = (math.sqrt(1 + 4 * rate**2) - 1) / (2 * rate)
        wanted = d / 2 * math.log(1 - x**2)
        got = entropy(400_000, d, rate) - math.log(400_000)
        # The formula is the limit of large d; at d = 16 it is within 15 %.
        assert got == pytest.approx(wanted, rel=0.15)
    small = 1 / math.sqrt(d)
    x = (math.sqrt(1 + 4 * small**2) - 1) / (2 * small)
    assert d / 2 * math.log(1 - x**2) == pytest.approx(-(small**2) * d / 2, rel=0.1)
    golden = 0.5 * math.log((math.sqrt(5) - 1) / 2)
    assert golden == pytest.approx(-0.2406, abs=5e-5)
    assert abs(golden * small * d) > 1.8 * small**2 * d / 2


def test_a_query_times_the_factor_is_its_scores_times_the_factor() -> None:
    rng = np.random.default_rng(1)
    q, k = (jnp.asarray(rng.normal(size=(9, 4))) for _ in range(2))
    factor = log_n_scale(jnp.arange(9.0), 4, floor=0.0)[:, None]
    np.testing.assert_allclose((q * factor) @ k.T, (q @ k.T) * factor, atol=1e-14)


def test_result_dtype_and_gradient() -> None:
    assert log_n_scale(jnp.arange(3), 8).dtype == jnp.float32
    assert log_n_scale(jnp.arange(3.0), 8).dtype == jnp.float64
    slope = jax.grad(lambda t: log_n_scale(t, 8, floor=0.0))(jnp.asarray(4.0))
    assert slope == pytest.approx(1 / (5 * math.log(8)))


def test_general_form_is_a_scale_beside_it() -> None:
    """softmax(kappa ln n / d q k^T): scale = kappa ln(train_length) / d, no floor."""
    kappa, d, length = 1.7, 64, 512
    n = np.array([2, 100, 4096])
    factor = np.asarray(log_n_scale(jnp.asarray(n - 1), length, floor=0.0))
    scale = kappa * np.log(length) / d
    np.testing.assert_allclose(scale * factor, kappa * np.log(n) / d, rtol=1e-6)
