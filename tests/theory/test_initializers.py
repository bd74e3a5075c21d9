"""Standard deviations of initializers: what is meant, what frameworks give."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.theory import (
    layer_norm,
    mlm_logits,
    ntk_dense,
    truncated_normal,
    variance_scaling,
    zero_hadamard,
)
from kexue_jax.theory.initializers import TRUNCATED_VARIANCE

KEY = jax.random.key(0)
COUNT = 400_000
# Six standard errors of a standard deviation from so many draws, tails cut or not.
SLACK = 6 / math.sqrt(2 * COUNT)


def std(initializer, shape=(COUNT,)):
    draw = jax.jit(lambda key: jnp.std(initializer(key, shape, jnp.float32)))
    return float(draw(KEY))


def test_constants_of_the_truncated_normal() -> None:
    assert abs(TRUNCATED_VARIANCE - 0.7737413035) < 1e-9
    assert abs(math.sqrt(TRUNCATED_VARIANCE) - 0.8796256610) < 1e-9
    assert abs(1 / math.sqrt(TRUNCATED_VARIANCE) - 1.1368472343) < 1e-9
    assert abs(0.02 * math.sqrt(TRUNCATED_VARIANCE) - 0.0175925) < 1e-7
    xavier = 1 / math.sqrt(768)
    assert abs(xavier - 0.0360844) < 1e-7
    ratio = 0.02 * math.sqrt(TRUNCATED_VARIANCE) / xavier
    assert abs(ratio - 0.4875) < 1e-4


def test_stddev_is_that_after_the_cut_or_before_it() -> None:
    mine = [truncated_normal(stddev=0.02, corrected=c) for c in (True, False)]
    theirs = jax.nn.initializers.truncated_normal(0.02)
    bert = 0.02 * math.sqrt(TRUNCATED_VARIANCE)
    np.testing.assert_allclose(std(mine[0]), 0.02, rtol=SLACK)
    np.testing.assert_allclose(std(mine[1]), bert, rtol=SLACK)
    np.testing.assert_allclose(std(theirs), bert, rtol=SLACK)
    assert abs(std(theirs) / 0.02 - 1) > 0.1  # what users trip over


@pytest.mark.parametrize("distribution", ["truncated_normal", "normal", "uniform"])
def test_variances_of_lecun_xavier_and_he(distribution) -> None:
    shape = (500, COUNT // 500)
    for scale, mode, wanted in (
        (1.0, "fan_in", 1 / 500),
        (1.0, "fan_avg", 2 / sum(shape)),
        (2.0, "fan_in", 2 / 500),
    ):
        found = variance_scaling(scale=scale, mode=mode, distribution=distribution)
        np.testing.assert_allclose(std(found, shape), math.sqrt(wanted), rtol=SLACK)


def test_axes_decide_what_counts_as_an_input() -> None:
    d, heads, size = 40, 10, 100
    right = variance_scaling(in_axis=0, out_axis=(1, 2))
    found = std(right, (d, heads, size))
    np.testing.assert_allclose(found, 1 / math.sqrt(d), rtol=0.05)
    wrong = std(variance_scaling(), (d, heads, size))
    np.testing.assert_allclose(wrong, 1 / math.sqrt(d * heads), rtol=0.05)
    stacked = std(variance_scaling(batch_axis=0), (heads, d, size))
    np.testing.assert_allclose(stacked, 1 / math.sqrt(d), rtol=0.05)


def test_half_types_are_rounded_float32_draws() -> None:
    for build in (truncated_normal(stddev=0.02), variance_scaling()):
        wide, low = (build(KEY, (50, 20), d) for d in (jnp.float32, jnp.bfloat16))
        np.testing.assert_array_equal(
            np.asarray(low, np.float32),
            np.asarray(wide.astype(jnp.bfloat16), np.float32),
        )


def test_hadamard_rows_are_orthogonal_and_all_of_one_size() -> None:
    w = np.asarray(zero_hadamard(gain=1.0)(KEY, (5, 16), jnp.float64))
    np.testing.assert_allclose(w @ w.T, np.eye(5), atol=1e-12)
    assert set(np.abs(w).ravel()) == {0.25}
    np.testing.assert_array_equal(zero_hadamard()(KEY, (5, 3)), np.eye(5, 3))
    # By default the paper's constant 2^(-(k - 1) / 2), k = 4 for nine to sixteen.
    for n in (9, 16):
        found = np.abs(zero_hadamard()(KEY, (5, n), jnp.float64))
        np.testing.assert_allclose(found, 2**-1.5, rtol=1e-15)


def test_scale_of_attention_may_stand_in_the_start() -> None:
    # 8620: q.k / sqrt(d), or the variance of both kernels over sqrt(d), or all on one.
    d = 64
    x = jax.random.normal(jax.random.key(1), (2000, d))
    spreads = []
    for q_scale, k_scale, divisor in (
        (1.0, 1.0, math.sqrt(d)),
        (d**-0.5, d**-0.5, 1.0),
        (1.0 / d, 1.0, 1.0),
    ):
        w = [
            variance_scaling(scale=s)(jax.random.key(k), (d, d))
            for k, s in ((2, q_scale), (3, k_scale))
        ]
        logits = jnp.sum((x @ w[0]) * (x[::-1] @ w[1]), axis=-1) / divisor
        spreads.append(float(jnp.std(logits)))
    np.testing.assert_allclose(spreads, spreads[0], rtol=1e-5)
    assert abs(spreads[0] - 1) < 0.15


def test_ntk_layer_is_the_standard_one_at_other_rates() -> None:
    # Kernel w / sqrt(m): rate eta / m for descent, eta / sqrt(m) for steps by sign.
    m, rate = 9, 0.3
    rng = np.random.default_rng(0)
    x, y = jnp.asarray(rng.normal(size=(5, m))), jnp.asarray(rng.normal(size=(5, 2)))
    w = jnp.asarray(rng.normal(size=(m, 2)))

    def ntk(w):
        return jnp.sum(jnp.square(jnp.tanh(ntk_dense(x, w)) - y))

    def standard(w):
        return jnp.sum(jnp.square(jnp.tanh(x @ w) - y))

    for direction, factor in ((lambda g: g, m), (jnp.sign, math.sqrt(m))):
        a, b = w, w / math.sqrt(m)
        for _ in range(5):
            a = a - rate * direction(jax.grad(ntk)(a))
            b = b - rate / factor * direction(jax.grad(standard)(b))
        np.testing.assert_allclose(a / math.sqrt(m), b, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    ("eps", "shrinks"), [(1e-12, 0), (1e-6, 0.0016), (1e-5, 0.016)]
)
def test_eps_shrinks_what_is_made_of_small_embeddings(eps, shrinks) -> None:
    x = np.random.default_rng(0).normal(size=(50, 768))
    x = 0.0176 * (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)
    found = float(jnp.std(layer_norm(jnp.asarray(x), eps=eps)))
    np.testing.assert_allclose(1 - found, shrinks, rtol=0.05, atol=1e-7)


def test_first_loss_of_the_masked_model_is_near_the_uniform_one() -> None:
    # Embeddings of 0.0176, a normed state: logits of about 0.49, ln V + 0.49^2 / 2.
    rng = np.random.default_rng(1)
    d, words, tokens = 768, 2000, 200
    h = layer_norm(jnp.asarray(rng.normal(size=(tokens, d)), jnp.float32))
    embedding = truncated_normal(stddev=0.02, corrected=False)(KEY, (words, d))
    logits = mlm_logits(h, embedding)
    spread = float(jnp.std(logits))
    np.testing.assert_allclose(spread, 0.0175925 * math.sqrt(d), rtol=0.02)
    # The mean over all targets, so that their draw adds no noise.
    loss = jax.nn.logsumexp(logits, axis=-1).mean() - logits.mean()
    excess = float(loss) - math.log(words)
    assert abs(excess - spread**2 / 2) < 0.01
    assert 0.1 < excess < 0.14
