"""The convolution with fewer products is XLA's in value and in all derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.models import convolution
from kexue_jax.models.convolution import conv3x3, conv3x3_direct, conv3x3_minimal

SIZES = [(1, 1, 1), (2, 5, 4), (1, 3, 7), (2, 8, 8), (1, 4, 13), (1, 2, 2)]


def inputs(size, channels, dtype=jnp.float64):
    b, h, w = size
    i, o = channels
    keys = jax.random.split(jax.random.key(0), 4)
    shapes = ((b, h, w, i), (3, 3, i, o)) * 2
    pairs = zip(keys, shapes, strict=True)
    return [jax.random.normal(k, s, dtype) for k, s in pairs]


def close(found, wanted, tolerance):
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * scale)


def minimal_by_definition(x, kernel):
    """The convolution as nine shifted products, in NumPy."""
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    b, h, w, _ = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    total = np.zeros((b, h, w, kernel.shape[-1]))
    for r in range(3):
        for s in range(3):
            total += padded[:, r : r + h, s : s + w] @ kernel[r, s]
    return total


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_value(size):
    x, kernel, _, _ = inputs(size, (3, 2))
    wanted = minimal_by_definition(x, kernel)
    close(jax.jit(conv3x3_minimal)(x, kernel), wanted, 1e-13)
    close(conv3x3_direct(x, kernel), wanted, 1e-14)


@pytest.mark.parametrize("size", [(2, 8, 8), (1, 6, 9)], ids=str)
def test_float32_with_many_channels(size):
    x, kernel, _, _ = inputs(size, (128, 64), jnp.float32)
    close(jax.jit(conv3x3_minimal)(x, kernel), minimal_by_definition(x, kernel), 5e-6)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_slopes_forward_and_backward(size):
    x, kernel, dx, dkernel = inputs(size, (3, 2))
    forms = (conv3x3_minimal, conv3x3_direct)
    slope = lambda f: jax.jvp(f, (x, kernel), (dx, dkernel))[1]  # noqa: E731
    forward = [jax.jit(slope, static_argnums=0)(f) for f in forms]
    close(*forward, 1e-12)
    weight = jnp.cos(jnp.arange(forward[0].size)).reshape(forward[0].shape)
    pull = lambda f: jax.vjp(f, x, kernel)[1](weight)  # noqa: E731
    backward = [jax.jit(pull, static_argnums=0)(f) for f in forms]
    for found, wanted in zip(*backward, strict=True):
        close(found, wanted, 1e-12)


def test_a_gradient_penalty_can_be_trained():
    """The gradient in the kernel of the squared norm of the gradient in the image."""
    x, kernel, _, _ = inputs((2, 8, 8), (3, 2))

    def penalty(kernel, form):
        slope = jax.grad(lambda x: jnp.sum(jnp.sin(form(x, kernel))))(x)
        return jnp.sum(slope**2)

    slope = jax.jit(jax.grad(penalty), static_argnums=1)
    close(slope(kernel, conv3x3_minimal), slope(kernel, conv3x3_direct), 1e-11)


def test_vmap():
    x, kernel, _, _ = inputs((4, 5, 6), (3, 2))
    found = jax.vmap(lambda x: conv3x3_minimal(x[None], kernel)[0])(x)
    close(found, conv3x3_direct(x, kernel), 1e-13)


def flops(form, *arguments):
    return jax.jit(form).lower(*arguments).compile().cost_analysis()["flops"]


def test_it_is_chosen_where_it_pays_and_halves_the_work():
    x, kernel, _, _ = inputs((2, 16, 16), (64, 64), jnp.float32)
    ratio = flops(conv3x3, x, kernel) / flops(conv3x3_direct, x, kernel)
    assert 0.4 < ratio < 0.65
    text = jax.jit(conv3x3).lower(x, kernel).compile().as_text()
    assert "conditional" not in text


@pytest.mark.parametrize(
    ("size", "channels", "dtype"),
    [
        ((2, 16, 16), (32, 64), jnp.float32),
        ((2, 16, 16), (64, 1), jnp.float32),
        ((2, 4, 4), (64, 64), jnp.float32),
        ((2, 16, 16), (64, 64), jnp.bfloat16),
    ],
)
def test_it_is_left_alone_elsewhere(size, channels, dtype, monkeypatch):
    monkeypatch.setattr(convolution, "conv3x3_minimal", None)
    x, kernel, _, _ = inputs(size, channels, dtype)
    assert conv3x3(x, kernel).dtype == dtype


def test_other_platforms_get_the_plain_convolution():
    x, kernel, _, _ = inputs((1, 8, 8), (64, 64), jnp.float32)
    traced = jax.jit(conv3x3).trace(x, kernel)
    counts = [
        traced.lower(lowering_platforms=(platform,)).as_text().count("convolution(")
        for platform in ("cpu", "cuda", "tpu")
    ]
    assert counts == [6, 1, 1]
