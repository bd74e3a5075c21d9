"""Consecutive powers: exact integers against logarithms, the series, the crossover."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.numerics import (
    compare_consecutive_powers,
    compare_powers,
    exact_compare,
    log_power_gap,
    power_crossover,
    power_gap_series,
    power_limits,
)

# n, n^(n+1), (n+1)^n, d(n)
TABLE = (
    (1, 1, 2, -0.693147181),
    (2, 8, 9, -0.117783036),
    (3, 81, 64, 0.235566071),
    (4, 1024, 625, 0.493720156),
    (5, 15625, 7776, 0.697830128),
    (6, 279936, 117649, 0.866855390),
    (7, 5764801, 2097152, 1.011190401),
    (8, 134217728, 43046721, 1.137177256),
    (9, 3486784401, 1000000000, 1.248979936),
    (10, 100000000000, 25937424601, 1.349483295),
)


def naive(n: np.ndarray) -> np.ndarray:
    """In float32, as it is commonly written."""
    n = n.astype(np.float32)
    return (n + 1) * np.log(n) - n * np.log(n + 1)


@pytest.mark.parametrize(("n", "left", "right", "gap"), TABLE)
def test_table_of_the_card(n, left, right, gap) -> None:
    assert (n ** (n + 1), (n + 1) ** n) == (left, right)
    assert abs(float(log_power_gap(jnp.asarray(float(n)))) - gap) < 1e-9


def test_gap_is_that_of_exact_integers() -> None:
    n = np.arange(1, 141)
    exact = [math.log(k ** (k + 1)) - math.log((k + 1) ** k) for k in range(1, 141)]
    assert np.abs(np.asarray(log_power_gap(jnp.asarray(n))) - exact).max() < 1e-12


def test_signs_of_a_thousand_integers_are_exact() -> None:
    exact = [exact_compare(k) for k in range(1000)]
    assert exact == [-1] * 3 + [1] * 997  # and never 0
    n = jnp.arange(1000)
    for dtype in (jnp.int32, jnp.float32, jnp.float64):
        assert compare_consecutive_powers(n.astype(dtype)).tolist() == exact
    small = jnp.arange(200)
    for dtype in (jnp.int8, jnp.uint8, jnp.bfloat16, jnp.float16):
        found = compare_consecutive_powers(small[:100].astype(dtype))
        assert found.tolist() == exact[:100]


def test_float32_has_the_right_sign_where_the_common_forms_fail() -> None:
    n = np.arange(1, 1_000_001)
    gap = np.asarray(log_power_gap(jnp.asarray(n.astype(np.float32))))
    assert gap.dtype == np.float32
    assert (np.sign(gap) == np.where(n <= 2, -1, 1)).all()
    large = np.array([1e5, 1e6, 1e7, 1e8, 1e9])
    exact = np.log(large) - large * np.log1p(1 / large)
    found = np.asarray(log_power_gap(jnp.asarray(large, jnp.float32)), np.float64)
    assert (np.abs(found / exact - 1) < 1e-6).all()
    assert abs(exact[-1] - 19.72327) < 1e-5
    # The card's numbers of the common form: wrong by tenths, then 0.
    assert naive(large)[-2:].tolist() == [0, 0]
    far = np.arange(8_332_400, 8_332_600)
    assert far[naive(far) <= 0].min() == 8_332_460


def test_powers_in_int32_wrap_at_nine() -> None:
    n = np.arange(1, 27, dtype=np.int64)
    with np.errstate(over="ignore"):
        left = np.array([pow(int(k), int(k) + 1, 2**32) for k in n], np.uint32)
        right = np.array([pow(int(k) + 1, int(k), 2**32) for k in n], np.uint32)
    wrapped = left.astype(np.int32), right.astype(np.int32)
    assert wrapped[0][8] == -808182895
    sign = np.sign(wrapped[0].astype(np.int64) - wrapped[1])
    wrong = n[sign != np.asarray(compare_consecutive_powers(jnp.asarray(n)))]
    assert wrong[:8].tolist() == [9, 11, 13, 16, 17, 19, 22, 25]


@pytest.mark.parametrize(
    ("dtype", "limits"),
    [
        (jnp.int32, (8, 9)),
        (jnp.uint32, (9, 9)),
        (jnp.int64, (15, 15)),
        (jnp.uint64, (15, 15)),
        (jnp.float16, (5, 5)),
        (jnp.bfloat16, (26, 26)),
        (jnp.float32, (26, 26)),
        (jnp.float64, (142, 142)),
    ],
)
def test_limits_of_dtypes(dtype, limits) -> None:
    assert power_limits(dtype) == limits


def test_crossover() -> None:
    x = power_crossover()
    assert abs(x - 2.293166287411861031508) < 1e-15
    assert abs(x ** (1 / x) - (x + 1) ** (1 / (x + 1))) < 1e-15
    near = jnp.asarray([x - 1e-9, x + 1e-9])
    assert compare_consecutive_powers(near).tolist() == [-1, 1]
    assert np.sign(log_power_gap(near)).tolist() == [-1, 1]


def test_gap_rises_and_tends_to_its_series() -> None:
    n = np.concatenate([np.linspace(0.01, 20, 5000), np.geomspace(21, 1e12, 5000)])
    gap = np.asarray(log_power_gap(jnp.asarray(n)))
    assert (np.diff(gap) > 0).all()
    whole = n[n >= 1]
    for terms in (0, 1, 2, 5):
        error = np.abs(power_gap_series(jnp.asarray(whole), terms=terms) - gap[n >= 1])
        left_out = 1 / ((terms + 2) * whole ** (terms + 1))
        assert (error <= left_out + 4e-15 * (1 + np.log(whole))).all()
        assert error[0] > 0.3 * left_out[0]  # a term more would be seen
    assert abs(math.exp(gap[n >= 1e12][-1]) / 1e12 - 1 / math.e) < 1e-3


def test_ratio_over_n_tends_to_one_over_e() -> None:
    ratio = math.exp(float(log_power_gap(jnp.asarray(1000.0)))) / 1000
    assert abs(ratio - 0.3680633) < 1e-7 and abs(1 / math.e - 0.3678794) < 1e-7


def test_gap_at_the_ends_and_its_slope() -> None:
    ends = log_power_gap(jnp.asarray([0.0, np.inf, -1.0, np.nan]))
    assert ends[0] == -np.inf and ends[1] == np.inf and np.isnan(ends[2:]).all()
    n = jnp.asarray([0.5, 1.0, 2.3, 10.0, 1e6, 1e12])
    slope = jax.vmap(jax.grad(log_power_gap))(n)
    exact = 1 / n - np.log1p(1 / n) + 1 / (n + 1)
    np.testing.assert_allclose(slope, exact, rtol=1e-14)
    wide = np.asarray(n, np.float64)[:5]
    single = jax.vmap(jax.grad(log_power_gap))(n[:5].astype(jnp.float32))
    np.testing.assert_allclose(
        single, 1 / wide - np.log1p(1 / wide) + 1 / (wide + 1), 1e-5
    )


def test_general_powers_of_integers_are_exact() -> None:
    pairs = [(a, b) for a in range(40) for b in range(40)]
    exact = [(a**b > b**a) - (a**b < b**a) for a, b in pairs]
    a, b = (jnp.asarray(side) for side in zip(*pairs, strict=True))
    assert compare_powers(a, b).tolist() == exact
    equal = [pair for pair, sign in zip(pairs, exact, strict=True) if sign == 0]
    assert {pair for pair in equal if pair[0] != pair[1]} == {(2, 4), (4, 2)}
    found = compare_powers(a.astype(jnp.float32), b.astype(jnp.float32))
    assert found.tolist() == exact


def test_general_powers_of_1000_real_pairs() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.uniform(0.1, 30, (2, 1000))
    b[:300] = a[:300] * (1 + 1e-9 * rng.normal(size=300))  # near each other
    a, b = (np.asarray(x, np.longdouble) for x in (a, b))
    exact = np.sign(b * np.log(a) - a * np.log(b))
    a, b = (jnp.asarray(np.asarray(x, np.float64)) for x in (a, b))
    found = np.asarray(compare_powers(a, b))
    assert (found == exact).all()
    # Antisymmetric, and by log(x) / x: beyond e the smaller base wins.
    assert (np.asarray(compare_powers(b, a)) == -found).all()
    beyond = np.asarray((jnp.minimum(a, b) >= math.e) & (a != b))
    assert (found[beyond] == np.where(np.asarray(a < b), 1, -1)[beyond]).all()
    assert compare_powers(jnp.asarray(math.e), jnp.asarray(math.pi)) == 1


def test_no_answer_is_zero() -> None:
    bad = jnp.asarray([-1.0, np.nan])
    assert compare_consecutive_powers(bad).tolist() == [0, 0]
    assert compare_powers(bad, jnp.ones(2)).tolist() == [0, 0]
    assert compare_powers(jnp.asarray([0, 0, 5]), jnp.asarray([0, 5, 0])).tolist() == [
        0,
        -1,
        1,
    ]
