"""Eigenvectors one matrix at a time: right under any vmap, and never in batches."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax._base.eigen import eigenpairs
from kexue_jax.evaluation import fit_logistic_discriminator


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_any_leading_axes_and_any_vmap_give_the_pairs_of_numpy(lead) -> None:
    a = np.random.default_rng(0).normal(size=(*lead, 5, 5))
    a = a + np.swapaxes(a, -1, -2)
    wanted = np.linalg.eigvalsh(a)
    for depth in range(len(lead) + 1):
        pairs = eigenpairs
        for _ in range(depth):
            pairs = jax.vmap(pairs)
        values, vectors = (np.asarray(x) for x in jax.jit(pairs)(jnp.asarray(a)))
        np.testing.assert_allclose(values, wanted, atol=1e-12)
        again = (vectors * values[..., None, :]) @ np.swapaxes(vectors, -1, -2)
        np.testing.assert_allclose(again, a, atol=1e-12)


def test_a_surrounding_gradient_passes_by() -> None:
    a = jnp.diag(jnp.array([2.0, 3.0]))
    loss = lambda x: x**2 * eigenpairs(x * a)[0].sum()  # noqa: E731
    assert float(jax.grad(loss)(2.0)) == 2 * 2.0 * 10.0


def test_many_discriminators_at_once_make_no_batch_of_eigenvectors() -> None:
    p = jnp.zeros((4, 3, 6, 5))
    fit = functools.partial(fit_logistic_discriminator, steps=2)
    program = jax.jit(jax.vmap(jax.vmap(fit))).lower(p, p + 1).as_text()
    calls = [line for line in program.splitlines() if "eigh" in line or "syevd" in line]
    assert any("tensor<6x6xf" in line for line in calls)
    assert not any("x6x6xf" in line for line in calls)
