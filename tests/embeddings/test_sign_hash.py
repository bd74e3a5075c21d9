"""Sign hashes: the true law of their similarity, packed words; fly hashes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax import embeddings


def with_cosine(cosine, m=6):
    """Pairs of vectors of given cosines, of other lengths."""
    rng = np.random.default_rng(0)
    q = np.linalg.qr(rng.normal(size=(m, 2)))[0]
    sine = np.sqrt(1 - cosine**2)
    v = cosine[:, None] * q[:, 0] + sine[:, None] * q[:, 1]
    return 3 * q[:, 0], 0.2 * v


def estimates(cosine, n, seed=0, corrected=True):
    u, v = with_cosine(np.asarray(cosine))
    a = embeddings.projection_matrix(jax.random.key(seed), n=n, m=6, dtype=jnp.float64)
    h1, h2 = (embeddings.sign_hash(a, jnp.asarray(x)) for x in (u, v))
    return np.asarray(
        embeddings.cosine_from_hash(
            h1[None], h2, corrected=corrected, dtype=jnp.float64
        )
    )


def test_raw_similarity_is_biased_as_the_card_says():
    cosine, n = np.array([0.5, 0.8, 0.95]), 2**17
    raw = estimates(cosine, n, corrected=False)
    law = 1 - 2 * np.arccos(cosine) / np.pi
    assert law == pytest.approx([1 / 3, 0.590, 0.798], abs=1e-3)
    np.testing.assert_allclose(law, 2 / np.pi * np.arcsin(cosine), rtol=1e-12)
    # Its standard error is below 1 / sqrt(n) = 0.0028.
    assert (abs(raw - law) < 5.5 / n**0.5).all()
    assert (abs(raw - cosine) > 40 / n**0.5).all()
    right = estimates(cosine, n)
    assert (abs(right - cosine) < 5.5 * np.pi / 2 / n**0.5).all()


def test_the_largest_bias_and_where_there_is_none():
    cosine = np.linspace(-1, 1, 20_001)
    bias = cosine - 2 / np.pi * np.arcsin(cosine)
    worst = np.argmax(bias)
    assert bias[worst] == pytest.approx(0.2105, abs=1e-4)
    assert cosine[worst] == pytest.approx(np.sqrt(1 - 4 / np.pi**2), abs=2e-4)
    assert cosine[worst] == pytest.approx(0.7712, abs=2e-4)
    np.testing.assert_allclose(bias[[0, 10_000, -1]], 0, atol=1e-12)


def test_corrected_cosines_are_near_and_rankings_are_the_raw_ones():
    cosine, n = np.linspace(-1, 1, 1001), 4096
    right, raw = (estimates(cosine, n, corrected=c) for c in (True, False))
    # By the law of the share of bits: within 0.025 at most in the standard deviation.
    angle = np.arccos(cosine) / np.pi
    deviation = np.pi * np.sqrt(1 - cosine**2) * np.sqrt(angle * (1 - angle) / n)
    assert deviation.max() < 0.025
    assert (abs(right - cosine) < 5.5 * deviation + 5e-3).all()
    assert ((right - cosine) ** 2).mean() ** 0.5 < 0.05
    np.testing.assert_allclose(right, np.sin(np.pi * raw / 2), atol=1e-12)
    order = np.argsort(raw)
    assert (np.diff(right[order]) >= -1e-12).all()


def test_zero_hashes_to_plus_one():
    a = jnp.asarray(np.random.default_rng(1).normal(size=(50, 3)))
    assert embeddings.sign_hash(a, jnp.zeros(3)).all()
    assert jnp.sign(0.0) == 0


@pytest.mark.parametrize("n", [1, 32, 33])
def test_packed_words_give_the_distances_of_the_bits(n):
    bits = jnp.asarray(np.random.default_rng(n).random((40, n)) < 0.5)
    words = embeddings.pack_bits(bits)
    assert words.dtype == jnp.uint32 and words.shape == (40, -(-n // 32))
    wide = embeddings.hamming(bits[:, None], bits[None])
    narrow = embeddings.hamming(words[:, None], words[None])
    np.testing.assert_array_equal(wide, narrow)
    np.testing.assert_allclose(
        embeddings.cosine_from_hash(words, words[::-1], n=n),
        embeddings.cosine_from_hash(bits, bits[::-1]),
    )


def test_a_flipped_hash_is_opposite():
    bits = jnp.asarray(np.random.default_rng(3).random((5, 64)) < 0.5)
    np.testing.assert_allclose(embeddings.cosine_from_hash(bits, ~bits), -1, atol=1e-6)
    np.testing.assert_allclose(embeddings.cosine_from_hash(bits, bits), 1, atol=1e-6)


def test_fly_hashes_have_k_ones_and_keep_neighbors():
    rng = np.random.default_rng(4)
    centers = rng.random((20, 30))
    near, other = (centers + 0.02 * rng.normal(size=(20, 30)) for _ in "ab")
    w = embeddings.fly_projection(
        jax.random.key(0), m=30, n=600, density=0.1, dtype=jnp.float64
    )
    assert set(np.unique(w)) == {0.0, 1.0} and abs(float(w.mean()) - 0.1) < 0.01
    hashes = [embeddings.fly_hash(w, jnp.asarray(x), k=30) for x in (near, other)]
    assert all((h.sum(-1) == 30).all() for h in hashes)
    apart = np.asarray(embeddings.hamming(hashes[0][:, None], hashes[1][None]))
    assert (apart.argmin(-1) == np.arange(20)).all()


def test_fly_ties_go_to_the_lower_cell():
    found = embeddings.fly_hash(jnp.ones((2, 5)), jnp.ones(2), k=3)
    assert found.tolist() == [True] * 3 + [False] * 2
