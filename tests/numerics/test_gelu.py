"""GELU's forms: errors, tails, every float16, slopes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.numerics import gelu, gelu_sigmoid, gelu_tanh, silu
from tests.oracles import gelu as oracle

X = np.linspace(-6, 6, 240_001)
LOCAL, SLOPE = 0.0455399241, 1.5957691216

# A form; its largest errors of Phi and of GELU, where, and the rms on [-5, 5].
TABLE = (
    (lambda x: gelu_tanh(x), 1.78933e-4, 4.7324e-4, 2.699, 2.21e-4),
    (lambda x: gelu_tanh(x, coef=LOCAL), 3.1347e-4, 7.4617e-4, 2.467, 3.55e-4),
    (lambda x: gelu_sigmoid(x), 9.4863e-3, 2.0335e-2, 2.270, 1.06e-2),
    (lambda x: gelu_sigmoid(x, scale=SLOPE), 1.7671e-2, 3.3605e-2, 2.074, 1.84e-2),
    (silu, None, 1.930e-1, 1.966, 1.22e-1),
)


@pytest.mark.parametrize(("form", "phi", "most", "at", "rms"), TABLE)
def test_errors_of_the_card(form, phi, most, at, rms) -> None:
    values = np.asarray(form(jnp.asarray(X)))
    error = np.abs(values - oracle.exact(X))
    assert error.max() == pytest.approx(most, rel=2e-4)
    assert abs(X[error.argmax()]) == pytest.approx(at, abs=2e-3)
    inside = error[np.abs(X) <= 5]
    assert np.sqrt((inside**2).mean()) == pytest.approx(rms, rel=0.01)
    if phi is not None:
        kept = np.abs(X) > 1e-6
        gap = np.abs(values[kept] / X[kept] - oracle.phi(X[kept]))
        assert gap.max() == pytest.approx(phi, rel=2e-4)


def test_errors_of_slopes() -> None:
    x = jnp.asarray(X)
    for form, most in ((gelu_tanh, 8.685e-4), (gelu_sigmoid, 2.907e-2)):
        slope = np.asarray(jax.vmap(jax.grad(form))(x))
        error = np.abs(slope - oracle.exact_slope(X))
        assert error.max() == pytest.approx(most, rel=1e-3)


@pytest.mark.parametrize("approximate", ["none", "tanh", "sigmoid"])
def test_identities(approximate) -> None:
    x = jnp.asarray(np.random.default_rng(0).normal(size=1000) * 4)
    form = lambda x: gelu(x, approximate=approximate)  # noqa: E731
    np.testing.assert_allclose(form(x) - form(-x), x, atol=1e-14)
    assert form(jnp.zeros(())) == 0 and jax.grad(form)(0.0) == 0.5
    ends = jnp.asarray([-np.inf, -1e30, 1e30, np.inf])
    np.testing.assert_array_equal(form(ends), [0, 0, 1e30, np.inf])
    np.testing.assert_array_equal(jax.vmap(jax.grad(form))(ends), [0, 0, 1, 1])
    assert np.isnan(form(jnp.asarray(np.nan)))


def test_minimum() -> None:
    values = oracle.exact(X)
    assert values.min() == pytest.approx(-0.169971207, abs=1e-8)
    assert X[values.argmin()] == pytest.approx(-0.751792, abs=1e-4)
    slope = jax.grad(gelu)(jnp.asarray(-0.751791524))
    assert abs(slope) < 1e-8


def test_tail_in_float32() -> None:
    x = np.linspace(-12, -3, 10_000).astype(np.float32)
    exact = oracle.exact(x.astype(float))
    relative = np.abs(np.asarray(gelu(jnp.asarray(x)), float) / exact - 1)
    assert relative.max() < 1.5e-5
    common = (
        0.5 * x * (1 + np.asarray(jax.lax.erf(jnp.asarray(x / np.float32(np.sqrt(2))))))
    )
    lost = np.abs(common.astype(float) / exact - 1)
    assert lost[np.abs(x + 5) < 0.1].max() > 0.01 and lost[x < -6.5].min() > 0.99
    # The tanh form is wrong there, relatively: assert absolute errors only.
    tanh = np.abs(np.asarray(gelu_tanh(jnp.asarray(x)), float) / exact - 1)
    assert tanh[np.abs(x + 3).argmin()] > 0.05 and np.median(tanh[x < -5]) > 0.8


@pytest.mark.parametrize("approximate", ["none", "tanh", "sigmoid"])
def test_every_float16(approximate) -> None:
    x = np.arange(2**16, dtype=np.uint16).view(np.float16)
    x = x[np.isfinite(x)]
    form = lambda x: gelu(x, approximate=approximate)  # noqa: E731
    value, slope = jax.jit(jax.vmap(jax.value_and_grad(form)))(jnp.asarray(x))
    wide = x.astype(float)
    exact = oracle.FORMS[approximate](wide)
    value, slope = (np.asarray(v) for v in (value, slope))
    assert value.dtype == slope.dtype == np.float16
    assert np.isfinite(value).all() and np.isfinite(slope).all()
    binade = np.floor(np.log2(np.maximum(np.abs(exact), 2.0**-14)))
    unit = np.exp2(binade - 10)
    # float32 inside: half a unit of float16, and what float32 loses in the tail.
    assert (
        np.abs(value.astype(float) - exact) <= 0.51 * unit + 1e-4 * np.abs(exact)
    ).all()
    if approximate == "tanh":
        theirs = jax.vmap(jax.grad(lambda v: jax.nn.gelu(v, approximate=True)))
        bad = np.isnan(np.asarray(theirs(jnp.asarray(x))))
        assert bad.any() and np.abs(wide[bad]).min() > 100


def test_a_common_slip_is_far_off() -> None:
    root = np.sqrt(2 / np.pi)
    slip = 0.5 * X * (1 + np.tanh(root * X + 0.044715 * X**3))
    assert np.abs(slip - oracle.exact(X)).max() > 4 * 4.7324e-4
    found = np.asarray(gelu_tanh(jnp.asarray(X)))
    np.testing.assert_allclose(found, oracle.tanh(X), atol=1e-14)


def test_silu_is_that_of_jax() -> None:
    x = jnp.asarray(X)
    np.testing.assert_allclose(silu(x), jax.nn.silu(x), atol=1e-14)
