"""Reversible layers: gradients of the plain stack, inverse, memory without depth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmark.cost import compiled_facts
from kexue_jax.attention import (
    dense_attention,
    reversible_inverse,
    reversible_layers,
)


def attend(params, x):
    q, k, v = jnp.moveaxis(jnp.einsum("...nd,tde->...tne", x, params["qkv"]), -3, 0)
    return dense_attention(q, k, v, causal=True)


def feed(params, x):
    return jnp.tanh(x @ params["up"]) @ params["down"]


def stack(layers, d=6, seed=0, dtype=jnp.float64, rows=5):
    draw = np.random.default_rng(seed)
    make = lambda *s: jnp.asarray(0.4 * draw.normal(size=s), dtype)  # noqa: E731
    params = (
        {"qkv": make(layers, 3, d, d)},
        {"up": make(layers, d, 8), "down": make(layers, 8, d)},
    )
    return params, make(2, rows, d), make(2, rows, d)


def plain(params, x1, x2):
    for layer in range(len(params[0]["qkv"])):
        own = jax.tree.map(lambda leaf, i=layer: leaf[i], params)
        x1 = x1 + attend(own[0], x2)
        x2 = x2 + feed(own[1], x1)
    return x1, x2


@pytest.mark.parametrize("layers", [1, 2, 7])
def test_values_and_gradients_are_those_of_the_plain_stack(layers) -> None:
    arrays = stack(layers)

    def total(run, *arrays):
        y1, y2 = run(*arrays)
        return jnp.sum(jnp.cos(y1)) + jnp.sum(jnp.sin(y2))

    fast = lambda *a: reversible_layers(attend, feed, *a)  # noqa: E731
    got, wanted = (
        jax.value_and_grad(lambda *a, run=run: total(run, *a), (0, 1, 2))(*arrays)
        for run in (fast, plain)
    )
    for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert np.abs(ours - theirs).max() < 1e-11


def test_the_inverse_returns_the_streams_of_a_thousand_stacks() -> None:
    many = [stack(3, seed=seed, rows=2) for seed in range(10)]
    for params, x1, x2 in many:
        x1, x2 = (jnp.tile(x, (50, 1, 1)) for x in (x1, x2))
        x1 = x1 + np.random.default_rng(0).normal(size=x1.shape)
        y = reversible_layers(attend, feed, params, x1, x2)
        back = reversible_inverse(attend, feed, params, *y)
        assert np.abs(back.x1 - x1).max() < 1e-12
        assert np.abs(back.x2 - x2).max() < 1e-12


def test_float32_remakes_thirty_layers() -> None:
    params, x1, x2 = stack(30, dtype=jnp.float32)
    params = jax.tree.map(lambda x: x / 2, params)
    y = reversible_layers(attend, feed, params, x1, x2)
    back = reversible_inverse(attend, feed, params, *y)
    assert np.abs(back.x1 - x1).max() < 1e-4 * np.abs(y.x1).max()


def test_memory_does_not_grow_with_depth() -> None:
    """Beyond the parameters and their gradients, which do."""

    def own(layers, run):
        params, x1, x2 = stack(layers, dtype=jnp.float32, rows=512)
        total = lambda *a: sum(y.sum() for y in run(*a))  # noqa: E731
        compiled = jax.jit(jax.grad(total, (0, 1, 2))).lower(params, x1, x2).compile()
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
        return compiled_facts(compiled)["peak_bytes"] - 3 * size

    fast = lambda *a: reversible_layers(attend, feed, *a)  # noqa: E731
    assert own(16, fast) < 1.1 * own(4, fast)
    assert own(16, plain) > 2 * own(4, plain)
