"""Features of Taylor attention: exact products, dimensions, coefficients, bounds."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmark.cost import scaling
from kexue_jax.attention import (
    binomial_features,
    taylor2_features,
    taylor_attention,
    taylor_features,
)
from tests.oracles import taylor as oracle


def normals(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def gap(a, b) -> float:
    return float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max())


@pytest.mark.parametrize("scale", [True, False])
def test_products_are_the_polynomial_of_the_score(scale: bool) -> None:
    q, k = normals(40, 5), normals(30, 5, seed=1)
    s = np.asarray(q @ k.T) * (5**-0.5 if scale else 1)
    pairs = [(taylor2_features, oracle.polynomial(s, 2))]
    for order in (2, 4, 6):
        make = functools.partial(taylor_features, order=order)
        pairs.append((make, oracle.polynomial(s, order)))
        make = functools.partial(binomial_features, order=order)
        pairs.append((make, (1 + s / order) ** order))
    for make, wanted in pairs:
        product = make(q, scale=scale) @ make(k, scale=scale).T
        assert gap(product, wanted) < 1e-12 * np.abs(wanted).max()
        assert product.min() >= -1e-12


def test_dimensions_are_the_cards() -> None:
    for d, order, size in ((16, 2, 153), (16, 4, 4845), (64, 2, 2145), (3, 10, 286)):
        assert size == math.comb(d + order, order)
        for make in (taylor_features, binomial_features):
            shape = jax.eval_shape(functools.partial(make, order=order), normals(2, d))
            assert shape.shape == (2, size)
    for d in (1, 2, 16, 64):
        assert taylor2_features(normals(d)).shape == (1 + d + d * (d + 1) // 2,)


def test_order_2_is_the_general_form_in_another_order() -> None:
    x = normals(50, 6)
    mine, general = (np.asarray(f(x)) for f in (taylor2_features, taylor_features))
    assert gap(np.sort(mine, -1), np.sort(general, -1)) < 1e-14
    # The redundant form has the same products.
    y = np.asarray(x) * 6**-0.25
    outer = (y[:, :, None] * y[:, None]).reshape(50, -1) / math.sqrt(2)
    redundant = np.concatenate([np.ones((50, 1)), y, outer], 1)
    assert redundant.shape[1] == 1 + 6 + 36
    assert gap(mine @ mine.T, redundant @ redundant.T) < 1e-12


def test_a_swapped_coefficient_is_caught() -> None:
    # The usual bug: pairs over the root of 2 and squares whole.
    x = normals(50, 4)
    phi = np.array(taylor2_features(x))
    phi[:, 5:11] /= math.sqrt(2)
    phi[:, 11:] *= math.sqrt(2)
    s = np.asarray(x @ x.T) / 2
    assert gap(phi @ phi.T, oracle.polynomial(s, 2)) > 0.1


def test_products_reach_one_half_and_the_binomial_ones_zero() -> None:
    q, k = normals(1000, 3), normals(1000, 3, seed=2)
    product = (taylor2_features(q) * taylor2_features(k)).sum(-1)
    assert (product >= 0.5 - 1e-12).all()
    x = jnp.ones((1, 1))
    half = taylor2_features(x) @ taylor2_features(-x).T  # s = -1
    assert gap(half, 0.5) < 1e-15
    for order in (2, 4):
        y = math.sqrt(order) * x  # s = -order
        zero = binomial_features(y, order=order) @ binomial_features(-y, order=order).T
        assert gap(zero, 0) < 1e-12
        mine = taylor_features(y, order=order) @ taylor_features(-y, order=order).T
        assert mine[0, 0] > 0.2


def test_the_binomial_kernel_tends_to_exp_more_slowly() -> None:
    s = np.linspace(-2, 2, 41)
    for order in (2, 4, 8):
        binomial = np.abs((1 + s / order) ** order - np.exp(s)).max()
        assert np.abs(oracle.polynomial(s, order) - np.exp(s)).max() < binomial


def plain(phi_q: jax.Array, phi_k: jax.Array, v: jax.Array) -> jax.Array:
    """Linear attention by two products, without eps."""
    state = jnp.einsum("...nf,...ne->...fe", phi_k, v)
    total = jnp.einsum("...nf,...f->...n", phi_q, phi_k.sum(-2))
    return jnp.einsum("...nf,...fe->...ne", phi_q, state) / total[..., None]


@pytest.mark.parametrize("order", [2, 4])
def test_attention_over_them_is_taylor_attention(order: int) -> None:
    q, k, v = (normals(2, 100, 3, seed=i) for i in range(3))
    phi_q, phi_k = (taylor_features(x, order=order) for x in (q, k))
    wanted = taylor_attention(q, k, v, order=order)
    assert gap(plain(phi_q, phi_k, v), wanted) < 1e-11
    if order == 2:
        out = plain(taylor2_features(q), taylor2_features(k), v)
        assert gap(out, wanted) < 1e-11


@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0, 1e3])
def test_bfloat16_features_are_made_in_float32(size: float) -> None:
    x = (size * normals(100, 8)).astype(jnp.bfloat16)
    phi = taylor2_features(x)
    exact = taylor2_features(x.astype(jnp.float64))
    assert phi.dtype == jnp.bfloat16
    error = np.abs(np.asarray(phi, np.float64) - exact) / np.abs(exact)
    assert error.max() < 2**-8  # one rounding, not one an operation


def test_cost_grows_with_the_square_of_the_width_and_linearly_in_the_length() -> None:
    make = lambda n: (jnp.ones((n, 16), jnp.float32),)  # noqa: E731
    found = scaling(taylor2_features, make, 256)
    assert found.flops_ratio == pytest.approx(2, rel=0.05)
    wide = lambda d: (jnp.ones((256, d), jnp.float32),)  # noqa: E731
    assert 3 < scaling(taylor2_features, wide, 32).bytes_ratio < 4.5
