"""Random projections: orthogonal, unbiased with the sign of QR, norms by every rule."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from kexue_jax.attention import (
    gaussian_projection,
    orthogonal_projection,
    redrawn_projection,
    softmax_features,
)
from kexue_jax.attention.projections import chi_quantiles

KEY = jax.random.key(5)
DRAWS = 4000


def many(draw, seed: int = 0, draws: int = DRAWS):
    return jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(seed), draws))


def estimates(w, x, y, kind="positive"):
    """The kernel of x and y [d] by each of the projections [draws, m, d]."""
    of = lambda x, w: softmax_features(x[None], w, kind=kind, scale=False)[0]  # noqa: E731
    each = jax.jit(jax.vmap(lambda w: of(x, w) @ of(y, w)))
    return np.asarray(each(w))


def mean_and_error(values):
    return values.mean(), values.std() / np.sqrt(len(values))


@pytest.mark.parametrize("m", [3, 8, 11, 24])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_rows_of_a_block_are_orthogonal(m, dtype) -> None:
    w = orthogonal_projection(KEY, m=m, d=8, dtype=dtype)
    rows = w / jnp.linalg.norm(w, axis=-1, keepdims=True)
    bound = 1e-5 if dtype == jnp.float32 else 1e-13
    for start in range(0, m, 8):
        block = rows[start : start + 8]
        assert float(jnp.abs(block @ block.T - jnp.eye(len(block))).max()) < bound


def test_squared_norms_follow_chi_squared() -> None:
    w = np.asarray(many(lambda k: orthogonal_projection(k, m=8, d=8), draws=1000))
    squares = (w**2).sum(-1).ravel()
    assert stats.kstest(squares, stats.chi2(8).cdf).pvalue > 1e-6
    assert abs(squares.mean() - 8) < 5 * np.sqrt(16 / squares.size)


@pytest.mark.parametrize("m", [8, 64])
def test_mean_square_of_quantile_norms(m) -> None:
    w = orthogonal_projection(KEY, m=m, d=8, norms="quantile", dtype=jnp.float64)
    wanted = {8: 7.72, 64: 7.93}[m]
    assert float((w**2).sum(-1).mean()) == pytest.approx(wanted, abs=0.005)


@pytest.mark.parametrize("d", [1, 2, 8, 64, 500])
def test_quantiles_of_chi(d) -> None:
    shares = (1e-4, 0.01, 0.3, 0.5, 0.9, 0.999, 1 - 1e-6)
    wanted = stats.chi(d).ppf(shares)
    np.testing.assert_allclose(chi_quantiles(shares, d), wanted, rtol=1e-9)


def raw_projection(key, d):
    """Orthogonal rows with the signs that LAPACK's factorization leaves."""
    key_q, key_n = jax.random.split(key)
    q, _ = jnp.linalg.qr(jax.random.normal(key_q, (d, d), jnp.float32))
    norms = jnp.linalg.norm(jax.random.normal(key_n, (d, d), jnp.float32), axis=-1)
    return q.T * norms[:, None]


@pytest.mark.parametrize("d", [16, 64])
def test_unbiased_with_the_sign_of_qr_and_biased_without(d) -> None:
    # x = y of norm 1/2, exp(x.y) = 1.2840; the card: 1.10 raw at d = 16, 1.19 at 64.
    x = jnp.full(d, 0.5 / np.sqrt(d))
    truth = np.exp(0.25)
    draws = DRAWS if d == 16 else 2000
    w = many(lambda k: orthogonal_projection(k, m=d, d=d), draws=draws)
    mean, error = mean_and_error(estimates(w, x, x))
    assert abs(mean - truth) < 5 * error

    raw = functools.partial(raw_projection, d=d)
    mean, error = mean_and_error(estimates(many(raw, draws=draws), x, x))
    assert truth - mean > 10 * error
    assert mean == pytest.approx({16: 1.098, 64: 1.192}[d], abs=0.03)


def test_waves_do_not_show_the_bias_of_raw_signs() -> None:
    # cos(w . (x - y)) is even in w, so that E[Q_jj] < 0 does not matter to it.
    x, y = jnp.full(16, 0.125), jnp.full(16, 0.125).at[::2].set(-0.05)
    w = many(functools.partial(raw_projection, d=16))
    mean, error = mean_and_error(estimates(w, x, y, "trig"))
    assert abs(mean - np.exp(float(x @ y))) < 5 * error
    mean, error = mean_and_error(estimates(w, x, y, "positive"))
    assert abs(mean - np.exp(float(x @ y))) > 8 * error


def test_independent_rows_are_unbiased() -> None:
    x, y = jnp.full(4, 0.3), jnp.array([0.2, -0.4, 0.5, 0.1])
    for kind in ("positive", "hyperbolic", "trig"):
        w = many(lambda k: gaussian_projection(k, m=16, d=4), draws=20_000)
        mean, error = mean_and_error(estimates(w, x, y, kind))
        assert abs(mean - np.exp(float(x @ y))) < 5 * error, kind


# A pair in d = 8, SM = 0.787.
X = np.array([0.5, -0.3, 0.4, 0.1, -0.2, 0.6, -0.1, 0.3])
Y = np.array([-0.2, 0.5, 0.3, 0.2, 0.4, -0.1, 0.2, 0.1])


# The card's pair in d = m = 8, up to a rotation: SM = 0.835 and |x + y|^2 = 1.2948,
# which its error of independent rows, 0.2309, tells.
_ANGLE = np.log(0.835) / 0.82772
_SIGNS = np.array([1, -1, 1, 1, -1, 1, -1, -1])
CARD_X = np.sqrt(0.82772 / 8) * np.ones(8)
CARD_Y = np.sqrt(0.82772 / 8) * (_ANGLE + np.sqrt(1 - _ANGLE**2) * _SIGNS)


def test_norms_by_a_rule_are_biased_with_less_variance() -> None:
    truth, errors, biases = np.exp(CARD_X @ CARD_Y), {}, {}
    for norms in ("chi", "sqrt_d", "quantile", "midpoint"):
        draw = functools.partial(orthogonal_projection, m=8, d=8, norms=norms)
        w = many(draw, 1, 20_000)
        found = estimates(w, jnp.asarray(CARD_X), jnp.asarray(CARD_Y))
        mean, error = mean_and_error(found)
        errors[norms] = ((found - truth) ** 2).mean()
        biases[norms] = (mean - truth) / truth
        if norms == "chi":
            assert abs(mean - truth) < 5 * error
        else:
            assert mean < truth - 3 * error
    # The card's figures; 20,000 draws know a bias to about 0.3 %.
    for norms, bias, error in (
        ("sqrt_d", -0.036, 0.093),
        ("quantile", -0.038, 0.119),
        ("midpoint", -0.016, 0.146),
        ("chi", 0.0, 0.192),
    ):
        assert biases[norms] == pytest.approx(bias, abs=0.012), norms
        assert errors[norms] == pytest.approx(error, rel=0.08), norms
    others = (errors[n] for n in ("sqrt_d", "quantile", "midpoint"))
    assert errors["sqrt_d"] < errors["chi"] and all(e < errors["chi"] for e in others)


def test_regularized_kernel_is_below_the_softmax_kernel() -> None:
    rng = np.random.default_rng(3)
    w = many(lambda k: orthogonal_projection(k, m=8, d=8, norms="sqrt_d"), 2, 4000)
    for _ in range(20):
        x, y = jnp.asarray(rng.normal(size=(2, 8)) / 3)
        mean, error = mean_and_error(estimates(w, x, y))
        assert mean < np.exp(float(x @ y)) + 4 * error


def share_of_softmax(z2, d):
    """SMREG / SM by its series: the mean of exp(w . z) over |w| = sqrt(d), |z|^2 = z2,
    over exp(z2 / 2). The mean of (w . z)^2k is known in closed form."""
    total, term = np.ones_like(z2), np.ones_like(z2)
    for k in range(1, 200):
        term = term * (d * z2 / 4) / (k * (d / 2 + k - 1))
        total = total + term
    return total * np.exp(-z2 / 2)


def test_regularized_kernel_is_its_series_and_close_to_softmax() -> None:
    # The paper: at least 1 - 2 / d^(1/3) of it, up to smaller terms.
    rng = np.random.default_rng(4)
    for d in (8, 64, 512):
        z = rng.normal(size=(1000, d)) * rng.uniform(0, 1.5, (1000, 1)) / np.sqrt(d)
        share = share_of_softmax((z**2).sum(-1), d)
        assert (share <= 1).all() and (share >= 1 - 2 / d ** (1 / 3)).all()
    w = many(lambda k: orthogonal_projection(k, m=8, d=8, norms="sqrt_d"), 3, 10_000)
    mean, error = mean_and_error(estimates(w, jnp.asarray(X), jnp.asarray(Y)))
    wanted = np.exp(X @ Y) * share_of_softmax(((X + Y) ** 2).sum(), 8)
    assert abs(mean - wanted) < 4 * error
    assert np.exp(X @ Y) - wanted > 4 * error


def test_heads_have_projections_of_their_own() -> None:
    w = orthogonal_projection(KEY, m=6, d=4, heads=3)
    assert w.shape == (3, 6, 4)
    keys = jax.random.split(KEY, 3)
    np.testing.assert_array_equal(w[1], orthogonal_projection(keys[1], m=6, d=4))
    assert gaussian_projection(KEY, m=6, d=4, heads=3).shape == (3, 6, 4)


def test_redraws_follow_the_step_alone() -> None:
    draw = jax.jit(lambda t: redrawn_projection(KEY, t, every=10, m=6, d=4))
    same, other = draw(jnp.asarray(19)), draw(jnp.asarray(20))
    np.testing.assert_array_equal(draw(jnp.asarray(10)), same)
    assert float(jnp.abs(same - other).max()) > 0.1
    np.testing.assert_allclose(
        same, redrawn_projection(KEY, 10, every=10, m=6, d=4), rtol=1e-6
    )


def test_no_program_waits_for_the_threads_of_lapack() -> None:
    """Two of its batched factorizations at a time can wait for each other forever."""

    def both(key, step):
        draw = functools.partial(redrawn_projection, every=10, m=8, d=4, heads=2)
        return [draw(jax.random.fold_in(key, layer), step) for layer in range(2)]

    compiled = jax.jit(both).lower(jax.random.key(0), jnp.int32(3)).compile()
    assert "custom-call" not in compiled.as_text()
