"""Discretizations: every method, singular systems, complex ones, gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from jax.test_util import check_grads

from kexue_jax.ssm import discretize, discretize_diagonal, hippo_matrices
from kexue_jax.ssm.discretization import phi_1
from tests.oracles import discretization as oracle

METHODS = ("forward", "backward", "bilinear", "zoh")


@functools.partial(jax.jit, static_argnames="method")
def dense(a, b, dt, *, method, alpha=None):
    return discretize(a, b, dt, method=method, alpha=alpha)


def close(got, wanted, bound) -> bool:
    pairs = zip(got, wanted, strict=True)
    return all(np.abs(np.asarray(g) - w).max() <= bound for g, w in pairs)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("measure", ["legs", "fourier"])
def test_methods_equal_the_oracle_on_hippo(measure, method) -> None:
    a, b = hippo_matrices(measure=measure, n=9, dtype=jnp.float64)
    wanted = oracle.discretize(np.asarray(a), np.asarray(b), 0.05, method=method)
    assert close(dense(a, b, 0.05, method=method), wanted, 1e-13)


def test_gbt_joins_the_other_methods_by_the_weight_of_the_implicit_end() -> None:
    a, b = hippo_matrices(measure="legs", n=6, dtype=jnp.float64)
    for alpha, method in ((0.0, "forward"), (0.5, "bilinear"), (1.0, "backward")):
        wanted = dense(a, b, 0.1, method=method)
        assert close(dense(a, b, 0.1, method="gbt", alpha=alpha), wanted, 1e-15)
    other = dense(a, b, 0.1, method="gbt", alpha=0.25)
    explicit = oracle.discretize(a, b, 0.1, method="gbt", alpha=0.75)
    assert not close(other, explicit, 1e-3)  # the article's reading of alpha


def test_held_input_is_exact_at_n_64_and_in_float32() -> None:
    a, b = hippo_matrices(measure="legs", n=64, dtype=jnp.float64)
    full = np.zeros((65, 65))
    full[:64, :64], full[:64, 64] = np.asarray(a), np.asarray(b)
    whole = scipy.linalg.expm(0.1 * full)
    wanted = whole[:64, :64], whole[:64, 64]
    assert close(dense(a, b, 0.1, method="zoh"), wanted, 1e-13)
    low = (a.astype(jnp.float32), b.astype(jnp.float32))
    assert close(dense(*low, 0.1, method="zoh"), wanted, 2e-5)


def test_held_input_needs_no_inverse() -> None:
    a, b = jnp.zeros((2, 2)).at[0, 1].set(1.0), jnp.array([0.0, 1.0])
    step_a, step_b = dense(a, b, 0.5, method="zoh")
    assert close((step_a, step_b), ([[1, 0.5], [0, 1]], [0.125, 0.5]), 1e-15)


def test_leading_axes_and_matrices_b() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(4, 4)), rng.normal(size=(3, 4, 2))
    dt = rng.random((2, 3))
    got = dense(jnp.asarray(a), jnp.asarray(b), jnp.asarray(dt), method="zoh")
    assert got.a.shape == (2, 3, 4, 4) and got.b.shape == (2, 3, 4, 2)
    for i, j in np.ndindex(2, 3):
        wanted = oracle.discretize(a, b[j], dt[i, j], method="zoh")
        assert close((got.a[i, j], got.b[i, j]), wanted, 1e-13)


@pytest.mark.parametrize("method", METHODS)
def test_diagonal_is_the_diagonal_of_the_dense_form(method) -> None:
    rng = np.random.default_rng(1)
    lam = -rng.random((3, 5)) + 1j * rng.normal(size=(3, 5))
    b, dt = rng.normal(size=(3, 5)) + 0j, rng.random(3)
    wanted = oracle.diagonal(lam, b, dt, method=method)
    got = jax.jit(functools.partial(discretize_diagonal, method=method))(lam, b, dt)
    assert close(got, wanted, 1e-13)


def test_steps_by_state_and_matrices_b() -> None:
    rng = np.random.default_rng(2)
    lam, dt = -rng.random(4) + 1j, rng.random(4)
    b = rng.normal(size=(4, 3)) + 0j
    got = jax.jit(discretize_diagonal)(lam, b, dt)
    assert close(
        got, (np.exp(lam * dt), (np.expm1(lam * dt) / lam)[:, None] * b), 1e-14
    )


def test_phi_1_is_exact_near_zero_in_value_and_gradient() -> None:
    size = np.concatenate([[0.0], np.logspace(-18, 1, 400)])
    for turn in (1.0, -1.0, 1j, np.exp(2.5j)):
        z = size * turn
        series = sum(z**k / np.prod(np.arange(1.0, k + 2)) for k in range(60, -1, -1))
        got = np.asarray(jax.jit(phi_1)(jnp.asarray(z)))
        bound = 1e-15 * np.maximum(np.abs(series), np.exp(np.abs(z)) * (size > 3))
        assert (np.abs(got - series) <= 8 * bound).all()
    slopes = sum(
        k * size ** (k - 1) / np.prod(np.arange(1.0, k + 2)) for k in range(80, 0, -1)
    )
    slope = jax.jit(jax.vmap(jax.grad(phi_1)))(jnp.asarray(size))
    assert np.abs(slope / slopes - 1).max() < 1e-13
    slope = jax.jit(jax.vmap(jax.grad(phi_1)))(jnp.asarray(size, jnp.float32))
    assert np.abs(slope / slopes - 1).max() < 2e-6


def test_gradients_at_lam_zero_and_of_complex_lam() -> None:
    b, dt = jnp.ones(3), jnp.asarray(0.3)

    @jax.jit
    def pair(lam, dt):
        found = discretize_diagonal(lam, b.astype(lam.dtype), dt)
        return [jnp.sin(part).real.sum() for part in found]

    for lam in (jnp.zeros(3), jnp.array([0.0, 1j, -0.5 + 3j])):
        check_grads(pair, (lam, dt), order=1, modes="rev", atol=1e-6, rtol=1e-6)


def test_one_dtype_is_asked_of_all() -> None:
    a, b = hippo_matrices(measure="fourier", n=3)
    with pytest.raises(TypeError, match=r"discretize: `b` must be of dtype complex64"):
        discretize(a, b.real, 0.1)
    with pytest.raises(TypeError, match=r"discretize: `dt` must be .* floating"):
        discretize(a, b, np.ones((), complex))
    with pytest.raises(ValueError, match=r"discretize_diagonal: `alpha`"):
        lam = jnp.ones(3)
        discretize_diagonal(lam, lam, 0.1, method="gbt", alpha=jnp.ones(3) * 0.5)
