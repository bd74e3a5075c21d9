"""Block by block against the dense form: values, lse, gradients, masks, bands, cost."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmark.cost import compiled_facts, contraction_flops
from kexue_jax.attention import (
    blockwise,
    blockwise_attention,
    dense_attention,
    merge_attention,
)
from kexue_jax.attention._blocks import block_rows, plan
from tests.oracles import attention as oracle


def inputs(n, m=None, *, lead=(2,), d=4, e=3, dtype=jnp.float64, seed=0):
    draw = np.random.default_rng(seed)
    m = n if m is None else m
    shapes = ((*lead, n, d), (*lead, m, d), (*lead, m, e))
    return tuple(jnp.asarray(draw.normal(size=s), dtype) for s in shapes)


def fixed(part):
    """A number that depends on all outputs and all normalizers that exist."""
    lse = jnp.where(jnp.isneginf(part.lse), 0, part.lse)
    return jnp.sum(jnp.sin(part.out)) + jnp.sum(jnp.sin(lse))


def compare(q, k, v, *, key_mask=None, bound=1e-12, block_size=None, **options):
    """Values, lse and all gradients of both forms; the gradients are returned."""
    mask = None if key_mask is None else key_mask[..., None, :]

    def fast(q, k, v):
        part = blockwise_attention(
            q,
            k,
            v,
            key_mask=key_mask,
            block_size=block_size,
            return_lse=True,
            **options,
        )
        return fixed(part), part

    def twin(q, k, v):
        part = dense_attention(q, k, v, mask=mask, return_lse=True, **options)
        return fixed(part), part

    got = jax.jit(jax.grad(fast, (0, 1, 2), has_aux=True))(q, k, v)
    wanted = jax.jit(jax.grad(twin, (0, 1, 2), has_aux=True))(q, k, v)
    for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        empty = np.isneginf(np.asarray(theirs))
        assert (np.isneginf(np.asarray(ours)) == empty).all()
        difference = np.abs(np.where(empty, 0, ours) - np.where(empty, 0, theirs))
        scale = max(1.0, np.abs(np.where(empty, 0, theirs)).max(initial=0))
        assert np.isfinite(difference).all() and difference.max() < bound * scale
    return got[0]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("n", [1, 2, 63, 100, 1000])
def test_equals_the_dense_form_at_awkward_lengths(n, causal) -> None:
    compare(*inputs(n), causal=causal)


@pytest.mark.parametrize("n", [1, 2, 63, 100, 1000])
def test_the_form_of_accelerators_at_awkward_lengths(n, monkeypatch) -> None:
    """All heads at once, in blocks of 64 rows."""

    passes = []

    def together(pass_, static, arrays):
        passes.append(pass_.__name__)
        band, size = static
        blocks = plan(arrays[0].shape[-2], arrays[1].shape[-2], band, size)
        return pass_(arrays, band, blocks)

    monkeypatch.setattr(blockwise, "_by_platform", together)
    mask = np.random.default_rng(3).random((2, n)) < 0.6
    compare(*inputs(n), key_mask=jnp.asarray(mask), causal=True, block_size=64)
    assert set(passes) == {"_forward", "_backward"}


BANDS = [
    (0, 5),
    (-3, 2),
    (4, None),
    (None, -3),
    (None, 0),
    (7, 9),
    (-90, -80),
    (50, 60),
]


@pytest.mark.parametrize("block_size", [7, 16])
@pytest.mark.parametrize("band", BANDS)
def test_bands_equal_the_dense_form(band, block_size) -> None:
    compare(*inputs(37), band=band, block_size=block_size)


@pytest.mark.parametrize(("n", "m"), [(5, 40), (40, 5), (33, 64), (1, 50), (50, 1)])
@pytest.mark.parametrize("options", [{}, {"causal": True}, {"band": (-20, 3)}])
def test_queries_and_keys_of_different_lengths(n, m, options) -> None:
    compare(*inputs(n, m), block_size=16, **options)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", [(3, 2, 50), (3, 1, 50), (50,)])
def test_key_masks_equal_the_dense_form(shape, causal) -> None:
    mask = np.random.default_rng(1).random(shape) < 0.4
    q, k, v = inputs(50, lead=(3, 2))
    compare(q, k, v, key_mask=jnp.asarray(mask), causal=causal, block_size=16)


def test_a_random_thousand_of_shapes_masks_and_bands() -> None:
    """1,000 instances: 25 shapes and bands, each with 40 heads and their own masks."""
    draw = np.random.default_rng(5)
    for _ in range(25):
        n, m = draw.integers(1, 30, 2)
        low, high = np.sort(draw.integers(-15, 15, 2))
        band = (int(low) if draw.random() < 0.7 else None, int(high))
        mask = draw.random((40, m)) < draw.choice([0.2, 0.9])
        q, k, v = inputs(n, m, lead=(40,), seed=int(draw.integers(1e6)))
        options = {"band": band, "block_size": int(draw.integers(1, 12))}
        form = functools.partial(blockwise_attention, return_lse=True, **options)
        part = jax.jit(form)(q, k, v, key_mask=jnp.asarray(mask))
        part = jax.tree.map(np.asarray, part)
        arrays = [np.asarray(x) for x in (q, k, v)]
        out, lse = oracle.banded(*arrays, mask[:, None], band=band)
        assert np.abs(part.out - out).max() < 1e-13
        finite = np.isfinite(lse)
        assert (np.isneginf(part.lse) == ~finite).all()
        assert np.abs(part.lse[finite] - lse[finite]).max(initial=0) < 1e-13


def test_rows_without_keys_have_no_output_and_no_gradient() -> None:
    mask = np.ones((2, 50), bool)
    mask[0] = False
    mask[1, :20] = False
    grads = compare(*inputs(50), key_mask=jnp.asarray(mask), causal=True, block_size=16)
    assert all((g[0] == 0).all() for g in grads)
    assert (grads[0][1, :20] == 0).all() and (grads[1][1, :20] == 0).all()


def test_all_keys_outside_of_the_band() -> None:
    q, k, v = inputs(10)
    part = blockwise_attention(q, k, v, band=(10, 20), return_lse=True)
    assert (part.out == 0).all() and np.isneginf(part.lse).all()
    grads = compare(q, k, v, band=(10, 20))
    assert all((g == 0).all() for g in grads)


def test_the_gradient_of_the_lse_alone() -> None:
    """jax.nn.dot_product_attention(return_residual=True) gives 0 here (the card)."""
    q, k, v = inputs(40)

    def total(attend, q, k):
        return attend(q, k, v, causal=True, return_lse=True).lse.sum()

    got = jax.grad(total, (1, 2))(blockwise_attention, q, k)
    wanted = jax.grad(total, (1, 2))(dense_attention, q, k)
    for ours, theirs in zip(got, wanted, strict=True):
        assert np.abs(theirs).max() > 0.1
        assert np.abs(ours - theirs).max() < 1e-13


def test_vmap_and_second_order() -> None:
    q, k, v = inputs(20, lead=(3,))
    mapped = jax.vmap(lambda q, k, v: blockwise_attention(q, k, v, block_size=8))
    assert np.abs(mapped(q, k, v) - dense_attention(q, k, v)).max() < 1e-13
    one = [x[0, :7] for x in (q, k, v)]

    def slope(attend, q):
        value = lambda q: jnp.sum(jnp.cos(attend(q, *one[1:], causal=True)))  # noqa: E731
        return jnp.sum(jax.grad(value)(q) ** 2)

    got = jax.grad(slope, 1)(blockwise_attention, one[0])
    wanted = jax.grad(slope, 1)(dense_attention, one[0])
    assert np.abs(wanted).max() > 1e-3 and np.abs(got - wanted).max() < 1e-12


def test_heads_may_be_divided_by_shard_map() -> None:
    """Its types know what varies over the mesh, so that one device is enough here."""
    mesh = jax.make_mesh((1,), ("heads",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("heads")
    arrays = inputs(50, lead=(3,))
    mask = jnp.ones((3, 50), bool).at[:, 7].set(False)

    def total(attend, q, k, v):
        return jnp.sum(jnp.cos(attend(q, k, v)))

    def attend(q, k, v, mask):
        return blockwise_attention(q, k, v, key_mask=mask, causal=True, block_size=16)

    divided = jax.shard_map(attend, mesh=mesh, in_specs=(spec,) * 4, out_specs=spec)
    got = jax.jit(
        jax.grad(lambda *a: total(lambda *x: divided(*x, mask), *a), (0, 1, 2))
    )
    wanted = jax.grad(lambda *a: total(lambda *x: attend(*x, mask), *a), (0, 1, 2))
    for ours, theirs in zip(got(*arrays), wanted(*arrays), strict=True):
        assert np.abs(ours - theirs).max() < 1e-13


def test_traced_scale_has_its_gradient() -> None:
    q, k, v = inputs(30)

    def total(scale, attend):
        return jnp.cos(attend(q, k, v, scale=scale, causal=True)).sum()

    got, wanted = (
        jax.grad(total)(jnp.asarray(0.4), f)
        for f in (blockwise_attention, dense_attention)
    )
    assert abs(got - wanted) < 1e-12 * max(1, abs(wanted))


@pytest.mark.parametrize(
    ("dtype", "bound"), [(jnp.float32, 2e-5), (jnp.bfloat16, 3e-2)]
)
def test_low_precision_at_large_scores(dtype, bound) -> None:
    # Scores of about 10 for the values; of about 1,000 (rounding then moves weights by
    # more than the tolerance, in any form) for what must stay finite.
    for factor in (3, 30):
        q, k, v = (factor * x for x in inputs(200, lead=(1,), d=64, dtype=dtype))
        exact, lse = oracle.banded(
            *(np.asarray(x, np.float64) for x in (q, k, v)), causal=True
        )
        part = blockwise_attention(q, k, v, causal=True, return_lse=True, block_size=64)
        assert part.out.dtype == dtype and part.lse.dtype == jnp.float32
        assert np.abs(np.asarray(part.lse) - lse).max() < 1e-5 * np.abs(lse).max()
        error = np.abs(np.asarray(part.out, np.float64) - exact).max()
        assert error < bound * np.abs(exact).max() or factor == 30
    grads = jax.grad(
        lambda *a: blockwise_attention(*a, causal=True).astype(jnp.float32).sum(),
        (0, 1, 2),
    )(q, k, v)
    assert all(np.isfinite(np.asarray(g, np.float32)).all() for g in grads)
    assert all(g.dtype == dtype for g in grads)


def test_accelerators_take_all_heads_at_once_with_the_same_result() -> None:
    """The form that other platforms get, run here."""
    q, k, v = (x for x in inputs(70, lead=(3,)))
    band, blocks = (0, 40), plan(70, 70, (0, 40), 32)
    mask = jnp.asarray(np.random.default_rng(0).random((3, 70)) < 0.8)
    out, top, total = blockwise._forward((q, k, v, mask), band, blocks)
    alone = blockwise_attention(
        q, k, v, key_mask=mask, band=band, scale=1.0, return_lse=True
    )
    finite = np.isfinite(alone.lse)
    assert (np.isfinite(top) == finite).all()
    assert np.abs(out - alone.out).max() < 1e-13
    saved = (
        q,
        k,
        v,
        mask,
        out,
        jnp.where(finite, top, 0),
        1 / total,
        jnp.ones((3, 70)),
    )
    many = blockwise._backward(saved, band, blocks)
    for head in range(3):
        single = blockwise._backward([x[head] for x in saved], band, blocks)
        for ours, theirs in zip(many, single, strict=True):
            assert np.abs(ours[head] - theirs).max() < 1e-13


def test_each_pair_of_the_band_is_in_one_block_and_no_block_is_idle() -> None:
    draw = np.random.default_rng(2)
    for _ in range(1000):
        n, m, wanted = (int(x) for x in draw.integers(1, 60, 3))
        low, high = (int(x) for x in np.sort(draw.integers(-70, 70, 2)))
        band = (low if draw.random() < 0.8 else None, high)
        blocks = plan(n, m, band, wanted)
        keep = oracle.band_mask(n, m, band=band)
        count = np.zeros((n, m), int)
        for pairs, whole in ((blocks.inner, True), (blocks.edge, False)):
            for i, j in pairs:
                rows = slice(i * blocks.rows, (i + 1) * blocks.rows)
                columns = slice(j * blocks.columns, (j + 1) * blocks.columns)
                count[rows, columns] += 1
                assert keep[rows, columns].any()
                assert keep[rows, columns].all() or not whole
        assert count.max(initial=0) <= 1 and count[keep].all()


def test_block_sizes_waste_little() -> None:
    for n, wanted in itertools.product(range(1, 700), (1, 64, 128, 256)):
        size = block_rows(n, wanted)
        assert 1 <= size <= max(1, wanted)
        blocks = -(-n // size)
        assert blocks * size - n < 8 * blocks or size == wanted
    assert block_rows(300, 256) == 152


def flops(n, **options):
    q = jnp.ones((n, 8), jnp.float32)
    run = lambda q, k, v: blockwise_attention(q, k, v, block_size=32, **options)  # noqa: E731
    return contraction_flops(run, q, q, q)


def test_flops_count_the_blocks_of_the_band_alone() -> None:
    block = 2 * 32 * 32 * (8 + 8)
    assert flops(256) == 64 * block
    assert flops(256, causal=True) == 36 * block
    assert flops(256, band=(0, 32)) == 15 * block
    assert flops(256, band=(32, None)) == 28 * block
    assert flops(512, band=(0, 32)) == 31 * block


def peak(function, n):
    q = jnp.ones((2, n, 16), jnp.float32)
    return compiled_facts(jax.jit(function).lower(q, q, q).compile())["peak_bytes"]


def test_memory_is_linear_forward_and_backward() -> None:
    def gradient(attend):
        return jax.grad(lambda q, k, v: attend(q, k, v, causal=True).sum(), (0, 1, 2))

    for form in (blockwise_attention, gradient(blockwise_attention)):
        small, large = (peak(form, n) for n in (2048, 4096))
        assert large < 2.1 * small
        assert large < 40 * 4 * 2 * 4096 * 16
    dense = [peak(gradient(dense_attention), n) for n in (512, 1024)]
    assert dense[1] > 3.5 * dense[0]


@pytest.mark.parametrize("split", [1, 8, 40])
def test_bands_merge_into_the_whole_with_its_gradient(split) -> None:
    """Form C of the card: near keys and far keys, each by itself, exactly."""
    q, k, v = inputs(50)

    def merged(q, k, v):
        near = blockwise_attention(q, k, v, band=(0, split - 1), return_lse=True)
        far = blockwise_attention(q, k, v, band=(split, None), return_lse=True)
        whole = merge_attention(*zip(near, far, strict=True), return_lse=True)
        return fixed(whole), whole

    def whole(q, k, v):
        part = dense_attention(q, k, v, causal=True, return_lse=True)
        return fixed(part), part

    got = jax.grad(merged, (0, 1, 2), has_aux=True)(q, k, v)
    wanted = jax.grad(whole, (0, 1, 2), has_aux=True)(q, k, v)
    for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert np.isfinite(ours).all() and np.abs(ours - theirs).max() < 1e-12
