"""Self-Extend, HWFA and HWFA2 against whole matrices, at awkward lengths."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.attention import (
    dense_rerope_attention,
    hwfa_attention,
    rerope_attention,
    self_extend_attention,
)
from kexue_jax.models import transformer
from kexue_jax.positions import apply_rope, hwfa2_layer_windows, rope_frequencies

RNG = np.random.default_rng(0)
FREQS = rope_frequencies(8, dtype=jnp.float64)


def self_extend_plain(q, k, v, *, freqs):
    """Window 20, groups of 4, by two matrices and a selection."""
    i = jnp.arange(len(q))
    turn = lambda x, t: apply_rope(x, t, freqs)  # noqa: E731
    far = turn(q, i // 4 + 20 - 5) @ turn(k, i // 4).T
    delta = i[:, None] - i[None, :]
    scores = jnp.where(delta < 20, turn(q, i) @ turn(k, i).T, far) / math.sqrt(8)
    return jax.nn.softmax(jnp.where(delta >= 0, scores, -jnp.inf), -1) @ v


def hwfa_plain(q, k, v, *, freqs, window):
    """Trained at 30: a window with rotary positions, or log n and none."""
    i = jnp.arange(len(q))
    delta = i[:, None] - i[None, :]
    if window is None:
        q, window = q * (jnp.log(i + 1.0) / math.log(30))[:, None], len(q)
    else:
        q, k = apply_rope(q, i, freqs), apply_rope(k, i, freqs)
    keep = (delta >= 0) & (delta < window)
    return jax.nn.softmax(jnp.where(keep, q @ k.T / math.sqrt(8), -jnp.inf), -1) @ v


@pytest.mark.parametrize("n", [1, 2, 63, 100, 1000])
def test_gradients_of_self_extend_and_hwfa(n: int) -> None:
    q, k, v = (jnp.asarray(RNG.normal(size=(n, 8))) for _ in range(3))
    weights = jnp.asarray(RNG.normal(size=v.shape))
    hwfa = functools.partial(hwfa_attention, train_length=30)
    extend = functools.partial(self_extend_attention, window=20, group=4)
    pairs = [(extend, self_extend_plain)]
    pairs += [
        tuple(functools.partial(form, window=w) for form in (hwfa, hwfa_plain))
        for w in (9, None)
    ]
    for pair in pairs:
        fast, slow = (
            jax.jit(
                jax.grad(
                    lambda *x, f=form: jnp.sum(weights * f(*x[:3], freqs=x[3])),
                    (0, 1, 2, 3),
                )
            )(q, k, v, FREQS)
            for form in pair
        )
        for mine, theirs in zip(fast, slow, strict=True):
            bound = 1e-11 * max(1.0, float(np.abs(theirs).max()))
            assert np.abs(mine - theirs).max() < bound


def hwfa2(n, *, dense, far):
    """A model trained at 16: windows, and one full layer, ReRoPE beyond ``far``."""
    windows = hwfa2_layer_windows(4, 16)
    delta = jnp.arange(n)[:, None] - jnp.arange(n)[None, :]

    def attend(q, k, v, layer):
        window = windows[layer]
        if dense and window is None:
            return dense_rerope_attention(q, k, v, freqs=FREQS, window=far)
        if dense:
            mask = delta < window
            return dense_rerope_attention(q, k, v, freqs=FREQS, window=None, mask=mask)
        if window is None:
            return rerope_attention(q, k, v, freqs=FREQS, window=far)
        return hwfa_attention(q, k, v, freqs=FREQS, window=window, train_length=16)

    return transformer(vocabulary=32, attend=attend, width=16, heads=2, layers=4)


@pytest.mark.parametrize("n", [9, 100])
def test_hwfa2_with_rerope_at_the_test_is_its_dense_form(n: int) -> None:
    tokens = jnp.asarray(RNG.integers(0, 32, (2, n)))
    params = jax.jit(hwfa2(n, dense=True, far=8).init)(jax.random.key(0))
    params = jax.tree.map(lambda x: x.astype(jnp.float64), params)

    def found(dense, far):
        return jax.jit(hwfa2(n, dense=dense, far=far).apply)(params, tokens)

    swapped = found(False, 8)
    np.testing.assert_allclose(swapped, found(True, 8), atol=1e-12)
    trained = found(False, None)
    np.testing.assert_allclose(trained, found(True, None), atol=1e-12)
    # ReRoPE leaves distances up to its window as they are, and no others.
    same = np.abs(swapped - trained).max(-1) < 1e-12
    assert same[:, :9].all() and not same[:, 9:].any()
