"""Mamba's selective scan: forms, states, padding, and the memory of its gradient."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from experiments.benchmark.cost import compiled_facts
from kexue_jax.ssm import _selective, linear_scan, selective_scan, selective_step
from tests.oracles import mixing as oracle
from tests.ssm.forms import PLATFORMS, platform, run, value_and_gradient
from tests.ssm.recurrences import close


def tokens(length: int, *lead: int, e: int = 5, n: int = 3, seed: int = 0):
    """x, delta, a, b, c, d and a state of Mamba's ranges."""
    rng = np.random.default_rng(seed)
    x, delta = rng.normal(size=(*lead, length, e)), rng.random((*lead, length, e))
    b, c = rng.normal(size=(2, *lead, length, n))
    a = -np.broadcast_to(np.arange(1.0, n + 1), (e, n))
    return x, delta, a, b, c, rng.normal(size=e), rng.normal(size=(*lead, n, e))


def scan(*arrays, **options):
    *inputs, state = arrays
    return selective_scan(*inputs, state=state, **options)


@functools.cache
def plain(*shape):
    form = functools.partial(scan, method="sequential")
    return value_and_gradient(form, tokens(*shape))


@pytest.mark.parametrize("name", PLATFORMS)
@pytest.mark.parametrize("length", [1, 50])
def test_fast_forms_equal_the_plain_scan_in_value_and_gradient(length, name) -> None:
    inputs = tokens(length, 2)
    wanted = plain(length, 2)
    assert close(wanted[0], oracle.selective_scan(*inputs[:-1], state=inputs[-1]))
    with platform(_selective, name):
        assert close(value_and_gradient(scan, inputs), wanted)


@pytest.mark.parametrize("name", PLATFORMS)
def test_one_row_of_many_chunks(name) -> None:
    with platform(_selective, name):
        got = value_and_gradient(functools.partial(scan, chunk_size=64), tokens(1000))
    assert close(got, plain(1000))


def test_a_state_in_the_middle_continues_exactly_and_steps_do() -> None:
    *inputs, state = tokens(50, 2)
    x, delta, a, b, c, d = inputs
    whole = run(scan, *inputs, state)
    cut = tuple(p[:, :21] for p in (x, delta)), tuple(p[:, :21] for p in (b, c))
    first = run(scan, *cut[0], a, *cut[1], d, state)
    rest = tuple(p[:, 21:] for p in (x, delta)), tuple(p[:, 21:] for p in (b, c))
    second = run(scan, *rest[0], a, *rest[1], d, first.state)
    assert close(np.concatenate([first.out, second.out], 1), whole.out, 1e-14)
    assert close(second.state, whole.state, 1e-14)
    state, step, out = first.state, jax.jit(selective_step), np.asarray(whole.out)
    for t in range(21, 30):
        state, one = step(state, x[:, t], delta[:, t], a, b[:, t], c[:, t], d)
        assert close(one, out[:, t], 1e-14)


def test_it_is_the_diagonal_recurrence_with_coefficients_of_the_tokens() -> None:
    x, delta, a, b, c, d, state = tokens(30)
    decay = np.exp(delta[:, None] * a.T[None])
    entering = b[:, :, None] * (delta * x)[:, None]
    form = functools.partial(run, linear_scan, decay, h0=state, axis=0)
    h = np.asarray(form(entering))
    out = np.einsum("tn,tne->te", c, h) + d[None] * x
    assert close(run(scan, x, delta, a, b, c, d, state), (h[-1], out))
    # Exact input weights (zero-order hold) are another recurrence.
    held = ((decay - 1) / a.T[None]) * b[:, :, None] * x[:, None]
    assert np.abs(form(held) - h).max() > 0.1


def test_padding_with_delta_0_passes_the_state_on() -> None:
    x, delta, a, b, c, d, state = tokens(20, 2)
    keep = np.arange(20)[None] < np.array([[13], [20]])
    delta = np.where(keep[..., None], delta, 0)
    padded = run(scan, x, delta, a, b, c, d, state)
    cut = tuple(p[:1, :13] for p in (x, delta)), tuple(p[:1, :13] for p in (b, c))
    alone = run(scan, *cut[0], a, *cut[1], d, state[:1])
    assert close(padded.state[:1], alone.state, 1e-14)
    assert close(padded.out[:1, :13], alone.out, 1e-14)


def test_half_types_keep_a_float32_state() -> None:
    inputs = tuple(x.astype(jnp.bfloat16) for x in tokens(300))
    exact = run(scan, *(x.astype(float) for x in inputs))
    got = run(scan, *inputs)
    assert got.state.dtype == jnp.float32 and got.out.dtype == jnp.bfloat16
    assert close(np.asarray(got.out, float), exact.out, 1e-2)
    assert close(got.state, exact.state, 1e-4)


def test_float32_at_length_4096() -> None:
    exact = tokens(4096)
    got = run(scan, *(x.astype(np.float32) for x in exact))
    assert close(got.out, run(scan, *exact).out, 1e-5)


def test_under_vmap_and_divided_over_devices() -> None:
    inputs = tokens(40, 2)
    axes = (0, 0, None, 0, 0, None, 0)
    wanted = value_and_gradient(scan, inputs)
    assert close(run(jax.vmap(scan, axes), *inputs), wanted[0], 1e-14)
    mesh = jax.make_mesh((1,), ("rows",), axis_types=(AxisType.Auto,))
    rows, same = PartitionSpec("rows"), PartitionSpec()
    specs = tuple(same if axis is None else rows for axis in axes)
    split = jax.shard_map(scan, mesh=mesh, in_specs=specs, out_specs=rows)
    assert close(value_and_gradient(split, inputs), wanted, 1e-13)


@pytest.mark.parametrize("name", PLATFORMS)
def test_memory_of_the_gradient_is_that_of_the_tokens(name) -> None:
    e, n = 32, 16

    def peak(length, method="auto"):
        inputs = tuple(x.astype(np.float32) for x in tokens(length, e=e, n=n))

        def total(*x):
            return scan(*x, method=method).out.sum()

        gradient = jax.jit(jax.grad(total, tuple(range(6)))).lower(*inputs)
        return compiled_facts(gradient.compile())["peak_bytes"] / (4 * length * e)

    with platform(_selective, name):
        fast = peak(4096)
        assert peak(16384) <= 1.1 * fast
    # In arrays of the size of x, of which the states of all tokens are n.
    assert fast < n / 2 + 4 < n < peak(4096, "sequential")
