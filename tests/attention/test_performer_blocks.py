"""The Performer's features by blocks: same numbers, and never the whole array."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from kexue_jax.attention import _all_keys, orthogonal_projection, performer_attention
from tests.attention.causal_forms import close
from tests.attention.test_linear import value_and_gradient
from tests.attention.test_performer import inputs, plain

KINDS = ("positive", "hyperbolic", "trig")


@pytest.fixture
def small_blocks() -> Iterator[None]:
    """Every call by blocks of 16 rows, however few its features are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_all_keys, "LARGE_BYTES", 0)
        patch.setattr(_all_keys, "CPU_ROWS", 16)
        yield


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 63, 100, 1000])
@pytest.mark.usefixtures("small_blocks")
def test_value_and_gradient(n, kind) -> None:
    data = inputs(n, scale=0.2)
    keep = np.random.default_rng(1).random(n) < 0.6
    fast = functools.partial(performer_attention, kind=kind, key_mask=keep)
    wanted = value_and_gradient(plain(kind, np.broadcast_to(keep, (n, n))), data)
    assert close(value_and_gradient(fast, data), wanted, 1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_heads_states_masks_and_own_projections(kind, small_blocks) -> None:
    """Both forms of one call, q and k of different lengths, with a state before."""
    q, _, _, _ = inputs(50, 2, 3, scale=0.2)
    _, k, v, w = inputs(37, 2, 3, scale=0.2, seed=1)
    rng = np.random.default_rng(2)
    own = jnp.asarray(rng.normal(size=(3, 9, 4)))
    keep = rng.random((2, 1, 37)) < 0.5
    keep[1] = False  # a row without keys of its own

    def call(q, k, v, w, more):
        state = performer_attention(
            q, more * k, v, w, kind=kind, key_mask=keep, return_state=True
        ).state
        end, out = performer_attention(
            q, k, v, w, kind=kind, key_mask=keep, state=state, return_state=True
        )
        # The state but for c, the maximum, which is a constant to the gradient.
        parts = [x.reshape(2, 3, 1, -1) for x in (end.s, end.z)]
        one = jnp.concatenate(parts, -1)
        ends = jnp.broadcast_to(one, (*out.shape[:-1], one.shape[-1]))
        return jnp.concatenate([out, ends], -1)

    for weights in (w, own):
        data = (q, k, v, weights, jnp.asarray(3.0))
        found = value_and_gradient(call, data)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_all_keys, "LARGE_BYTES", 2**62)
            assert close(found, value_and_gradient(call, data), 1e-11)


def test_transformations(small_blocks) -> None:
    """Forward mode, a batch of projections, and rows divided over devices."""
    q, k, v, w = inputs(40, 2, scale=0.2)
    call = performer_attention
    tangents = inputs(40, 2, seed=3)
    draws = jnp.stack([w, 0.5 * w])
    auto = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((min(2, jax.device_count()),), ("data",), axis_types=auto)
    rows, whole = PartitionSpec("data"), PartitionSpec()
    shared = jax.shard_map(
        call, mesh=mesh, in_specs=(rows, rows, rows, whole), out_specs=rows
    )

    def each():
        return (
            jax.jvp(call, (q, k, v, w), tangents)[1],
            jax.vmap(call, (None, None, None, 0))(q, k, v, draws),
            jax.jit(shared)(q, k, v, w),
        )

    found = each()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_all_keys, "LARGE_BYTES", 2**62)
        assert close(found, each(), 1e-11)


@pytest.mark.parametrize("kind", ["positive", "hyperbolic"])
@pytest.mark.usefixtures("small_blocks")
def test_a_late_key_of_huge_norm_replaces_all_before(kind) -> None:
    """The state is rescaled from block to block: nothing overflows, nothing is kept
    that should vanish."""
    q, k, v, w = (x.astype(jnp.float32) for x in inputs(64, scale=0.5))
    k = k.at[40].mul(0).at[40].add(60.0 * w[0] / jnp.linalg.norm(w[0]))
    (out, gradients) = value_and_gradient(
        functools.partial(performer_attention, kind=kind), (q, k, v, w)
    )
    exact = [np.asarray(x, np.float64) for x in (q, k, v, w)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_all_keys, "LARGE_BYTES", 2**62)
        wanted = performer_attention(*map(jnp.asarray, exact), kind=kind)
    assert close(out.astype(float), wanted, 1e-3)
    assert all(np.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("gradient", [False, True])
def test_memory_of_long_inputs_is_a_fraction_of_the_features(gradient) -> None:
    n, m, d = 16_384, 512, 16
    w = orthogonal_projection(jax.random.key(0), m=m, d=d, dtype=jnp.float32)
    x = jax.ShapeDtypeStruct((n, d), jnp.float32)

    def call(q, k, v):
        return performer_attention(q, k, v, w)

    run = call
    if gradient:
        run = jax.grad(lambda *x: (call(*x) ** 2).sum(), (0, 1, 2))
    memory = jax.jit(run).lower(x, x, x).compile().memory_analysis()
    # A state a block is kept for the gradient: d / CPU_ROWS of the features.
    assert memory.temp_size_in_bytes < 0.5 * (4 * n * m)
