"""Dynamic scaling, YaRN's logits, and positions as digits of a base."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.positions import (
    base_digits,
    dynamic_scale,
    ntk_dynamic_base,
    rope_frequencies,
    yarn_logit_scale,
)


def test_dynamic_base_is_plain_up_to_the_training_length_and_ntk_after() -> None:
    for n in (1, 100, 512):
        assert ntk_dynamic_base(1e4, 64, 8.0, n, 512) == 1e4
        assert dynamic_scale(n, 512) == 1
    for n in (513, 4096):
        base = ntk_dynamic_base(1e4, 64, 1.0, n, 512)
        got = rope_frequencies(64, base=base)
        wanted = rope_frequencies(64, scaling="ntk", scale=n / 512)
        np.testing.assert_allclose(got, wanted, rtol=1e-5)
        assert dynamic_scale(n, 512) == n / 512
    at_once = ntk_dynamic_base(1e4, 64, 8.0, 1024, 512)
    assert at_once == pytest.approx(1e4 * (8 * 2 - 7) ** (64 / 62), rel=1e-6)


def test_dynamic_base_takes_a_traced_length() -> None:
    traces = []

    @jax.jit
    def run(n):
        traces.append(1)
        return rope_frequencies(8, base=ntk_dynamic_base(1e4, 8, 2.0, n, 64))

    one, two = run(jnp.int32(64)), run(jnp.int32(640))
    assert len(traces) == 1 and (two[1:] < one[1:]).all() and two[0] == one[0] == 1


def test_yarn_logit_factor() -> None:
    assert yarn_logit_scale(8.0) == pytest.approx(1.4591, abs=5e-5)
    assert yarn_logit_scale(1.0) == yarn_logit_scale(0.5) == 1
    root = 1 + 0.1 * math.log(8)
    assert yarn_logit_scale(jnp.float64(8)) == pytest.approx(root**2, rel=1e-14)


def test_digits_rebuild_the_position() -> None:
    rng = np.random.default_rng(0)
    for base in (2, 3, 10, 97):
        positions = rng.integers(0, min(base**4, 10**6), 1000)
        digits = np.asarray(
            base_digits(jnp.asarray(positions), base=base, num_digits=4)
        )
        assert (digits >= 0).all() and (digits < base).all()
        assert ((digits * base ** np.arange(4)).sum(-1) == positions).all()


def test_rotary_angles_are_the_quotients_in_base_b_to_2_over_d() -> None:
    d, n, k = 32, 777, 8.0
    plain = np.asarray(rope_frequencies(d, dtype=jnp.float64))
    B = 1e4 ** (2 / d)
    m = np.arange(1, d // 2 + 1)
    np.testing.assert_allclose(n * plain, n / B ** (m - 1))

    # Interpolation divides n, NTK changes the base to B k^(2/d).
    def rule(name):
        return np.asarray(rope_frequencies(d, scaling=name, scale=k, dtype=jnp.float64))

    wide = B * k ** (2 / d)
    np.testing.assert_allclose(n * rule("linear"), n / k / B ** (m - 1))
    np.testing.assert_allclose(n * rule("ntk_old"), n / wide ** (m - 1))
    # "fixed" widens the modulus too: an extra 1 / lambda. The highest frequency of NTK
    # is n / B^0 = n, unchanged (the article writes n / B there).
    np.testing.assert_allclose(rule("ntk_fixed") * k ** (2 / d), rule("ntk_old"))
    assert rule("ntk_old")[0] == 1


def test_digits_of_narrow_integers_in_a_base_beyond_them() -> None:
    found = base_digits(jnp.array([5, 200], jnp.uint8), base=300, num_digits=2)
    np.testing.assert_array_equal(found, [[5, 0], [200, 0]])
    with pytest.raises(ValueError, match="base_digits: `base`"):
        base_digits(jnp.array([5], jnp.uint8), base=2**31, num_digits=1)
