"""Feature maps: their values where naive forms fail, and what follows from them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.attention import (
    cosine_features,
    elu1,
    exp_features,
    feature_softmax,
    linear_attention,
    quadratic_linear_attention,
    relu_features,
)

RNG = np.random.default_rng(0)


def test_elu1_is_exp_where_elu_plus_one_vanishes() -> None:
    x = jnp.array([-20.0, -80.0, 0.0, 3.0], jnp.float32)
    assert (jax.nn.elu(x[:2]) + 1 == 0).all()
    np.testing.assert_allclose(elu1(x), [np.exp(-20.0), np.exp(-80.0), 1, 4], rtol=1e-5)
    assert (elu1(x.astype(jnp.bfloat16)) > 0).all()


def test_elu1_has_slope_one_at_zero_from_both_sides() -> None:
    slope = jax.grad(lambda x: elu1(x).sum())
    found = slope(jnp.array([-1e4, -1e-9, 0.0, 1e-9, 1e4]))
    np.testing.assert_allclose(found, [0, 1, 1, 1, 1], atol=1e-8)


@pytest.mark.parametrize("features", [elu1, feature_softmax])
def test_features_are_positive(features) -> None:
    x = jnp.asarray(RNG.normal(size=(1000, 8)) * 5, jnp.float32)
    assert (features(x) > 0).all()


def test_cosine_features_are_one_plus_the_cosine() -> None:
    q, k = RNG.normal(size=(2, 1000, 1, 6))
    weights = jnp.asarray(cosine_features(q) @ cosine_features(k).mT)[:, 0, 0]
    norms = np.linalg.norm(q, axis=-1) * np.linalg.norm(k, axis=-1)
    cosine = ((q * k).sum(-1) / norms)[:, 0]
    np.testing.assert_allclose(weights, 1 + cosine, atol=1e-12)
    assert (weights >= 0).all() and (weights <= 2).all()
    assert np.isfinite(jax.grad(lambda x: cosine_features(x).sum())(jnp.zeros(4))).all()


def test_cosine_kernel_is_close_to_uniform() -> None:
    # The card: at d = 64 the weights' entropy is 0.008 nats below that of a mean.
    q, k = RNG.normal(size=(2, 2000, 64))
    weights = np.asarray(cosine_features(q) @ cosine_features(k).mT)
    assert (weights - 1).std() == pytest.approx(1 / 8, rel=0.01)  # 1 / sqrt(d)
    p = weights / weights.sum(-1, keepdims=True)
    entropy = -(p * np.log(p)).sum(-1).mean()
    assert 0.006 < np.log(2000) - entropy < 0.010


def test_cosine_kernel_meets_zero_at_the_first_token() -> None:
    x = jnp.asarray(RNG.normal(size=(1, 4)))
    phi_q, phi_k = cosine_features(x), cosine_features(-x)
    assert abs(float((phi_q * phi_k).sum())) < 1e-10
    out = linear_attention(phi_q, phi_k, jnp.ones((1, 2)), causal=True)
    assert np.isfinite(out).all()


def test_exp_features_leave_attention_as_it_is() -> None:
    q, k = RNG.normal(size=(2, 3, 40, 5))
    v = RNG.normal(size=(3, 40, 2))
    phi = (exp_features(q, is_query=True), exp_features(k, is_query=False))
    wanted = quadratic_linear_attention(np.exp(q), np.exp(k), v, eps=0.0)
    np.testing.assert_allclose(linear_attention(*phi, v, eps=0.0), wanted, atol=1e-13)
    high = exp_features(np.full((2, 3), 1e4), is_query=False)
    assert (high == 1).all()


def test_exp_features_ignore_masked_keys() -> None:
    x = np.array([[0.0, -1.0], [500.0, 900.0]])
    kept = exp_features(x, is_query=False, key_mask=np.array([True, False]))
    np.testing.assert_allclose(kept[0], np.exp([0.0, -1.0]))
    assert np.isfinite(kept).all()
    none = exp_features(x, is_query=False, key_mask=np.array([False, False]))
    assert np.isfinite(none).all()


def test_relu_features() -> None:
    x = jnp.array([-2.0, 0.0, 3.0])
    assert (relu_features(x) == jnp.array([0.0, 0.0, 3.0])).all()
    assert (relu_features(x, power=2, eps=0.5) == jnp.array([0.5, 0.5, 9.5])).all()
