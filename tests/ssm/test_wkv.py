"""RWKV-4's mixing: article, official and stable form, huge keys, states, memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec
from jax.test_util import check_grads

from experiments.benchmark.cost import compiled_facts
from kexue_jax.ssm import WkvState, wkv, wkv_step
from tests.oracles import mixing as oracle
from tests.ssm.forms import quick_jit, value_and_gradient
from tests.ssm.recurrences import close

FORMS = ("sequential", "associative")


def tokens(length: int, *lead: int, d: int = 3, size: float = 1.0, seed: int = 0):
    """r, k, v, log_decay, log_bonus."""
    rng = np.random.default_rng(seed)
    r, k, v = rng.normal(size=(3, *lead, length, d))
    arrays = (r, size * k, v, -rng.random(d), rng.normal(size=d))
    return tuple(map(jnp.asarray, arrays))


def outputs(*inputs, **options):
    return wkv(*inputs, **options).out


@pytest.mark.parametrize("method", FORMS)
@pytest.mark.parametrize("length", [1, 2, 100])
def test_stable_forms_equal_the_formula_and_agree_in_gradient(length, method) -> None:
    inputs = tokens(length, 2)
    form = functools.partial(outputs, method=method, chunk_size=16)
    got = value_and_gradient(form, inputs)
    assert close(got[0], oracle.wkv(*inputs))
    plain = functools.partial(outputs, method="sequential", chunk_size=length)
    assert close(got, value_and_gradient(plain, inputs))


def test_the_formula_of_the_article_is_the_official_one() -> None:
    # 1,000 random channels, with the exponents of the parameters spread widely.
    inputs = tokens(12, d=1000, size=5.0)
    article = oracle.wkv(*inputs)
    assert close(article, oracle.wkv(*inputs, article=False), 1e-12)
    assert close(outputs(*inputs), article, 1e-12)


def test_the_code_of_the_article_gives_the_token_hardly_any_weight() -> None:
    r, k, v, _, bonus = tokens(12, d=1000)
    decay = -np.linspace(0.01, 0.1, 1000)
    good, slip = (f(r, k, v, decay, bonus) for f in (outputs, oracle.wkv_as_published))
    assert float(jnp.abs(good - slip).max()) > 0.3
    # One token alone is its own mean, by the formula and by the slip; two are not.
    assert close(good[0], slip[0])


@pytest.mark.parametrize("method", FORMS)
def test_huge_keys_are_exact(method) -> None:
    run = quick_jit(functools.partial(outputs, method=method, chunk_size=16))
    for length in (40, 200):
        inputs = tokens(length)
        for size in (150.0, -150.0):
            r, _, v, decay, bonus = inputs
            signs = np.sign(np.random.default_rng(1).normal(size=v.shape))
            k = jnp.asarray(size * signs)
            with np.errstate(all="ignore"):
                wanted = oracle.wkv(r, k, v, decay, bonus)
            got = run(r, k, v, decay, bonus)
            assert close(got, wanted)
            low = (x.astype(jnp.float32) for x in (r, k, v, decay, bonus))
            # An exponent of 150 is rounded by 150 2^-24 at each step that it fades.
            single = run(*low)
            assert close(single, wanted, length * 150 * 2.0**-24)


def test_keys_shifted_together_change_nothing() -> None:
    r, k, v, decay, bonus = tokens(50, 2)
    wanted = outputs(r, k, v, decay, bonus)
    for shift in (-3e4, 500.0):
        assert close(outputs(r, k + shift, v, decay, bonus), wanted, 1e-10)


def test_a_state_in_the_middle_continues_exactly_and_steps_do() -> None:
    r, k, v, *rest = tokens(90, 2)
    whole = wkv(r, k, v, *rest)
    first = wkv(*(x[:, :41] for x in (r, k, v)), *rest)
    second = wkv(*(x[:, 41:] for x in (r, k, v)), *rest, state=first.state)
    assert close(jnp.concatenate([first.out, second.out], 1), whole.out, 1e-14)
    assert close(second.state, whole.state, 1e-13)
    state, outs = None, []
    for t in range(10):
        state, out = wkv_step(state, *(x[:, t] for x in (r, k, v)), *rest)
        outs.append(out)
    assert close(jnp.stack(outs, 1), whole.out[:, :10], 1e-14)


@pytest.mark.parametrize("method", FORMS)
def test_gradients_of_a_state_that_enters(method) -> None:
    inputs, rng = tokens(20, 2), np.random.default_rng(3)
    y, z, m = rng.normal(size=(2, 3)), rng.random((2, 3)) + 1, rng.normal(size=(2, 3))

    def run(y, z, m):
        return wkv(*inputs, state=WkvState(y, z, m), method=method).out

    check_grads(jax.jit(run), (y, z, m), 1, atol=1e-6, rtol=1e-6, eps=1e-5)


def test_under_vmap_and_divided_over_devices() -> None:
    inputs = tokens(40, 2)
    axes = (0, 0, 0, None, None)
    assert close(jax.vmap(outputs, axes)(*inputs), outputs(*inputs), 1e-14)
    mesh = jax.make_mesh((1,), ("rows",), axis_types=(AxisType.Auto,))
    rows, same = PartitionSpec("rows"), PartitionSpec()
    specs = (rows, rows, rows, same, same)
    split = jax.shard_map(outputs, mesh=mesh, in_specs=specs, out_specs=rows)
    wanted = value_and_gradient(outputs, inputs)
    assert close(value_and_gradient(split, inputs), wanted, 1e-13)


@pytest.mark.parametrize("method", FORMS)
def test_memory_of_the_gradient_is_that_of_the_tokens(method) -> None:
    def peak(length):
        inputs = tuple(x.astype(jnp.float32) for x in tokens(length, d=32))
        total = lambda *x: outputs(*x, method=method).sum()  # noqa: E731
        gradient = jax.jit(jax.grad(total, tuple(range(5)))).lower(*inputs)
        return compiled_facts(gradient.compile())["peak_bytes"] / (4 * length * 32)

    assert peak(8192) < 8
