"""Attention with Mitchell's products: near the exact one, and exact where they are."""

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax.attention import dense_attention, mitchell_attention
from kexue_jax.numerics import lmul_offset


def qkv(dtype=jnp.float32, n=33, m=40, d=16, e=8):
    rng = np.random.default_rng(0)
    shapes = ((2, 3, n, d), (2, 3, m, d), (2, 3, m, e))
    return [jnp.asarray(rng.normal(size=s), dtype) for s in shapes]


def test_near_exact_attention_and_l_mul_is_nearer() -> None:
    q, k, v = qkv()
    exact = dense_attention(q, k, v)

    def errors(offset):
        found = mitchell_attention(q, k, v, offset=offset)
        size = jnp.vdot(exact, exact)
        slope = float(jnp.vdot(found, exact) / size)
        return slope, float(jnp.linalg.norm(found - exact) / jnp.sqrt(size))

    plain, shifted = errors(0.0), errors(lmul_offset(jnp.float32))
    assert 0.02 < plain[1] < 0.12 and shifted[1] < plain[1]
    # Mitchell's products shrink the values more than L-Mul's stretch them.
    assert plain[0] < 0.97 and abs(shifted[0] - 1) < 0.8 * abs(plain[0] - 1)


def test_exact_where_all_operands_are_powers_of_two() -> None:
    arrays = [np.asarray(x, float) for x in qkv()]
    q, k, v = (jnp.asarray(np.copysign(np.exp2(np.round(x)), x)) for x in arrays)
    mask = jnp.asarray(np.random.default_rng(1).random((2, 3, 33, 40)) < 0.6)
    options = {"mask": mask, "scale": 0.25, "causal": True}
    # Weights are no powers of two; values that are make those products exact too.
    found, wanted = (
        f(q, k, v, **options) for f in (mitchell_attention, dense_attention)
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_rows_without_keys_are_zero_with_gradients_of_zero() -> None:
    q, k, v = qkv()
    mask = jnp.ones((33, 40), bool).at[5].set(False)

    def loss(q):
        return jnp.sum(jnp.sin(mitchell_attention(q, k, v, mask=mask)))

    out = mitchell_attention(q, k, v, mask=mask)
    assert (out[..., 5, :] == 0).all() and jnp.isfinite(out).all()
    gradient = jax.grad(loss)(q)
    assert (gradient[..., 5, :] == 0).all() and jnp.isfinite(gradient).all()


def test_bfloat16_keeps_its_dtype_at_large_inputs() -> None:
    q, k, v = (100 * x for x in qkv(jnp.bfloat16))
    for grad in ("straight_through", "mimic"):
        call = lambda q, grad=grad: mitchell_attention(q, k, v, grad=grad).sum()  # noqa: E731
        found = jax.grad(call)(q)
        assert found.dtype == jnp.bfloat16 and jnp.isfinite(found).all()
