"""Clipping: the sandwich, norms in float32, zeros and infinities, the pitfalls."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kexue_jax.optim import (
    clip_by_global_norm,
    clip_by_loss_change,
    global_norm,
    relaxed_step_size,
    scale_by_relaxed_smoothness,
    soft_clip_by_global_norm,
)


def once(transformation, updates):
    return transformation.update(updates, transformation.init(updates))[0]


def factors(transformation, norms):
    """What a transformation multiplies gradients of these norms by."""

    def one(norm):
        updates = {"a": norm * jnp.array([0.6]), "b": norm * jnp.array([[0.0, 0.8]])}
        return once(transformation, updates)["a"][0] / updates["a"][0]

    return np.asarray(jax.vmap(one)(jnp.asarray(norms)))


def test_soft_clipping_lies_between_half_the_hard_one_and_all_of_it() -> None:
    norms, gamma = np.geomspace(1e-6, 1e6, 1201) * 2.0, 2.0
    hard = factors(clip_by_global_norm(gamma), norms)
    soft = factors(soft_clip_by_global_norm(gamma), norms)
    np.testing.assert_allclose(hard, np.minimum(1, gamma / norms), rtol=1e-12)
    ratio = soft / hard
    assert (ratio >= 0.5 * (1 - 1e-12)).all() and (ratio <= 1 + 1e-12).all()
    assert ratio[600] == pytest.approx(0.5, rel=1e-12)  # the norm is gamma there
    assert ratio[[0, -1]] == pytest.approx([1, 1], abs=1e-5)
    assert (hard * norms <= gamma * (1 + 1e-12)).all()
    assert (soft * norms < gamma).all()


def test_hard_clipping_alone_is_idempotent() -> None:
    updates = {"a": jnp.array([3.0, -4.0]), "b": jnp.array([[12.0]])}
    for transformation, same in (
        (clip_by_global_norm(1.0), True),
        (soft_clip_by_global_norm(1.0), False),
    ):
        first = once(transformation, updates)
        second = once(transformation, first)
        close = np.allclose(first["a"], second["a"], rtol=1e-12)
        assert close == same
        np.testing.assert_allclose(first["a"] / first["b"][0], [3 / 12, -4 / 12])


def test_relaxed_scaling_is_soft_clipping() -> None:
    norms, l0, l1 = np.geomspace(1e-3, 1e3, 50), 4.0, 0.5
    mine = factors(scale_by_relaxed_smoothness(l0, l1), norms)
    soft = factors(soft_clip_by_global_norm(l0 / l1), norms) / l0
    np.testing.assert_allclose(mine, soft, rtol=1e-12)
    constant = factors(scale_by_relaxed_smoothness(l0, 0.0), norms)
    np.testing.assert_allclose(constant, 1 / l0, rtol=1e-12)


def test_far_out_the_step_has_the_length_of_the_trust_region() -> None:
    n = jnp.array(1e12)
    for rule, length in (("inverse", 1.0), ("log", np.log(2))):
        step = relaxed_step_size(n, l0=3.0, l1=0.5, rule=rule)
        assert float(step * n) == pytest.approx(length / 0.5, rel=1e-9)
        assert float(relaxed_step_size(0 * n, l0=3.0, l1=0.5, rule=rule)) == (
            pytest.approx(1 / 3)
        )


def test_the_papers_two_steps_are_within_a_factor_of_two() -> None:
    # h = min(eta, gamma eta / n) and eta' / (n + beta), matched at both ends.
    norms, eta, gamma = np.geomspace(1e-4, 1e4, 400), 0.3, 2.0
    clipped = np.minimum(eta, gamma * eta / norms)
    normalized = eta * gamma / (norms + gamma)
    soft = eta * factors(soft_clip_by_global_norm(gamma), norms)
    np.testing.assert_allclose(soft, normalized, rtol=1e-12)
    assert ((clipped / normalized) <= 2 + 1e-12).all()
    assert ((clipped / normalized) >= 1 - 1e-12).all()


def test_agrees_with_optax_and_is_finite_where_that_is_not() -> None:
    updates = {"a": jnp.array([3.0, -4.0]), "b": jnp.array([[12.0]])}
    mine = once(clip_by_global_norm(2.0), updates)
    theirs = once(optax.clip_by_global_norm(2.0), updates)
    np.testing.assert_allclose(mine["a"], theirs["a"], rtol=1e-12)
    zero = jax.tree.map(jnp.zeros_like, updates)
    assert (np.asarray(once(clip_by_global_norm(0.0), zero)["a"]) == 0).all()
    assert (np.asarray(once(clip_by_global_norm(0.0), updates)["a"]) == 0).all()


def test_norms_are_summed_in_float32() -> None:
    low = jnp.full((100, 100), 300, jnp.float16)
    assert global_norm(low).dtype == jnp.float32
    assert float(global_norm(low)) == pytest.approx(30_000)
    clipped = once(clip_by_global_norm(1.0), low)
    assert clipped.dtype == jnp.float16 and float(clipped[0, 0]) > 0
    # A bfloat16 sum of ones would stop at 256.
    assert float(global_norm(jnp.ones(10_000, jnp.bfloat16))) == pytest.approx(100)
    assert float(global_norm({})) == 0


def test_row_sums_equal_the_plain_sum() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4, 5))
    tree = {"a": jnp.asarray(x), "b": jnp.asarray(x[0, 0]), "c": jnp.asarray(2.0)}
    plain = np.sqrt((x**2).sum() + (x[0, 0] ** 2).sum() + 4)
    assert float(global_norm(tree)) == pytest.approx(plain, rel=1e-14)
    gradient = jax.grad(global_norm)(tree)
    np.testing.assert_allclose(gradient["a"], x / plain, rtol=1e-12)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_infinite_norms_are_loud(bad) -> None:
    updates = jnp.array([bad, 1.0], jnp.float32)
    transformations = (
        clip_by_global_norm(1.0),
        soft_clip_by_global_norm(1.0),
        scale_by_relaxed_smoothness(1.0, 1.0),
        clip_by_loss_change(optax.sgd(1.0), 1.0),
    )
    for transformation in transformations:
        assert np.isnan(once(transformation, updates)).all()
    guarded = optax.apply_if_finite(clip_by_global_norm(1.0), 3)
    assert (np.asarray(once(guarded, updates)) == 0).all()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.complex64])
def test_a_norm_whose_square_overflows_is_the_norm(dtype) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(5, 7))
    tree = {"a": jnp.asarray(x * 1e30, dtype), "b": jnp.asarray(3e29, dtype)}
    exact = np.sqrt(
        sum(
            (np.abs(np.asarray(v, complex)) ** 2).sum()
            for v in (
                tree["a"].astype(jnp.complex64) / 1e15,
                tree["b"].astype(jnp.complex64) / 1e15,
            )
        )
    )
    assert float(global_norm(tree)) / 1e15 == pytest.approx(float(exact), rel=1e-5)
    clipped = once(clip_by_global_norm(2.0), tree)
    assert float(global_norm(clipped)) == pytest.approx(2, rel=2e-2)
    if dtype == jnp.float32:
        gradient = jax.grad(global_norm)(tree)
        found = np.asarray(gradient["a"], float)
        np.testing.assert_allclose(found, x * 1e15 / exact, rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.complex64])
def test_a_change_of_the_loss_beyond_the_largest_float_is_held_too(dtype) -> None:
    # <u, g> = 1e50: u times 2 / 1e50 is of size 1e-25.
    rng = np.random.default_rng(4)
    tree = {"a": jnp.asarray(1e25 * rng.normal(size=(5, 7)), dtype)}
    found = np.asarray(once(clip_by_loss_change(optax.sgd(1.0), 2.0), tree)["a"])
    g = np.asarray(tree["a"]).astype(complex)
    wanted = -2 * g / (np.abs(g) ** 2).sum()
    rtol = 2e-2 if dtype == jnp.bfloat16 else 1e-5
    np.testing.assert_allclose(found.astype(complex), wanted, rtol=rtol)


@pytest.mark.parametrize("tree", [{}, {"w": jnp.zeros((0, 3))}])
def test_trees_without_entries_stay_as_they_are(tree) -> None:
    for opt in (clip_by_global_norm(1.0), clip_by_loss_change(optax.sgd(1.0), 1.0)):
        found = once(opt, tree)
        assert jax.tree.map(jnp.shape, found) == jax.tree.map(jnp.shape, tree)


def test_gradients_through_clipping_are_finite_at_zero() -> None:
    for transformation in (
        clip_by_global_norm(1.0),
        soft_clip_by_global_norm(1.0),
        scale_by_relaxed_smoothness(1.0, 1.0, rule="log"),
    ):
        jacobian = jax.jacobian(lambda g, t=transformation: once(t, g))(jnp.zeros(2))
        np.testing.assert_allclose(jacobian, np.eye(2), atol=1e-12)


def test_clipping_minibatches_is_biased() -> None:
    # g is -1 with probability 0.9 and 10 else: the mean rises, the clipped one falls.
    draws = jnp.array([-1.0] * 9 + [10.0])
    clipped = jax.vmap(lambda g: once(clip_by_global_norm(1.0), g))(draws)
    assert float(draws.mean()) == pytest.approx(0.1)
    assert float(clipped.mean()) == pytest.approx(-0.8)
    assert float(once(clip_by_global_norm(1.0), draws.mean())) == pytest.approx(0.1)


def test_the_change_of_the_loss_is_held() -> None:
    rng = np.random.default_rng(1)
    g = jnp.asarray(rng.normal(size=(1000, 5)) * 10 ** rng.uniform(-2, 2, (1000, 1)))
    inner = optax.chain(optax.scale_by_sign(), optax.scale(-0.1))
    opt = clip_by_loss_change(inner, 0.3)
    u = np.asarray(jax.vmap(lambda g: once(opt, g))(g))
    change = -(u * np.asarray(g)).sum(1)
    plain = 0.1 * np.abs(np.asarray(g)).sum(1)
    np.testing.assert_allclose(change, np.minimum(plain, 0.3), rtol=1e-10)
    assert (plain > 0.3).any() and (plain < 0.3).any()


def test_a_step_uphill_is_shortened_and_not_turned_around() -> None:
    g = jnp.array([3.0, 4.0])
    opt = clip_by_loss_change(optax.scale(1.0), 5.0)  # u = g: the loss would rise
    np.testing.assert_allclose(once(opt, g), np.asarray(g) / 5, rtol=1e-12)
    wrong = min(1, 5 / float(jnp.sum(-g * g)))  # the quotient without its size
    assert wrong < 0


def test_a_clipped_spike_is_remembered_at_its_clipped_size() -> None:
    """Before Adam's moments clipping bounds what the second one keeps; after them it
    is another method, which steps by nothing for as long as the spike is remembered."""
    gamma, spike, steps = 1.0, 1e3, 20
    clip, adam = clip_by_global_norm(gamma), optax.scale_by_adam(b1=0.0)
    found = {}
    for name, chain in (
        ("before", optax.chain(clip, adam)),
        ("after", optax.chain(adam, clip)),
    ):
        state, sizes = chain.init(jnp.zeros(1)), []
        for step in range(steps):
            gradient = jnp.array([spike if step == 4 else 0.5])
            update, state = chain.update(gradient, state)
            sizes.append(float(update[0]))
        found[name] = np.array(sizes), float(optax.tree.get(state, "nu")[0])
    spikes = {"before": gamma, "after": spike}
    for name, (_, nu) in found.items():
        others = 0.25 * sum(0.999**k for k in range(steps) if k != steps - 5)
        wanted = 1e-3 * (others + 0.999 ** (steps - 5) * spikes[name] ** 2)
        assert nu == pytest.approx(wanted, rel=1e-9)
    assert found["before"][0][5:].min() > 0.8
    assert found["after"][0][5:].max() < 0.01
