"""The relative position of every rule, and what of it stays in the trained range."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.positions import relative_position, self_extend_position


def rho(length: int, window: int | None, leak: float = math.inf) -> np.ndarray:
    delta = jnp.arange(float(length))
    return np.asarray(relative_position(delta, window=window, leak=leak))


def test_special_cases() -> None:
    delta = np.arange(300.0)
    assert (rho(300, None) == delta).all()
    np.testing.assert_allclose(rho(300, 77, 1.0), delta, atol=1e-12)
    assert (rho(300, 77) == np.minimum(delta, 77)).all()
    np.testing.assert_allclose(rho(300, 0, 8.0), delta / 8)
    assert (rho(78, 77, 3.0) == delta[:78]).all()


def test_min_and_max_of_the_article_hold_on_one_side_of_leak_1_only() -> None:
    delta = np.arange(1000.0)
    w = 128
    for leak in (1 / 16, 0.5, 1.0, 2.0, 16.0, math.inf):
        outer = w + (delta - w) / leak
        got = rho(1000, w, leak)
        least, most = np.minimum(delta, outer), np.maximum(delta, outer)
        assert np.allclose(got, least, atol=1e-12) == (leak >= 1)
        assert np.allclose(got, most, atol=1e-12) == (leak <= 1)


def test_largest_position_of_the_cards_settings() -> None:
    # L = 4096, N = 512: rho must stay below N.
    card = {(128, 8): 623.9, (256, 8): 735.9, (128, 16): 375.9, (256, 16): 495.9}
    for (w, k), wanted in card.items():
        top = rho(4096, w, float(k)).max()
        assert top == pytest.approx(wanted, abs=0.05)
        assert (top < 512) == (k == 16)
    trained = rho(512, 128, 1 / 16).max()  # InvLeaky
    assert trained == 128 + 383 * 16 == 6256 > 4095
    assert rho(10**5, 512).max() == 512  # w = N is itself never trained
    assert rho(10**5, 511).max() == 511


def test_last_row_of_the_interpolation_matrix() -> None:
    # The article prints (L-1)/k twice; the row is (L-1)/k, (L-2)/k, ..., 1/k, 0.
    L, k = 10, 4.0
    i = jnp.arange(L)
    delta = (i[:, None] - i[None, :]).astype(jnp.float64)
    matrix = np.asarray(relative_position(delta, window=0, leak=k))
    np.testing.assert_allclose(matrix[-1], np.arange(L - 1, -1, -1) / k)
    assert matrix[-1, 1] == (L - 2) / k


def test_both_directions_are_odd_and_agree_ahead() -> None:
    rng = np.random.default_rng(0)
    delta = jnp.asarray(rng.uniform(-50, 50, 1000))
    for w, leak in ((7, 3.0), (7, math.inf), (20, 1 / 8), (0, 4.0)):
        both = relative_position(delta, window=w, leak=leak, causal=False)
        back = relative_position(-delta, window=w, leak=leak, causal=False)
        assert (both == -back).all()
        one = relative_position(delta, window=w, leak=leak)
        assert (both == one)[delta >= 0].all()
        # The plain choice by |delta| < w keeps the far side of the future wrong.
        wrong = jnp.where(jnp.abs(delta) < w, delta, w + (delta - w) / leak)
        if w:
            assert (jnp.abs(wrong - both)[delta <= -w] > 1e-3).any()


def test_self_extend_groups_and_stays_in_range() -> None:
    i = jnp.arange(4096)
    got = np.asarray(self_extend_position(i, i, window=128, group=16))
    delta = np.asarray(i[:, None] - i[None, :])
    near = (delta < 128) & (delta >= 0)
    assert (got[near] == delta[near]).all()
    leaky = np.asarray(relative_position(jnp.asarray(delta), window=128, leak=16.0))
    # Floors move it from Leaky by less than one position.
    assert np.abs(got - leaky)[delta >= 0].max() < 1.01
    assert got[delta >= 0].max() < 512
    same = self_extend_position(i[:200], i[:200], window=50, group=1)
    assert (same == delta[:200, :200]).all()
