"""Losses of GANs: their optima and slopes; images moved for consistency."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.generative import consistency_penalty, flip_translate, gan_losses

NAMES = ("wasserstein", "hinge", "ns", "minimax", "bce01")


@pytest.mark.parametrize("name", NAMES)
def test_the_critic_wants_real_up_and_fake_down_the_generator_fake_up(name) -> None:
    d_loss, g_loss = gan_losses(name)
    r, f = jnp.array([0.25, -0.5]), jnp.array([0.5, 0.125, -0.25])
    by_real, by_fake = jax.grad(d_loss, (0, 1))(r, f)
    assert (by_real < 0).all() and (by_fake > 0).all()
    assert (jax.grad(g_loss)(f) < 0).all()


def test_best_critic_of_the_saturating_games_is_the_log_ratio() -> None:
    # Of p(x) softplus(-v) + q(x) softplus(v) the best v is log p - log q.
    rng = np.random.default_rng(0)
    p, q = rng.uniform(0.1, 1, (2, 1000))
    v = jnp.asarray(np.log(p / q))
    d_loss = gan_losses("ns").d_loss

    def weighted(v):
        each = jax.vmap(
            lambda v, p, q: p * d_loss(v[None], low) + q * d_loss(high, v[None])
        )
        low, high = jnp.array([-1e3]), jnp.array([1e3])
        return each(v, jnp.asarray(p), jnp.asarray(q)).sum()

    np.testing.assert_allclose(jax.grad(weighted)(v), 0, atol=1e-12)
    assert (np.abs(jax.grad(weighted)(v + 0.1)) > 1e-4).all()


def test_minimax_and_non_saturating_generators_differ_where_the_critic_is_sure() -> (
    None
):
    sure = jnp.array([-20.0])
    slopes = [jax.grad(gan_losses(n).g_loss)(sure)[0] for n in ("minimax", "ns")]
    assert abs(slopes[0]) < 1e-8 and abs(slopes[1]) > 0.99


def test_binary_entropy_of_values_in_minus_one_to_one_stays_finite_at_the_ends() -> (
    None
):
    d_loss, g_loss = gan_losses("bce01")
    ends = jnp.array([-1.0, 1.0, -2.0, 2.0], jnp.float32)
    values = [d_loss(ends, -ends), g_loss(ends)]
    assert np.isfinite(values).all()
    assert np.isfinite(jax.grad(g_loss)(ends)).all()
    zero = jnp.zeros(3)
    np.testing.assert_allclose(d_loss(zero, zero), 2 * np.log(2))


def test_a_critic_that_does_not_see_moves_pays_nothing() -> None:
    x = jnp.asarray(np.random.default_rng(0).normal(size=(6, 5, 7, 1)))
    moved = flip_translate(jax.random.key(0), x, share=0.0)
    flipped = np.asarray((moved != x).any((1, 2, 3)))
    assert flipped.any() and not flipped.all()
    np.testing.assert_array_equal(moved[flipped], np.asarray(x)[flipped][:, :, ::-1])

    def blind(x):
        return (x**2).sum((1, 2, 3))

    def seeing(x):
        return x[:, 0, 0, 0]

    np.testing.assert_allclose(consistency_penalty(blind, x, moved), 0, atol=1e-24)
    assert float(consistency_penalty(seeing, x, moved)) > 0


def test_moves_reach_a_fifth_of_the_side_and_no_further() -> None:
    x = jnp.broadcast_to(jnp.arange(10.0)[None, :, None, None], (400, 10, 10, 1))
    moved = flip_translate(jax.random.key(1), x)
    shift = np.asarray(moved[:, 5, 0, 0]) - 5
    assert set(shift) == {-2, -1, 0, 1, 2}
    assert moved.min() == 0 and moved.max() == 9
