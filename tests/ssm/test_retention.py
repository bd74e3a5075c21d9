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
from tests.ssm.forms import PLATFORMS, platform, run, value_and_gradient
from tests.ssm.recurrences import close


def heads(length: int, *lead: int, n: int = 4, d: int = 5, seed: int = 0):
    """q, k, v, a decay for each token and head, and a state."""
    rng = np.random.default_rng(seed)
    q, k = rng.normal(size=(2, *lead, length, n))
    v, decay = rng.normal(size=(*lead, length, d)), -rng.random((*lead, length))
    return q, k, v, decay, rng.normal(size=(*lead, n, d))


def retain(q, k, v, decay, state, **options):
    return retention(q, k, v, decay, state=state, **options)


@pytest.mark.parametrize("length", [1, 50])
def test_all_forms_agree_in_value_and_gradient(length) -> None:
    inputs = heads(length, 2, 3)
    form = functools.partial(functools.partial, retain, chunk_size=16)
    wanted = value_and_gradient(form(method="recurrent"), inputs)
    assert close(wanted[0], oracle.retention(*inputs[:-1], state=inputs[-1]))
    assert close(value_and_gradient(form(method="parallel"), inputs), wanted)
    for name in PLATFORMS:
        with platform(_retention, name):
            assert close(value_and_gradient(form(method="chunked"), inputs), wanted)


def test_one_head_of_1000_tokens() -> None:
    inputs = heads(1000)
    wanted = value_and_gradient(functools.partial(retain, method="recurrent"), inputs)
    for name in PLATFORMS:
        with platform(_retention, name):
            assert close(value_and_gradient(retain, inputs), wanted)


def test_heads_fade_as_in_retnet() -> None:
    decays = retention_log_decays(heads=6, dtype=jnp.float64)
    assert close(np.exp(decays), 1 - 2.0 ** -np.arange(5.0, 11), 1e-15)
    assert retention_log_decays(heads=30)[-1] < 0
    q, k, v, *_ = heads(80, 2, 6)
    decays = np.asarray(decays)[:, None]
    distance = np.arange(80)[:, None] - np.arange(80)
    weights = np.exp(decays[..., None] * distance) * (distance >= 0)
    wanted = (weights[None] * (q @ k.mT)) @ v
    assert close(run(retention, q, k, v, decays).out, wanted, 1e-13)


def test_a_state_in_the_middle_continues_exactly_and_steps_do() -> None:
    q, k, v, decay, start = heads(90, 2)
    whole = run(retain, q, k, v, decay, start)
    first = run(retain, *(x[:, :41] for x in (q, k, v, decay)), start)
    second = run(retain, *(x[:, 41:] for x in (q, k, v, decay)), first.state)
    assert close(np.concatenate([first.out, second.out], 1), whole.out, 1e-13)
    assert close(second.state, whole.state, 1e-13)
    state, step, out = first.state, jax.jit(retention_step), np.asarray(whole.out)
    for t in range(41, 50):
        state, one = step(state, *(x[:, t] for x in (q, k, v, decay)))
        assert close(one, out[:, t], 1e-13)


def test_no_decay_is_linear_attention_and_full_decay_the_token_alone() -> None:
    q, k, v, decay, _ = heads(70, 2)
    plain = np.tril(q @ k.mT) @ v
    assert close(run(retention, q, k, v, 0 * decay).out, plain, 1e-13)
    alone = (q * k).sum(-1, keepdims=True) * v
    assert close(run(retention, q, k, v, 0 * decay - 1e5).out, alone, 1e-13)


def test_a_decay_of_minus_infinity_forgets_and_spoils_nothing() -> None:
    q, k, v, decay, start = heads(24, 2)
    resets = np.arange(24) % 5 == 3
    hard = np.where(resets, -np.inf, decay)
    form = functools.partial(functools.partial, retain, chunk_size=8)
    wanted = value_and_gradient(form(method="recurrent"), (q, k, v, hard, start))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(wanted))
    for name in PLATFORMS:
        with platform(_retention, name):
            got = value_and_gradient(form(method="chunked"), (q, k, v, hard, start))
        assert close(got, wanted)
    # In float32 sums of huge logarithms would leave no digits to the slow decays.
    soft = np.where(resets, -1e6, decay)
    low = (x.astype(np.float32) for x in (q, k, v, soft, start))
    assert close(run(retain, *low).out, wanted[0].out, 2e-5)


def test_padding_passes_the_state_on() -> None:
    q, k, v, decay, start = heads(20, 1)
    keep = np.arange(20)[None] < 13
    k, decay = np.where(keep[..., None], k, 0), np.where(keep, decay, 0)
    padded = run(retain, q, k, v, decay, start)
    alone = run(retain, *(x[:, :13] for x in (q, k, v, decay)), start)
    assert close(padded.state, alone.state, 1e-14)


def test_float32_at_length_4096_for_slow_and_fast_decays() -> None:
    q, k, v, decay, _ = heads(4096, 2, n=16, d=16)
    form = jax.jit(retention)
    for scale in (1e-3, 1.0, 20.0):
        exact = form(q, k, v, scale * decay).out
        low = (x.astype(np.float32) for x in (q, k, v, scale * decay))
        assert close(form(*low).out, exact, 2e-5), scale


def test_under_vmap_and_divided_over_devices() -> None:
    inputs = heads(40, 2)
    wanted = value_and_gradient(retain, inputs)
    assert close(run(jax.vmap(retain), *inputs), wanted[0], 1e-14)
    mesh = jax.make_mesh((1,), ("rows",), axis_types=(AxisType.Auto,))
    rows = PartitionSpec("rows")
    split = jax.shard_map(retain, mesh=mesh, in_specs=rows, out_specs=rows)
    assert close(value_and_gradient(split, inputs), wanted, 1e-13)


@pytest.mark.parametrize("name", PLATFORMS)
def test_flops_and_memory_grow_as_the_length(name) -> None:
    def costs(length, method="chunked"):
        inputs = tuple(x.astype(np.float32) for x in heads(length, 2, n=32, d=32))

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
