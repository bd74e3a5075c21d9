"""Rows without keys: 0, and no gradient to them, to masked keys or to their values.

The loss weighs every number of the output, so that rows of 0 get a cotangent too: a
loss such as sum(cos(out)) has none there and would pass whatever the gradient is.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax import attention as forms
from kexue_jax.positions import rope_frequencies
from tests.attention.causal_forms import form as causal_form

N, D = 24, 4
KEY = jax.random.key(1)
FREQS = rope_frequencies(D)


def normals(seed: int, *shape: int, dtype: Any = jnp.float32) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


# No key at all in the first member of the batch; in the second none of the first five,
# so that causal rows 0 to 4 are empty, and later ones here and there.
MASK = np.zeros((2, N), bool)
MASK[1, 5:] = np.random.default_rng(0).random(N - 5) < 0.6
MASK[1, 5] = True


class Form(NamedTuple):
    """f(q, k, v, mask); whether it is causal, whether k has no part in it, and whether
    the causal product by chunks makes it."""

    f: Any
    causal: bool = False
    shared: bool = False
    by_chunks: bool = False


def pairwise(f, **options):
    return lambda q, k, v, mask: f(q, k, v, mask=mask[:, None, :], **options)


def keyed(f, **options):
    return lambda q, k, v, mask: f(q, k, v, key_mask=mask, **options)


def of_features(f, **options):
    def run(q, k, v, mask):
        return f(forms.elu1(q), forms.elu1(k), v, key_mask=mask, **options)

    return run


def quadratic(q, k, v, mask):
    phi = forms.elu1(q), forms.elu1(k)
    return forms.quadratic_linear_attention(*phi, v, mask=mask[:, None], causal=True)


def rotated(causal):
    def run(q, k, v, mask):
        numerator = q, k
        options = {"numerator": numerator, "key_mask": mask, "causal": causal}
        return forms.linear_attention(
            forms.elu1(q), forms.elu1(k), v, chunk_size=8, **options
        )

    return run


def performer(kind, causal):
    w = normals(9, 6, D)
    return lambda q, k, v, mask: forms.performer_attention(
        q, k, v, w, kind=kind, causal=causal, key_mask=mask, chunk_size=8
    )


def longformer(q, k, v, mask):
    """Global tokens 1 and 9 with their own projections, made of the same arrays."""
    places = jnp.array([1, 9])
    extra = 2 * q[:, places], k - 1, 3 * v, places
    options = {"window": 4, "dilation": 2, "key_mask": mask}
    return forms.longformer_attention(q, k, v, *extra, **options)


def bigbird(q, k, v, mask):
    counts = {"block_size": 4, "n_window": 1, "n_global": 1, "n_random": 1}
    return forms.bigbird_attention(KEY, q, k, v, key_mask=mask, **counts)


def lsh(causal):
    def run(q, k, v, mask):
        options = {"n_buckets": 4, "n_rounds": 2, "chunk_size": 8, "causal": causal}
        return forms.lsh_attention(KEY, q, v, key_mask=mask, **options)

    return run


def linformer(q, k, v, mask):
    return forms.linformer_attention(q, k, v, normals(8, 3, N), key_mask=mask)


def decoded(step, make):
    """Attention of the last token to a cache of all, one row a member of the batch."""

    def run(q, k, v, mask):
        last = (x[:, -1] for x in (q, k, v))
        cache = make(k[:, :-1], v[:, :-1])
        out = step(cache, *last, freqs=FREQS, window=3, mask=mask).out
        return out[:, None]

    return run


def dual(k, v):
    return forms.rerope_cache(k, v, freqs=FREQS, window=3, size=N)


def raw(k, v):
    k, v = (jnp.pad(x, ((0, 0), (0, 1), (0, 0))) for x in (k, v))
    return forms.RawKeyCache(k, v, jnp.int32(N - 1))


def rotary(f, **options):
    return keyed(f, freqs=FREQS, **options)


LINEAR = (forms.log_linear_attention, forms.efficient_attention)
CHUNKS = {"by_chunks": True}
PATTERNS = {
    "local": functools.partial(forms.local_attention, radius=2),
    "atrous": functools.partial(forms.atrous_attention, dilation=3),
    "sparse": functools.partial(forms.sparse_attention, reach=3),
}
FORMS = {
    "dense": Form(pairwise(forms.dense_attention)),
    "dense, causal": Form(pairwise(forms.dense_attention, causal=True), True),
    "blockwise": Form(keyed(forms.blockwise_attention, block_size=8)),
    "blockwise, causal": Form(
        keyed(forms.blockwise_attention, block_size=8, causal=True), True
    ),
    **{name: Form(keyed(f)) for name, f in PATTERNS.items()},
    **{f"{n}, causal": Form(keyed(f, causal=True), True) for n, f in PATTERNS.items()},
    "explicit top-k": Form(pairwise(forms.explicit_sparse_attention, k_top=3)),
    "longformer": Form(longformer),
    "bigbird": Form(bigbird),
    "lsh": Form(lsh(False), shared=True),
    "lsh, causal": Form(lsh(True), True, shared=True),
    "linformer": Form(linformer),
    "pooled": Form(keyed(forms.pooled_attention, stride=2)),
    "double": Form(keyed(forms.double_attention)),
    "linear": Form(of_features(forms.linear_attention)),
    "linear, causal": Form(
        of_features(forms.linear_attention, causal=True, chunk_size=8), True, **CHUNKS
    ),
    "recurrent": Form(of_features(forms.recurrent_linear_attention), True),
    "cumulative": Form(of_features(forms.cumulative_linear_attention), True),
    "quadratic": Form(quadratic, True),
    "rotated": Form(rotated(False)),
    "rotated, causal": Form(rotated(True), True, **CHUNKS),
    **{f.__name__: Form(keyed(f)) for f in LINEAR},
    **{
        f"{f.__name__}, causal": Form(
            keyed(f, causal=True, chunk_size=8), True, **CHUNKS
        )
        for f in LINEAR
    },
    **{
        f"performer, {kind}": Form(performer(kind, False))
        for kind in ("positive", "hyperbolic", "trig", "generalized")
    },
    **{
        f"performer, {kind}, causal": Form(performer(kind, True), True, **CHUNKS)
        for kind in ("positive", "hyperbolic", "trig", "generalized")
    },
    "taylor": Form(pairwise(forms.taylor_attention)),
    "taylor by blocks": Form(
        pairwise(forms.blockwise_taylor_attention, block_size=8, causal=True), True
    ),
    "mitchell": Form(pairwise(forms.mitchell_attention)),
    "rerope": Form(rotary(forms.rerope_attention, window=3), True),
    "rerope, both ways": Form(rotary(forms.rerope_attention, window=3, causal=False)),
    "dense rerope": Form(
        pairwise(forms.dense_rerope_attention, freqs=FREQS, window=3), True
    ),
    "self-extend": Form(rotary(forms.self_extend_attention, window=3, group=2), True),
    "hwfa, window": Form(rotary(forms.hwfa_attention, window=6, train_length=9), True),
    "hwfa, full": Form(rotary(forms.hwfa_attention, window=None, train_length=9), True),
    "dual cache": Form(decoded(forms.rerope_decode_step, dual)),
    "raw cache": Form(decoded(forms.raw_decode_step, raw)),
}


@pytest.mark.parametrize("name", FORMS)
def test_rows_without_keys_are_0_and_no_gradient_meets_what_is_masked(name) -> None:
    check(FORMS[name])


@pytest.mark.parametrize(
    "name", [n for n, form in FORMS.items() if form.causal and form.by_chunks]
)
def test_so_it_is_in_the_form_of_accelerators(name) -> None:
    with causal_form("together"):
        check(FORMS[name])


def check(form: Form) -> None:
    q, k, v = (normals(seed, 2, N, D) for seed in range(3))
    weights = 1 + normals(3, 2, N, D) ** 2
    mask = jnp.asarray(MASK)

    def total(q, k, v):
        out = form.f(q, k, v, mask)
        return (weights[:, : out.shape[1]] * out).sum(), out

    slopes, out = jax.jit(jax.grad(total, (0, 1, 2), has_aux=True))(q, k, v)
    for leaf in (out, *slopes):
        assert np.isfinite(leaf).all()
        assert (leaf[0] == 0).all()
    dq, dk, dv = slopes
    if form.causal:
        assert (out[1, :5] == 0).all() and (dq[1, :5] == 0).all()
        assert (out[1, 5] != 0).any()
    assert (dk[1, ~MASK[1]] == 0).all() and (dv[1, ~MASK[1]] == 0).all()
    assert (dv[1, MASK[1]] != 0).any() and (dq[1] != 0).any()
    assert form.shared or (dk[1, MASK[1]] != 0).any()
