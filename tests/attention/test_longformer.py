"""Longformer: its mask pair by pair, its own projections, dilation by head, cost."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmark.cost import contraction_flops
from kexue_jax.attention import dense_attention, local_attention, longformer_attention
from tests.oracles import attention_sparse as oracle


def inputs(n, g=0, heads=3, seed=0):
    draw = np.random.default_rng(seed)
    arrays = [jnp.asarray(draw.normal(size=(2, heads, n, 4))) for _ in range(3)]
    if g:
        arrays.append(jnp.asarray(draw.normal(size=(2, heads, g, 4))))
        arrays += [jnp.asarray(draw.normal(size=(2, heads, n, 4))) for _ in range(2)]
    return arrays


@pytest.mark.parametrize(
    ("n", "dilation"),
    [
        (1, 1),
        *((n, dilation) for n in (2, 63, 100) for dilation in (1, 3, (1, 3, 1))),
        (1000, 3),
    ],
)
def test_equals_the_oracle_and_its_gradient_the_dense_form_s(n, dilation) -> None:
    positions = jnp.array([n - 1, 0]) if n > 1 else jnp.array([0])
    heads = 1 if n == 1000 else 3
    arrays = inputs(n, len(positions), heads)
    keys = jnp.asarray(np.random.default_rng(1).random((2, heads, n)) < 0.8)
    options = {"window": 6, "dilation": dilation}

    steps = dilation if isinstance(dilation, tuple) else (dilation,) * heads
    delta = np.arange(n)[:, None] - np.arange(n)[None]
    near = np.stack([(delta % s == 0) & (np.abs(delta) <= 3 * s) for s in steps])
    near[..., np.asarray(positions)] = True
    mask = jnp.asarray(near)[None] & keys[..., None, :]

    def twin(q, k, v, q_global, k_global, v_global):
        out = dense_attention(q, k, v, mask=mask)
        every = keys[..., None, :]
        rows = dense_attention(q_global, k_global, v_global, mask=every)
        return out.at[..., positions, :].set(rows)

    def fast(*arrays):
        return longformer_attention(*arrays, positions, key_mask=keys, **options)

    @functools.partial(jax.jit, static_argnums=0)
    def both(f, *arrays):
        loss = lambda *a: jnp.sum(jnp.sin(f(*a)))  # noqa: E731
        return f(*arrays), jax.grad(loss, tuple(range(6)))(*arrays)

    (got, ours), (wanted, theirs) = (both(f, *arrays) for f in (fast, twin))
    assert np.abs(got - wanted).max() < 1e-13
    for mine, other in zip(ours, theirs, strict=True):
        assert np.abs(mine - other).max() < 1e-12
    if n < 1000:
        plain = [np.asarray(x) for x in (*arrays, positions, keys)]
        assert np.abs(got - oracle.longformer(*plain, **options)).max() < 1e-13


def test_without_global_tokens_it_is_local_attention() -> None:
    q, k, v = inputs(40)
    got = longformer_attention(q, k, v, window=10)
    assert np.abs(got - local_attention(q, k, v, radius=5)).max() < 1e-14


def test_global_tokens_use_their_own_projections_alone() -> None:
    arrays = inputs(20, 2)
    positions = jnp.array([3, 7])
    base = longformer_attention(*arrays, positions, window=4)
    moved = [*arrays[:4], arrays[4] + 1, 2 * arrays[5]]
    other = longformer_attention(*moved, positions, window=4)
    changed = np.abs(base - other).max((0, 1, 3)) > 1e-9
    assert set(np.flatnonzero(changed)) == {3, 7}


def test_flops_are_linear_in_the_length() -> None:
    def count(n):
        arrays = [jnp.ones(x.shape, jnp.float32) for x in inputs(n, 2)]
        run = functools.partial(longformer_attention, window=64)
        return contraction_flops(run, *arrays, jnp.array([0, 1]))

    assert count(4096) < 2.05 * count(2048)
