"""WEISSI: what scales leave as it is, its gradients, what each decay does to norms."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kexue_jax.optim import (
    add_weissi_decay,
    l2_penalty,
    log_norm_product,
    log_residual_product,
    log_spectral_product,
    weissi_penalty,
)
from tests.optim.networks import SIZES, network, outputs, random_layers, shifted_all

NAMES = [f"w{place}" for place in range(len(SIZES) - 1)]


def params_of(weights):
    return dict(zip(NAMES, weights, strict=True))


def test_the_log_sum_knows_no_shift_and_the_directions_no_scale() -> None:
    weights, biases = random_layers(1000)
    rng = np.random.default_rng(1)
    gammas = np.exp(rng.normal(size=(1000, len(NAMES))))
    free = params_of(shifted_all(weights, biases, gammas).weights)
    gammas /= np.prod(gammas, 1, keepdims=True) ** (1 / len(NAMES))
    kept = params_of(shifted_all(weights, biases, gammas).weights)
    plain = params_of(weights)

    def both(params):
        return (
            weissi_penalty(params, log_coef=1.0, direction_coef=0.0, delta=1e-12),
            weissi_penalty(params, log_coef=0.0, direction_coef=1.0, delta=1e-12),
            l2_penalty(params, coef=1.0),
            log_norm_product(params),
        )

    run = jax.jit(jax.vmap(both))
    at, at_kept, at_free = (
        [np.asarray(x) for x in run(p)] for p in (plain, kept, free)
    )
    np.testing.assert_allclose(at_kept[0], at[0], rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(at_kept[1], at[1], rtol=1e-12)
    np.testing.assert_allclose(at_free[1], at[1], rtol=1e-12)
    np.testing.assert_allclose(at[3], at[0], rtol=1e-12, atol=1e-12)
    # L2 is not invariant, nor is the log sum for a product of gammas that is not 1.
    assert (np.abs(at_kept[2] / at[2] - 1) > 1e-3).mean() > 0.99
    shift = np.log(np.prod(gammas, 1))
    np.testing.assert_allclose(shift, 0, atol=1e-12)


def test_multiplying_one_layer_adds_its_logarithm() -> None:
    w = {"a": jnp.ones((2, 3)), "b": jnp.ones((1, 2))}
    base = weissi_penalty(w, log_coef=0.3, direction_coef=0.0)
    more = weissi_penalty({**w, "a": 5.0 * w["a"]}, log_coef=0.3, direction_coef=0.0)
    assert float(more - base) == pytest.approx(0.3 * np.log(5))


def test_directions_lie_between_one_and_the_root_of_the_size() -> None:
    rng = np.random.default_rng(2)
    w = rng.normal(size=(1000, 3, 4)) * 10 ** rng.uniform(-3, 3, (1000, 1, 1))
    w[0], w[1] = 0, 2.5
    w[0, 1, 2] = -7
    value = jax.vmap(lambda w: weissi_penalty(w, log_coef=0.0, direction_coef=1.0))
    found = np.asarray(value(jnp.asarray(w)))
    assert (found >= 1 - 1e-12).all() and (found <= np.sqrt(12) + 1e-12).all()
    assert found[0] == pytest.approx(1) and found[1] == pytest.approx(np.sqrt(12))


def test_gradients_have_the_degrees_of_their_terms() -> None:
    w = {"a": jnp.asarray(np.random.default_rng(3).normal(size=(3, 4)))}
    terms = (
        (lambda w: weissi_penalty(w, log_coef=0.7, direction_coef=0.0), 0.7),
        (lambda w: weissi_penalty(w, log_coef=0.0, direction_coef=0.7), 0.0),
        (lambda w: l2_penalty(w, coef=0.7), 2 * 0.7 * float(jnp.sum(w["a"] ** 2))),
    )
    for term, wanted in terms:
        inner = float(jnp.sum(w["a"] * jax.grad(term)(w)["a"]))
        assert inner == pytest.approx(wanted, abs=1e-12)


def test_the_decay_is_the_gradient_of_the_penalty() -> None:
    rng = np.random.default_rng(4)
    w = {"a": jnp.asarray(rng.normal(size=(3, 4))), "b": jnp.ones(3)}
    zero = jax.tree.map(jnp.zeros_like, w)
    for mask in (None, {"a": True, "b": True}, lambda p: {"a": False, "b": True}):
        decay = add_weissi_decay(0.3, 0.2, mask=mask)
        found = decay.update(zero, decay.init(w), w)[0]
        wanted = jax.grad(
            lambda w, mask=mask: weissi_penalty(
                w, log_coef=0.3, direction_coef=0.2, mask=mask
            )
        )(w)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15),
            found,
            wanted,
        )


def test_zero_weights_are_left_alone_and_small_ones_turn_around() -> None:
    w = {"a": jnp.zeros((2, 2))}
    decay = add_weissi_decay(0.3, 0.2)
    assert (np.asarray(decay.update(w, decay.init(w), w)[0]["a"]) == 0).all()
    gradient = jax.grad(lambda w: weissi_penalty(w, log_coef=1.0, direction_coef=1.0))
    assert np.isfinite(gradient(w)["a"]).all()
    opt = optax.chain(add_weissi_decay(1.0, 0.0), optax.sgd(0.1))
    for length, turned in ((0.5, False), (0.2, True)):  # rate * coef > length^2
        w = {"a": jnp.array([[length]])}
        moved = w["a"] + opt.update({"a": jnp.zeros((1, 1))}, opt.init(w), w)[0]["a"]
        assert (float(moved[0, 0]) < 0) == turned


def test_adam_normalizes_the_penalty_away_and_not_the_decay() -> None:
    w, zero = {"a": jnp.full((1, 2), 10.0)}, {"a": jnp.zeros((1, 2))}
    inside = optax.chain(add_weissi_decay(1e-3, 0.0), optax.scale_by_adam())
    outside = optax.chain(optax.scale_by_adam(), add_weissi_decay(1e-3, 0.0))
    pulls = [
        np.asarray(opt.update(zero, opt.init(w), w)[0]["a"])
        for opt in (inside, outside)
    ]
    np.testing.assert_allclose(pulls[0], 1, rtol=1e-2)  # the size is gone
    np.testing.assert_allclose(pulls[1], 1e-3 * 10 / 200, rtol=1e-9)


def test_the_decay_of_an_l2_penalty_has_a_factor_of_two() -> None:
    w, rate, coef = {"a": jnp.full((1, 2), 3.0)}, 0.1, 0.05
    after = w["a"] - rate * jax.grad(lambda w: l2_penalty(w, coef=coef))(w)["a"]
    np.testing.assert_allclose(after, 3 * (1 - 2 * rate * coef))
    assert not np.allclose(after, 3 * (1 - rate * coef))  # as the article has it


def euler(weights):
    """<W_l, d loss / d W_l> of each layer of a bias-free network, 1,000 networks."""
    x = jnp.asarray(np.random.default_rng(5).normal(size=(7, SIZES[0])))

    def loss(weights):
        return jnp.sum(jnp.tanh(network(weights, None, x)) ** 2)

    def inner(weights):
        pairs = zip(weights, jax.grad(loss)(weights), strict=True)
        return jnp.stack([jnp.sum(w * g) for w, g in pairs])

    return np.asarray(jax.jit(jax.vmap(inner))(weights))


def test_the_loss_pulls_all_layers_of_a_homogeneous_network_alike() -> None:
    weights, _ = random_layers(1000)
    found = euler(weights)
    np.testing.assert_allclose(found, found[:, :1] * np.ones(len(NAMES)), atol=1e-10)
    assert np.abs(found).max() > 0.1


def flow(decay, steps=2000, rate=1e-4):
    """Squared norms of the layers along a gradient flow with a penalty."""
    weights, _ = random_layers(1)
    weights = [w[0] for w in weights]
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(20, SIZES[0])), rng.normal(size=(20, SIZES[-1]))

    def loss(params):
        found = network([params[n] for n in NAMES], None, jnp.asarray(x), last=False)
        return jnp.mean((found - y) ** 2) + decay(params)

    def step(params, _):
        params = jax.tree.map(lambda p, g: p - rate * g, params, jax.grad(loss)(params))
        return params, jnp.stack([jnp.sum(params[n] ** 2) for n in NAMES])

    return np.asarray(
        jax.jit(lambda p: jax.lax.scan(step, p, length=steps)[1])(params_of(weights))
    )


def test_l2_spends_itself_on_rebalancing_and_the_log_term_does_not() -> None:
    coef, rate, steps = 0.5, 1e-4, 2000
    free = flow(lambda p: 0.0)
    log = flow(lambda p: weissi_penalty(p, log_coef=coef, direction_coef=0.0))
    l2 = flow(lambda p: l2_penalty(p, coef=coef))
    first, last = 0, -1
    apart = [np.diff(s[[first, last]], axis=1) for s in (free, log, l2)]
    scale = np.abs(apart[0][0]).max()
    for kept in apart[:2]:  # conserved up to the steps' size
        assert np.abs(kept[1] - kept[0]).max() < 5e-3 * scale
    shrunk = np.exp(-4 * coef * rate * (steps - 1))
    np.testing.assert_allclose(apart[2][1], shrunk * apart[2][0], rtol=5e-3)
    # The log term lets each squared norm fall at the same rate 2 coef.
    fall = (free - log)[1] - (free - log)[first]
    np.testing.assert_allclose(fall, 2 * coef * rate, rtol=1e-2)  # and rate^2


def test_norms_bound_the_input_gradient() -> None:
    weights, biases = random_layers(1000)
    x = jnp.asarray(np.random.default_rng(7).normal(size=(1000, SIZES[0])))

    def slope(weights, biases, x):
        jacobian = jax.jacobian(lambda x: network(weights, biases, x))(x)
        params = params_of(weights)
        return (
            jnp.linalg.norm(jacobian, 2),
            jnp.exp(log_spectral_product(params)),
            jnp.exp(log_norm_product(params)),
        )

    found = jax.jit(jax.vmap(slope))(weights, biases, x)
    slopes, spectral, norms = (np.asarray(v) for v in found)
    assert (slopes <= spectral * (1 + 1e-9)).all()
    assert (spectral <= norms * (1 + 1e-9)).all()
    # Equality: one linear layer of rank one.
    w = {"w0": jnp.outer(jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0]))}
    assert float(log_spectral_product(w)) == pytest.approx(float(log_norm_product(w)))


def test_residual_blocks_have_one_added() -> None:
    rng = np.random.default_rng(8)
    w = jnp.asarray(rng.normal(size=(1000, 2, 2, 4, 4)) * 0.5)
    x = jnp.asarray(rng.normal(size=(1000, 4)))

    def block(pair, x):
        return x + pair[1] @ jax.nn.relu(pair[0] @ x)

    def slope(w, x):
        jacobian = jax.jacobian(lambda x: block(w[1], block(w[0], x)))(x)
        blocks = [{"a": w[i, 0], "b": w[i, 1]} for i in range(2)]
        return jnp.linalg.norm(jacobian, 2), log_residual_product(blocks)

    slopes, bound = (np.asarray(v) for v in jax.jit(jax.vmap(slope))(w, x))
    assert (slopes <= np.exp(bound) * (1 + 1e-9)).all()
    # Without the 1 it is no bound: small branches leave the identity.
    small = [{"a": jnp.full((1, 1), 1e-6)}]
    assert float(log_residual_product(small)) == pytest.approx(1e-6, rel=1e-4)


RATE, COEF = 1e-3, 0.5


def scale_free(steps, noise, delta, start):
    """||W||^2 by step of a layer whose loss does not feel its scale.

    Its gradient is orthogonal to W, of length noise / ||W||, in random directions.
    """
    opt = optax.chain(add_weissi_decay(COEF, 0.0, delta=delta), optax.sgd(RATE))
    w = {"a": jnp.full((4, 16), start / 8)}

    def step(carry, number):
        w, state = carry
        draw = jax.random.normal(jax.random.fold_in(jax.random.key(0), number), (4, 16))
        square = jnp.maximum(jnp.sum(w["a"] ** 2), 1e-200)
        draw = draw - jnp.sum(draw * w["a"]) / square * w["a"]
        g = noise / jnp.sqrt(square) * draw / jnp.linalg.norm(draw)
        updates, state = opt.update({"a": g}, state, w)
        w = optax.apply_updates(w, updates)
        return (w, state), jnp.sum(w["a"] ** 2)

    run = jax.jit(lambda w: jax.lax.scan(step, (w, opt.init(w)), jnp.arange(steps))[1])
    return np.asarray(run(w))


def test_squared_norms_of_normalized_layers_fall_at_a_constant_rate() -> None:
    squares = scale_free(100, 0.0, 1e-8, np.sqrt(2))
    np.testing.assert_allclose(np.diff(squares), -2 * RATE * COEF, rtol=1e-2)


def test_noise_holds_normalized_layers_where_its_push_meets_the_pull() -> None:
    noise = 20.0
    wanted = RATE * noise**2 / (2 * COEF)  # of ||W||^2
    for start in (1.2, 0.4):
        squares = scale_free(4000, noise, 1e-8, start)
        assert abs(squares[-1000:].mean() / wanted - 1) < 0.1


def test_without_noise_a_small_delta_does_not_hold_normalized_layers() -> None:
    thrown = scale_free(20_000, 0.0, 1e-8, 1.0)[3000:]
    assert thrown.max() > 1 > thrown.min()  # up and down without end
    held = scale_free(20_000, 0.0, np.sqrt(RATE * COEF), 1.0)
    assert (np.diff(held) <= 0).all() and held[-1] < RATE * COEF


def test_outputs_helper_is_the_network() -> None:
    weights, biases = random_layers(2)
    x = np.random.default_rng(9).normal(size=SIZES[0])
    h = x
    for w, b in zip(weights, biases, strict=True):
        h = np.maximum(w[0] @ h + b[0], 0)
    np.testing.assert_allclose(outputs(weights, biases, x)[0], h, rtol=1e-12)
