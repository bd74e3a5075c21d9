"""Gradients of Self-Extend and HWFA against whole matrices, at awkward lengths."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.attention import hwfa_attention, self_extend_attention
from kexue_jax.positions import apply_rope, rope_frequencies

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
