"""The logistic discriminator, fits by folds, and calibration."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.evaluation import (
    adversarial_auc,
    calibration_scale,
    cross_fit_logits,
    density_ratio,
    discriminator_logits,
    discriminator_loss,
    effective_sample_size,
    fit_logistic_discriminator,
)
from tests.oracles import adversarial_validation as oracle

fit = jax.jit(fit_logistic_discriminator, static_argnames=("l2", "steps"))


def sets(seed: int, n: int, m: int, d: int, shift: float):
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(d, d))
    p = rng.normal(size=(n, d)) @ mix
    return p, rng.normal(size=(m, d)) @ mix + shift


def logistic(key, p, q):
    return fit_logistic_discriminator(p, q, l2=1e-2, steps=100)


@pytest.mark.parametrize("shape", [(200, 150, 6), (40, 300, 12)])
@pytest.mark.parametrize("l2", [1e-3, 1e-1])
def test_the_fit_is_the_optimum(shape, l2) -> None:
    p, q = sets(0, *shape, 0.4)
    got = fit(jnp.asarray(p), jnp.asarray(q), l2=l2, steps=3000)
    weights, bias = oracle.fit_logistic(p, q, l2=l2)
    scale = np.abs(weights).max()
    np.testing.assert_allclose(got.weights, weights, atol=1e-9 * scale)
    np.testing.assert_allclose(got.bias, bias, atol=1e-8 * max(1, abs(bias)))


def test_no_fit_ever_ends_above_its_start() -> None:
    # A thousand problems of random scale: the default steps, no step size to choose.
    rng = np.random.default_rng(1)
    scales = np.exp(rng.normal(size=(1000, 1, 3)) * 2)
    p = rng.normal(size=(1000, 12, 3)) * scales
    q = rng.normal(size=(1000, 9, 3)) * scales + rng.normal(size=(1000, 1, 3))

    def losses(p, q):
        found = fit_logistic_discriminator(p, q)
        logits = [discriminator_logits(found, x) for x in (p, q)]
        return discriminator_loss(*logits)

    found = jax.jit(jax.vmap(losses))(jnp.asarray(p), jnp.asarray(q))
    assert (found <= 2 * math.log(2) + 1e-12).all()


def test_the_fit_finds_the_logit_of_two_gaussians() -> None:
    rng = np.random.default_rng(2)
    p, q = rng.normal(size=(40_000, 1)), rng.normal(size=(40_000, 1)) + 1
    found = fit(jnp.asarray(p), jnp.asarray(q), l2=1e-6, steps=300)
    assert abs(float(found.weights[0]) - 1) < 0.06
    assert abs(float(found.bias) + 0.5) < 0.05


def test_unequal_numbers_of_rows_are_balanced() -> None:
    p, q = sets(3, 60, 50, 3, 0.5)
    once = fit(jnp.asarray(p), jnp.asarray(q), l2=0.1, steps=300)
    many = fit(jnp.asarray(p), jnp.asarray(np.tile(q, (7, 1))), l2=0.1, steps=300)
    np.testing.assert_allclose(many.weights, once.weights, rtol=1e-9)
    np.testing.assert_allclose(many.bias, once.bias, rtol=1e-8)


def test_constant_features_have_no_weight() -> None:
    p, q = sets(4, 30, 30, 2, 0.5)
    wide = [np.c_[x, np.full(len(x), 3.0)] for x in (p, q)]
    found = fit(*map(jnp.asarray, wide))
    assert abs(float(found.weights[-1])) < 1e-12
    assert np.isfinite(found.weights).all() and np.isfinite(found.bias)
    flat = fit(jnp.ones((4, 2)), jnp.ones((3, 2)))
    np.testing.assert_allclose(flat.weights, 0, atol=1e-12)


@pytest.mark.parametrize("constant", [0.1, 1e4, -7e-5])
def test_constants_that_do_not_sum_exactly_have_no_weight_either(constant) -> None:
    p, q = sets(5, 3000, 1700, 2, 0.5)
    without = fit(jnp.asarray(p, jnp.float32), jnp.asarray(q, jnp.float32))
    wide = [np.c_[x, np.full(len(x), constant)] for x in (p, q)]
    found = fit(*(jnp.asarray(x, jnp.float32) for x in wide))
    assert abs(float(found.weights[-1]) * constant) < 1e-5
    np.testing.assert_allclose(found.weights[:2], without.weights, rtol=1e-3)
    np.testing.assert_allclose(found.bias, without.bias, rtol=1e-3)


@pytest.mark.parametrize(("n", "m", "k"), [(12, 9, 3), (13, 11, 5), (7, 20, 7)])
def test_no_row_is_scored_by_a_fit_that_saw_it(n, m, k) -> None:
    def remember(key, p, q):
        return jnp.concatenate([p, q])

    def seen(rows, x):
        return jnp.any(x[:, None] == rows[None], -1).astype(x.dtype)

    p, q = jnp.arange(n, dtype=float), 100 + jnp.arange(m, dtype=float)
    found = cross_fit_logits(
        jax.random.key(k), p, q, fit_fn=remember, apply_fn=seen, k=k, repeats=3
    )
    assert (found.train == 0).all() and (found.test == 0).all()


def test_every_fold_has_the_rest() -> None:
    # The fit's own size tells how many rows it had: n - ceil(n / k).
    def count(key, p, q):
        return len(p) + 1000 * len(q)

    found = cross_fit_logits(
        jax.random.key(0),
        jnp.zeros((11, 2)),
        jnp.zeros((8, 2)),
        fit_fn=count,
        apply_fn=lambda size, x: jnp.full(len(x), size, float),
        k=4,
    )
    assert (found.train == 8 + 6000).all() and (found.test == 8 + 6000).all()


def test_equal_sets_have_weights_near_one_out_of_fold() -> None:
    rng = np.random.default_rng(5)
    p, q = (jnp.asarray(rng.normal(size=(800, 3))) for _ in range(2))
    run = jax.jit(
        lambda key: cross_fit_logits(
            key, p, q, fit_fn=logistic, apply_fn=discriminator_logits
        )
    )
    found = run(jax.random.key(1))
    assert abs(float(adversarial_auc(*found)) - 0.5) < 0.06
    size = effective_sample_size(density_ratio(found.train))
    assert float(size) > 0.97 * 800


def nearest(key, p, q):
    return p, q


def by_nearest(sets, x):
    """A discriminator that knows by heart what it was fitted on."""
    gaps = [jnp.min(jnp.abs(x[:, None] - s[None]).sum(-1), -1) for s in sets]
    return 50 * (gaps[0] - gaps[1])


def test_in_sample_logits_explode_and_those_out_of_fold_do_not() -> None:
    rng = np.random.default_rng(6)
    p, q = (jnp.asarray(rng.normal(size=(300, 4))) for _ in range(2))
    inside = [by_nearest((p, q), x) for x in (p, q)]
    assert float(adversarial_auc(*inside)) == 1.0
    outside = cross_fit_logits(
        jax.random.key(2), p, q, fit_fn=nearest, apply_fn=by_nearest
    )
    assert abs(float(adversarial_auc(*outside)) - 0.5) < 0.12


def test_scaling_repairs_a_discriminator_that_is_too_sure() -> None:
    rng = np.random.default_rng(7)
    p, q = rng.normal(size=50_000) - 0.5, rng.normal(size=50_000) + 0.5
    for factor in (0.2, 1.0, 5.0):  # the true logits are p and q themselves
        got = calibration_scale(jnp.asarray(factor * p), jnp.asarray(factor * q))
        assert abs(float(got) * factor - 1) < 0.03


def test_scaling_has_the_least_loss() -> None:
    rng = np.random.default_rng(8)
    p = jnp.asarray(rng.normal(size=(1000, 20)) - 0.4)
    q = jnp.asarray(rng.normal(size=(1000, 15)) + 0.4)
    a = calibration_scale(p, q)[:, None]
    inside = (a[:, 0] > 2e-3) & (a[:, 0] < 500)
    assert inside.mean() > 0.8
    best = discriminator_loss(a * p, a * q)
    for other in (0.9, 0.99, 1.01, 1.1):
        beside = discriminator_loss(other * a * p, other * a * q)
        assert (beside >= best - 1e-12)[inside].all()


def test_the_logit_of_a_tree_of_parameters_is_vmapped() -> None:
    found = fit(*map(jnp.asarray, sets(9, 20, 20, 3, 1.0)))
    x = jnp.asarray(np.random.default_rng(10).normal(size=(4, 5, 3)))
    one = discriminator_logits(found, x)
    np.testing.assert_allclose(
        one, jax.vmap(lambda r: discriminator_logits(found, r))(x)
    )
