"""Random positions: who is drawn, how often, and the mean of the ends."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.positions import (
    equal_mean_positions,
    random_positions,
    spaced_positions,
)

KEY = jax.random.key(0)


def test_draws_are_sorted_distinct_and_uniform() -> None:
    count, n, top = 4000, 5, 16
    draw = functools.partial(random_positions, n=n, max_len=top)
    got = np.asarray(jax.vmap(draw)(jax.random.split(KEY, count)))
    assert (np.diff(got, axis=-1) > 0).all() and got.min() >= 0 and got.max() < top
    share = np.bincount(got.ravel(), minlength=top) / count
    # Each is there with probability n / top: 5.5 standard deviations, 16 of them.
    bound = 5.5 * math.sqrt(n / top * (1 - n / top) / count)
    assert np.abs(share - n / top).max() < bound
    assert (random_positions(KEY, 7, 7) == jnp.arange(7)).all()


def test_spaced_positions_reach_both_ends() -> None:
    for n, top in ((1, 9), (2, 9), (40, 2048), (500, 2048), (9, 9)):
        got = np.asarray(spaced_positions(n, top))
        assert got[0] == 0 and (n == 1 or got[-1] == top - 1)
        assert (np.diff(got) > 0).all()


@pytest.mark.parametrize(
    "options",
    [
        {"dist": "exponential"},
        {"dist": "beta", "max_len": 512},
        {"dist": "beta", "max_len": 256, "concentration": 6.0},
    ],
)
def test_ends_have_the_mean(options: dict) -> None:
    count, mean = 20_000, 64.0
    draw = functools.partial(equal_mean_positions, n=9, mean=mean, **options)
    got = np.asarray(jax.vmap(draw)(jax.random.split(KEY, count)), np.float64)
    ends = got[:, -1]
    np.testing.assert_allclose(got, ends[:, None] * np.arange(9) / 8, rtol=1e-5)
    assert abs(ends.mean() - mean) < 5.5 * ends.std() / math.sqrt(count)
    top = options.get("max_len")
    if top:
        a = options.get("concentration", 2.0) * mean / top
        b = options.get("concentration", 2.0) - a
        variance = top**2 * a * b / ((a + b) ** 2 * (a + b + 1))
        assert ends.var() == pytest.approx(variance, rel=0.1)
    else:
        assert ends.std() == pytest.approx(mean, rel=0.1)
