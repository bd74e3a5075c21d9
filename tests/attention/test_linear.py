"""Linear attention: all forms agree, in value and gradient; masks, states, padding."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmark.cost import compiled_facts, contraction_flops
from kexue_jax.attention import (
    LinearAttentionState,
    cosine_features,
    cumulative_linear_attention,
    dense_attention,
    elu1,
    linear_attention,
    linear_attention_step,
    quadratic_linear_attention,
    recurrent_linear_attention,
)
from kexue_jax.positions import apply_rope, rope_frequencies
from tests.attention.causal_forms import FORMS, close, form, prefill_and_steps
from tests.oracles import linear_attention as oracle

CAUSAL = functools.partial(linear_attention, causal=True)


def features(n: int, *lead: int, m: int = 5, d: int = 4, seed: int = 0, dtype=float):
    rng = np.random.default_rng(seed)
    q, k = rng.random((2, *lead, n, m)) + 0.05
    return tuple(jnp.asarray(x, dtype) for x in (q, k, rng.normal(size=(*lead, n, d))))


def value_and_gradient(f, inputs):
    def total(*inputs):
        out = f(*inputs)
        # Rows of 0 get a cotangent too, which cos would not give them.
        return jnp.sum(jnp.sin(out)), out

    argnums = tuple(range(len(inputs)))
    gradient, out = jax.jit(jax.grad(total, argnums, has_aux=True))(*inputs)
    return out, gradient


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("n", [1, 2, 63, 100, 1000])
def test_chunked_form_equals_the_recurrence_in_value_and_gradient(n, name) -> None:
    inputs = features(n, 2)
    wanted = value_and_gradient(recurrent_linear_attention, inputs)
    with form(name):
        assert close(value_and_gradient(CAUSAL, inputs), wanted, 1e-11)


@pytest.mark.parametrize("n", [1, 2, 63, 100, 1000])
def test_bidirectional_form_equals_the_matrix_in_value_and_gradient(n) -> None:
    inputs = features(n, 2)
    wanted = value_and_gradient(quadratic_linear_attention, inputs)
    assert close(value_and_gradient(linear_attention, inputs), wanted, 1e-11)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("chunk", [1, 7, 64, 100, 300])
def test_every_chunk_size_gives_the_same(chunk, name) -> None:
    inputs = features(100, 2, 1, m=3)
    wanted = value_and_gradient(recurrent_linear_attention, inputs)
    with form(name):
        got = value_and_gradient(functools.partial(CAUSAL, chunk_size=chunk), inputs)
    assert close(got, wanted)


def test_the_four_forms_agree_to_1e_14() -> None:
    inputs = features(100, 3)
    quadratic = functools.partial(quadratic_linear_attention, causal=True)
    outs = [
        f(*inputs)
        for f in (CAUSAL, recurrent_linear_attention, cumulative_linear_attention)
    ]
    wanted = quadratic(*inputs)
    assert all(float(jnp.abs(out - wanted).max()) < 1e-14 for out in outs)


def test_float32_within_1e_5_at_length_1024() -> None:
    exact = features(1024, 2, m=16, d=16)
    low = tuple(x.astype(jnp.float32) for x in exact)
    assert close(CAUSAL(*low), CAUSAL(*exact), 1e-5)


def masked_twin(mask, prefix, n, lead):
    seen = oracle.pairs(
        n, n, causal=True, key_mask=mask, prefix_length=prefix, lead=lead
    )
    return functools.partial(quadratic_linear_attention, mask=jnp.asarray(seen))


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("n", [1, 2, 63, 100])
def test_padding_and_prefix_masks(n, name) -> None:
    rng = np.random.default_rng(1)
    inputs = features(n, 2, 3)
    mask, prefix = rng.random((2, 1, n)) < 0.6, rng.integers(0, n + 1, (2, 1))
    fast = functools.partial(
        CAUSAL, chunk_size=16, key_mask=jnp.asarray(mask), prefix_length=prefix
    )
    wanted = value_and_gradient(masked_twin(mask, prefix, n, (2, 3)), inputs)
    with form(name):
        assert close(value_and_gradient(fast, inputs), wanted)


def test_masking_keys_before_the_feature_map_is_wrong() -> None:
    # The public bug that the card names: elu1(0) = 1, so the padding counts.
    rng = np.random.default_rng(2)
    q, k, v = rng.normal(size=(3, 1, 9, 4))
    mask = jnp.arange(9) < 6
    wanted = CAUSAL(elu1(q), elu1(k), v)[:, :6]
    masked = linear_attention(elu1(q), elu1(k), v, key_mask=mask)
    bare = linear_attention(elu1(q)[:, :6], elu1(k)[:, :6], v[:, :6])
    assert close(masked[:, :6], bare)
    early = elu1(k * mask[None, :, None])
    assert (
        float(jnp.abs(linear_attention(elu1(q), early, v)[:, :6] - bare).max()) > 0.01
    )
    assert close(CAUSAL(elu1(q), elu1(k), v, key_mask=mask)[:, :6], wanted)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("causal", [False, True])
def test_rows_without_keys_are_zero_with_zero_gradient(causal, name) -> None:
    q, k, v = features(70, 2, dtype=np.float32)
    mask = jnp.zeros((2, 70), bool).at[1].set(True)
    for eps in (0.0, 1e-6):
        f = functools.partial(
            linear_attention, causal=causal, key_mask=mask, eps=eps, chunk_size=32
        )
        with form(name):
            out, gradients = value_and_gradient(f, (q, k, v))
        assert (out[0] == 0).all() and np.isfinite(out).all()
        assert all((g[0] == 0).all() and np.isfinite(g).all() for g in gradients)
        assert all((g[1] != 0).any() for g in gradients)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("cuts", [(1,), (40,), (30, 31, 77)])
def test_prefill_in_parts_equals_one_call_with_gradients(cuts, name) -> None:
    inputs = features(100, 2)
    borders = [0, *cuts, 100]

    def parts(*inputs):
        state, outs = None, []
        for low, high in itertools.pairwise(borders):
            piece = (x[:, low:high] for x in inputs)
            state, out = CAUSAL(*piece, chunk_size=16, state=state, return_state=True)
            outs.append(out)
        return jnp.concatenate([*outs, state.s, state.z[..., :4, None].mT], -2)

    def whole(*inputs):
        state, out = CAUSAL(*inputs, chunk_size=16, return_state=True)
        return jnp.concatenate([out, state.s, state.z[..., :4, None].mT], -2)

    with form(name):
        assert close(
            value_and_gradient(parts, inputs), value_and_gradient(whole, inputs)
        )


def test_prefill_then_steps_equals_one_call() -> None:
    q, k, v = map(np.asarray, features(50, 2, 3))
    wanted = CAUSAL(q, k, v)
    state, out = CAUSAL(*(x[..., :33, :] for x in (q, k, v)), return_state=True)
    outs, step = [out], jax.jit(linear_attention_step)
    for t in range(33, 50):
        state, one = step(state, *(x[..., t, :] for x in (q, k, v)))
        outs.append(np.asarray(one)[..., None, :])
    assert close(np.concatenate(outs, -2), wanted)
    # What a cache without z gives (a public bug that the card names).
    forgotten = LinearAttentionState(state.s, jnp.zeros_like(state.z))
    wrong = linear_attention_step(
        forgotten, q[..., 49, :], k[..., 49, :], v[..., 49, :]
    )
    assert float(jnp.abs(wrong.out - wanted[..., 49, :]).max()) > 1


@pytest.mark.parametrize("n", [1, 2, 63, 100, 1000])
def test_gradients_through_a_prefill_and_steps(n) -> None:
    inputs = features(n, 2, m=3)
    call = functools.partial(CAUSAL, chunk_size=16, return_state=True)
    decoded = functools.partial(prefill_and_steps, call, linear_attention_step)
    wanted = value_and_gradient(recurrent_linear_attention, inputs)
    assert close(value_and_gradient(decoded, inputs), wanted, 1e-11)


def test_bidirectional_states_add_up() -> None:
    q, k, v = features(30, 2)
    whole, wanted = linear_attention(q, k, v, return_state=True)
    state = linear_attention(q, k[:, :11], v[:, :11], return_state=True).state
    state, out = linear_attention(
        q, k[:, 11:], v[:, 11:], state=state, return_state=True
    )
    assert close((state, out), (whole, wanted))


@pytest.mark.parametrize("n", [1, 2, 63, 100, 1000])
@pytest.mark.parametrize(
    ("causal", "name"), [(False, "loop"), *((True, name) for name in FORMS)]
)
def test_rotated_numerators(causal, name, n) -> None:
    q, k, v = features(n, 2, m=6)
    tables = jnp.arange(n), rope_frequencies(6, dtype=jnp.float64)
    turned = tuple(apply_rope(x, *tables) for x in (q, k))

    def fast(q, k, v, *numerator):
        return linear_attention(
            q, k, v, causal=causal, numerator=numerator, chunk_size=32
        )

    inputs = (q, k, v, *turned)
    with form(name):
        out, gradients = value_and_gradient(fast, inputs)
    assert close(out, oracle.linear(q, k, v, numerator=turned, causal=causal))

    def twin(q, k, v, top_q, top_k):
        keep = jnp.asarray(oracle.pairs(n, n, causal=causal, lead=(2,)))
        top = jnp.where(keep, top_q @ top_k.mT, 0) @ v
        weights = jnp.where(keep, q @ k.mT, 0)
        return top / (weights.sum(-1, keepdims=True) + 1e-6)

    assert close(gradients, value_and_gradient(twin, inputs)[1], 1e-11)
    if not causal or n == 1:
        return
    first = n - 1
    with form(name):
        q, k, v, *turned = (x[:, :first] for x in inputs)
        options = {"numerator": tuple(turned), "causal": True, "return_state": True}
        state, again = linear_attention(q, k, v, **options)
    q, k, v, *turned = (x[:, first] for x in inputs)
    one = linear_attention_step(state, q, k, v, numerator=tuple(turned))
    assert close((again, one.out), (out[:, :first], out[:, first]))


def test_rotated_cosine_features_may_serve_both_sides_of_the_quotient() -> None:
    rng = np.random.default_rng(3)
    q, k = rng.normal(size=(2, 1000, 6))
    tables = jnp.arange(1000), rope_frequencies(6, dtype=jnp.float64)
    phi = [cosine_features(apply_rope(jnp.asarray(x), *tables)) for x in (q, k)]
    assert float((phi[0] @ phi[1].mT).min()) >= -1e-12


def test_results_are_weighted_means_of_the_values() -> None:
    rng = np.random.default_rng(4)
    for causal in (False, True):
        phi_q, phi_k = rng.random((2, 1000, 7, 3)) ** 4
        v = rng.normal(size=(1000, 7, 2))
        out = linear_attention(phi_q, phi_k, v, causal=causal, eps=0.0)
        first = np.maximum.accumulate(v, 1) if causal else v.max(1, keepdims=True)
        last = np.minimum.accumulate(v, 1) if causal else v.min(1, keepdims=True)
        assert (out <= first + 1e-12).all() and (out >= last - 1e-12).all()
        ones = linear_attention(phi_q, phi_k, np.ones_like(v), causal=causal, eps=0.0)
        np.testing.assert_allclose(ones, 1, atol=1e-14)


def test_factors_of_queries_cancel_and_of_single_keys_do_not() -> None:
    rng = np.random.default_rng(5)
    phi_q, phi_k = rng.random((2, 1000, 6, 3)) + 0.1
    v = rng.normal(size=(1000, 6, 2))
    free = functools.partial(CAUSAL, eps=0.0)
    wanted, factor = free(phi_q, phi_k, v), rng.random((1000, 6, 1)) + 0.5
    assert close(free(phi_q * factor, phi_k, v), wanted)
    assert close(free(phi_q, phi_k * 3.7, v), wanted)
    changed = jnp.abs(free(phi_q, phi_k * factor, v) - wanted)[:, 1:].max((1, 2))
    assert (changed > 1e-4).all()


def test_rank_of_the_matrix_of_weights() -> None:
    phi_q, phi_k, _ = features(20, m=3)
    weights = lambda causal: linear_attention(  # noqa: E731
        phi_q, phi_k, jnp.eye(20), causal=causal
    )
    assert np.linalg.matrix_rank(weights(False), 1e-10) == 3
    assert np.linalg.matrix_rank(weights(True), 1e-10) == 20


def test_causal_results_do_not_see_the_future() -> None:
    q, k, v = features(90, 2)
    cut = CAUSAL(*(x[:, :50] for x in (q, k, v)))
    assert close(CAUSAL(q, k, v)[:, :50], cut)


def test_bfloat16_sums_many_tokens_in_float32() -> None:
    # idiap/fast-transformers 32: a 16-bit sum over 4,000 positive terms is lost.
    q, k, v = features(4000, 1, dtype=jnp.bfloat16)
    wanted = CAUSAL(*(x.astype(float) for x in (q, k, v)))
    out = CAUSAL(q, k, v)
    assert out.dtype == jnp.bfloat16 and close(out.astype(float), wanted, 5e-3)
    state = CAUSAL(q, k, v, return_state=True).state
    assert state.s.dtype == state.z.dtype == jnp.float32
    low, _ = jax.lax.scan(lambda z, row: (z + row, None), k[:, 0], k[0, :, None])
    assert float(jnp.abs(low.astype(float) / state.z - 1).max()) > 0.05


def test_gradient_of_eps_and_of_the_unnormalized_form() -> None:
    q, k, v = features(20, 2)
    for f in (CAUSAL, functools.partial(quadratic_linear_attention, causal=True)):
        slope = jax.grad(lambda e, f=f: f(q, k, v, eps=e).sum())(jnp.asarray(0.3))
        bare = value_and_gradient(functools.partial(f, normalize=False), (q, k, v))
        if f is CAUSAL:
            mine = slope, bare
    assert close(mine, (slope, bare))


def test_under_vmap_and_second_derivatives() -> None:
    inputs = features(40, 3)
    assert close(jax.vmap(CAUSAL)(*inputs), CAUSAL(*inputs))

    def curvature(f):
        slope = jax.grad(lambda q: jnp.sum(jnp.cos(f(q, *inputs[1:]))))
        return jax.grad(lambda q: jnp.sum(slope(q) ** 2))(inputs[0])

    assert close(curvature(CAUSAL), curvature(recurrent_linear_attention), 1e-10)


def shaped(n: int):
    return tuple(jax.ShapeDtypeStruct((2, n, 16), np.float32) for _ in range(3))


def gradient(*inputs):
    return jax.grad(lambda *x: CAUSAL(*x).sum(), (0, 1, 2))(*inputs)


@pytest.mark.parametrize(("m", "wide", "even"), [(1, 1, 1), (4, 1, 4), (4, 4, 16)])
def test_linear_attention_saves_flops_from_the_length_of_its_features_on(
    m, wide, even
) -> None:
    # d = 8: as many products as softmax at n = even d; the normalizer is apart.
    def products(form, n, m, e):
        q, v = jnp.ones((n, 8 * m)), jnp.ones((n, 8 * e))
        return contraction_flops(form, q, q, v)

    linear = functools.partial(linear_attention, normalize=False)
    n = 8 * even
    at_even = products(linear, n, m, wide), products(dense_attention, n, 1, 1)
    assert at_even[0] == pytest.approx(at_even[1], rel=0.01)
    longer = products(linear, 2 * n, m, wide), products(dense_attention, 2 * n, 1, 1)
    assert 2 * longer[0] == pytest.approx(longer[1], rel=0.01)


def test_efficient_attentions_other_normalizer_is_a_mean_of_products() -> None:
    rng = np.random.default_rng(6)
    q, k, v = rng.normal(size=(3, 40, 5))
    root = np.sqrt(40)
    got = linear_attention(q / root, k / root, v, normalize=False)
    np.testing.assert_allclose(got, q @ k.T @ v / 40, atol=1e-13)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("f", [CAUSAL, gradient])
def test_flops_and_memory_grow_as_the_length(f, name) -> None:
    def costs(n):
        compiled = jax.jit(lambda *x: f(*x)).lower(*shaped(n)).compile()
        zeros = (jnp.zeros(x.shape, x.dtype) for x in shaped(n))
        return contraction_flops(f, *zeros), compiled_facts(compiled)["peak_bytes"]

    with form(name):
        (flops, peak), (more_flops, more_peak) = costs(2048), costs(8192)
    assert more_flops / flops == pytest.approx(4, rel=0.01)
    assert more_peak / peak == pytest.approx(4, rel=0.15)


def test_the_gradient_keeps_no_state_a_token() -> None:
    def peak(f, n=2048):
        inputs = tuple(jax.ShapeDtypeStruct((2, n, 32), np.float32) for _ in range(3))
        of = jax.grad(lambda *x: f(*x).sum(), (0, 1, 2))
        return compiled_facts(jax.jit(of).lower(*inputs).compile())["peak_bytes"]

    states = 2 * 2048 * 32 * 32 * 4
    assert peak(recurrent_linear_attention) > states
    assert peak(CAUSAL) < states / 2


@pytest.mark.parametrize("dtype", ["int8", "uint8", "uint32"])
def test_prefix_lengths_may_be_narrow_integers(dtype) -> None:
    """Positions beyond 127 do not fit an int8: in it they would wrap."""
    inputs = features(300)
    got, wanted = (CAUSAL(*inputs, prefix_length=p) for p in (jnp.array(5, dtype), 5))
    np.testing.assert_array_equal(got, wanted)
