"""RWKV-4's mixing: article, official and stable form, huge keys, states, memory."""

import functools

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec
from jax.test_util import check_grads

from experiments.benchmark.cost import compiled_facts
from kexue_jax.ssm import WkvState, wkv, wkv_step
from tests.oracles import mixing as oracle
from tests.ssm.forms import run, value_and_gradient
from tests.ssm.recurrences import close

FORMS = ("sequential", "associative")


def tokens(length: int, *lead: int, d: int = 3, size: float = 1.0, seed: int = 0):
    """r, k, v, log_decay, log_bonus."""
    rng = np.random.default_rng(seed)
    r, k, v = rng.normal(size=(3, *lead, length, d))
    return r, size * k, v, -rng.random(d), rng.normal(size=d)


def outputs(*inputs, **options):
    return wkv(*inputs, **options).out


@functools.cache
def plain(length):
    form = functools.partial(outputs, method="sequential", chunk_size=length)
    return value_and_gradient(form, tokens(length, 2))


@pytest.mark.parametrize("method", FORMS)
@pytest.mark.parametrize("length", [1, 50])
def test_stable_forms_equal_the_formula_and_agree_in_gradient(length, method) -> None:
    inputs = tokens(length, 2)
    form = functools.partial(outputs, method=method, chunk_size=16)
    got = value_and_gradient(form, inputs)
    assert close(got[0], oracle.wkv(*inputs))
    assert close(got, plain(length))


def test_the_formula_of_the_article_is_the_official_one() -> None:
    # 1,000 random channels, with the exponents of the parameters spread widely.
    inputs = tokens(12, d=1000, size=5.0)
    article = oracle.wkv(*inputs)
    assert close(article, oracle.wkv(*inputs, article=False), 1e-12)
    assert close(run(outputs, *inputs), article, 1e-12)


def test_the_code_of_the_article_gives_the_token_hardly_any_weight() -> None:
    r, k, v, _, bonus = tokens(12, d=1000)
    decay = -np.linspace(0.01, 0.1, 1000)
    good = np.asarray(run(outputs, r, k, v, decay, bonus))
    slip = oracle.wkv_as_published(r, k, v, decay, bonus)
    assert np.abs(good - slip).max() > 0.3
    # One token alone is its own mean, by the formula and by the slip; two are not.
    assert close(good[0], slip[0])


@pytest.mark.parametrize("method", FORMS)
def test_huge_keys_are_exact(method) -> None:
    form = jax.jit(functools.partial(outputs, method=method, chunk_size=16))
    length = 100
    r, _, v, decay, bonus = tokens(length)
    signs = np.sign(np.random.default_rng(1).normal(size=v.shape))
    for size in (150.0, -150.0):
        inputs = r, size * signs, v, decay, bonus
        with np.errstate(all="ignore"):
            wanted = oracle.wkv(*inputs)
        assert close(form(*inputs), wanted)
        low = (x.astype(np.float32) for x in inputs)
        # An exponent of 150 is rounded by 150 2^-24 at each step that it fades.
        assert close(form(*low), wanted, length * 150 * 2.0**-24)


def test_float32_at_length_4096() -> None:
    inputs = tokens(4096)
    got = run(outputs, *(x.astype(np.float32) for x in inputs))
    assert close(got, run(outputs, *inputs), 1e-5)


def test_keys_shifted_together_change_nothing() -> None:
    r, k, v, decay, bonus = tokens(50, 2)
    form = jax.jit(outputs)
    wanted = form(r, k, v, decay, bonus)
    for shift in (-3e4, 500.0):
        assert close(form(r, k + shift, v, decay, bonus), wanted, 1e-10)


def test_tokens_without_weight_before_the_first_are_padding() -> None:
    # -1e30 is finite, so a row may begin with nothing but padding.
    r, k, v, *rest = tokens(20, 2)
    k[:, :7] = -1e30
    whole = run(wkv, r, k, v, *rest)
    alone = run(wkv, *(x[:, 7:] for x in (r, k, v)), *rest)
    assert np.isfinite(whole.out).all()
    assert close(whole.out[:, 7:], alone.out) and close(whole.state, alone.state)


def test_a_state_in_the_middle_continues_exactly_and_steps_do() -> None:
    r, k, v, *rest = tokens(90, 2)

    def go_on(state, *inputs):
        return wkv(*inputs, state=state)

    whole = run(wkv, r, k, v, *rest)
    first = run(wkv, *(x[:, :41] for x in (r, k, v)), *rest)
    second = run(go_on, first.state, *(x[:, 41:] for x in (r, k, v)), *rest)
    assert close(np.concatenate([first.out, second.out], 1), whole.out, 1e-14)
    assert close(second.state, whole.state, 1e-13)
    step = jax.jit(wkv_step)
    state, outs = None, []
    for t in range(10):
        state, out = step(state, *(x[:, t] for x in (r, k, v)), *rest)
        outs.append(out)
    assert close(np.stack(outs, 1), whole.out[:, :10], 1e-14)


@pytest.mark.parametrize("method", FORMS)
def test_gradients_of_a_state_that_enters(method) -> None:
    inputs, rng = tokens(20, 2), np.random.default_rng(3)
    y, z, m = rng.normal(size=(2, 3)), rng.random((2, 3)) + 1, rng.normal(size=(2, 3))

    def form(y, z, m):
        return wkv(*inputs, state=WkvState(y, z, m), method=method).out

    check_grads(jax.jit(form), (y, z, m), 1, atol=1e-6, rtol=1e-6, eps=1e-5)


def test_under_vmap_and_divided_over_devices() -> None:
    inputs = tokens(40, 2)
    axes = (0, 0, 0, None, None)
    wanted = value_and_gradient(outputs, inputs)
    assert close(run(jax.vmap(outputs, axes), *inputs), wanted[0], 1e-14)
    mesh = jax.make_mesh((1,), ("rows",), axis_types=(AxisType.Auto,))
    rows, same = PartitionSpec("rows"), PartitionSpec()
    specs = (rows, rows, rows, same, same)
    split = jax.shard_map(outputs, mesh=mesh, in_specs=specs, out_specs=rows)
    assert close(value_and_gradient(split, inputs), wanted, 1e-13)


@pytest.mark.parametrize("method", FORMS)
def test_memory_of_the_gradient_is_that_of_the_tokens(method) -> None:
    def peak(length):
        inputs = tuple(x.astype(np.float32) for x in tokens(length, d=32))
        total = lambda *x: outputs(*x, method=method).sum()  # noqa: E731
        gradient = jax.jit(jax.grad(total, tuple(range(5)))).lower(*inputs)
        return compiled_facts(gradient.compile())["peak_bytes"] / (4 * length * 32)

    assert peak(8192) < 8
