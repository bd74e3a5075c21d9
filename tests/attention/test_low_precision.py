"""bfloat16 at the cards' extremes: long rows, large norms, positions beyond 256.

Each form in bfloat16 against itself in float64 at the very same (rounded) inputs. That
values and gradients stay finite at a hundred times these sizes is in tests/contract.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax import attention as forms
from kexue_jax.positions import apply_rope, log_n_scale, rope_frequencies
from tests.attention.test_rerope_decode import decoded

N, D = 600, 8
KEY = jax.random.key(2)
FREQS = rope_frequencies(D)


def normals(seed: int, *shape: int, factor: float = 1.0) -> jax.Array:
    return jnp.asarray(factor * np.random.default_rng(seed).normal(size=shape))


def error(form, *arrays: jax.Array) -> float:
    """The largest error of the form in bfloat16, over the largest entry."""
    low = [x.astype(jnp.bfloat16) for x in arrays]
    run = jax.jit(form)
    got, wanted = run(*low), run(*(x.astype(jnp.float64) for x in low))
    assert got.dtype == jnp.bfloat16
    got, wanted = np.asarray(got, np.float64), np.asarray(wanted)
    assert np.isfinite(got).all()
    return float(np.abs(got - wanted).max() / np.abs(wanted).max())


def longformer(q, k, v):
    places = jnp.array([0, 300])
    return forms.longformer_attention(q, k, v, q[places], k, v, places, window=32)


def performer(kind, causal):
    w = normals(9, 16, D).astype(jnp.bfloat16)
    return lambda q, k, v: forms.performer_attention(
        q, k, v, w.astype(q.dtype), kind=kind, causal=causal
    )


def taps(dtype):
    """Two kernels [3, d, d] of numbers that bfloat16 holds."""
    return normals(8, 2, 3, D, D).astype(jnp.bfloat16).astype(dtype) / 4


LARGE = {
    "blockwise": functools.partial(forms.blockwise_attention, causal=True),
    "atrous": functools.partial(forms.atrous_attention, dilation=7),
    "sparse": functools.partial(forms.sparse_attention, reach=16),
    "longformer": longformer,
    "bigbird": functools.partial(forms.bigbird_attention, KEY, block_size=32),
    "lsh, one bucket": functools.partial(forms.lsh_attention, KEY, n_buckets=1),
    "pooled": functools.partial(forms.pooled_attention, stride=3),
    "strided": lambda q, k, v: forms.strided_attention(q, k, v, *taps(q.dtype)),
    "double": forms.double_attention,
    "taylor": functools.partial(forms.blockwise_taylor_attention, causal=True),
    "log-linear": forms.log_linear_attention,
    "log-linear, causal": functools.partial(forms.log_linear_attention, causal=True),
    "efficient, causal": functools.partial(forms.efficient_attention, causal=True),
    "performer": performer("positive", False),
    "performer, causal": performer("positive", True),
    "hyperbolic": performer("hyperbolic", False),
}


@pytest.mark.parametrize("name", LARGE)
def test_eight_times_unit_norms_at_length_600(name) -> None:
    q, k, v = (normals(seed, N, D, factor=f) for seed, f in enumerate((8, 8, 1)))
    if name.startswith("lsh"):
        form, arrays = LARGE[name], (q, v)
    else:
        form, arrays = LARGE[name], (q, k, v)
    assert error(form, *arrays) < 3e-2


def test_elu1_features_of_tiny_arguments_keep_their_weights() -> None:
    # elu(x) + 1 is 0 in bfloat16 below about -6.2, and attention over it 0 / 0.
    q, k = (normals(seed, N, D) - 20 for seed in range(2))
    assert (jax.nn.elu(k.astype(jnp.bfloat16)) + 1 == 0).any()

    def linear(q, k, v):
        phi = forms.elu1(q), forms.elu1(k)
        return forms.linear_attention(*phi, v, causal=True, eps=0.0)

    assert error(linear, q, k, 1 + normals(2, N, D)) < 3e-2


def test_cosine_features_of_opposite_first_tokens_stay_finite() -> None:
    q = normals(0, N, D).astype(jnp.bfloat16)
    phi = forms.cosine_features(q), forms.cosine_features(-q)

    def total(q, k):
        out = forms.linear_attention(q, k, q, causal=True)
        return out.astype(jnp.float32).sum()

    slopes = jax.jit(jax.value_and_grad(total, (0, 1)))(*phi)
    assert all(np.isfinite(np.asarray(x, float)).all() for x in jax.tree.leaves(slopes))


@pytest.mark.parametrize("factor", [1.0, 30.0])
def test_taylor_features_at_length_600(factor: float) -> None:
    def linear(q, k, v):
        phi = forms.taylor2_features(q), forms.taylor2_features(k)
        return forms.linear_attention(*phi, v, causal=True, eps=0.0)

    q, k = (normals(seed, N, D, factor=factor) for seed in range(2))
    assert error(linear, q, k, normals(2, N, D)) < 3e-2


ROTARY = {
    "rerope": functools.partial(forms.rerope_attention, window=64),
    "leaky": functools.partial(forms.rerope_attention, window=64, leak=16.0),
    "invleaky": functools.partial(forms.rerope_attention, window=64, leak=1 / 16),
    "self-extend": functools.partial(forms.self_extend_attention, window=64, group=8),
    "hwfa, window": functools.partial(
        forms.hwfa_attention, window=64, train_length=256
    ),
    "hwfa, full": functools.partial(
        forms.hwfa_attention, window=None, train_length=256
    ),
}


@pytest.mark.parametrize("name", ROTARY)
def test_rotary_forms_far_beyond_position_256(name) -> None:
    q, k, v = (normals(seed, N, D) for seed in range(3))
    form = functools.partial(ROTARY[name], freqs=FREQS)
    assert error(form, q, k, v) < 3e-2

    # What positions in bfloat16 would do, which apply_rope refuses.
    rounded = jnp.arange(N).astype(jnp.bfloat16).astype(jnp.float32)
    assert np.abs(np.diff(rounded)[256:] - 1).max() > 0.9


@pytest.mark.parametrize("leak", [math.inf, 16.0, 1 / 16])
def test_decoding_beyond_position_256(leak) -> None:
    """Both caches in bfloat16, the last tokens of 600 one by one."""
    q, k, v = (normals(seed, 1, N, D) for seed in range(3))
    rest, options = slice(590, None), {"freqs": FREQS, "window": 64, "leak": leak}

    def dual(q, k, v):
        cache = forms.rerope_cache(k[:, :590], v[:, :590], size=N, **options)
        step = functools.partial(forms.rerope_decode_step, **options)
        return decoded(step, cache, *(x[:, rest] for x in (q, k, v)))[1]

    def raw(q, k, v):
        start = (jnp.pad(x[:, :590], ((0, 0), (0, 10), (0, 0))) for x in (k, v))
        cache = forms.RawKeyCache(*start, jnp.int32(590))
        step = functools.partial(forms.raw_decode_step, **options)
        return decoded(step, cache, *(x[:, rest] for x in (q, k, v)))[1]

    exact = [x.astype(jnp.bfloat16).astype(jnp.float64) for x in (q, k, v)]
    whole = forms.dense_rerope_attention(*exact, **options)[:, rest]
    for form in (dual, raw):
        assert error(form, q, k, v) < 3e-2
        assert np.abs(jax.jit(form)(*exact) - whole).max() < 1e-4


def test_rotation_at_position_100000() -> None:
    x, places = normals(0, 64, D), 100_000 + jnp.arange(64)
    turned = lambda x: apply_rope(x, places, FREQS)  # noqa: E731
    assert error(turned, x) < 3e-2


def test_log_n_of_positions_in_float32() -> None:
    got = log_n_scale(jnp.arange(2**20), 512, floor=0.0)
    wanted = np.log1p(np.arange(2**20)) / math.log(512)
    assert np.abs(got - wanted).max() < 1e-6
