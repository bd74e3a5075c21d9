"""Taylor attention: row blocks equal the matrix, masks, bounds, extremes, memory."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from experiments.benchmark.cost import compiled_facts, contraction_flops
from kexue_jax.attention import blockwise_taylor_attention, taylor_attention
from tests.oracles import taylor as oracle

FORMS = (
    taylor_attention,
    functools.partial(blockwise_taylor_attention, block_size=16),
)


def qkv(n: int, m: int | None = None, d: int = 4, lead=(2,), seed: int = 0):
    draw = np.random.default_rng(seed)
    m = n if m is None else m
    return tuple(jnp.asarray(draw.normal(size=(*lead, s, d))) for s in (n, m, m))


def gap(a, b) -> float:
    return float(
        np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max(initial=0)
    )


def value_and_slopes(form, *arrays, **options):
    @jax.jit
    def run(*arrays):
        weight = jnp.cos(jnp.arange(arrays[0].shape[-2], dtype=arrays[0].dtype))

        def total(*arrays):
            out = form(*arrays, **options)
            return (
                out * weight[:, None].reshape((1,) * (out.ndim - 2) + (-1, 1))
            ).sum()

        return form(*arrays, **options), jax.grad(total, (0, 1, 2))(*arrays)

    return run(*arrays)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("n", [1, 2, 63, 100, 1000])
def test_row_blocks_give_the_values_and_gradients_of_the_matrix(n, causal) -> None:
    arrays = qkv(n)
    blocks = functools.partial(blockwise_taylor_attention, block_size=48)
    for options in ({"order": 2}, {"order": 6, "monotone": True}):
        mine, slopes = value_and_slopes(blocks, *arrays, causal=causal, **options)
        theirs, exact = value_and_slopes(
            taylor_attention, *arrays, causal=causal, **options
        )
        assert gap(mine, theirs) < 1e-13
        for a, b in zip(slopes, exact, strict=True):
            assert gap(a, b) < 1e-11


@pytest.mark.parametrize("n", [1, 63, 100])
@pytest.mark.parametrize("shape", ["rows", "keys", "shared", "lower rank"])
def test_every_shape_of_mask(n: int, shape: str) -> None:
    q, k, v = qkv(n, 50, lead=(2, 3))
    draw = np.random.default_rng(n)
    shapes = {
        "rows": (2, 3, n, 50),
        "keys": (2, 1, 1, 50),
        "shared": (1, 1, n, 50),
        "lower rank": (n, 50),
    }
    mask = jnp.asarray(draw.uniform(size=shapes[shape]) < 0.5)
    full = jnp.broadcast_to(mask, (2, 3, n, 50))
    wanted = oracle.attention(*map(np.asarray, (q, k, v)), np.asarray(full))
    for form in FORMS:
        assert gap(form(q, k, v, mask=mask), wanted) < 1e-12
    (_, mine), (_, theirs) = (
        value_and_slopes(f, q, k, v, mask=mask, causal=True) for f in FORMS
    )
    for a, b in zip(mine, theirs, strict=True):
        assert gap(a, b) < 1e-12


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("order", [2, 6])
def test_masked_rows_are_0_with_no_gradient_and_masked_keys_may_be_anything(
    form, order: int
) -> None:
    q, k, v = qkv(40)
    mask = np.ones((40, 40), bool)
    mask[3], mask[:, 7] = False, False
    out, slopes = value_and_slopes(form, q, k, v, order=order, mask=jnp.asarray(mask))
    assert (out[:, 3] == 0).all() and (slopes[0][:, 3] == 0).all()
    for slope in slopes[1:]:
        assert (slope[:, 7] == 0).all()
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in (out, *slopes))
    far = k.at[:, 7].set(1e9)
    assert gap(form(q, far, v, order=order, mask=jnp.asarray(mask)), out) < 1e-15
    none = jnp.zeros((40, 40), bool)
    out, slopes = value_and_slopes(form, q, k, v, order=order, mask=none)
    assert all((leaf == 0).all() for leaf in (out, *slopes))


def test_a_large_negative_score_attracts_so_masks_cannot_be_scores() -> None:
    # The pitfall: a bias of -1e9, as softmax code masks, draws all of the weight.
    scores = np.array([[0.3, -1e9, 0.2]])
    weights = oracle.softmax(scores)
    assert weights[0, 1] > 0.99


def test_the_future_does_not_matter_to_a_causal_row() -> None:
    q, k, v = qkv(70)
    for form in FORMS:
        out = form(q, k, v, causal=True)
        later = form(q, k.at[:, 40:].add(3.0), v.at[:, 40:].set(9.0), causal=True)
        assert gap(out[:, :40], later[:, :40]) < 1e-14
        assert gap(out[:, 40:], later[:, 40:]) > 0.1
        assert gap(out[:, 0], v[:, 0]) < 1e-14


def test_the_denominator_is_at_least_half_the_number_of_keys() -> None:
    # f_2 >= 1/2, on 1,000 queries; reached where every score is -1.
    q, k, _ = qkv(1000, 64, lead=())
    total = oracle.polynomial(np.asarray(q @ k.T) / 2, 2).sum(-1)
    assert (total >= 32).all()
    assert oracle.polynomial(-np.ones((1, 64)), 2).sum() == 32


def test_weights_are_probabilities_whatever_the_order() -> None:
    q, k, _ = qkv(100, 60, lead=(10,))
    ones = jnp.ones((10, 60, 1))
    for form in FORMS:
        for order in (2, 4, 8):
            for monotone in (False, True):
                out = form(q, k, ones, order=order, monotone=monotone)
                assert gap(out, 1) < 1e-13


def test_it_tends_to_softmax_attention_with_the_order() -> None:
    q, k, v = qkv(64, d=8)
    weights = jax.nn.softmax(q @ k.swapaxes(-1, -2) / 8**0.5)
    gaps = [
        gap(taylor_attention(q, k, v, order=n), weights @ v) for n in (2, 4, 6, 8, 16)
    ]
    assert all(b < a for a, b in itertools.pairwise(gaps)), gaps
    assert gaps[-1] < 1e-4


def test_unscaled_scores_are_blind_to_the_sign() -> None:
    # The pitfall: at s >> 1 the weights are those of s^2.
    q, k, v = qkv(30)
    blind = taylor_attention(30 * q, 30 * k, v)
    turned = taylor_attention(30 * q, -30 * k, v)
    assert (
        gap(blind, turned)
        < 0.05
        < gap(taylor_attention(q, k, v), taylor_attention(q, -k, v))
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_stable_at_extremes(form, dtype: str) -> None:
    for size in (0.0, 1e2, 1e4, 1e9):
        q, k, v = (size * x for x in qkv(33, seed=3))
        low = tuple(x.astype(dtype) for x in (q, k, v))
        for order in (2, 6, 10):
            out, slopes = value_and_slopes(form, *low, order=order, causal=True)
            assert out.dtype == dtype
            for leaf in (out, *slopes):
                assert np.isfinite(np.asarray(leaf, np.float32)).all(), (size, order)
            exact = taylor_attention(
                *(x.astype(jnp.float64) for x in low), order=order, causal=True
            )
            bound = {"bfloat16": 1e-2, "float32": 1e-4}[dtype]
            assert gap(out, exact) <= bound * size


def test_gradients_of_both_modes_and_orders() -> None:
    arrays = qkv(5, 6, d=3, lead=())
    mask = jnp.asarray(np.random.default_rng(0).uniform(size=(5, 6)) < 0.7)
    for form in FORMS:
        for options in ({"mask": mask}, {"causal": True, "order": 4}):
            check_grads(
                functools.partial(form, **options),
                arrays,
                order=2,
                atol=1e-5,
                rtol=1e-5,
            )


def test_the_scale_may_be_a_number_or_traced() -> None:
    q, k, v = qkv(20)
    for form in FORMS:
        wanted = form(q, k, v, scale=0.3)
        traced = jax.jit(lambda s, f=form: f(q, k, v, scale=s))(jnp.asarray(0.3))
        assert gap(wanted, traced) < 1e-14
        assert gap(form(q, k, v, scale=0.5), form(q, k, v)) < 1e-14
        slope = jax.grad(lambda s, f=form: f(q, k, v, scale=s).sum())(0.3)
        step = 1e-6
        sides = [form(q, k, v, scale=0.3 + t).sum() for t in (step, -step)]
        assert abs(slope - (sides[0] - sides[1]) / (2 * step)) < 1e-5


def test_no_batch_no_rows_of_work() -> None:
    q, k, v = qkv(5, lead=(0, 3))
    assert blockwise_taylor_attention(q, k, v).shape == (0, 3, 5, 4)
    assert taylor_attention(q, k, v).shape == (0, 3, 5, 4)


def memory(form, n: int, gradient: bool) -> float:
    arrays = [jax.ShapeDtypeStruct((2, n, 16), jnp.float32)] * 3
    run = form
    if gradient:
        run = jax.grad(lambda *x: form(*x).sum(), (0, 1, 2))
    return compiled_facts(jax.jit(run).lower(*arrays).compile())["peak_bytes"]


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_memory_of_row_blocks_is_linear_and_that_of_the_matrix_is_not(
    gradient: bool, causal: bool
) -> None:
    blocks = functools.partial(blockwise_taylor_attention, block_size=64, causal=causal)
    whole = functools.partial(taylor_attention, causal=causal)
    small, large = (memory(blocks, n, gradient) for n in (2048, 4096))
    assert large < 2.2 * small
    assert memory(whole, 4096, gradient) > 3.5 * memory(whole, 2048, gradient)
    assert memory(whole, 4096, gradient) > 10 * large
    free = functools.partial(blockwise_taylor_attention, causal=causal)
    assert memory(free, 8192, gradient) < 2.2 * memory(free, 4096, gradient)


def test_causal_blocks_skip_what_no_row_of_a_part_sees() -> None:
    arrays = [jax.ShapeDtypeStruct((1, 2048, 16), jnp.float32)] * 3
    whole, half = (
        contraction_flops(
            functools.partial(blockwise_taylor_attention, block_size=64, causal=causal),
            *arrays,
        )
        for causal in (False, True)
    )
    assert half == pytest.approx(whole * 9 / 16)
    assert whole == 4 * 2048 * 2048 * 16
