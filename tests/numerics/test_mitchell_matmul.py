"""Sums of Mitchell's products against one product after the other."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from kexue_jax.numerics import (
    lmul_offset,
    mitchell_conv,
    mitchell_dot_general,
    mitchell_matmul,
    mitchell_mul,
)

GRADS = ("straight_through", "mimic", "exact")


def pair(*shapes, dtype=jnp.float32, seed=0):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.normal(size=s), dtype) for s in shapes]


def one_by_one(a, b, **options):
    return jnp.sum(mitchell_mul(a[:, :, None], b[None], **options), 1)


@pytest.mark.parametrize("grad", GRADS)
def test_matrices_are_sums_in_value_and_gradient(grad) -> None:
    for (m, k, n), block in (((5, 70, 6), 64), ((3, 1, 1), 4), ((4, 16, 7), 5)):
        a, b = pair((m, k), (k, n), dtype=jnp.float64)
        options = {"grad": grad, "offset": 1 / 16}

        def fast(a, b, block=block, options=options):
            return jnp.sum(jnp.sin(mitchell_matmul(a, b, block=block, **options)))

        def plain(a, b, options=options):
            return jnp.sum(jnp.sin(one_by_one(a, b, **options)))

        found, wanted = (
            jax.jit(jax.value_and_grad(f, (0, 1)))(a, b) for f in (fast, plain)
        )
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12),
            found,
            wanted,
        )


def test_normal_matrices_shrink_by_four_per_cent() -> None:
    a, b = pair((64, 512), (512, 32))
    exact = np.asarray(a, float) @ np.asarray(b, float)

    def fit(offset):
        found = np.asarray(mitchell_matmul(a, b, offset=offset), float)
        slope = (found * exact).sum() / (exact**2).sum()
        size = np.linalg.norm(exact)
        rest = [np.linalg.norm(found - exact * s) / size for s in (1.0, slope)]
        return slope, *rest

    slope, whole, rescaled = fit(0.0)
    assert slope == pytest.approx(0.9614, abs=0.002)
    assert whole == pytest.approx(0.0485, abs=0.003)
    assert rescaled == pytest.approx(0.0306, abs=0.003)
    slope, whole, _ = fit(lmul_offset(jnp.float32))
    assert slope == pytest.approx(1.0039, abs=0.002)
    assert whole == pytest.approx(0.032, abs=0.003)


def test_leading_axes_broadcast_and_half_precision_is_summed_in_float32() -> None:
    a, b = pair((2, 1, 3, 4), (5, 4, 2), dtype=jnp.float64)
    found = mitchell_matmul(a, b)
    for i in range(2):
        for j in range(5):
            np.testing.assert_allclose(found[i, j], one_by_one(a[i, 0], b[j]))
    ones = jnp.ones((1, 4096), jnp.bfloat16)
    assert float(mitchell_matmul(ones, ones.T)[0, 0]) == 4096  # 256 in bfloat16
    half, other = pair((4, 300), (300, 4), dtype=jnp.bfloat16)
    found = np.asarray(mitchell_matmul(half, other), float)
    wanted = np.asarray(mitchell_mul(half[:, :, None], other[None]), float).sum(1)
    np.testing.assert_allclose(found, wanted, rtol=2**-8, atol=1e-3)


@pytest.mark.parametrize(
    "numbers",
    [
        (((1,), (0,)), ((), ())),
        (((2, 1), (1, 2)), ((0,), (0,))),
        (((), ()), ((), ())),
    ],
)
def test_dot_general_has_the_axes_of_jax(numbers) -> None:
    shapes = {1: ((3, 4), (4, 2)), 2: ((2, 3, 4), (2, 4, 3)), 0: ((3,), (2,))}
    a, b = pair(*shapes[len(numbers[0][0])], dtype=jnp.float64)
    # Times powers of two the product is exact, and so is dot_general.
    two = jnp.exp2(jnp.round(b))
    found = mitchell_dot_general(a, two, numbers)
    np.testing.assert_allclose(found, jax.lax.dot_general(a, two, numbers), rtol=1e-13)
    typed = mitchell_dot_general(
        a.astype(jnp.bfloat16), two.astype(jnp.bfloat16), numbers, None, jnp.float32
    )
    assert typed.dtype == jnp.float32


def test_layers_take_it() -> None:
    dot = functools.partial(mitchell_dot_general, offset=1 / 16)
    layer = nnx.Linear(5, 3, dot_general=dot, rngs=nnx.Rngs(0))
    (x,) = pair((7, 5))
    found, kernel = layer(x), layer.kernel[...]
    np.testing.assert_allclose(
        found, one_by_one(x, kernel, offset=1 / 16), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("space", [1, 2, 3])
def test_convolutions_are_those_of_jax_where_products_are_exact(padding, space) -> None:
    sizes, window = (5, 6, 4)[:space], (3, 2, 2)[:space]
    x, kernel = pair((2, *sizes, 3), (*window, 3, 4), dtype=jnp.float64)
    kernel = jnp.exp2(jnp.round(kernel))
    strides = (2, 1, 1)[:space]
    letters = "DHW"[-space:]
    names = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    wanted = jax.lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=names
    )
    found = mitchell_conv(x, kernel, strides=strides, padding=padding)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_memory_does_not_grow_with_the_inner_axis() -> None:
    def temporaries(k):
        shapes = [jax.ShapeDtypeStruct(s, "float32") for s in ((64, k), (k, 64))]
        program = jax.jit(lambda a, b: mitchell_matmul(a, b, block=8))
        return program.lower(*shapes).compile().memory_analysis().temp_size_in_bytes

    assert temporaries(4096) < 64 * 4096 * 64 * 4 / 20
