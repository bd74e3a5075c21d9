"""Whole games, whose generator steps by the first-order form or by the exact one."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kexue_jax.generative import gan_losses, normalized_critic
from tests.generative.nets import leaky, value

GAMES, STEPS, BATCH = 40, 100, 8
SIZES = {"g": (2, 6, 5, 3), "d": (3, 6, 5, 1)}


def start(key):
    """Layers (w, b) of both players of a game."""
    keys = iter(jax.random.split(key, 6))
    return {
        name: [
            (jax.random.normal(next(keys), (i, o)) * (2 / i) ** 0.5, jnp.zeros(o))
            for i, o in itertools.pairwise(sizes)
        ]
        for name, sizes in SIZES.items()
    }


def drawn(layers, z):
    *hidden, (w, b) = layers
    for v, a in hidden:
        z = leaky(z @ v + a[None])
    return jnp.tanh(z @ w + b[None])


def game(key, smooth, *, kind, loss, pieces):
    """The parameters of both players after every step, [STEPS, ...]."""

    def bent(h):
        return (1 - smooth) * leaky(h) + smooth * jax.nn.softplus(h)

    critic = normalized_critic(
        functools.partial(value, activation=bent),
        kind=kind,
        piecewise_linear=pieces,
    )
    d_loss, g_loss = gan_losses(loss)
    adam = optax.adam(2e-3, b1=0.5, b2=0.9)

    def of_critic(d, g, real, z):
        r, f = jnp.split(critic(d, jnp.concatenate([real, drawn(g, z)])), 2)
        return d_loss(r, f)

    def of_generator(g, d, z):
        return g_loss(critic(d, drawn(g, z)))

    def step(state, key):
        (g, d), (for_g, for_d) = state
        real, z, again = jax.random.normal(key, (3, BATCH, 3))
        slope = jax.grad(of_critic)(d, g, jnp.sin(real), z[:, :2])
        moved, for_d = adam.update(slope, for_d)
        d = optax.apply_updates(d, moved)
        moved, for_g = adam.update(jax.grad(of_generator)(g, d, again[:, :2]), for_g)
        g = optax.apply_updates(g, moved)
        return ((g, d), (for_g, for_d)), (g, d)

    players = start(key)
    pair = players["g"], players["d"]
    first = pair, tuple(map(adam.init, pair))
    return jax.lax.scan(step, first, jax.random.split(key, STEPS))[1]


@pytest.mark.parametrize(("kind", "loss"), [("gn", "wasserstein"), ("gran", "ns")])
def test_a_hundred_steps_of_both_forms_are_one_game_unless_smooth(kind, loss) -> None:
    """The largest difference of a parameter, of half of the games smooth critics'."""

    def one(key, smooth):
        both = [
            game(key, smooth, kind=kind, loss=loss, pieces=p) for p in (True, False)
        ]

        def largest(a, b):
            return jnp.abs(a - b).max(tuple(range(1, a.ndim)))

        between = jax.tree.map(largest, *both)
        moved = jax.tree.map(lambda a: largest(a, a[:1]), both[0])
        return [jnp.stack(jax.tree.leaves(t)).max(0) for t in (between, moved)]

    keys = jax.random.split(jax.random.key(0), GAMES)
    smooth = jnp.arange(GAMES) % 2 * 1.0
    between, moved = map(np.asarray, jax.jit(jax.vmap(one))(keys, smooth))
    assert moved[:, -1].min() > 0.02
    assert between[::2].max() < 1e-10
    assert np.median(between[1::2, -1]) > 1e-3
