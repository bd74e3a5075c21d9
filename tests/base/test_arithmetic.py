"""Accumulation dtypes, safe division, noise in the data's dtype, names in trees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax._base import keys, masks, numerics, trees


@pytest.mark.parametrize(
    ("dtype", "wide"),
    [("bfloat16", "float32"), ("float16", "float32"), ("float64", "float64")],
)
def test_sums_run_in_at_least_float32(dtype: str, wide: str) -> None:
    assert numerics.accumulation_dtype(jnp.zeros(1, dtype)) == wide


def test_expand_trailing_appends_axes() -> None:
    like = jnp.zeros((2, 3, 4))
    assert numerics.expand_trailing(jnp.zeros((2,)), like).shape == (2, 1, 1)
    assert numerics.expand_trailing(jnp.zeros(()), like).shape == (1, 1, 1)


def test_safe_divide_is_zero_with_zero_gradient_where_the_denominator_is() -> None:
    numerator, denominator = jnp.array([1.0, 2.0]), jnp.array([0.0, 4.0])
    np.testing.assert_array_equal(masks.safe_divide(numerator, denominator), [0, 0.5])
    total = lambda a, b: masks.safe_divide(a, b).sum()  # noqa: E731
    for gradient in jax.grad(total, argnums=(0, 1))(numerator, denominator):
        assert np.isfinite(gradient).all() and gradient[0] == 0


def test_safe_root_is_zero_with_zero_slope_at_zero_and_hides_no_nan() -> None:
    x = jnp.array([0.0, 4.0, -1.0, jnp.nan, jnp.inf])
    np.testing.assert_array_equal(masks.safe_root(x), [0, 2, 0, jnp.nan, jnp.inf])
    slope = jax.grad(lambda x: masks.safe_root(x).sum())(x[:3])
    np.testing.assert_array_equal(slope, [0, 0.25, 0])


def test_bfloat16_noise_is_the_rounded_float32_noise() -> None:
    key = jax.random.key(0)
    wide = keys.normal_like(key, jnp.zeros(64, jnp.float32))
    narrow = keys.normal_like(key, jnp.zeros(64, jnp.bfloat16))
    assert narrow.dtype == jnp.bfloat16
    np.testing.assert_array_equal(narrow, wide.astype(jnp.bfloat16))


def test_leaves_are_named_by_their_path() -> None:
    tree = {"a": {"kernel": 1}, "b": [2, 3]}
    named = trees.map_named(lambda name, leaf: name, tree)
    assert named == {"a": {"kernel": "a/kernel"}, "b": ["b/0", "b/1"]}
