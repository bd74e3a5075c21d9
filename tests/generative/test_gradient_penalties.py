"""Penalties on slopes: closed forms, what each names, and points without a slope."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.generative import difference_quotient_penalty, gradient_penalty

KEY = jax.random.key(0)


def linear(x):
    return 3 * x[:, 0] - 4 * x[:, 1]


def curved(x):
    return (x**2).sum(-1)


def test_penalties_of_a_linear_critic_are_closed_forms() -> None:
    x = jnp.ones((4, 2))
    wanted = [
        ({}, 10 * 4**2),
        ({"one_sided": True}, 10 * 4**2),
        ({"target": 7.0, "one_sided": True}, 0.0),
        ({"target": 7.0}, 10 * 2**2),
        ({"target": 0.0, "power": 6, "weight": 2.0}, 2 * 5**6),
        ({"target": 0.0, "weight": 0.5, "where": "real"}, 0.5 * 5**2),
        ({"power": 1.5, "where": "fake"}, 10 * 4**1.5),
    ]
    for options, value in wanted:
        found = gradient_penalty(KEY, linear, x, -x, **options)
        np.testing.assert_allclose(found, value, rtol=1e-14)


def test_points_are_where_they_are_said_to_be() -> None:
    real, fake = jnp.full((500, 2), 1.0), jnp.full((500, 2), -3.0)
    # |grad|^2 = 4 |x|^2 = 8 s^2 at (s, s), s = 4 u - 3: the mean of s^2 is 7 / 3.
    options = {"target": 0.0, "weight": 1.0}
    ends = [
        gradient_penalty(None, curved, real, None, where="real", **options),
        gradient_penalty(None, curved, None, fake, where="fake", **options),
    ]
    np.testing.assert_allclose(ends, [8.0, 72.0])
    between = gradient_penalty(KEY, curved, real, fake, **options)
    u = np.asarray(jax.random.uniform(KEY, (500,), jnp.float64))
    np.testing.assert_allclose(between, (8 * (4 * u - 3) ** 2).mean(), rtol=1e-12)
    # Within five standard errors of the integral, and not that of an end.
    error = (8 * (4 * u - 3) ** 2).std() / 500**0.5
    assert abs(float(between) - 56 / 3) < 5 * error < 56 / 3 - 8


def test_slopes_of_penalties_are_finite_where_gradients_vanish() -> None:
    x = jnp.zeros((3, 2))

    def total(scale, power, target):
        return gradient_penalty(
            KEY, lambda x: scale * curved(x), x, x, power=power, target=target
        )

    for power, target in ((2, 1.0), (1, 0.0), (6, 0.0), (1.5, 1.0)):
        assert float(jax.grad(total)(1.0, power, target)) == 0.0


def test_r1_slope_by_parameters() -> None:
    def r1(w, x):
        options = {"target": 0.0, "weight": 0.5 * 2.0, "where": "real"}
        return gradient_penalty(None, lambda x: (x**2) @ w, x, None, **options)

    rng = np.random.default_rng(0)
    w, x = (jnp.asarray(rng.normal(size=s)) for s in ((3,), (5, 3)))
    wanted = np.mean(8 * np.asarray(w) * np.asarray(x) ** 2, axis=0)
    np.testing.assert_allclose(jax.grad(r1)(w, x), wanted, rtol=1e-12)


def test_quotients_of_a_linear_critic_are_at_most_its_slope() -> None:
    # |<w, a - b>| <= |w| |a - b| on a thousand pairs, reached along w.
    rng = np.random.default_rng(1)
    a, b = (jnp.asarray(rng.normal(size=(1000, 2))) for _ in range(2))
    options = {"target": 5.0, "one_sided": True}
    assert float(difference_quotient_penalty(linear, a, b, **options)) == 0.0
    less = difference_quotient_penalty(linear, a, b, target=4.9, one_sided=True)
    assert float(less) > 0
    step = jnp.asarray([[3.0, -4.0]])
    along = difference_quotient_penalty(linear, a, a + step, weight=1.0)
    np.testing.assert_allclose(along, 4.0**2, rtol=1e-10)


def test_equal_points_say_nothing() -> None:
    a = jnp.array([[1.0, 2.0], [0.0, 1.0]])
    b = a.at[0, 0].add(2.0)
    found, slope = jax.value_and_grad(
        lambda s: difference_quotient_penalty(lambda x: s * linear(x), a, b)
    )(1.0)
    np.testing.assert_allclose(found, 10 * (3 - 1) ** 2 / 2)
    np.testing.assert_allclose(slope, 10 * 2 * (3 - 1) * 3 / 2)


@pytest.mark.parametrize("where", ["interp", "real", "fake"])
def test_what_is_needed_is_asked_for(where) -> None:
    x = jnp.ones((2, 2))
    missing = {"interp": "key", "real": "x_real", "fake": "x_fake"}[where]
    parts = {"key": KEY, "x_real": x, "x_fake": x, missing: None}
    key, real, fake = (parts[name] for name in ("key", "x_real", "x_fake"))
    with pytest.raises(TypeError, match=f"gradient_penalty: `{missing}`"):
        gradient_penalty(key, linear, real, fake, where=where)
