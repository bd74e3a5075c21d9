"""Gradient dropout: exact probabilities, and what it does to SGD and to Adam."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kexue_jax.optim import gradient_dropout, keep_mask
from tests.optim.dropout import words_of
from tests.oracles import optimizers as oracle

KEYS = 20_000
SURE = 5.5  # standard errors: a false alarm below 1e-7 for each number


@functools.cache
def masks(p: float) -> np.ndarray:
    """Masks of two rows of fifteen, one a key: the last part is cut short."""
    draw = jax.jit(jax.vmap(lambda key: keep_mask(key, shape=(2, 15), keep_prob=p)))
    return np.asarray(draw(jax.random.split(jax.random.key(0), KEYS)), float)


@pytest.mark.parametrize("p", [0.2, 0.37])
def test_each_entry_has_its_probability_and_hardly_knows_the_others(p) -> None:
    found = masks(p).reshape(KEYS, -1)
    error = np.sqrt(p * (1 - p) / KEYS)
    assert (np.abs(found.mean(0) - p) < SURE * error).all()
    centered = found - p
    correlation = centered.T @ centered / KEYS / (p * (1 - p))
    apart = correlation - np.diag(np.diag(correlation))
    assert (np.abs(apart) < SURE / np.sqrt(KEYS) + 1 / 256).all()


@pytest.mark.parametrize("p", [0.001, 0.3027, 0.999])
def test_probabilities_are_finer_than_a_byte(p) -> None:
    found = float(keep_mask(jax.random.key(1), shape=(2000, 2000), keep_prob=p).mean())
    error = np.sqrt(p * (1 - p) / 4e6)
    # Four entries share a word: at most twice the variance of independent ones.
    assert abs(found - p) < SURE * error * 1.1
    assert abs(round(256 * p) / 256 - found) > SURE * error * 1.1  # a byte's grid


def test_the_largest_word_below_a_probability_is_exact() -> None:
    for p in (2.0**-32, 0.5, 1 - 2.0**-24, 1.0):
        for traced in (False, True):
            value = jnp.asarray(p, jnp.float32) if traced else p
            found = keep_mask(jax.random.key(2), shape=(4, 400), keep_prob=value)
            words = words_of(jax.random.key(2), (4, 400))
            np.testing.assert_array_equal(
                found, oracle.keep_mask(words, (4, 400), float(p))
            )


@pytest.mark.parametrize("impl", ["rbg", "unsafe_rbg"])
def test_keys_of_other_kinds_give_their_bits(impl) -> None:
    key = jax.random.key(4, impl=impl)
    found = keep_mask(key, shape=(50, 4001), keep_prob=0.3)
    words = jax.random.bits(key, (2, 50, 1, 501), jnp.uint32)[:, :, 0]
    np.testing.assert_array_equal(found, oracle.keep_mask(words, (50, 4001), 0.3))
    assert float(found.mean()) == pytest.approx(0.3, abs=SURE * np.sqrt(0.21 / 2e5))


def test_a_mask_is_an_eighth_of_the_hashes_of_bernoulli() -> None:
    """By XLA's count of operations, a hash some hundred of them; 0.25 is a word for
    four entries, and hashes made anew for each entry would be 1."""
    shape = (64, 512)
    ours = jax.jit(lambda key: keep_mask(key, shape=shape, keep_prob=0.3))
    theirs = jax.jit(lambda key: jax.random.bernoulli(key, 0.3, shape))
    ours_flops, theirs_flops = (
        f.lower(jax.random.key(0)).compile().cost_analysis()["flops"]
        for f in (ours, theirs)
    )
    assert ours_flops < 0.24 * theirs_flops


def test_sgd_with_half_of_the_gradient_converges() -> None:
    wanted = jnp.array([1.0, -1.0, 1.0])
    drop = gradient_dropout(jax.random.key(0), keep_prob=0.5)
    opt = optax.chain(drop, optax.sgd(1e-2))

    def step(carry, _):
        p, state = carry
        updates, state = opt.update(2 * (p - wanted), state)
        return (optax.apply_updates(p, updates), state), None

    p = jnp.array([-1.0, 10.0, 1.0])
    (p, _), _ = jax.lax.scan(step, (p, opt.init(p)), length=5000)
    np.testing.assert_allclose(p, wanted, atol=1e-9)


def test_keeping_all_is_the_identity_to_the_bit_whatever_the_key() -> None:
    updates = {"a": jnp.array([1e-30, 0.1, -3.0]), "b": jnp.ones((2, 2), jnp.bfloat16)}
    for seed in (0, 1):
        drop = gradient_dropout(jax.random.key(seed), keep_prob=1.0)
        found, state = drop.update(updates, drop.init(updates))
        jax.tree.map(np.testing.assert_array_equal, found, updates)
    assert int(state.count) == 1


def test_the_mean_is_the_gradient_and_the_variance_the_articles() -> None:
    g, p = np.array([[0.5] * 15, [-2.0] * 15]), 0.37
    dropped = masks(p) * g / p
    spread = g**2 * (1 - p) / p
    error = np.sqrt(spread / KEYS)
    assert (np.abs(dropped.mean(0) - g) < SURE * error).all()
    fourth = (dropped - g) ** 4
    error = np.sqrt((fourth.mean(0) - spread**2) / KEYS)
    assert (np.abs(((dropped - g) ** 2).mean(0) - spread) < SURE * error).all()
    # A random gradient: Var = s2 + (1 - p) / p (m^2 + s2), above s2.
    rng = np.random.default_rng(0)
    noisy = masks(p)[:, 0] * (1 + rng.normal(size=(KEYS, 15))) / p
    wanted = 1 + (1 - p) / p * 2
    assert noisy.var() == pytest.approx(wanted, rel=0.05)
    assert (noisy**2).mean() == pytest.approx(2 / p, rel=0.05)


def test_whole_tensors_can_be_spared_and_keys_go_on() -> None:
    updates = {"head": jnp.ones(50), "layer": jnp.ones(50)}
    drop = gradient_dropout(
        jax.random.key(0), keep_prob=0.5, mask={"head": False, "layer": True}
    )
    state = drop.init(updates)
    first, state = drop.update(updates, state)
    second, _ = drop.update(updates, state)
    np.testing.assert_array_equal(first["head"], 1)
    assert set(np.asarray(first["layer"]).tolist()) == {0.0, 2.0}
    assert (np.asarray(first["layer"]) != np.asarray(second["layer"])).any()


def test_under_sgd_gradient_and_update_dropout_are_one() -> None:
    g, key = jnp.asarray(np.random.default_rng(1).normal(size=40)), jax.random.key(0)
    drop = gradient_dropout(key, keep_prob=0.3)
    sgd = optax.sgd(0.1)
    both = optax.chain(drop, sgd), optax.chain(sgd, drop)
    a, b = (opt.update(g, opt.init(g))[0] for opt in both)
    np.testing.assert_allclose(a, b, rtol=1e-14)


def test_masked_components_still_move_under_adam() -> None:
    p, g = 0.2, jnp.ones(20_000)
    drop = gradient_dropout(jax.random.key(3), keep_prob=p)
    opt = optax.chain(drop, optax.scale_by_adam())

    def step(state, _):
        updates, state = opt.update(g, state)
        return state, jnp.mean(updates != 0)

    moving = np.asarray(jax.lax.scan(step, opt.init(g), length=10)[1])
    wanted = 1 - (1 - p) ** np.arange(1, 11)
    np.testing.assert_allclose(moving, wanted, atol=0.02)


SHARES = (1.0, 0.2, 0.3, 0.5)
LONG, WIDE = 3000, 2000


@functools.cache
def adam_statistics(mean: float, place: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of Adam's updates by share kept, for g = mean + N(0, 1)."""

    def run(share):
        drop = gradient_dropout(jax.random.key(0), keep_prob=share)
        adam = optax.scale_by_adam(b1=0.9, b2=0.999, eps=0.0)
        parts = (drop, adam) if place == "gradient" else (adam, drop)
        opt = optax.chain(*parts)

        def step(state, key):
            g = mean + jax.random.normal(key, (WIDE,), jnp.float32)
            updates, state = opt.update(g, state)
            return state, (jnp.mean(updates), jnp.mean(updates**2))

        start = opt.init(jnp.zeros(WIDE, jnp.float32))
        keys = jax.random.split(jax.random.key(1), 2 * LONG)
        first, second = jax.lax.scan(step, start, keys)[1]
        first, second = first[LONG:].mean(), second[LONG:].mean()
        return first, second - first**2

    found = jax.jit(jax.vmap(run))(jnp.asarray(SHARES, jnp.float32))
    return tuple(np.asarray(x, float) for x in found)


@pytest.mark.slow
@pytest.mark.parametrize("mean", [0.1, 1.0])
def test_under_adam_dropout_is_a_rate_smaller_by_the_root_of_p(mean) -> None:
    means, _ = adam_statistics(mean, "gradient")
    tolerance = 0.015 if mean == 1 else 0.05
    wanted = np.sqrt(SHARES)
    np.testing.assert_allclose(means / means[0], wanted, rtol=tolerance)
    # SGD's law, a mean that stays, or a factor p, do not hold.
    assert abs(means[1] / means[0] - 1) > 0.4
    assert abs(means[1] / means[0] - 0.2) > 0.2


@pytest.mark.slow
def test_the_article_is_wrong_that_the_variance_falls_too() -> None:
    k = (1 - 0.9) / (1 + 0.9)
    _, variances = adam_statistics(1.0, "gradient")
    ratio = 0.5  # mean^2 over mean square
    wanted = k * (1 - np.array(SHARES) * ratio)
    np.testing.assert_allclose(variances, wanted, rtol=0.05)
    assert (variances[1:] > variances[0] * 1.2).all()


@pytest.mark.slow
def test_update_dropout_keeps_the_mean_and_is_far_noisier() -> None:
    means, variances = adam_statistics(1.0, "update")
    np.testing.assert_allclose(means / means[0], 1, rtol=0.015)
    squares = variances + means**2
    np.testing.assert_allclose(squares / squares[0], 1 / np.array(SHARES), rtol=0.03)
    assert variances[1] == pytest.approx(2.13, rel=0.1)


def test_without_noise_adam_takes_the_root_of_p_too() -> None:
    """E[m / sqrt(v)] of g = 1: p / sqrt(p), at the end of 8,000 steps."""
    g = jnp.ones(20_000)
    dropped = gradient_dropout(jax.random.key(0), keep_prob=0.3)
    opt = optax.chain(dropped, optax.scale_by_adam())

    def step(state, _):
        u, state = opt.update(g, state)
        return state, jnp.mean(u)

    means = jax.jit(lambda s: jax.lax.scan(step, s, length=4000)[1])(opt.init(g))
    assert float(means[-500:].mean()) == pytest.approx(0.3**0.5, rel=0.02)


def test_masks_follow_the_order_of_the_leaves_and_not_their_names() -> None:
    drop = gradient_dropout(jax.random.key(0), keep_prob=0.5)

    def dropped(tree):
        return jax.tree.leaves(drop.update(tree, drop.init(tree))[0])

    a, b = jnp.ones(40), jnp.ones(40)
    first = dropped({"a": a, "b": b})
    for got, like in zip(dropped({"x": a, "y": b}), first, strict=True):
        np.testing.assert_array_equal(got, like)
    # Another leaf before them is another tree.
    assert (np.asarray(dropped({"0": a, "a": a, "b": b})[1]) != first[0]).any()


@pytest.mark.slow
def test_without_a_mean_the_variance_is_nearly_the_same() -> None:
    """k (1 - p r) at r = 0.01: the card has 0.0518 to 0.0525 at p = 0.2."""
    _, variances = adam_statistics(0.1, "gradient")
    k, r = (1 - 0.9) / (1 + 0.9), 0.01 / 1.01
    np.testing.assert_allclose(variances, k * (1 - np.array(SHARES) * r), rtol=0.02)
