"""Moments of activations, their table in the card, and the constants of SELU."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.theory import (
    activation_moments,
    rescale_activation,
    selu_constants,
    variance_scaling,
)

# E phi(z)^2 and E phi(z) of z ~ N(0, 1).
SECOND = {
    "sigmoid": (jax.nn.sigmoid, 0.2933790359, 0.5),
    "tanh": (jnp.tanh, 0.3942944904, 0.0),
    "relu": (jax.nn.relu, 0.5, 0.39894228),
    "gelu": (lambda z: jax.nn.gelu(z, approximate=False), 0.4252214826, 0.28209479),
    "gelu by tanh": (jax.nn.gelu, 0.4251937110, None),
    "silu": (jax.nn.silu, 0.3557755198, 0.20662096),
    "elu": (jax.nn.elu, 0.6449454175, 0.16052057),
    "softplus": (jax.nn.softplus, 0.9212459089, None),
    "mish": (jax.nn.mish, 0.4523421924, None),
    "leaky": (lambda z: jax.nn.leaky_relu(z, 0.01), 0.50005, None),
}


@pytest.fixture(scope="module")
def table():
    """All moments in one program."""
    found = jax.jit(
        lambda: {name: activation_moments(row[0]) for name, row in SECOND.items()}
    )()
    return {name: tuple(map(float, pair)) for name, pair in found.items()}


@pytest.mark.parametrize("name", SECOND)
def test_moments_are_those_of_the_table(table, name) -> None:
    mean, second = table[name]
    assert abs(second - SECOND[name][1]) < 1e-8
    if SECOND[name][2] is not None:
        assert abs(mean - SECOND[name][2]) < 1e-8


def test_scale_that_keeps_the_second_moment() -> None:
    assert abs(1 / SECOND["gelu"][1] - 2.3517) < 5e-5
    # and so it is for samples: a dense layer of LeCun's variance after a rescaled GELU.
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(400, 300)))
    w = rng.normal(size=(300, 300)) * math.sqrt(1 / 300)
    adjusted = rescale_activation(jax.nn.gelu)
    for _ in range(3):
        x = adjusted(x) @ w
        np.testing.assert_allclose(float(jnp.mean(x**2)), 1, rtol=0.15)


def test_a_kink_needs_its_name() -> None:
    relu6 = lambda z: jnp.clip(z, -0.3, 0.9)  # noqa: E731
    named = activation_moments(relu6, kinks=(-0.3, 0.9))
    more = activation_moments(relu6, kinks=(-0.3, 0.9), nodes=128)
    np.testing.assert_allclose(named.second, more.second, rtol=1e-12)
    assert abs(float(activation_moments(relu6).second / more.second) - 1) > 1e-5


def test_gauss_hermite_is_slow_at_a_kink() -> None:
    # Why the rule is split at 0.
    points, weights = np.polynomial.hermite_e.hermegauss(128)
    second = np.sum(weights * np.maximum(points, 0)) / math.sqrt(2 * math.pi)
    assert abs(second - 0.39894228) > 1e-4


def test_selu_constants_are_the_papers_and_keep_any_start() -> None:
    scale, alpha = selu_constants()
    assert abs(scale - 1.0507009873554805) < 1e-8
    assert abs(alpha - 1.6732632423543772) < 1e-8
    for mean, variance in ((0.0, 1.0), (0.1, 1.5), (-0.1, 0.8)):
        scale, alpha = selu_constants(mean=mean, variance=variance)
        std = math.sqrt(variance)

        def phi(z, mean=mean, std=std, scale=scale, alpha=alpha):
            y = mean + std * z
            return scale * jnp.where(y > 0, y, alpha * jnp.expm1(y))

        found = activation_moments(phi, kinks=(-mean / std,))
        np.testing.assert_allclose(found.mean, mean, atol=1e-10)
        np.testing.assert_allclose(found.second - found.mean**2, variance, rtol=1e-10)


def test_hes_two_keeps_relu_and_lecuns_one_halves_it() -> None:
    """E y^2 = m E x^2 Var w needs no mean of zero: relu's inputs have none."""
    for scale, kept in ((2.0, 1.0), (1.0, 0.5)):
        x = jax.random.normal(jax.random.key(0), (500, 400))
        for key in jax.random.split(jax.random.key(1), 5):
            w = variance_scaling(scale=scale)(key, (400, 400))
            x = jax.nn.relu(x) @ w
        np.testing.assert_allclose(float(jnp.mean(x**2)) / kept**5, 1, rtol=0.35)
