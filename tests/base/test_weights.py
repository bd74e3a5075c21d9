"""What weights are worth: one law for weights and for their logarithms."""

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax import evaluation, generative
from kexue_jax._base.weights import effective_size, exp_over_largest, over_largest


def test_the_size_is_that_of_the_definition_for_1000_weightings() -> None:
    w = np.random.default_rng(0).exponential(size=(1000, 7))
    wanted = w.sum(-1) ** 2 / (w**2).sum(-1)
    np.testing.assert_allclose(effective_size(jnp.asarray(w)), wanted, rtol=1e-13)
    np.testing.assert_allclose(effective_size(jnp.asarray(w.T), 0), wanted, rtol=1e-13)
    np.testing.assert_allclose(effective_size(jnp.full((3, 5), 2.0)), 5)
    assert (effective_size(jnp.zeros((3, 5))) == 0).all()


def test_both_public_names_have_the_one_law() -> None:
    logs = jnp.asarray(np.random.default_rng(1).normal(size=(1000, 7)) * 3)
    of_weights = evaluation.effective_sample_size(jnp.exp(logs))
    of_logs = generative.effective_sample_size(logs, axis=-1)
    np.testing.assert_allclose(of_logs, of_weights, rtol=1e-12)
    slopes = [
        jax.grad(lambda x, f=f: f(x).sum())(logs)
        for f in (
            lambda x: evaluation.effective_sample_size(jnp.exp(x)),
            lambda x: generative.effective_sample_size(x, axis=-1),
        )
    ]
    np.testing.assert_allclose(*slopes, rtol=1e-10, atol=1e-12)


def test_no_weight_is_too_large_or_too_small() -> None:
    w = jnp.asarray([1.0, 2.0, 0.0], jnp.float32)
    for scale in (1e-37, 1.0, 4e37):
        np.testing.assert_allclose(over_largest(scale * w), w / 2, rtol=1e-6)
        np.testing.assert_allclose(effective_size(scale * w), 1.8, rtol=1e-6)
    logs = jnp.log(w)
    for shift in (-1e4, 0.0, 1e4):
        np.testing.assert_allclose(exp_over_largest(logs + shift), w / 2, rtol=1e-3)
    assert (exp_over_largest(jnp.full(3, -jnp.inf)) == 0).all()
    assert generative.effective_sample_size(jnp.full(3, -jnp.inf)) == 0
    assert jnp.isnan(generative.effective_sample_size(jnp.array([0.0, jnp.nan])))
