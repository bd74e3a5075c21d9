"""Mitchell's products and quotients: exact bits, error bounds, special values."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from kexue_jax.numerics import lmul, lmul_offset, mitchell_div, mitchell_mul
from tests.oracles import mitchell as oracle

DTYPES = (jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64)
GRADS = ("straight_through", "mimic", "exact")


def normal(rng, size, dtype=np.float32, scale=20.0):
    """Numbers of many scales and both signs."""
    sign = rng.choice([-1, 1], size)
    return (sign * np.exp2(rng.uniform(-scale, scale, size))).astype(dtype)


def test_worked_example() -> None:
    found = float(mitchell_mul(jnp.float32(12.3), jnp.float32(4.56)))
    assert found == pytest.approx(53.68, abs=1e-5)
    assert 1 - found / 56.088 == pytest.approx(0.04293, abs=1e-5)
    assert float(mitchell_mul(jnp.float32(1.5), jnp.float32(1.5))) == 2
    # The article's hand computation keeps few digits.
    assert oracle.by_strings("1100.01001", "100.1001") == 53.625
    bits = np.asarray(9.75, np.float32).view(np.uint32)
    assert format(bits, "032b").startswith("0" + "10000010" + "0011100")


def test_strings_of_bits_give_the_same_as_patterns() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(1, 2**12, (2, 1000))
    patterns = mitchell_mul(jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32))
    words = [oracle.by_strings(f"{x:b}", f"{y:b}") for x, y in zip(a, b, strict=True)]
    assert np.asarray(patterns, float).tolist() == words


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_every_pair_of_mantissas_is_off_by_at_most_a_ninth(dtype) -> None:
    """All pairs, but for their exponents, which add (the next test)."""
    size = 2 ** int(jnp.finfo(dtype).nmant)
    x = jnp.asarray(1 + np.arange(size) / size, dtype)
    wide = np.asarray(x, float)
    found = np.asarray(mitchell_mul(x[:, None], x[None]), float)
    error = found / np.outer(wide, wide) - 1
    assert (error <= 0).all() and error.min() == found[size // 2, size // 2] / 2.25 - 1
    assert np.unravel_index(error.argmin(), error.shape) == (size // 2, size // 2)
    assert error.min() == pytest.approx(-1 / 9, rel=1e-14)
    np.testing.assert_array_equal(error == 0, (wide == 1)[:, None] | (wide == 1))
    np.testing.assert_array_equal(found, oracle.mul(wide[:, None], wide))


@pytest.mark.slow
def test_all_pairs_of_float16() -> None:
    """2^32 of them: off by a ninth at most, or flushed, infinite or special."""
    every = jnp.arange(2**16, dtype=jnp.uint32).astype(jnp.uint16)
    b = jax.lax.bitcast_convert_type(every, jnp.float16)[None]
    least = jnp.float32(jnp.finfo(jnp.float16).smallest_normal)

    def rows(bits):
        a = jax.lax.bitcast_convert_type(bits, jnp.float16)[:, None]
        found = mitchell_mul(
            jnp.broadcast_to(a, (len(bits), 2**16)),
            jnp.broadcast_to(b, (len(bits), 2**16)),
        ).astype(jnp.float32)
        x, y = a.astype(jnp.float32), b.astype(jnp.float32)
        true = x * y  # exact: 22 bits
        finite = jnp.isfinite(x) & jnp.isfinite(y)
        normal = finite & (jnp.abs(x) >= least) & (jnp.abs(y) >= least)
        inside = normal & (found != 0) & jnp.isfinite(found)
        error = jnp.where(inside, found / true - 1, 0)
        # Mitchell's product is 8/9 of the true one at least.
        low = normal & (found == 0) & (jnp.abs(true) >= 1.125 * least)
        high = normal & jnp.isinf(found) & (jnp.abs(true) < 2.0**16)
        flushed = finite & ~normal & (found != 0)
        special = ~finite & ~((found == true) | (jnp.isnan(found) & jnp.isnan(true)))
        # Infinity times a subnormal number: that is flushed first.
        special &= ~jnp.isnan(found)
        wrong = jnp.sum(low | high | flushed | special, dtype=jnp.int32)
        return error.min(), error.max(), wrong, jnp.sum(inside, dtype=jnp.int32)

    chunks = every.reshape(-1, 128)
    low, high, wrong, count = jax.jit(lambda c: jax.lax.map(rows, c))(chunks)
    assert float(low.min()) == pytest.approx(-1 / 9, abs=1e-6)
    assert float(high.max()) <= 1e-6
    assert int(wrong.sum()) == 0
    assert np.asarray(count, np.int64).sum() > 2**31


@pytest.mark.parametrize("dtype", DTYPES)
def test_exponents_add(dtype) -> None:
    info = jnp.finfo(dtype)
    powers = np.arange(int(info.minexp), int(info.maxexp) - 1)
    powers = np.unique(powers[:: max(1, len(powers) // 60)])
    rng = np.random.default_rng(1)
    m = 1 + rng.integers(0, 2**7, (2, len(powers), len(powers))) / 2**7
    i, j = np.meshgrid(powers, powers, indexing="ij")
    keep = (i + j > int(info.minexp)) & (i + j < int(info.maxexp) - 2)
    m, i, j = m[:, keep], i[keep], j[keep]
    a, b = (np.ldexp(x, e) for x, e in zip(m, (i, j), strict=True))
    found = mitchell_mul(jnp.asarray(a, dtype), jnp.asarray(b, dtype))
    wanted = np.ldexp(oracle.mul(*m), i + j)
    np.testing.assert_array_equal(np.asarray(found, float), wanted)


def test_ten_million_pairs_are_off_by_at_most_a_ninth() -> None:
    run = jax.jit(mitchell_mul)
    rng, worst = np.random.default_rng(2), 0.0
    for _ in range(10):
        a, b = rng.integers(0x3F800000, 0x40000000, (2, 10**6), np.uint32)
        a, b = a.view(np.float32), b.view(np.float32)
        exact = a.astype(float) * b
        error = np.asarray(run(a, b), float) / exact - 1
        assert error.max() <= 0 and error.min() >= -1 / 9
        worst = min(worst, error.min())
    assert worst < -0.111


@pytest.mark.parametrize("dtype", DTYPES)
def test_special_values(dtype) -> None:
    info = jnp.finfo(dtype)
    values = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, float(info.max), 2.0]
    values += [float(info.smallest_normal), float(info.smallest_normal) / 4, 0.5, 3.0]
    x = np.asarray(jnp.asarray(values, dtype))
    small = float(info.smallest_normal)
    flat = np.asarray(x, float)
    flat = np.where(np.abs(flat) < small, np.copysign(0, flat), flat)
    a, b = (v.ravel() for v in np.meshgrid(flat, flat, indexing="ij"))
    jobs = (
        (mitchell_mul, np.multiply, oracle.mul),
        (mitchell_div, np.divide, oracle.div),
    )
    for function, ieee, mine in jobs:
        found = np.asarray(
            function(jnp.asarray(x)[:, None], jnp.asarray(x)[None]), float
        )
        with np.errstate(all="ignore"):
            wanted = ieee(a, b)
            plain = np.isfinite(wanted) & (wanted != 0)
            value = np.where(
                plain, mine(np.where(plain, a, 1), np.where(plain, b, 1)), 0
            )
        over, under = np.abs(value) > float(info.max), np.abs(value) < small
        value = np.where(over, np.copysign(np.inf, value), np.where(under, 0, value))
        np.testing.assert_array_equal(found.ravel(), np.where(plain, value, wanted))
        signs = np.signbit(found.ravel()) == np.signbit(wanted)
        assert signs[~np.isnan(wanted)].all()


def test_the_common_line_of_code_has_no_special_values() -> None:
    def line(a, b):
        patterns = [np.asarray(x, np.float32).view(np.uint32) for x in (a, b)]
        total = patterns[0] + patterns[1] - np.uint32(0x3F800000)
        return float(np.asarray(total, np.uint32).view(np.float32))

    with np.errstate(over="ignore"):
        assert line(1.5, 1.5) == 2
        assert line(0.0, 3.0) != 0 and line(3e38, 3e38) != np.inf
        assert line(1e-30, 1e-30) < 0  # the exponent wraps into the sign
    pairs = jnp.asarray([[0.0, 3.0], [3e38, 3e38], [1e-30, 1e-30]], jnp.float32)
    assert mitchell_mul(*pairs.T).tolist() == [0, np.inf, 0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_overflow_may_be_clamped(dtype) -> None:
    top = jnp.finfo(dtype).max
    x = jnp.asarray([top, -top], dtype)
    assert np.isinf(mitchell_mul(x, x + 0)).all()
    found = mitchell_mul(x, jnp.abs(x), overflow="clamp")
    np.testing.assert_array_equal(found, x)
    found = mitchell_div(x, jnp.full(2, 0.25, dtype), overflow="clamp")
    np.testing.assert_array_equal(found, x)


def test_eight_bits() -> None:
    for dtype in (jnp.float8_e4m3fn, jnp.float8_e5m2):
        patterns = np.arange(256, dtype=np.uint8)
        x = patterns.view(ml_dtypes.finfo(dtype).dtype)
        wide = x.astype(np.float64)
        info = ml_dtypes.finfo(dtype)
        fine = np.isfinite(wide) & (np.abs(wide) >= float(info.smallest_normal))
        x, wide = x[fine], wide[fine]
        found = mitchell_mul(jnp.asarray(x)[:, None], jnp.asarray(x)[None])
        found = np.asarray(found).astype(np.float64)
        wanted = oracle.mul(wide[:, None], wide)
        wanted[np.abs(wanted) < float(info.smallest_normal)] = 0
        over = np.abs(wanted) > float(info.max)
        most = np.inf if dtype == jnp.float8_e5m2 else 448
        np.testing.assert_array_equal(
            found, np.where(over, np.copysign(most, wanted), wanted)
        )


def test_algebra_of_the_product_10000_times() -> None:
    rng = np.random.default_rng(3)
    a, b, d = (jnp.asarray(normal(rng, 10_000)) for _ in range(3))
    m = mitchell_mul(a, b)
    np.testing.assert_array_equal(m, mitchell_mul(b, a))
    np.testing.assert_array_equal(-m, mitchell_mul(-a, b))
    np.testing.assert_array_equal(
        mitchell_mul(m, d), mitchell_mul(a, mitchell_mul(b, d))
    )
    np.testing.assert_array_equal(mitchell_div(m, b), a)
    two = jnp.asarray(np.ldexp(np.float32(1), rng.integers(-20, 20, 10_000)))
    np.testing.assert_array_equal(mitchell_mul(a, two), a * two)
    # Rising in each positive argument, and not distributive.
    a, b = jnp.abs(a), jnp.abs(b)
    assert (mitchell_mul(jnp.nextafter(a, jnp.inf), b) >= mitchell_mul(a, b)).all()
    apart = mitchell_mul(a, b + d) - mitchell_mul(a, b) - mitchell_mul(a, d)
    assert (jnp.abs(apart) > 1e-3 * jnp.abs(a * b)).mean() > 0.1


STATISTICS = {  # offset: mean, mean size or None, rms or None, least, largest; per cent
    0.0: (-3.849, None, 4.842, -11.11, 0.0),
    1 / 16: (0.408, 2.655, 3.095, -7.29, 6.25),
    1 / 8: (4.85, None, None, -3.21, 12.5),
}


@pytest.mark.parametrize("offset", STATISTICS)
def test_error_statistics(offset) -> None:
    x = np.float32(1 + (np.arange(1000) + 0.5) / 1000)
    found = mitchell_mul(jnp.asarray(x)[:, None], jnp.asarray(x)[None], offset=offset)
    error = 100 * (np.asarray(found, float) / np.outer(x, x).astype(float) - 1)
    mean, size, rms, least, most = STATISTICS[offset]
    assert error.mean() == pytest.approx(mean, abs=0.006)
    assert size is None or np.abs(error).mean() == pytest.approx(size, abs=0.002)
    assert rms is None or np.sqrt((error**2).mean()) == pytest.approx(rms, abs=0.002)
    assert [error.min(), error.max()] == pytest.approx([least, most], abs=0.13)


def test_error_of_numbers_of_all_scales_and_of_normal_ones() -> None:
    grid = np.float32(2 ** ((np.arange(1000) + 0.5) / 1000))
    for offset, mean in ((0.0, -3.820), (1 / 16, 0.440)):
        found = mitchell_mul(
            jnp.asarray(grid)[:, None], jnp.asarray(grid)[None], offset=offset
        )
        error = 100 * (np.asarray(found, float) / np.outer(grid, grid) - 1)
        assert error.mean() == pytest.approx(mean, abs=0.005)
    rng = np.random.default_rng(4)
    for dtype in (jnp.float32, jnp.bfloat16, jnp.float16):
        a, b = jnp.asarray(rng.normal(size=(2, 200_000)), dtype)
        exact = np.asarray(a, float) * np.asarray(b, float)
        small = float(jnp.finfo(jnp.float16).smallest_normal)
        kept = np.abs(exact) > small * 9 / 8
        kept &= np.minimum(np.abs(a), np.abs(b)).astype(float) >= small
        error = (np.asarray(mitchell_mul(a, b), float)[kept] / exact[kept]) - 1
        assert error.max() <= 0 and -1 / 9 - 1e-15 <= error.min() < -0.11
        assert error.mean() == pytest.approx(-0.0382, abs=5e-4)


def test_quotients_are_over_by_at_most_an_eighth() -> None:
    x = np.float32(1 + (np.arange(1000) + 0.5) / 1000)
    found = mitchell_div(jnp.asarray(x)[:, None], jnp.asarray(x)[None])
    error = np.asarray(found, float) / np.divide.outer(x.astype(float), x) - 1
    assert error.min() >= 0 and 0.1249 < error.max() <= 0.125
    assert error.mean() == pytest.approx(0.0410, abs=2e-4)


def test_l_mul() -> None:
    for dtype, offset in (
        (jnp.float32, 1 / 16),
        (jnp.bfloat16, 1 / 16),
        (jnp.float16, 1 / 16),
        (jnp.float8_e4m3fn, 1 / 8),
        (jnp.float8_e5m2, 1 / 4),
    ):
        assert lmul_offset(dtype) == offset
    rng = np.random.default_rng(5)
    a, b = (jnp.asarray(normal(rng, 1000)) for _ in range(2))
    np.testing.assert_array_equal(lmul(a, b), mitchell_mul(a, b, offset=1 / 16))
    # As its paper writes it for float32: one constant, 0x3f780000, taken off.
    patterns = [np.asarray(jnp.abs(x)).view(np.uint32) for x in (a, b)]
    total = patterns[0] + patterns[1] - np.uint32(0x3F780000)
    np.testing.assert_array_equal(np.abs(lmul(a, b)), total.view(np.float32))
    assert float(lmul(jnp.float32(1), jnp.float32(1))) == 1.0625


def test_the_article_is_wrong_that_base_three_is_more_precise() -> None:
    def errors(base):
        x = (base - 1) * (np.arange(1000) + 0.5) / 1000  # 1 + x in [1, base)
        s = (x[:, None] + x) / (base - 1)
        carry = s >= 1
        product = np.where(carry, base * (1 + (base - 1) * (s - 1)), 1 + (base - 1) * s)
        return 1 - product / np.outer(1 + x, 1 + x)

    two, three = errors(2), errors(3)
    assert two.max() == pytest.approx(1 / 9, abs=1e-3)
    assert three.max() == pytest.approx(0.25, abs=1e-3)
    assert [two.mean(), three.mean()] == pytest.approx([0.0385, 0.091], abs=4e-4)


@pytest.mark.parametrize("divides", [False, True])
def test_the_three_slopes(divides) -> None:
    rng = np.random.default_rng(6)
    a, b = (jnp.asarray(normal(rng, 1000, float, 3.0)) for _ in range(2))
    function = mitchell_div if divides else mitchell_mul

    def slopes(grad):
        call = lambda a, b: function(a, b, grad=grad)  # noqa: E731
        return jax.jit(jax.vmap(jax.grad(call, (0, 1))))(a, b)

    exact = (1 / b, -a / b**2) if divides else (b, a)
    np.testing.assert_allclose(slopes("straight_through"), exact, rtol=1e-14)
    ones = jnp.ones_like(a)
    mimic = slopes("mimic")
    if divides:
        np.testing.assert_array_equal(mimic[0], mitchell_div(ones, b))
        chain = mitchell_mul(ones, mitchell_div(mitchell_div(a, b), b))
        np.testing.assert_array_equal(mimic[1], -chain)
    else:
        np.testing.assert_array_equal(mimic, (b, a))  # times 1 is exact
    # The exact slope: differences within a piece.
    found = slopes("exact")
    for place, x in enumerate((a, b)):
        step = 1e-9 * jnp.abs(x)
        pairs = [(x + s, b) if place == 0 else (a, x + s) for s in (step, -step)]
        values = [function(*pair) for pair in pairs]
        measured = (values[0] - values[1]) / (2 * step)
        close = np.isclose(measured, found[place], rtol=1e-5)
        assert close.mean() > 0.999  # but for pieces' ends
        assert np.all(np.log2(np.abs(found[place])) % 1 == 0)  # powers of two


def test_slopes_where_the_product_is_constant() -> None:
    a = jnp.asarray([1e-30, 3e38, 0.0, np.nan], jnp.float32)
    b = jnp.asarray([1e-30, 3e38, 2.0, 1.0], jnp.float32)
    exact = jax.vmap(jax.grad(lambda a, b: mitchell_mul(a, b, grad="exact"), (0, 1)))
    np.testing.assert_array_equal(exact(a, b), np.zeros((2, 4)))
    both = jax.jvp(lambda a: mitchell_mul(a, b), (a,), (jnp.ones_like(a),))[1]
    np.testing.assert_array_equal(both[:3], b[:3])
