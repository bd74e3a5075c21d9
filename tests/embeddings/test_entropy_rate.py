"""h_n by quadrature against Bessel functions and sampling; the 8.33 log N rule."""

import math

import numpy as np
import pytest

from kexue_jax import embeddings
from tests.oracles import random_projection as oracle

CARD = {
    32: -7.77471,
    64: -15.4734,
    96: -23.1726,
    128: -30.8718,
    256: -61.6692,
    512: -123.264,
}
GOLDEN = math.log((math.sqrt(5) + 1) / 2) / 2


@pytest.mark.parametrize("n", CARD)
def test_the_table_of_the_card_to_all_digits(n):
    found = embeddings.embedding_entropy_rate(n=n)
    assert f"{found:.6g}" == f"{CARD[n]:.6g}"


@pytest.mark.parametrize("n", [2, 3, 4, 5, 7, 10, 33, 200, 1001])
def test_quadrature_is_the_closed_form(n):
    found = embeddings.embedding_entropy_rate(n=n)
    assert found == pytest.approx(oracle.entropy_rate(n), rel=1e-11)


def test_the_rate_is_the_entropy_of_sampled_words():
    """2 log N less the entropy of p_ij ~ exp(<v_i, v_j>) of random vectors."""
    rng = np.random.default_rng(0)
    n, words = 4, 3000
    v = rng.normal(size=(words, n))
    v *= n**0.5 / np.linalg.norm(v, axis=-1, keepdims=True)
    logits = v @ v.T
    logits = logits[np.triu_indices(words, 1)]
    weights = np.exp(logits)
    p = weights / weights.sum()
    entropy = -(p * np.log(p)).sum() - math.log(len(p))
    assert entropy == pytest.approx(embeddings.embedding_entropy_rate(n=n), abs=0.03)


def test_the_rate_a_dimension_rises_to_its_limit():
    sizes = (2, 8, 64, 1024, 10**5, 10**7)
    rates = [embeddings.embedding_entropy_rate(n=n) / n for n in sizes]
    assert rates == sorted(rates) and rates[-1] < -GOLDEN
    assert rates[-1] == pytest.approx(-GOLDEN, abs=1e-6)
    assert pytest.approx(0.240606, abs=1e-6) == GOLDEN
    assert abs(2 / GOLDEN - 8.3123) < 1e-4
    assert abs(2 / 0.24 - 8.33) < 0.004


@pytest.mark.parametrize(
    ("vocab", "size"), [(100_000, 95.9), (5_000_000, 128.5), (512, 51.97)]
)
def test_dimensions_of_the_article(vocab, size):
    assert 8.33 * math.log(vocab) == pytest.approx(size, abs=0.05)
    assert embeddings.min_embedding_dim(vocab=vocab) == math.ceil(size)
    exact = embeddings.min_embedding_dim(vocab=vocab, coef=None)
    assert exact <= math.ceil(size) <= exact + 1


@pytest.mark.parametrize("vocab", [2, 3, 10, 512, 10**6])
def test_the_exact_rule_is_the_least_n(vocab):
    n = embeddings.min_embedding_dim(vocab=vocab, coef=None)
    left = [
        2 * math.log(vocab) + embeddings.embedding_entropy_rate(n=k) for k in (n - 1, n)
    ]
    assert left[0] > 0 >= left[1]
