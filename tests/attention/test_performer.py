"""The Performer: errors by formula, forms that agree, stability at large norms."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.attention import (
    dense_attention,
    gaussian_projection,
    linear_attention,
    log_linear_attention,
    log_softmax_features,
    orthogonal_projection,
    performer_attention,
    performer_step,
    softmax_features,
)
from tests.attention.causal_forms import FORMS, close, form, prefill_and_steps
from tests.attention.test_linear import value_and_gradient
from tests.attention.test_projections import CARD_X, CARD_Y, X, Y, estimates, many
from tests.oracles import linear_attention as oracle

KINDS = ("positive", "hyperbolic", "trig", "generalized")


def inputs(n: int, *lead: int, d: int = 4, scale: float = 0.5, seed: int = 0):
    rng = np.random.default_rng(seed)
    q, k = scale * rng.normal(size=(2, *lead, n, d))
    w = rng.normal(size=(9, d))
    return tuple(map(jnp.asarray, (q, k, rng.normal(size=(*lead, n, 3)), w)))


def exact_errors(x, y, m):
    """Mean square errors of independent rows, the card's formulas."""
    sm, z2, delta2 = math.exp(x @ y), ((x + y) ** 2).sum(), ((x - y) ** 2).sum()
    positive = math.exp(z2) * sm**2 * (1 - math.exp(-z2)) / m
    return {
        "positive": positive,
        "hyperbolic": positive * (1 - math.exp(-z2)) / 2,
        "trig": math.exp(z2) / sm**2 * (1 - math.exp(-delta2)) ** 2 / (2 * m),
    }


@pytest.mark.parametrize("kind", KINDS[:3])
def test_mean_square_error_of_independent_rows(kind) -> None:
    m, draws = 8, 100_000
    w = many(lambda k: gaussian_projection(k, m=m, d=8), draws=draws)
    squares = (estimates(w, jnp.asarray(X), jnp.asarray(Y), kind) - np.exp(X @ Y)) ** 2
    error = squares.std() / math.sqrt(draws)
    wanted = exact_errors(X, Y, m)[kind]
    assert abs(squares.mean() - wanted) < 5 * error
    assert error < 0.05 * wanted
    # A constant that is wrong by a fifth is caught.
    assert abs(squares.mean() - 1.2 * wanted) > 3 * error


def test_positive_is_exact_at_zero_sum_and_trig_at_equality() -> None:
    x = jnp.asarray(X)
    w = many(lambda k: gaussian_projection(k, m=8, d=8), draws=50)
    opposite = estimates(w, x, -x, "positive")
    np.testing.assert_allclose(opposite, np.exp(-X @ X), rtol=1e-5)
    np.testing.assert_allclose(estimates(w, x, x, "trig"), np.exp(X @ X), rtol=1e-5)


def test_orthogonal_rows_have_less_error_than_their_bound() -> None:
    m = d = 8
    sm, lam = (
        math.exp(CARD_X @ CARD_Y),
        math.exp(-(CARD_X @ CARD_X + CARD_Y @ CARD_Y) / 2),
    )
    w = many(lambda k: orthogonal_projection(k, m=m, d=d), draws=40_000)
    squares = (estimates(w, jnp.asarray(CARD_X), jnp.asarray(CARD_Y)) - sm) ** 2
    gain = 2 * (m - 1) / (m * (d + 2)) * (sm - lam) ** 2
    bound = exact_errors(CARD_X, CARD_Y, m)["positive"] - gain
    error = squares.std() / 200
    # The card: 0.2309 for independent rows, the bound 0.2032, measured 0.1921.
    assert exact_errors(CARD_X, CARD_Y, m)["positive"] == pytest.approx(
        0.2309, abs=3e-4
    )
    assert bound == pytest.approx(0.2032, abs=3e-4)
    assert abs(squares.mean() - 0.1921) < 4 * error
    assert squares.mean() < bound + 2 * error
    # So few errors wide is the gap to independent rows that those would fail.
    assert exact_errors(CARD_X, CARD_Y, m)["positive"] - bound > 4 * error


def test_error_falls_as_the_root_of_the_number_of_features() -> None:
    counts, roots = [16, 64, 256, 1024, 4096], []
    for m in counts:
        w = many(lambda k, m=m: gaussian_projection(k, m=m, d=8), draws=200)
        found = estimates(w, jnp.asarray(X), jnp.asarray(Y))
        roots.append(math.sqrt(((found - np.exp(X @ Y)) ** 2).mean()))
    slope = np.polyfit(np.log(counts), np.log(roots), 1)[0]
    assert -0.6 < slope < -0.4


def test_relative_error_at_small_norms_and_at_unit_norms() -> None:
    # The card: sigma = 0.25 gives a relative error of the kernel of 0.7 %; output error
    # is below a uniform average's there, and above it for entries of unit variance.
    rng = np.random.default_rng(0)
    q, k = rng.normal(size=(2, 256, 64))
    v = jnp.asarray(rng.normal(size=(256, 64)))
    w = orthogonal_projection(jax.random.key(0), m=256, d=64, dtype=jnp.float64)
    phi = [softmax_features(jnp.asarray(0.25 * x), w) for x in (q, k)]
    truth = np.exp(0.0625 * q @ k.T / 8)
    relative = np.asarray(phi[0] @ phi[1].mT) / truth - 1
    assert 0.003 < (relative**2).mean() < 0.010
    # At 0.5 and 1 the card: 0.39 and 2.2 to 2.6 beside 0.24 and 0.78 of the average.
    for sigma, low, high, average in (
        (0.25, 0.04, 0.06, 0.06),
        (0.5, 0.33, 0.45, 0.24),
        (1.0, 1.9, 2.9, 0.78),
    ):
        a, b = (jnp.asarray(sigma * x) for x in (q, k))
        wanted = dense_attention(a, b, v)
        norm = float(jnp.linalg.norm(wanted))
        ours = float(jnp.linalg.norm(performer_attention(a, b, v, w) - wanted)) / norm
        mean = float(jnp.linalg.norm(v.mean(0, keepdims=True) - wanted)) / norm
        assert low <= ours < high
        assert mean == pytest.approx(average, abs=0.02)


def test_the_number_of_features_for_an_error_does_not_grow_with_the_length() -> None:
    """The paper's uniform bound, with a constant of 4 and vectors of norm up to R = 1:

    m = 4 (d / delta^2) log(4 d^(3/4) R / delta), delta = eps exp(-R^2 / sqrt(d)).
    """
    d, eps = 4, 0.5
    delta = eps * math.exp(-(d**-0.5))
    m = math.ceil(4 * d / delta**2 * math.log(4 * d**0.75 / delta))
    w = many(lambda k: orthogonal_projection(k, m=m, d=d), draws=40)
    x = np.random.default_rng(0).normal(size=(2, 2000, d))
    x = jnp.asarray(x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1))
    exact = np.exp(np.asarray((x[0] * x[1]).sum(-1)) / 2)

    @jax.jit
    @jax.vmap
    def kernel(w):
        phi = [softmax_features(y, w) for y in x]
        return (phi[0] * phi[1]).sum(-1)

    worst = np.maximum.accumulate(np.abs(np.asarray(kernel(w)) - exact), 1)
    medians = [float(np.median(worst[:, n - 1])) for n in (125, 500, 2000)]
    assert (worst[:, -1] <= eps).mean() > 0.5
    assert medians[2] < 1.5 * medians[0]


def plain(kind, seen):
    def f(q, k, v, w):
        if kind == "generalized":
            phi = [jax.nn.relu(x @ w.T) + 1e-3 for x in (q, k)]
        else:
            phi = [softmax_features(x, w, kind=kind) for x in (q, k)]
        weights = jnp.where(seen, phi[0] @ phi[1].mT, 0)
        total = weights.sum(-1, keepdims=True)
        return weights @ v / jnp.where(total == 0, 1, total)

    return f


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("n", "name"), [*((n, "loop") for n in (1, 2, 63, 100)), (63, "together")]
)
def test_causal_masks_and_gradients(n, name, kind) -> None:
    rng = np.random.default_rng(1)
    mask, prefix = rng.random((2, 1, n)) < 0.6, rng.integers(0, n // 2 + 1, (2, 1))
    masks = {"key_mask": mask, "prefix_length": prefix}
    seen = jnp.asarray(oracle.pairs(n, n, causal=True, lead=(2, 3), **masks))
    data = inputs(n, 2, 3, scale=0.2)
    fast = functools.partial(
        performer_attention, kind=kind, causal=True, chunk_size=16, **masks
    )
    wanted = value_and_gradient(plain(kind, seen), data)
    with form(name):
        assert close(value_and_gradient(fast, data), wanted, 1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_at_length_1000(kind) -> None:
    data = inputs(1000, scale=0.2)
    seen = jnp.asarray(oracle.pairs(1000, 1000, causal=True))
    fast = functools.partial(performer_attention, kind=kind, causal=True)
    wanted = value_and_gradient(plain(kind, seen), data)
    for name in FORMS:
        with form(name):
            assert close(value_and_gradient(fast, data), wanted, 1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 63, 100, 1000])
def test_gradients_in_both_directions_and_of_decoding(n, kind) -> None:
    """Bidirectional with masked keys; and a prefill, then token by token."""
    *rows, w = inputs(n, scale=0.2)
    mask = jnp.asarray(np.random.default_rng(1).random(n) < 0.6)
    call = functools.partial(performer_attention, kind=kind, chunk_size=16)
    step = functools.partial(performer_step, kind=kind)

    def decoded(q, k, v, w):
        return prefill_and_steps(
            lambda *x: call(*x, w, causal=True, return_state=True),
            lambda state, *x: step(state, *x, w),
            *(q, k, v),
        )

    causal = jnp.asarray(oracle.pairs(n, n, causal=True))
    masked = functools.partial(call, key_mask=mask)
    for fast, seen in ((masked, jnp.broadcast_to(mask, (n, n))), (decoded, causal)):
        wanted = value_and_gradient(plain(kind, seen), (*rows, w))
        assert close(value_and_gradient(fast, (*rows, w)), wanted, 1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_decoding_equals_one_call_and_prefixes_equal_bidirectional(kind) -> None:
    q, k, v, w = map(np.asarray, inputs(30, 2, 3))
    call = functools.partial(performer_attention, kind=kind, chunk_size=8)
    causal = jax.jit(functools.partial(call, causal=True, return_state=True))
    step = jax.jit(functools.partial(performer_step, kind=kind))
    wanted = causal(q, k, v, w).out
    for start in (0, 17):
        state, outs = None, []
        if start:
            state, out = causal(*(x[..., :start, :] for x in (q, k, v)), w)
            outs.append(out)
        for t in range(start, 30):
            state, one = step(state, *(x[..., t, :] for x in (q, k, v)), w)
            outs.append(np.asarray(one)[..., None, :])
        assert close(np.concatenate(outs, -2), wanted, 1e-11)
    for i in (0, 11, 29):
        prefix = call(*(x[..., : i + 1, :] for x in (q, k, v)), w)
        assert close(prefix[..., i, :], wanted[..., i, :], 1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_every_head_may_have_its_own_projection(kind) -> None:
    q, k, v, _ = inputs(20, 2, 3)
    w = jnp.asarray(np.random.default_rng(4).normal(size=(3, 9, 4)))
    call = functools.partial(performer_attention, kind=kind, causal=True)
    both = call(q, k, v, w)
    for h in range(3):
        assert close(both[:, h], call(q[:, h], k[:, h], v[:, h], w[h]))
    state = call(q, k, v, w, return_state=True).state
    last = performer_step(
        state, q[..., -1, :], k[..., -1, :], v[..., -1, :], w, kind=kind
    )
    assert last.out.shape == (2, 3, 3)


def test_rotating_the_projection_is_rotating_the_inputs() -> None:
    q, k, v, w = inputs(12)
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(4, 4)))[0]
    assert close(
        performer_attention(q, k, v, w @ turn),
        performer_attention(q @ turn.T, k @ turn.T, v, w),
    )


def published(q, k, v, w, eps=1e-4):
    """Form 1 of the card: the code beside the paper, with its eps."""
    phis = []
    for x, axes in ((q, -1), (k, (-2, -1))):
        x = x / x.shape[-1] ** 0.25
        p, half = x @ w.T, (x * x).sum(-1, keepdims=True) / 2
        phis.append(jnp.exp(p - half - p.max(axes, keepdims=True)) + eps)
    return linear_attention(*phis, v, eps=0.0)


def test_published_form_becomes_the_mean_at_large_norms_and_ours_does_not() -> None:
    rng = np.random.default_rng(6)
    q, k = jnp.asarray(2 * rng.normal(size=(2, 256, 64)), jnp.float32)
    v = jnp.asarray(rng.normal(size=(256, 8)), jnp.float32)
    w = orthogonal_projection(jax.random.key(1), m=256, d=64)
    mean = jnp.broadcast_to(v.mean(0, keepdims=True), v.shape)
    for eps in (1e-4, 1e-6):  # of the feature function, of the public builder
        form = published(q, k, v, w, eps)
        assert float(jnp.abs(form - mean).max()) < 2e-6
    assert float(jnp.abs(performer_attention(q, k, v, w) - mean).max()) > 0.5


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", ["positive", "hyperbolic"])
def test_exact_in_float32_at_eight_times_unit_norm(kind, causal) -> None:
    rng = np.random.default_rng(7)
    q, k = 8 * rng.normal(size=(2, 100, 16))
    v, w = rng.normal(size=(100, 4)), rng.normal(size=(32, 16))
    low = [jnp.asarray(x, jnp.float32) for x in (q, k, v, w)]
    exact = [np.asarray(x, np.float64) for x in low]
    wanted = oracle.performer(*exact, kind=kind, causal=causal)
    out, gradients = value_and_gradient(
        functools.partial(performer_attention, kind=kind, causal=causal), low
    )
    # An exponent near 300 is known to 3e-5 in float32.
    assert close(out.astype(float), wanted, 2e-4)
    assert all(np.isfinite(g).all() for g in gradients)
    bits = [x.astype(jnp.bfloat16) for x in low]
    out, gradients = value_and_gradient(
        functools.partial(performer_attention, kind=kind, causal=causal), bits
    )
    assert out.dtype == jnp.bfloat16 and np.isfinite(out.astype(float)).all()
    assert all(np.isfinite(g.astype(float)).all() for g in gradients)


def test_rebalanced_features_in_float32_against_higher_precision() -> None:
    # The card's form 3 at 8 times unit norm: error 2e-6 and a denominator of 1.
    rng = np.random.default_rng(8)
    u_q, u_k = 8 * rng.normal(size=(2, 64, 16))
    v = rng.normal(size=(64, 4))
    low = [jnp.asarray(x, jnp.float32) for x in (u_q, u_k, v)]
    exact = [np.asarray(x, np.float64) for x in low]
    assert close(
        log_linear_attention(*low).astype(float), oracle.log_linear(*exact), 4e-6
    )


def test_log_features_are_the_logarithms_up_to_factors_of_queries() -> None:
    q, k, v, w = inputs(20, 2)
    u_q = log_softmax_features(q, w, is_query=True)
    u_k = log_softmax_features(k, w, is_query=False)
    phi = softmax_features(k, w)
    assert close(jnp.exp(u_k) / 3, phi)
    assert close(log_linear_attention(u_q, u_k, v), performer_attention(q, k, v, w))


def test_forgetting_or_doubling_the_scale_is_caught() -> None:
    rng = np.random.default_rng(9)
    q, k = 0.7 * rng.normal(size=(2, 32, 4))
    v = jnp.asarray(rng.normal(size=(32, 3)))
    w = gaussian_projection(jax.random.key(2), m=4096, d=4, dtype=jnp.float64)
    wanted = dense_attention(jnp.asarray(q), jnp.asarray(k), v)
    good = performer_attention(q, k, v, w)
    forgotten = performer_attention(q * 2**0.5, k * 2**0.5, v, w)
    doubled = performer_attention(q / 2**0.5, k / 2**0.5, v, w)
    error = lambda out: float(jnp.sqrt(jnp.square(out - wanted).mean()))  # noqa: E731
    assert error(good) < 0.02
    assert min(error(forgotten), error(doubled)) > 2 * error(good)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("causal", [False, True])
def test_rows_without_keys_are_zero_with_zero_gradient(kind, causal) -> None:
    data = tuple(x.astype(jnp.float32) for x in inputs(20, 2))
    mask = jnp.zeros((2, 20), bool).at[1].set(True)
    call = functools.partial(
        performer_attention, kind=kind, causal=causal, key_mask=mask, chunk_size=8
    )
    out, gradients = value_and_gradient(call, data)
    assert np.isfinite(out).all() and (out[0] == 0).all() and (out[1] != 0).any()
    for g in gradients[:3]:
        assert np.isfinite(g).all() and (g[0] == 0).all()
