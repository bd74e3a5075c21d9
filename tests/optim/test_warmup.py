"""Rates that start small: what they are at their joints, and as optax takes them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from kexue_jax.optim import linear_warmup, noam, piecewise_linear, sqrt_decay


def test_linear_warmup_alone_is_the_piecewise_line() -> None:
    steps = jnp.arange(40)
    line = piecewise_linear({0: 0, 25: 1}, base=0.3)(steps)
    np.testing.assert_allclose(linear_warmup(steps=25, base=0.3)(steps), line)


def test_linear_warmup_multiplies_what_comes_after() -> None:
    after = optax.cosine_decay_schedule(1.0, 100)
    rate = linear_warmup(after, steps=10)
    steps = np.arange(100)
    wanted = np.minimum(1, steps / 10) * np.asarray(jax.vmap(after)(steps))
    np.testing.assert_allclose(rate(jnp.asarray(steps)), wanted, rtol=1e-6)


def test_noam_rises_to_its_peak_and_falls_with_the_root() -> None:
    rate = noam(width=256, steps=400, base=2.0)
    rates = np.asarray(rate(jnp.arange(4000)))
    assert rates.argmax() == 399
    np.testing.assert_allclose(rates[399], 2 / np.sqrt(256 * 400), rtol=1e-12)
    np.testing.assert_allclose(rates[:400] / rates[0], np.arange(1, 401), rtol=1e-12)
    np.testing.assert_allclose(rates[1599], rates[399] / 2, rtol=1e-12)


def test_rates_serve_an_optimizer_under_jit() -> None:
    for rate in (sqrt_decay(alpha=0.1), noam(width=4, steps=3), linear_warmup(steps=3)):
        optimizer = optax.sgd(rate)
        state = optimizer.init(jnp.zeros(2))
        update = jax.jit(optimizer.update)
        for step in range(3):
            moved, state = update(jnp.ones(2), state)
            np.testing.assert_allclose(moved, -rate(step), rtol=1e-6)
