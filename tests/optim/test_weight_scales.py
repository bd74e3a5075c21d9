"""Shifts of the scale between layers: the same function, and the article's mistake."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.optim import (
    balance_scales,
    excess_l2,
    l2_penalty,
    log_norm_product,
    shift_scales,
)
from tests.optim.networks import SIZES, outputs, random_layers, shifted_all

COUNT, LAYERS = 1000, len(SIZES) - 1
X = np.random.default_rng(2).normal(size=SIZES[0])


def gammas(product_one: bool) -> np.ndarray:
    found = np.exp(np.random.default_rng(1).normal(size=(COUNT, LAYERS)))
    if product_one:
        found /= np.prod(found, 1, keepdims=True) ** (1 / LAYERS)
    return found


def test_shifted_networks_are_the_same_and_the_articles_biases_another() -> None:
    weights, biases = random_layers(COUNT)
    scales = gammas(product_one=True)
    plain = outputs(weights, biases, X)
    shifted = shifted_all(weights, biases, scales)
    np.testing.assert_allclose(outputs(*shifted, X), plain, rtol=1e-9, atol=1e-10)
    # The article scales each bias by its own gamma.
    wrong = [scales[:, i, None] * b for i, b in enumerate(biases)]
    changed = np.abs(outputs(shifted.weights, wrong, X) - plain).max(1)
    alive = np.abs(plain).max(1) > 0.1
    assert (changed[alive] > 1e-3).mean() > 0.95
    # It is right without biases beyond the first layer.
    first = [biases[0], *(jnp.zeros_like(b) for b in biases[1:])]
    scaled = [scales[:, i, None] * b for i, b in enumerate(first)]
    np.testing.assert_allclose(
        outputs(shifted.weights, scaled, X),
        outputs(weights, first, X),
        rtol=1e-9,
        atol=1e-10,
    )


def test_other_gammas_multiply_the_output_by_their_product() -> None:
    weights, biases = random_layers(COUNT)
    scales = gammas(product_one=False)
    found = outputs(*shifted_all(weights, biases, scales), X)
    wanted = np.prod(scales, 1)[:, None] * outputs(weights, biases, X)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


def test_balanced_networks_are_the_same_with_the_least_l2() -> None:
    weights, biases = random_layers(COUNT)
    balanced = jax.jit(jax.vmap(balance_scales))(weights, biases)
    np.testing.assert_allclose(
        outputs(*balanced, X), outputs(weights, biases, X), rtol=1e-9, atol=1e-9
    )
    total = lambda ws: sum(np.sum(np.asarray(w) ** 2, (1, 2)) for w in ws)  # noqa: E731
    norms = np.stack([np.sqrt(np.sum(np.asarray(w) ** 2, (1, 2))) for w in weights])
    least = LAYERS * np.prod(norms, 0) ** (2 / LAYERS)
    np.testing.assert_allclose(total(balanced.weights), least, rtol=1e-12)
    others = shifted_all(weights, biases, gammas(product_one=True))
    assert (total(others.weights) >= least * (1 - 1e-12)).all()
    share = jax.jit(jax.vmap(lambda w: excess_l2(dict(enumerate(w)))))
    np.testing.assert_allclose(share(weights), 1 - least / total(weights), rtol=1e-9)
    np.testing.assert_allclose(share(balanced.weights), 0, atol=1e-12)


def test_the_excess_is_what_balancing_takes_from_l2() -> None:
    w = {"a": jnp.full((2, 2), 1.0), "b": jnp.full((1, 2), 3.0), "bias": jnp.ones(5)}
    whole = float(l2_penalty(w, coef=1.0))
    least = 2 * np.sqrt(4 * 18)
    assert whole == pytest.approx(22)
    assert float(excess_l2(w)) == pytest.approx(1 - least / 22)


def test_missing_biases_stay_missing_and_zero_weights_are_survived() -> None:
    w = [jnp.ones((2, 3)), jnp.zeros((1, 2))]
    found = shift_scales(w, [None, jnp.ones(1)], jnp.array([2.0, 3.0]))
    assert found.biases[0] is None and float(found.biases[1][0]) == 6
    dead = balance_scales(w, [None, None])
    assert all((np.asarray(x) == 0).all() for x in dead.weights)
    assert float(excess_l2({"a": w[0], "b": w[1]})) == 1


def test_gelu_networks_are_only_nearly_the_same() -> None:
    scales = (10.0, 0.1)
    w, x = (jnp.array([[1.0]]), jnp.array([[1.0]])), 0.7
    (a, b), _ = shift_scales(w, [None, None], jnp.array(scales))
    for phi, same in ((jax.nn.relu, True), (jax.nn.gelu, False), (jnp.tanh, False)):
        plain = float((w[1] * phi(w[0] * x))[0, 0])
        shifted = float((b * phi(a * x))[0, 0])
        assert (abs(plain - shifted) < 1e-12) == same


def test_a_negative_gamma_changes_a_relu_network_and_no_linear_one() -> None:
    w, x = [jnp.array([[1.5]]), jnp.array([[-0.5]])], 0.7
    (a, b), _ = shift_scales(w, [None, None], jnp.array([-2.0, -0.5]))
    relu = [float((v * jax.nn.relu(u * x))[0, 0]) for u, v in (w, (a, b))]
    linear = [float((v * u * x)[0, 0]) for u, v in (w, (a, b))]
    assert relu[0] == pytest.approx(-0.525) and relu[1] == 0
    assert linear[0] == pytest.approx(linear[1])


def test_attention_has_a_symmetry_of_its_own_that_the_product_of_norms_keeps() -> None:
    """W_q -> a W_q, W_k -> W_k / a; and the same for values and outputs."""
    rng = np.random.default_rng(3)
    params = {n: jnp.asarray(rng.normal(size=(4, 4))) for n in "qkvo"}
    x = jnp.asarray(rng.normal(size=(5, 4)))

    def attention(p):
        weights = jax.nn.softmax((x @ p["q"]) @ (x @ p["k"]).T, axis=-1)
        return weights @ (x @ p["v"]) @ p["o"]

    moved = {
        "q": 3 * params["q"],
        "k": params["k"] / 3,
        "v": params["v"] / 7,
        "o": 7 * params["o"],
    }
    np.testing.assert_allclose(attention(moved), attention(params), rtol=1e-12)
    whole = [float(log_norm_product(p)) for p in (params, moved)]
    assert whole[0] == pytest.approx(whole[1], abs=1e-12)
    # Queries alone are no such group, and L2 sees the shift.
    alone = [float(log_norm_product({"q": p["q"]})) for p in (params, moved)]
    assert alone[1] - alone[0] == pytest.approx(np.log(3))
    assert l2_penalty(moved, coef=1.0) > 2 * l2_penalty(params, coef=1.0)
