"""The Hadamard transform: both fast forms against the butterfly, and SRHT."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from kexue_jax import embeddings
from kexue_jax.embeddings.hadamard import (
    _by_additions,
    _by_products,
    _sampled_by_additions,
    _sampled_by_products,
    hadamard_butterfly,
)
from tests.oracles import random_projection as oracle

FORMS = {"additions": _by_additions, "products": _by_products}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("d", [1, 2, 32, 512])
def test_fast_forms_equal_the_butterfly_and_the_matrix(form, d):
    x = np.random.default_rng(d).normal(size=(2, d))
    found = np.asarray(jax.jit(FORMS[form])(jnp.asarray(x))) / d**0.5
    twin = np.asarray(jax.jit(hadamard_butterfly)(jnp.asarray(x)))
    np.testing.assert_allclose(found, twin, atol=1e-12)
    np.testing.assert_allclose(found, oracle.transform(x), atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_equal_those_of_the_butterfly(form):
    x = jnp.asarray(np.random.default_rng(0).normal(size=64))
    loss = lambda f: lambda x: jnp.sum(jnp.sin(f(x)))  # noqa: E731
    slopes = [
        jax.jit(jax.grad(loss(f)))(x)
        for f in (lambda x: FORMS[form](x) / 8, hadamard_butterfly)
    ]
    np.testing.assert_allclose(*slopes, atol=1e-12)
    check_grads(jax.jit(FORMS[form]), (x,), 1, atol=1e-6, rtol=1e-6)


def test_the_transform_is_its_own_inverse_and_keeps_norms():
    x = jnp.asarray(np.random.default_rng(1).normal(size=(1000, 32)))
    y = embeddings.hadamard_transform(x)
    np.testing.assert_allclose(embeddings.hadamard_transform(y), x, atol=1e-13)
    np.testing.assert_allclose((y * y).sum(-1), (x * x).sum(-1), rtol=1e-13)


def test_a_large_transform_holds_in_float32():
    x = np.random.default_rng(2).normal(size=2**14).astype(np.float32)
    wide = jax.jit(hadamard_butterfly)(jnp.asarray(x, jnp.float64))
    for form in FORMS.values():
        found = jax.jit(form)(jnp.asarray(x)) / 2**7
        assert abs(found - wide).max() < 1e-5


@pytest.mark.parametrize("sampled", [_sampled_by_additions, _sampled_by_products])
@pytest.mark.parametrize("n", [1, 5, 64])
def test_both_forms_take_the_rows_that_are_asked_for(sampled, n):
    rng = np.random.default_rng(n)
    x, rows = rng.normal(size=(2, 128)), np.sort(rng.permutation(128)[:n])
    found = jax.jit(sampled)(jnp.asarray(x), jnp.asarray(rows, jnp.int32))
    wanted = oracle.transform(x)[:, rows] * 128**0.5
    np.testing.assert_allclose(found, wanted, atol=1e-12)


@pytest.mark.parametrize("n", [8, 64])
def test_a_large_x_is_taken_some_rows_at_a_time(n):
    """8,193 rows of 512 are more than 2^22 entries, and not whole pieces."""
    rng = np.random.default_rng(n)
    x = jnp.asarray(rng.normal(size=(8193, 512)), jnp.float32)
    rows = jnp.asarray(np.sort(rng.permutation(512)[:n]), jnp.int32)
    sampled = lambda x: _sampled_by_additions(x, rows)  # noqa: E731
    for form, wanted in (
        (_by_additions, _by_products),
        (sampled, lambda x: _sampled_by_products(x, rows)),
    ):
        loss = lambda f: lambda x: jnp.vdot(f(x), jnp.cos(f(x)))  # noqa: E731
        fast = jax.jit(jax.value_and_grad(loss(form)))(x)
        slow = jax.jit(jax.value_and_grad(loss(wanted)))(x)
        np.testing.assert_allclose(fast[0], slow[0], rtol=1e-4)
        np.testing.assert_allclose(fast[1], slow[1], rtol=1e-4, atol=0.05)
        program = jax.jit(form).lower(x[:-1]).compile()
        assert program.memory_analysis().temp_size_in_bytes < x.nbytes / 4


def test_no_matrix_is_made():
    """4 * 256 * 8192 bytes would be 8 MiB; two vectors of 8192 are 64 KiB."""
    srht = embeddings.srht_init(jax.random.key(6), n=256, m=8192)
    program = jax.jit(embeddings.srht_apply).lower(
        srht, jnp.ones((2, 8192), jnp.float32)
    )
    assert program.compile().memory_analysis().temp_size_in_bytes < 2**19


@pytest.mark.parametrize(("n", "m"), [(9, 21), (3, 100)])
def test_srht_is_projection_by_its_matrix(n, m):
    srht = embeddings.srht_init(jax.random.key(3), n=n, m=m)
    v = np.random.default_rng(3).normal(size=(2, 4, m))
    matrix = oracle.srht_matrix(np.asarray(srht.signs), np.asarray(srht.rows), m)
    found = embeddings.srht_apply(srht, jnp.asarray(v))
    wanted = embeddings.project(jnp.asarray(matrix), jnp.asarray(v))
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    assert len(set(srht.rows.tolist())) == n
    width = len(srht.signs)
    whole = embeddings.srht_init(jax.random.key(4), n=width, m=m)
    kept = embeddings.srht_apply(whole, jnp.asarray(v))
    np.testing.assert_allclose((kept**2).sum(-1), (v**2).sum(-1), rtol=1e-12)


def test_srht_spreads_one_hot_points_where_sampling_alone_loses_them():
    srht = embeddings.srht_init(jax.random.key(5), n=64, m=1024)
    rows = jnp.eye(64, 1024)
    found = np.asarray(jax.jit(embeddings.srht_apply)(srht, rows))
    np.testing.assert_allclose((found**2).sum(-1), np.ones(64), rtol=1e-5)
    gram = found @ found.T - np.eye(64)
    assert abs(gram).max() < 0.8  # <= 1 - eps for all pairs at once
