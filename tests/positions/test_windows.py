"""Masks of windows, and the windows of the layers of HWFA."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.positions import (
    hwfa2_layer_windows,
    hwfa_layer_windows,
    lambda_mask,
    window_mask,
)


def test_masks_by_definition() -> None:
    n, w = 40, 7
    got = np.asarray(window_mask(jnp.arange(n), window=w))
    both = np.asarray(window_mask(jnp.arange(n), window=w, causal=False))
    sunk = np.asarray(lambda_mask(jnp.arange(n), window=w, sinks=3))
    for i, j in itertools.product(range(n), range(n)):
        assert got[i, j] == (0 <= i - j < w)
        assert both[i, j] == (abs(i - j) < w)
        assert sunk[i, j] == (i >= j and (i - j < w or j < 3))


def test_padded_positions_are_no_sinks_and_count_from_the_first_token() -> None:
    positions = jnp.arange(10) - 4  # four tokens of padding on the left
    got = np.asarray(lambda_mask(positions, window=2, sinks=2))[-1]
    assert got.tolist() == [False] * 4 + [True, True, False, False, True, True]


@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.676, 0.75])
def test_hwfa_reaches_at_most_its_share(alpha: float) -> None:
    for layers, length in itertools.product((2, 3, 12, 24), (64, 512, 4096)):
        windows = hwfa_layer_windows(layers, length, alpha=alpha)
        assert len(windows) == layers and windows[-1] is None
        assert len(set(windows[:-1])) == 1
        reach = lambda w, n=layers: (w - 1) * (n - 1) + 1  # noqa: E731
        assert reach(windows[0]) <= max(1, alpha * length) < reach(windows[0] + 1)


def test_hwfa_of_the_card() -> None:
    share = ((16 - 1) * (24 - 1) + 1) / 512
    assert share == pytest.approx(0.676, abs=5e-4)
    assert hwfa_layer_windows(24, 512, alpha=0.676)[0] == 16


def test_hwfa2_full_layers_in_the_middle() -> None:
    one = hwfa2_layer_windows(24, 512)
    assert [i for i, w in enumerate(one) if w is None] == [12]
    two = hwfa2_layer_windows(24, 512, full_layers=2)
    assert [i for i, w in enumerate(two) if w is None] == [8, 16]
    assert one[0] == 64
