"""Decoding by both caches against attention over the whole text."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.attention import (
    RawKeyCache,
    dense_rerope_attention,
    raw_decode_step,
    rerope_cache,
    rerope_decode_step,
)
from kexue_jax.positions import rope_frequencies

RNG = np.random.default_rng(0)
FREQS = rope_frequencies(8, dtype=jnp.float64)
RULES = [(7, math.inf), (7, 16.0), (7, 1 / 16), (1, math.inf), (40, 2.0)]


def qkv(n: int, heads: int = 4, groups: int = 2) -> tuple[jax.Array, ...]:
    shapes = ((heads, n, 8), (groups, n, 8), (groups, n, 5))
    return tuple(jnp.asarray(RNG.normal(size=shape)) for shape in shapes)


def decoded(step, cache, q, k, v):
    """The outputs of one step after the other, [heads, n, e]."""

    def body(cache, token):
        done = step(cache, *token)
        return done.cache, done.out

    tokens = tuple(jnp.moveaxis(x, -2, 0) for x in (q, k, v))
    cache, outs = jax.jit(lambda c, t: jax.lax.scan(body, c, t))(cache, tokens)
    return cache, jnp.moveaxis(outs, 0, -2)


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize(("window", "leak"), RULES)
def test_both_caches_equal_the_whole_attention(window, leak, interleaved) -> None:
    q, k, v = qkv(33)
    options = {"freqs": FREQS, "leak": leak, "interleaved": interleaved}
    whole = dense_rerope_attention(q, k, v, window=window, **options)
    for prompt in (0, 20):
        head, rest = (slice(0, prompt), slice(prompt, None))
        start = k[:, head], v[:, head]
        dual = rerope_cache(*start, window=window, size=33, **options)
        step = functools.partial(rerope_decode_step, window=window, **options)
        cache, outs = decoded(step, dual, *(x[:, rest] for x in (q, k, v)))
        assert np.abs(outs - whole[:, rest]).max() < 1e-13
        assert cache.length == 33 and (cache.v == v).all()
        room = ((0, 0), (0, 33 - prompt), (0, 0))
        raw = RawKeyCache(*(jnp.pad(x, room) for x in start), jnp.int32(prompt))
        step = functools.partial(raw_decode_step, window=window, **options)
        cache, outs = decoded(step, raw, *(x[:, rest] for x in (q, k, v)))
        assert np.abs(outs - whole[:, rest]).max() < 1e-13
        assert (cache.k == k).all()


@pytest.mark.parametrize("n", [1, 2, 63, 100, 1000])
def test_gradients_through_a_prompt_and_steps(n) -> None:
    """Of queries, keys, values, frequencies and leak, by both caches."""
    q, k, v = qkv(n, heads=2, groups=1)
    prompt = max(0, n - 6)
    weights = jnp.asarray(RNG.normal(size=(2, n - prompt, 5)))
    tail = lambda *arrays: [x[:, prompt:] for x in arrays]  # noqa: E731

    def dual(q, k, v, **options):
        cache = rerope_cache(k[:, :prompt], v[:, :prompt], size=n, **options)
        step = functools.partial(rerope_decode_step, **options)
        return decoded(step, cache, *tail(q, k, v))[1]

    def raw(q, k, v, **options):
        room = ((0, 0), (0, n - prompt), (0, 0))
        start = (jnp.pad(x[:, :prompt], room) for x in (k, v))
        cache = RawKeyCache(*start, jnp.int32(prompt))
        step = functools.partial(raw_decode_step, **options)
        return decoded(step, cache, *tail(q, k, v))[1]

    def whole(q, k, v, **options):
        return tail(dense_rerope_attention(q, k, v, **options))[0]

    def slopes(form):
        def total(q, k, v, freqs, leak):
            out = form(q, k, v, freqs=freqs, leak=leak, window=4)
            return (weights * out).sum()

        of_all = jax.jit(jax.grad(total, (0, 1, 2, 3, 4)))
        return of_all(q, k, v, FREQS, jnp.asarray(2.5))

    wanted = slopes(whole)
    for form in (dual, raw):
        for ours, theirs in zip(slopes(form), wanted, strict=True):
            bound = 1e-11 * max(1.0, float(np.abs(theirs).max()))
            assert np.abs(ours - theirs).max() < bound


def test_the_dual_cache_of_a_prompt_is_that_of_its_steps() -> None:
    _, k, v = qkv(23)
    options = {"freqs": FREQS, "leak": 3.0, "window": 5}
    step = functools.partial(rerope_decode_step, **options)
    empty = rerope_cache(k[:, :0], v[:, :0], size=30, **options)
    stepped, _ = decoded(step, empty, k, k, v)
    at_once = rerope_cache(k, v, size=30, **options)
    for mine, theirs in zip(stepped, at_once, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-14)
    assert at_once.k_near.shape == (2, 5, 8)


def test_a_window_may_be_traced_up_to_the_ring() -> None:
    q, k, v = qkv(20)
    cache = rerope_cache(k[:, :0], v[:, :0], freqs=FREQS, window=8, size=20)
    for window in (1, 5, 8):
        whole = dense_rerope_attention(q, k, v, freqs=FREQS, window=window)
        form = functools.partial(
            rerope_decode_step, freqs=FREQS, window=jnp.asarray(window)
        )
        assert np.abs(decoded(form, cache, q, k, v)[1] - whole).max() < 1e-13
    with pytest.raises(ValueError, match="rerope_decode_step: `window`"):
        rerope_decode_step(cache, q[:, 0], k[:, 0], v[:, 0], freqs=FREQS, window=9)


def test_the_maximum_of_the_article_is_wrong_for_invleaky() -> None:
    # -rho = max(j - i, -(w + (i - j - w) / k)) holds for k >= 1 alone.
    d, n, w = 8, 200, 7
    theta = np.asarray(FREQS)
    q, k = RNG.normal(size=(2, n, d))
    delta = n - 1 - np.arange(n)
    pairs = lambda x: x[..., 0::2] + 1j * x[..., 1::2]  # noqa: E731

    def scores(rho):
        turns = np.exp(-1j * rho[:, None] * theta)
        return (pairs(q[-1]).conj() * pairs(k) * turns).real.sum(-1)

    for leak, same in ((16.0, True), (1 / 16, False)):
        right = np.where(delta < w, delta, w + (delta - w) / leak)
        article = np.minimum(delta, w + (delta - w) / leak)
        error = np.abs(scores(right) - scores(article)).max()
        assert (error < 1e-12) if same else (error > 5)


def test_left_padding_by_a_mask() -> None:
    q, k, v = qkv(12)
    pad, options = 5, {"freqs": FREQS, "window": 3}
    alone = dense_rerope_attention(*(x[:, pad:] for x in (q, k, v)), **options)
    cache = rerope_cache(k[:, :6], v[:, :6], size=12, **options)
    mask = jnp.arange(12) >= pad
    step = functools.partial(rerope_decode_step, mask=mask, **options)
    _, outs = decoded(step, cache, *(x[:, 6:] for x in (q, k, v)))
    assert np.abs(outs - alone[:, 1:]).max() < 1e-13


def test_a_full_cache_answers_nan_and_not_a_wrong_number() -> None:
    q, k, v = qkv(4)
    cache = rerope_cache(k, v, freqs=FREQS, window=2, size=4)
    token = (q[:, 0], k[:, 0], v[:, 0])
    assert np.isnan(rerope_decode_step(cache, *token, freqs=FREQS, window=2).out).all()
    raw = RawKeyCache(k, v, jnp.int32(4))
    assert np.isnan(raw_decode_step(raw, *token, freqs=FREQS, window=2).out).all()


def test_raw_keys_are_more_exact_far_out_in_float32() -> None:
    # Angles of distances up to the window against angles of positions near 60,000.
    n, d, w, start = 400, 16, 64, 60_000
    q, k, v = (jnp.asarray(RNG.normal(size=(n, d))) for _ in range(3))
    places = jnp.arange(n) + start

    def last(dtype, positions):
        rows = [x.astype(dtype) for x in (3 * q, k, v)]
        theta = rope_frequencies(d, dtype=dtype)
        return dense_rerope_attention(*rows, freqs=theta, window=w, positions=positions)

    wanted = last(jnp.float64, places)
    far = np.abs(last(jnp.float32, places) - wanted).max()
    near = np.abs(last(jnp.float32, places - start) - wanted).max()
    assert near < 1e-4 and 3 * near < far < 5e-2
    theta = rope_frequencies(d)
    cache = RawKeyCache(*(x.astype(jnp.float32) for x in (k, v)), jnp.int32(n - 1))
    token = (x[-1].astype(jnp.float32) for x in (3 * q, k, v))
    raw = raw_decode_step(cache, *token, freqs=theta, window=w).out
    assert np.abs(raw - wanted[-1]).max() < 1e-4
