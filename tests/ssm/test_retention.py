"""Retention: its three forms, decays of heads and of tokens, states, memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from experiments.benchmark.cost import compiled_facts, contraction_flops
from kexue_jax.ssm import _retention, retention, retention_log_decays, retention_step
from tests.oracles import mixing as oracle
from tests.ssm.forms import PLATFORMS, platform, value_and_gradient
from tests.ssm.recurrences import close


def heads(length: int, *lead: int, n: int = 4, d: int = 5, seed: int = 0):
    """q, k, v, a decay for each token and head, and a state."""
    rng = np.random.default_rng(seed)
    q, k = rng.normal(size=(2, *lead, length, n))
    v, decay = rng.normal(size=(*lead, length, d)), -rng.random((*lead, length))
    return tuple(map(jnp.asarray, (q, k, v, decay, rng.normal(size=(*lead, n, d)))))


def retain(q, k, v, decay, state, **options):
    return retention(q, k, v, decay, state=state, **options)


@pytest.mark.parametrize("length", [1, 2, 100])
def test_all_forms_agree_in_value_and_gradient(length) -> None:
    inputs = heads(length, 2, 3)
    form = functools.partial(functools.partial, retain, chunk_size=16)
    wanted = value_and_gradient(form(method="recurrent"), inputs)
    assert close(wanted[0], oracle.retention(*inputs[:-1], state=inputs[-1]))
    assert close(value_and_gradient(form(method="parallel"), inputs), wanted)
    for name in PLATFORMS:
        with platform(_retention, name):
            assert close(value_and_gradient(form(method="chunked"), inputs), wanted)


@pytest.mark.parametrize("name", PLATFORMS)
def test_one_head_of_1000_tokens(name) -> None:
    inputs = heads(1000)
    wanted = value_and_gradient(functools.partial(retain, method="recurrent"), inputs)
    with platform(_retention, name):
        assert close(value_and_gradient(retain, inputs), wanted)


def test_heads_fade_as_in_retnet() -> None:
    decays = retention_log_decays(heads=6, dtype=jnp.float64)
    assert close(jnp.exp(decays), 1 - 2.0 ** -np.arange(5.0, 11), 1e-15)
    assert retention_log_decays(heads=30)[-1] < 0
    q, k, v, *_ = heads(80, 2, 6)
    decays = decays[:, None]
    distance = np.arange(80)[:, None] - np.arange(80)
    weights = np.exp(np.asarray(decays)[..., None] * distance) * (distance >= 0)
    wanted = (weights[None] * (q @ k.mT)) @ v
    assert close(retention(q, k, v, decays).out, wanted, 1e-13)


def test_a_state_in_the_middle_continues_exactly_and_steps_do() -> None:
    q, k, v, decay, start = heads(90, 2)
    whole = retain(q, k, v, decay, start)
    first = retain(*(x[:, :41] for x in (q, k, v, decay)), start)
    second = retain(*(x[:, 41:] for x in (q, k, v, decay)), first.state)
    assert close(jnp.concatenate([first.out, second.out], 1), whole.out, 1e-13)
    assert close(second.state, whole.state, 1e-13)
    state = first.state
    for t in range(41, 50):
        state, out = retention_step(state, *(x[:, t] for x in (q, k, v, decay)))
        assert close(out, whole.out[:, t], 1e-13)


def test_no_decay_is_linear_attention_and_full_decay_the_token_alone() -> None:
    q, k, v, decay, _ = heads(70, 2)
    plain = jnp.tril(q @ k.mT) @ v
    assert close(retention(q, k, v, 0 * decay).out, plain, 1e-13)
    alone = (q * k).sum(-1, keepdims=True) * v
    assert close(retention(q, k, v, 0 * decay - 1e5).out, alone, 1e-13)


def test_padding_passes_the_state_on() -> None:
    q, k, v, decay, start = heads(20, 1)
    keep = jnp.arange(20)[None] < 13
    k, decay = jnp.where(keep[..., None], k, 0), jnp.where(keep, decay, 0)
    padded = retain(q, k, v, decay, start)
    alone = retain(*(x[:, :13] for x in (q, k, v, decay)), start)
    assert close(padded.state, alone.state, 1e-14)


def test_float32_at_length_4096_for_slow_and_fast_decays() -> None:
    q, k, v, decay, _ = heads(4096, 2, n=16, d=16)
    for scale in (1e-3, 1.0, 20.0):
        exact = retention(q, k, v, scale * decay).out
        low = (x.astype(jnp.float32) for x in (q, k, v, scale * decay))
        assert close(retention(*low).out, exact, 2e-5), scale


def test_under_vmap_and_divided_over_devices() -> None:
    inputs = heads(40, 2)
    assert close(jax.vmap(retain)(*inputs), retain(*inputs), 1e-14)
    mesh = jax.make_mesh((1,), ("rows",), axis_types=(AxisType.Auto,))
    rows = PartitionSpec("rows")
    split = jax.shard_map(retain, mesh=mesh, in_specs=rows, out_specs=rows)
    wanted = value_and_gradient(retain, inputs)
    assert close(value_and_gradient(split, inputs), wanted, 1e-13)


@pytest.mark.parametrize("name", PLATFORMS)
def test_flops_and_memory_grow_as_the_length(name) -> None:
    def costs(length, method="chunked"):
        inputs = tuple(x.astype(jnp.float32) for x in heads(length, 2, n=32, d=32))

        def total(*x):
            return retain(*x, method=method).out.sum()

        gradient = jax.grad(total, tuple(range(5)))
        compiled = jax.jit(gradient).lower(*inputs).compile()
        return contraction_flops(total, *inputs), compiled_facts(compiled)["peak_bytes"]

    with platform(_retention, name):
        (flops, peak), (more, larger) = costs(1024), costs(4096)
    assert more / flops == pytest.approx(4, rel=0.01)
    assert larger / peak == pytest.approx(4, rel=0.15)
    assert costs(1024, "recurrent")[1] > 2 * 1024 * 32 * 32 * 4 > peak
