"""Steps of any optimizer, and steps under dropout, add up too."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kexue_jax.theory import attribute_step, path_change, sample_displacements
from tests.theory.perceptrons import apply, data, drawn, square


@pytest.mark.parametrize("name", ["momentum", "adam", "weight decay"])
def test_any_optimizer_adds_up(name) -> None:
    params = jax.tree.map(jnp.asarray, drawn(3, 4, 1, seed=2))
    (x, y), (x_test, _) = data(4, 3, 1), data(2, 3, 1, seed=8)
    rate = 0.05
    rules = {
        "momentum": optax.sgd(rate, momentum=0.9),
        "adam": optax.adam(rate),
        "weight decay": optax.chain(optax.add_decayed_weights(0.1), optax.sgd(rate)),
    }
    rule = rules[name]
    state, ones = rule.init(params), jnp.ones(4)
    total, kept, moment, start = 0.0, None, None, params
    for number in range(3):
        rows = sample_displacements(apply, square, params, x, y, ones)
        slope = jax.tree.map(lambda d: -d.sum(0), rows)
        updates, state = rule.update(slope, state, params)
        after = optax.apply_updates(params, updates)
        if name == "momentum":
            kept = (
                rows
                if kept is None
                else jax.tree.map(lambda v, d: 0.9 * v + d, kept, rows)
            )
            rows = jax.tree.map(lambda v: rate * v, kept)
        elif name == "adam":
            old = jax.tree.map(jnp.zeros_like, rows) if moment is None else moment
            moment = jax.tree.map(lambda m, d: 0.9 * m + 0.1 * d, old, rows)
            power = number + 1
            rows = jax.tree.map(
                lambda m, v, power=power: (
                    rate
                    * m
                    / (1 - 0.9**power)
                    / (jnp.sqrt(v / (1 - 0.999**power)) + 1e-8)[None]
                ),
                moment,
                optax.tree.get(state, "nu"),
            )
        else:
            rows = jax.tree.map(
                lambda d, p: jnp.concatenate([rate * d, -rate * 0.1 * p[None]]),
                rows,
                params,
            )
        added = attribute_step(apply, params, after, rows, x_test, nodes=6)
        change = path_change(apply, params, after, x_test, nodes=6)
        assert np.abs(added.sum(1) - change).max() < 1e-12
        total, params = total + added.sum(1), after
    wanted = jax.vmap(partial(apply, params))(x_test)
    wanted = wanted - jax.vmap(partial(apply, start))(x_test)
    assert np.abs(total - wanted).max() < 1e-9 < np.abs(wanted).max()


def test_dropout_adds_up_under_the_key_of_the_step_alone() -> None:
    """With one key in the sum and in the model a step is complete; with another key in
    the test's Jacobian, or in the model, it is not."""
    params = jax.tree.map(jnp.asarray, drawn(3, 6, 1, seed=2))
    (x, y), (x_test, _) = data(4, 3, 1), data(2, 3, 1, seed=8)
    keys = jax.random.split(jax.random.key(0), 2)

    def dropped(key):
        def run(params, x):
            keep = jax.random.bernoulli(key, 0.5, x.shape)
            return apply(params, jnp.where(keep, x / 0.5, 0))

        return run

    first, other = map(dropped, keys)
    assert (first(params, x_test[0]) != other(params, x_test[0])).any()
    rows = sample_displacements(first, square, params, x, y, jnp.ones(4))
    rows = jax.tree.map(lambda d: 0.05 * d, rows)
    after = jax.tree.map(lambda p, d: p + d.sum(0), params, rows)

    def gap(summed, before, behind):
        added = attribute_step(summed, params, after, rows, x_test, nodes=8).sum(1)
        ends = [
            jax.vmap(partial(run, weights))(x_test)
            for run, weights in ((before, params), (behind, after))
        ]
        return np.abs(added - (ends[1] - ends[0])).max()

    assert gap(first, first, first) < 1e-12
    assert gap(other, first, first) > 1e-3 and gap(first, first, other) > 1e-3
