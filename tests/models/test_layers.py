import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from kexue_jax.models import functional, layers
from tests.oracles import unet as oracle

RANDOM = np.random.default_rng(0)


def normal(*shape):
    return RANDOM.normal(size=shape)


@pytest.mark.parametrize(("width", "groups"), [(8, 4), (12, 3), (6, 1), (5, 5)])
@pytest.mark.parametrize("sides", [(4, 6), (1, 1), (7, 3)])
def test_group_norm(width, groups, sides):
    x, scale, offset = normal(3, *sides, width), normal(width), normal(width)
    want = oracle.group_norm(x, scale, offset, groups)
    for form in (layers.group_norm, layers.group_norm_plain):
        got = form(x, scale, offset, groups=groups, epsilon=1e-6)
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("width", "groups"), [(8, 4), (12, 3), (6, 1), (5, 5)])
def test_group_norm_gradient_equals_its_twin(width, groups):
    arguments = normal(3, 4, 6, width), normal(width), normal(width)
    weights = normal(3, 4, 6, width)

    def gradient(form):
        def loss(*arrays):
            return (weights * form(*arrays, groups=groups, epsilon=1e-6)).sum()

        return jax.grad(loss, argnums=(0, 1, 2))(*arguments)

    fast, plain = gradient(layers.group_norm), gradient(layers.group_norm_plain)
    for a, b in zip(fast, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


def test_groups_are_strided():
    """A channel moves only those that share its index modulo the number of groups."""
    x = normal(1, 4, 4, 6)
    moved = x.copy()
    moved[..., 1] += normal(1, 4, 4)
    ones, zeros = np.ones(6), np.zeros(6)
    a, b = (
        layers.group_norm(v, ones, zeros, groups=3, epsilon=1e-6) for v in (x, moved)
    )
    changed = [not np.allclose(a[..., c], b[..., c]) for c in range(6)]
    assert changed == [False, True, False, False, True, False]


def test_group_norm_of_a_large_mean_in_float32():
    x = normal(2, 8, 8, 8) + 1000
    ones, zeros = np.ones(8), np.zeros(8)
    x = x.astype(np.float32)
    got = layers.group_norm(x, ones, zeros, groups=4, epsilon=1e-6)
    want = oracle.group_norm(x.astype(np.float64), ones, zeros, 4)
    # x itself is rounded to 1000 * 6e-8 = 6e-5 of its standard deviation.
    np.testing.assert_allclose(got, want, rtol=0, atol=3e-4)


def test_group_norm_of_a_constant_image():
    ones = jnp.ones(4)
    x = jnp.full((1, 4, 4, 4), 3.0)
    run = jax.value_and_grad(
        lambda x: layers.group_norm(x, ones, ones, groups=2, epsilon=1e-6).sum()
    )
    value, gradient = run(x)
    assert value == 64
    assert np.isfinite(gradient).all()


def test_group_norm_gradients():
    x, scale, offset = normal(2, 3, 4, 6), normal(6), normal(6)
    check_grads(
        lambda *a: layers.group_norm(*a, groups=3, epsilon=1e-6),
        (x, scale, offset),
        order=1,
        eps=1e-6,
        rtol=1e-6,
        atol=1e-6,
    )


@pytest.mark.parametrize("width", [8, 12, 9])
def test_group_norm_takes_the_greatest_common_divisor(width):
    norm = layers.GroupNorm(width, groups=6)
    assert norm.groups == np.gcd(width, 6)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("sides", [(4, 6), (2, 2), (8, 4)])
def test_conv(stride, sides):
    model = functional(lambda rngs: layers.Conv(3, 5, stride=stride))
    kernel, x = normal(3, 3, 3, 5), normal(2, *sides, 3)
    got = model.apply({"kernel": kernel}, jnp.asarray(x))
    np.testing.assert_allclose(got, oracle.conv(x, kernel, stride), atol=1e-12)


def test_conv_and_dense_bias():
    bias = normal(5)
    conv = functional(lambda rngs: layers.Conv(3, 5, bias=True))
    dense = functional(lambda rngs: layers.Dense(3, 5, bias=True))
    x, kernel = normal(2, 4, 4, 3), normal(3, 3, 3, 5)
    got = conv.apply({"kernel": kernel, "bias": bias}, jnp.asarray(x))
    np.testing.assert_allclose(got, oracle.conv(x, kernel) + bias, atol=1e-12)
    got = dense.apply({"kernel": kernel[0, 0], "bias": bias}, jnp.asarray(x))
    np.testing.assert_allclose(got, x @ kernel[0, 0] + bias, atol=1e-12)


def test_kernels_start_with_the_variance_of_fan_avg():
    """Uniform in +-sqrt(3 scale / n): 36,864 draws, 5 sigma are 3 %."""
    model = functional(lambda rngs: layers.Conv(64, 64, scale=0.25))
    kernel = np.asarray(model.init(jax.random.key(0))["kernel"])
    bound = np.sqrt(3 * 0.25 / (9 * 64))
    assert 0.99 * bound < np.abs(kernel).max() <= bound
    assert abs(kernel.var() / (bound**2 / 3) - 1) < 0.03


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(jnp.float64, 1e-12), (jnp.float32, 2e-4)]
)
def test_sinusoidal_embedding(dtype, tolerance):
    """In float32 an angle of 999 is known to 6e-5."""
    position = np.array([0.0, 1.0, 17.5, 999.0])
    want = oracle.sinusoidal(position, 10)
    got = layers.sinusoidal_embedding(jnp.asarray(position), width=10, dtype=dtype)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance)
    integers = jnp.array([0, 999])
    got = layers.sinusoidal_embedding(integers, width=10, dtype=dtype)
    np.testing.assert_allclose(got, want[[0, 3]], rtol=0, atol=tolerance)


def test_embedding_is_a_table_and_linear_in_between():
    model = functional(lambda rngs: layers.Embedding(5, 3))
    table = normal(5, 3)
    index = np.array([-2.0, 0.0, 0.25, 1.5, 3.999, 4.0, 9.0])
    got = model.apply({"table": table}, jnp.asarray(index))
    np.testing.assert_allclose(got, oracle.embed(table, index), atol=1e-12)
    whole = model.apply({"table": table}, jnp.array([-3, 0, 2, 4, 8]))
    np.testing.assert_array_equal(whole, table[[0, 0, 2, 4, 4]])


def test_embedding_gradient_by_a_floating_index():
    model = functional(lambda rngs: layers.Embedding(5, 3))
    table, index = normal(5, 3), jnp.array([0.3, 2.6])
    run = lambda table, index: model.apply({"table": table}, index)  # noqa: E731
    check_grads(run, (table, index), order=1, eps=1e-6, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("sides", [(2, 2), (4, 6)])
def test_pool_and_upsample(sides):
    x = normal(2, *sides, 3)
    np.testing.assert_allclose(layers.average_pool(x), oracle.pool(x), atol=1e-14)
    np.testing.assert_array_equal(
        layers.nearest_upsample(jnp.asarray(x)), oracle.upsample(x)
    )
    back = layers.average_pool(layers.nearest_upsample(jnp.asarray(x)))
    np.testing.assert_allclose(back, x, atol=1e-14)


def test_dropout():
    x = jnp.ones((100, 100), jnp.float32)
    assert layers.dropout(x, None, rate=0.5) is x
    assert layers.dropout(x, jax.random.key(0), rate=0.0) is x
    dropped = np.asarray(layers.dropout(x, jax.random.key(0), rate=0.25))
    kept = dropped != 0
    np.testing.assert_allclose(dropped[kept], 1 / 0.75, rtol=1e-6)
    # 10,000 draws: five standard deviations are 0.022, false alarm below 1e-6.
    assert abs(kept.mean() - 0.75) < 0.022


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
def test_dtype_of_the_input_is_the_dtype_of_the_output(dtype):
    x = jnp.ones((2, 4, 4, 8), dtype)
    for make in (
        lambda rngs: layers.Conv(8, 8, bias=True),
        lambda rngs: layers.Dense(8, 8, bias=True),
        lambda rngs: layers.GroupNorm(8, groups=4),
    ):
        model = functional(make)
        assert model.apply(model.init(jax.random.key(0)), x).dtype == dtype
    assert layers.average_pool(x).dtype == dtype
    assert layers.nearest_upsample(x).dtype == dtype
    assert layers.dropout(x, jax.random.key(0), rate=0.5).dtype == dtype
