"""What attention patterns few dimensions make: sparse ones, and rank for the rest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax import embeddings

L = 128


def sets(rng, size):
    """Each row attends to ``size`` places."""
    order = rng.random((L, L)).argsort(-1)
    return order < size


@pytest.mark.parametrize("size", [1, 2])
def test_sparse_patterns_need_logarithmically_many_dimensions(size):
    rng = np.random.default_rng(0)
    mask = sets(rng, size)
    p = jnp.asarray(mask / size)
    losses = {}
    for d in (4, 41, 512):
        q, k = embeddings.sparse_attention_factors(
            jax.random.key(1), jnp.asarray(mask), d=d, beta=25.0, dtype=jnp.float64
        )
        losses[d] = float(embeddings.attention_divergence(p, q, k))
    assert losses[4] > 3 * losses[41] > 9 * losses[512]
    logits = np.asarray(q @ k.T)
    assert logits[mask].min() > logits[~mask].max()


def test_a_pattern_is_exact_at_the_rank_of_its_logarithm():
    """With log p less its row means of rank r, q and k of r dimensions give KL 0."""
    rng = np.random.default_rng(1)
    rank, n = 5, 20
    logits = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, n))
    logits = logits + rng.normal(size=(n, 1))
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    u, s, vt = np.linalg.svd(log_p - log_p.mean(-1, keepdims=True))
    assert (s[rank:] < 1e-10).all()
    p = jnp.asarray(np.exp(log_p))

    def loss(d):
        q, k = u[:, :d] * s[:d], vt[:d].T
        return float(embeddings.attention_divergence(p, jnp.asarray(q), jnp.asarray(k)))

    assert loss(rank) < 1e-12 and loss(rank - 1) > 1e-3
    # Dense random patterns are of full rank: no d < n - 1 is exact.
    dense = np.log(rng.dirichlet(np.ones(8), (1000, 8)))
    dense = dense - dense.mean(-1, keepdims=True)
    assert (np.linalg.matrix_rank(dense) == 7).all()
    u, s, vt = np.linalg.svd(dense)
    for d, exact in ((7, True), (6, False)):
        q, k = u[..., :d] * s[:, None, :d], np.swapaxes(vt[:, :d], -1, -2)
        kl = jax.jit(embeddings.attention_divergence)(
            *map(jnp.asarray, (np.exp(dense) / np.exp(dense).sum(-1)[..., None], q, k))
        )
        assert (kl < 1e-12).all() if exact else (kl > 1e-12).all()


def test_divergence_is_zero_at_the_pattern_and_positive_at_1000_others():
    rng = np.random.default_rng(2)
    q, k = rng.normal(size=(1000, 3, 2)), rng.normal(size=(1000, 4, 2))
    p = np.asarray(jax.nn.softmax(jnp.asarray(q @ k.swapaxes(-1, -2)), -1))
    run = jax.jit(embeddings.attention_divergence)
    own = run(jnp.asarray(p), jnp.asarray(q), jnp.asarray(k))
    np.testing.assert_allclose(own, 0, atol=1e-13)
    other = run(jnp.asarray(p), jnp.asarray(q[::-1].copy()), jnp.asarray(k))
    assert (np.asarray(other) > 0).all()
