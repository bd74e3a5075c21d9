"""Spectral norms from below and above, and those of Gaussian matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.theory import spectral_norm


def test_bounds_enclose_the_norm_of_a_thousand_matrices() -> None:
    rng = np.random.default_rng(0)
    a = jnp.asarray(
        rng.normal(size=(1000, 6, 4)) * 10 ** rng.uniform(-8, 8, (1000, 1, 1))
    )

    @jax.jit
    def bounds(a):
        lower = spectral_norm(a, iters=3)
        return lower, spectral_norm(a, iters=3, side="upper")

    lower, upper = bounds(a)
    exact = np.linalg.norm(np.asarray(a), 2, axis=(-2, -1))
    assert (lower <= exact * (1 + 1e-12)).all()
    assert (upper >= exact * (1 - 1e-12)).all()
    # trace(G^8) is at most 4 times its largest term.
    assert (upper <= exact * 4 ** (1 / 16) * (1 + 1e-12)).all()


def test_upper_bound_of_an_orthogonal_matrix_is_the_worst_one() -> None:
    # The equality case: all singular values alike.
    found = spectral_norm(jnp.eye(4), iters=3, side="upper")
    np.testing.assert_allclose(found, 4 ** (1 / 16), rtol=1e-12)


@pytest.mark.parametrize("side", ["lower", "upper"])
def test_zero_has_norm_zero_and_a_finite_gradient(side) -> None:
    norm = lambda a: spectral_norm(a, iters=2, side=side)  # noqa: E731
    value, slope = jax.value_and_grad(norm)(jnp.zeros((2, 3)))
    assert value == 0 and np.isfinite(slope).all()


@pytest.mark.parametrize("n", [100, 400])
def test_gaussian_starts_are_orthogonal_by_entry_and_not_in_norm(n) -> None:
    # 8796 and 7180 call N(0, 1/n) matrices nearly orthogonal. By entries they are
    # (mean square of W^T W - I about 1/n); their norm goes to 2, not 1.
    w = np.random.default_rng(n).normal(size=(n, n)) / n**0.5
    values = np.linalg.svd(w, compute_uv=False)
    off = np.mean((w.T @ w - np.eye(n)) ** 2)
    np.testing.assert_allclose(off, 1 / n, rtol=0.05)
    assert abs(values[0] - 2) < 0.15 and values[-1] < 0.05
    wide = np.random.default_rng(1).normal(size=(n, n // 4)) / n**0.5
    np.testing.assert_allclose(np.linalg.norm(wide, 2), 1 + 0.5, rtol=0.08)
