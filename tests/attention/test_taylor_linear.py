"""Taylor attention through the engine of linear attention: no eps, both directions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmark.cost import contraction_flops
from kexue_jax.attention import (
    linear_attention,
    taylor2_features,
    taylor_attention,
    taylor_features,
)


def normals(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def gap(a, b) -> float:
    return float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max())


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("n", [1, 2, 63, 100, 1000])
def test_linear_attention_over_them_is_taylor_attention(n: int, causal: bool) -> None:
    q, k, v = (normals(2, n, 4, seed=i) for i in range(3))
    weight = normals(2, n, 4, seed=4)

    def linear(q, k, v):
        phi = (taylor2_features(q), taylor2_features(k))
        return linear_attention(*phi, v, causal=causal, eps=0.0)

    def run(form):
        return jax.jit(
            lambda *x: (
                form(*x),
                jax.grad(lambda *x: (weight * form(*x)).sum(), (0, 1, 2))(*x),
            )
        )(q, k, v)

    (out, slopes), (wanted, exact) = (
        run(form)
        for form in (linear, functools.partial(taylor_attention, causal=causal))
    )
    assert gap(out, wanted) < 1e-11
    for mine, theirs in zip(slopes, exact, strict=True):
        assert gap(mine, theirs) < 1e-10


def test_order_4_is_linear_too() -> None:
    q, k, v = (normals(2, 20, 3, seed=i) for i in range(3))
    phi_q, phi_k = (taylor_features(x, order=4) for x in (q, k))
    out = linear_attention(phi_q, phi_k, v, eps=0.0)
    assert gap(out, taylor_attention(q, k, v, order=4)) < 1e-11


def test_it_takes_linear_work_and_pays_from_some_length_on() -> None:
    def linear(q, k, v):
        return linear_attention(taylor2_features(q), taylor2_features(k), v, eps=0.0)

    def work(form, n: int, d: int) -> float:
        arrays = [jax.ShapeDtypeStruct((1, n, d), jnp.float32)] * 3
        return contraction_flops(form, *arrays)

    assert work(linear, 4096, 16) == pytest.approx(2 * work(linear, 2048, 16))
    assert work(taylor_attention, 4096, 16) == 4 * work(taylor_attention, 2048, 16)
    # The card: at d = 64, 2145 features pay from about 2,000 keys on.
    short, long = (
        work(linear, n, 64) / work(taylor_attention, n, 64) for n in (1024, 4096)
    )
    assert long < 1 < short
