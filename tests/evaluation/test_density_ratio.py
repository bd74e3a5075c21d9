"""Density ratios: the card's Gaussian and discrete facts, on random instances too."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from kexue_jax.evaluation import (
    adversarial_auc,
    density_ratio,
    discriminator_loss,
    effective_sample_size,
    importance_mean,
    overlap_weights,
)

COUNT = 100_000
JSD = 0.1114215  # of N(0, 1) and N(1, 1)
ratio = jax.jit(density_ratio, static_argnames=("n_train", "n_test", "normalize"))


def quantiles(mean: float, count: int = COUNT) -> np.ndarray:
    """Points of N(mean, 1) whose means are integrals to about 1e-5."""
    return scipy.stats.norm.ppf((np.arange(count) + 0.5) / count) + mean


def gaussian(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=COUNT)


def pairs(seed: int, size: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """A thousand pairs of distributions p, q over ``size`` points."""
    found = np.random.default_rng(seed).dirichlet(np.ones(size), (2, 1000))
    return found[0] + 1e-9, found[1] + 1e-9


def repeated(p: np.ndarray, total: int = 40) -> np.ndarray:
    """Whole numbers of rows about in proportion to p, at least one each."""
    return 1 + np.floor(p * total).astype(int)


def test_the_best_discriminator_of_two_gaussians_has_the_loss_of_the_card() -> None:
    p, q = quantiles(0.0), quantiles(1.0)
    best = discriminator_loss(jnp.asarray(p - 0.5), jnp.asarray(q - 0.5))
    assert abs(float(best) - (2 * math.log(2) - 2 * JSD)) < 2e-5
    assert abs(float(best) - 1.1634514) < 2e-5
    for factor, shift in ((1.1, 0.0), (0.9, 0.0), (1.0, 0.1), (1.0, -0.1)):
        other = discriminator_loss(
            jnp.asarray(factor * (p - 0.5) + shift),
            jnp.asarray(factor * (q - 0.5) + shift),
        )
        assert other > best + 1e-4


def test_the_best_auc_of_two_gaussians() -> None:
    found = adversarial_auc(jnp.asarray(quantiles(0.0)), jnp.asarray(quantiles(1.0)))
    assert abs(float(found) - scipy.stats.norm.cdf(1 / math.sqrt(2))) < 1e-4
    assert abs(float(found) - 0.76025) < 1e-4


def test_weights_of_two_gaussians() -> None:
    logits = jnp.asarray(quantiles(0.0) - 0.5)
    w = density_ratio(logits, normalize=False)
    assert abs(float(w.mean()) - 1) < 1e-3
    assert abs(float((w**2).mean()) - math.e) < 5e-2
    drawn = gaussian(0)
    w = density_ratio(jnp.asarray(drawn - 0.5))
    size = float(effective_sample_size(w)) / COUNT
    assert abs(size - 1 / math.e) < 0.02


def test_weighted_means_of_two_gaussians() -> None:
    x = gaussian(1)
    logits = jnp.asarray(x - 0.5)
    found = importance_mean(jnp.asarray(x), density_ratio(logits))
    assert abs(float(found.mean) - 1) < 5 * float(found.stderr)
    assert 5 * float(found.stderr) < 0.05
    # D weighs the overlap: the midpoint, not the test set.
    half = importance_mean(jnp.asarray(x), overlap_weights(logits))
    assert abs(float(half.mean) - 0.5) < 5 * float(half.stderr) < 0.05
    d = overlap_weights(jnp.asarray(quantiles(0.0) - 0.5), normalize=False)
    assert abs(float(d.mean()) - 0.397973) < 1e-4


def test_weights_of_finite_distributions_are_exact() -> None:
    # E_p[w f] = E_q f for every f, E_p w = 1, and the histogram that w makes is q.
    p, q = pairs(2)
    p, q = p / p.sum(-1, keepdims=True), q / q.sum(-1, keepdims=True)
    w = ratio(jnp.asarray(np.log(q / p)), normalize=False)
    np.testing.assert_allclose((p * w).sum(-1), 1, rtol=1e-12)
    np.testing.assert_allclose(p * np.asarray(w), q, rtol=1e-9, atol=1e-15)


def test_the_weighted_histogram_of_rows_is_the_test_histogram() -> None:
    p, q = pairs(3, 5)
    for a, b in zip(p[:100], q[:100], strict=True):
        train, test = repeated(a), repeated(b)
        share = np.log((test / test.sum()) / (train / train.sum()))
        rows = np.repeat(np.arange(5), train)
        w = np.asarray(ratio(jnp.asarray(share)[rows[:5]]))
        assert w.shape == (5,)
        raw = np.asarray(density_ratio(jnp.asarray(share[rows])))
        np.testing.assert_allclose(
            np.bincount(rows, raw) / len(rows), test / test.sum(), rtol=1e-12
        )
    with np.errstate(divide="ignore"):
        missing = np.log([0.0, 2.0])
    np.testing.assert_array_equal(density_ratio(jnp.asarray(missing)), [0, 2])


def test_overlap_weights_make_the_density_of_the_overlap() -> None:
    p, q = pairs(4)
    w = overlap_weights(jnp.asarray(np.log(q / p)), normalize=False)
    made = p * np.asarray(w)
    wanted = p * q / (p + q)
    np.testing.assert_allclose(
        made / made.sum(-1, keepdims=True),
        wanted / wanted.sum(-1, keepdims=True),
        rtol=1e-9,
        atol=1e-15,
    )


def discrete_loss(p: np.ndarray, q: np.ndarray, logits: np.ndarray) -> np.ndarray:
    return (p * np.logaddexp(0, logits) + q * np.logaddexp(0, -logits)).sum(-1)


def test_the_least_loss_is_that_of_the_divergence() -> None:
    p, q = pairs(5)
    p, q = p / p.sum(-1, keepdims=True), q / q.sum(-1, keepdims=True)
    middle = (p + q) / 2
    jsd = (p * np.log(p / middle) + q * np.log(q / middle)).sum(-1) / 2
    best = discrete_loss(p, q, np.log(q / p))
    np.testing.assert_allclose(best, 2 * np.log(2) - 2 * jsd, rtol=1e-12)
    moved = np.random.default_rng(6).normal(size=p.shape)
    assert (discrete_loss(p, q, np.log(q / p) + moved) > best).all()


def test_weights_do_not_see_a_constant_and_follow_a_permutation() -> None:
    rng = np.random.default_rng(7)
    logits = rng.normal(size=(1000, 9))
    w = np.asarray(ratio(jnp.asarray(logits)))
    shifted = ratio(jnp.asarray(logits + rng.normal(size=(1000, 1)) * 30))
    np.testing.assert_allclose(shifted, w, rtol=1e-12)
    order = rng.permutation(9)
    np.testing.assert_allclose(
        ratio(jnp.asarray(logits[:, order])), w[:, order], rtol=1e-13
    )
    np.testing.assert_allclose(w.mean(-1), 1, rtol=1e-13)


def test_unbalanced_training_shifts_the_logit_and_is_corrected() -> None:
    # D = n_q q / (n_p p + n_q q): its logit is off by log(n_q / n_p) = -log 4.
    p, q = pairs(8)
    unbalanced = np.log((100 * q) / (400 * p))
    np.testing.assert_allclose(unbalanced - np.log(q / p), -math.log(4), rtol=1e-9)
    w = ratio(jnp.asarray(unbalanced), n_train=400, n_test=100, normalize=False)
    np.testing.assert_allclose(w, q / p, rtol=1e-6)
    forgotten = ratio(jnp.asarray(unbalanced), normalize=False)
    np.testing.assert_allclose(forgotten, q / p / 4, rtol=1e-6)


def test_importance_sampling_is_unbiased_and_self_normalizing_nearly() -> None:
    # All samples of three rows of a distribution over three points, by their chances.
    rng = np.random.default_rng(9)
    places = np.array(list(itertools.product(range(3), repeat=3)))
    mean = jax.jit(importance_mean, static_argnames="self_normalized")
    plain, own = [], []
    for _ in range(1000):
        p, q = rng.dirichlet(np.full(3, 3.0), 2)
        f = rng.normal(size=3)
        chance = p[places].prod(-1)
        values, w = jnp.asarray(f[places]), jnp.asarray((q / p)[places])
        wanted = (q * f).sum()
        estimates = mean(values, w, self_normalized=False).mean
        plain.append((chance * estimates).sum() - wanted)
        own.append((chance * mean(values, w).mean).sum() - wanted)
    assert np.abs(plain).max() < 1e-12
    assert np.abs(own).max() > 1e-2  # at three rows: O(1 / n)


def test_self_normalized_bias_falls_as_one_over_n() -> None:
    # The same law at n = 4 and 8: the bias halves, to the next order.
    p, q, f = np.array([0.6, 0.4]), np.array([0.3, 0.7]), np.array([0.0, 1.0])
    biases = []
    for n in (8, 16, 32):
        ones = np.arange(n + 1)
        chance = scipy.stats.binom.pmf(ones, n, p[1])
        w = q / p
        total = ones * w[1] + (n - ones) * w[0]
        biases.append((chance * (ones * w[1] * f[1]) / total).sum() - q[1])
    assert 0.45 < biases[1] / biases[0] < 0.55
    assert 0.45 < biases[2] / biases[1] < 0.55


def test_the_standard_error_covers() -> None:
    # 2,000 samples of 400 rows: the error is that of the means; n would be too small.
    keys = jax.random.split(jax.random.key(0), 2000)

    def one(key):
        x = jax.random.normal(key, (400,))
        return importance_mean(x, density_ratio(0.5 * x))

    found = jax.jit(jax.vmap(one))(keys)
    spread = float(jnp.std(found.mean))
    assert abs(float(jnp.mean(found.stderr)) / spread - 1) < 0.1
    naive = 1 / math.sqrt(400)
    assert naive / spread < 0.95


def test_effective_size_has_its_ends() -> None:
    assert effective_sample_size(jnp.ones(7)) == 7
    one = jnp.zeros(7).at[3].set(5.0)
    assert effective_sample_size(one) == 1
    rng = np.random.default_rng(10)
    w = jnp.asarray(rng.exponential(size=(1000, 7)))
    size = effective_sample_size(w)
    assert ((size >= 1) & (size <= 7)).all()
    np.testing.assert_allclose(effective_sample_size(1e30 * w), size, rtol=1e-12)


def test_weights_that_are_not_scaled_do_not_overflow_in_sums() -> None:
    f = jnp.tile(jnp.asarray([1.0, 2.0, 3.0, 4.0], jnp.float32), 9)
    w = jnp.tile(jnp.asarray([1.0, 0.5, 1.0, 0.0], jnp.float32), 9)
    wanted = importance_mean(f, w)
    for scale in (1e-37, 8e37):
        found = importance_mean(f, scale * w)
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    np.testing.assert_allclose(wanted.mean, 2.0)
    none = importance_mean(f, 0 * w)
    assert none.mean == 0 and none.stderr == 0


def test_disjoint_sets_leave_one_row() -> None:
    logits = jnp.asarray(60 * np.random.default_rng(11).normal(size=200) - 300)
    w = density_ratio(logits)
    assert float(effective_sample_size(w)) < 2
    assert adversarial_auc(logits, logits + 1e4) == 1


def test_weights_are_made_from_logits_in_float32() -> None:
    logits = jnp.asarray([20.0, 18.0, 0.0], jnp.float32)
    d = jax.nn.sigmoid(logits)
    assert jnp.isinf(d / (1 - d))[:2].all()
    w = density_ratio(logits, normalize=False)
    np.testing.assert_allclose(w, np.exp([20.0, 18.0, 0.0]), rtol=1e-5)
    huge = density_ratio(jnp.asarray([1e4, 1e4 - 1], jnp.float32))
    np.testing.assert_allclose(huge, 2 / (1 + np.exp([-1.0, 1.0])), rtol=1e-3)


def test_cuts_and_tempers() -> None:
    logits = jnp.asarray(np.random.default_rng(12).normal(size=(50, 200)))
    raw = density_ratio(logits, normalize=False)
    cut = density_ratio(logits, clip=2.0, normalize=False)
    np.testing.assert_allclose(cut, jnp.minimum(raw, 2.0), rtol=1e-13)
    at = density_ratio(logits, quantile=0.99, normalize=False)
    assert ((at < raw).sum(-1) == 2).all()
    np.testing.assert_allclose(density_ratio(logits, temper=0.0), 1, rtol=1e-13)
    sizes = [
        effective_sample_size(density_ratio(logits, temper=t))
        for t in (1.0, 0.7, 0.3, 0.0)
    ]
    assert (np.diff(np.stack(sizes), axis=0) > 0).all()


def test_wide_test_sets_have_weights_without_variance() -> None:
    # q of scale 2 against p of 1: E_p[w^2] is infinite beyond sqrt(2), and the largest
    # weight takes over as rows come in; q of scale 1.2 has a limit.
    shares = {}
    for scale in (1.2, 2.0):
        x = gaussian(13)
        logs = scipy.stats.norm.logpdf(x, scale=scale) - scipy.stats.norm.logpdf(x)
        w = density_ratio(jnp.asarray(logs))
        shares[scale] = float(effective_sample_size(w)) / COUNT
    assert shares[1.2] > 0.8 > 0.2 > shares[2.0]


@pytest.mark.parametrize("part", ["n_train", "n_test"])
def test_one_size_alone_is_refused(part) -> None:
    other = "n_test" if part == "n_train" else "n_train"
    with pytest.raises(TypeError, match=f"density_ratio: `{other}`"):
        density_ratio(jnp.zeros(3), **{part: 2})
