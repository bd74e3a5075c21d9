"""Features by their logarithms: exact at every magnitude, without eps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmark.cost import compiled_facts
from kexue_jax.attention import (
    efficient_attention,
    efficient_attention_step,
    exp_features,
    feature_softmax,
    linear_attention,
    log_linear_attention,
    log_linear_attention_step,
    quadratic_linear_attention,
)
from kexue_jax.attention._running import Keys, by_chunks, start_state
from tests.attention.causal_forms import FORMS, close, form, prefill_and_steps
from tests.attention.test_linear import value_and_gradient
from tests.oracles import linear_attention as oracle

ORACLES = {
    log_linear_attention: oracle.log_linear,
    efficient_attention: oracle.efficient,
}
STEPS = {
    log_linear_attention: log_linear_attention_step,
    efficient_attention: efficient_attention_step,
}
BOTH = pytest.mark.parametrize("f", ORACLES)


def inputs(n: int, *lead: int, scale: float = 1.0, m: int = 5, seed: int = 0):
    rng = np.random.default_rng(seed)
    q, k = rng.normal(size=(2, *lead, n, m))
    return q, scale * k, rng.normal(size=(*lead, n, 4))


def plain(f, seen):
    """The twin by the whole array of weights, for sizes that do not overflow."""

    def log_linear(q, k, v):
        return quadratic_linear_attention(jnp.exp(q), jnp.exp(k), v, mask=seen, eps=0.0)

    def efficient(q, k, v):
        e = jnp.where(seen[..., None], jnp.exp(k)[..., None, :, :], 0)
        total = e.sum(-2, keepdims=True)
        weights = e / jnp.where(total > 0, total, 1)
        return jnp.einsum("...ic,...ijc,...jd->...id", jax.nn.softmax(q), weights, v)

    return log_linear if f is log_linear_attention else efficient


@BOTH
@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("n", [1, 2, 63, 100])
def test_masks_prefixes_and_gradients(f, n, name) -> None:
    rng = np.random.default_rng(1)
    mask, prefix = rng.random((2, 1, n)) < 0.6, rng.integers(0, n // 2 + 1, (2, 1))
    seen = jnp.asarray(
        oracle.pairs(
            n, n, causal=True, key_mask=mask, prefix_length=prefix, lead=(2, 3)
        )
    )
    data = tuple(map(jnp.asarray, inputs(n, 2, 3)))
    wanted = value_and_gradient(plain(f, seen), data)
    fast = functools.partial(
        f, causal=True, chunk_size=16, key_mask=jnp.asarray(mask), prefix_length=prefix
    )
    with form(name):
        assert close(value_and_gradient(fast, data), wanted)


@BOTH
def test_gradient_at_length_1000(f) -> None:
    data = tuple(map(jnp.asarray, inputs(1000, m=3)))
    seen = jnp.asarray(oracle.pairs(1000, 1000, causal=True))
    fast = functools.partial(f, causal=True)
    wanted = value_and_gradient(plain(f, seen), data)
    for name in FORMS:
        with form(name):
            assert close(value_and_gradient(fast, data), wanted, 1e-11)


@BOTH
@pytest.mark.parametrize("n", [1, 2, 63, 100, 1000])
def test_gradients_in_both_directions(f, n) -> None:
    mask = np.random.default_rng(1).random((2, n)) < 0.6
    seen = jnp.asarray(oracle.pairs(n, n, causal=False, key_mask=mask, lead=(2,)))
    data = tuple(map(jnp.asarray, inputs(n, 2, m=3)))
    fast = functools.partial(f, key_mask=jnp.asarray(mask))
    wanted = value_and_gradient(plain(f, seen), data)
    assert close(value_and_gradient(fast, data), wanted, 1e-11)


@BOTH
@pytest.mark.parametrize("n", [1, 2, 63, 100, 1000])
def test_gradients_through_a_prefill_and_steps(f, n) -> None:
    data = tuple(map(jnp.asarray, inputs(n, 2, m=3)))
    seen = jnp.asarray(oracle.pairs(n, n, causal=True))
    call = functools.partial(f, causal=True, chunk_size=16, return_state=True)
    decoded = functools.partial(prefill_and_steps, call, STEPS[f])
    wanted = value_and_gradient(plain(f, seen), data)
    assert close(value_and_gradient(decoded, data), wanted, 1e-11)


def is_safe(k, v, chunk: int) -> bool:
    k, v = map(jnp.asarray, (k, v))
    state = start_state("test", None, k.shape[:-2], k.shape[-1], v.shape[-1], k.dtype)
    keys = Keys(k, None, v, jnp.ones(k.shape[:-1], bool))
    return bool(by_chunks(state, keys, chunk).safe)


@BOTH
@pytest.mark.parametrize("scale", [30.0, 90.0, 600.0])
def test_exact_where_naive_features_overflow(f, scale) -> None:
    q, k, v = inputs(90, 2, scale=scale)
    assert is_safe(k, v, 32) == (scale < 200)
    for causal in (False, True):
        wanted = ORACLES[f](q, k, v, causal=causal)
        fast = functools.partial(f, causal=causal, chunk_size=32)
        assert close(fast(q, k, v), wanted)
        low = fast(*(jnp.asarray(x, jnp.float32) for x in (q, k, v)))
        assert close(low.astype(float), wanted, 2e-4 if scale > 50 else 2e-5)
        bits = fast(*(jnp.asarray(x, jnp.bfloat16) for x in (q, k, v)))
        exact = [jnp.asarray(x, jnp.bfloat16).astype(float) for x in (q, k, v)]
        assert close(bits.astype(float), fast(*exact), 3e-2)


@BOTH
def test_gradient_of_the_slow_way_equals_that_of_the_fast_one(f) -> None:
    # A maximum that grows by 700 within one chunk, by keys that queries hardly see.
    q, k, v = inputs(70, 2)
    k[:, 40:, 0] += 700
    q[:, :, 0] -= 700
    data = tuple(map(jnp.asarray, (q, k, v)))
    one, many = (functools.partial(f, causal=True, chunk_size=c) for c in (64, 8))
    assert not is_safe(k, v, 64)
    assert is_safe(k, v, 8)
    assert close(value_and_gradient(one, data), value_and_gradient(many, data), 1e-11)


@BOTH
@pytest.mark.parametrize("scale", [1.0, 600.0])
def test_prefill_then_steps_equals_one_call(f, scale) -> None:
    q, k, v = inputs(40, 2, 3, scale=scale)
    call = functools.partial(f, causal=True, chunk_size=16, return_state=True)
    call, step = jax.jit(call), jax.jit(STEPS[f])
    wanted = call(q, k, v).out
    for start in (0, 1, 25):
        state, outs = None, []
        if start:
            state, out = call(*(x[..., :start, :] for x in (q, k, v)))
            outs.append(out)
        for t in range(start, 40):
            state, one = step(state, *(x[..., t, :] for x in (q, k, v)))
            outs.append(np.asarray(one)[..., None, :])
        assert close(np.concatenate(outs, -2), wanted)


@BOTH
def test_gradient_through_states(f) -> None:
    data = tuple(map(jnp.asarray, inputs(50, 2)))

    def parts(q, k, v):
        state, first = f(
            q[:, :21],
            k[:, :21],
            v[:, :21],
            causal=True,
            chunk_size=8,
            return_state=True,
        )
        rest = (x[:, 21:] for x in (q, k, v))
        return jnp.concatenate([first, f(*rest, causal=True, state=state)], 1)

    whole = functools.partial(f, causal=True, chunk_size=64)
    assert close(value_and_gradient(parts, data), value_and_gradient(whole, data))


@BOTH
@pytest.mark.parametrize("causal", [False, True])
def test_rows_without_keys_are_zero_with_zero_gradient(f, causal) -> None:
    data = tuple(jnp.asarray(x, jnp.float32) for x in inputs(40, 2))
    mask = jnp.zeros((2, 40), bool).at[1, 30:].set(True)
    fast = functools.partial(f, causal=causal, chunk_size=16, key_mask=mask)
    out, gradients = value_and_gradient(fast, data)
    assert np.isfinite(out).all() and (out[0] == 0).all()
    if causal:
        assert (out[1, :30] == 0).all() and (out[1, 30:] != 0).all()
    assert all(np.isfinite(g).all() and (g[0] == 0).all() for g in gradients)


@BOTH
def test_left_padding_stays_on_the_fast_way(f) -> None:
    q, k, v = inputs(100, 2)
    mask = np.arange(100) >= 70
    k[:, :70] = 1e6
    out = f(q, k, v, causal=True, key_mask=mask)
    assert close(out[:, 70:], f(q[:, 70:], k[:, 70:], v[:, 70:], causal=True))
    keys = Keys(jnp.asarray(k), None, jnp.asarray(v), jnp.broadcast_to(mask, (2, 100)))
    state = start_state("test", None, (2,), 5, 4, jnp.float64)
    assert bool(by_chunks(state, keys, 16).safe)


@BOTH
def test_vmap_keeps_one_branch(f) -> None:
    data = tuple(map(jnp.asarray, inputs(40, 3)))
    fast = functools.partial(f, causal=True, chunk_size=16)
    assert close(jax.vmap(jax.vmap(fast))(*(x[None] for x in data))[0], fast(*data))
    text = str(jax.make_jaxpr(jax.vmap(fast))(*data))
    assert "cond[" in text
    assert close(
        value_and_gradient(jax.vmap(fast), data), value_and_gradient(fast, data)
    )


def test_denominator_is_at_least_one() -> None:
    rng = np.random.default_rng(2)
    q, k = rng.normal(size=(2, 1000, 6, 3)) * rng.choice([0.1, 5, 80], (1000, 1, 1))
    c = k.max(1, keepdims=True)
    t = q + c
    a, b = np.exp(t - t.max(-1, keepdims=True)), np.exp(k - c)
    assert ((a @ b.mT).sum(-1) >= 1).all()
    ones = np.ones((1000, 6, 1))
    np.testing.assert_allclose(log_linear_attention(q, k, ones), 1, atol=1e-12)
    np.testing.assert_allclose(
        log_linear_attention(q, k, ones, causal=True), 1, atol=1e-12
    )
    # Form 2 of the card, one maximum over all keys and features, may come near 0.
    shared = np.exp(k - k.max((1, 2), keepdims=True))
    own = np.exp(q - q.max(-1, keepdims=True))
    assert (own @ shared.mT).sum(-1).min() < 1e-20


def test_equals_linear_attention_of_the_features_themselves() -> None:
    q, k, v = inputs(50, 2)
    wanted = linear_attention(np.exp(q), np.exp(k), v, causal=True, eps=0.0)
    assert close(log_linear_attention(q, k, v, causal=True), wanted)


def test_the_future_does_not_show_as_it_does_through_a_global_maximum() -> None:
    q, k, v = (jnp.asarray(x, jnp.float32) for x in inputs(20, 1))
    late = k.at[:, -1].add(60.0)
    causal = functools.partial(log_linear_attention, causal=True, chunk_size=8)
    same = jnp.abs(causal(q, late, v) - causal(q, k, v))[:, :-1].max()
    assert float(same) < 1e-5

    def leaking(keys):
        phi = (exp_features(q, is_query=True), exp_features(keys, is_query=False))
        return linear_attention(*phi, v, causal=True)

    assert float(jnp.abs(leaking(late) - leaking(k))[:, :-1].max()) > 0.1


def test_efficient_rows_sum_to_one() -> None:
    q, k, _ = inputs(40, 25, m=8)
    for causal in (False, True):
        weights = efficient_attention(
            q, k, np.broadcast_to(np.eye(40), (25, 40, 40)), causal=causal
        )
        np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-14)
        assert float(weights.min()) >= 0


def test_efficient_attention_is_no_kernel_of_single_keys() -> None:
    # The article calls it a special case; it is one only of a map of all keys at once.
    q, k, v = inputs(30, 1, m=6)
    ours = efficient_attention(q, k, v)
    phi_q = feature_softmax(jnp.asarray(q))
    for phi_k in (feature_softmax(jnp.asarray(k)), jnp.exp(k)):
        other = linear_attention(phi_q, phi_k, v, eps=0.0)
        assert float(jnp.abs(ours - other).max()) > 0.01
    over_keys = jax.nn.softmax(jnp.asarray(k), axis=-2)
    assert close(linear_attention(phi_q, over_keys, v, eps=0.0), ours)


@BOTH
def test_memory_grows_as_the_length(f) -> None:
    def peak(n):
        data = tuple(jax.ShapeDtypeStruct((2, n, 16), np.float32) for _ in range(3))
        of = jax.grad(lambda *x: f(*x, causal=True).sum(), (0, 1, 2))
        return compiled_facts(jax.jit(of).lower(*data).compile())["peak_bytes"]

    assert peak(8192) / peak(2048) == pytest.approx(4, rel=0.2)
