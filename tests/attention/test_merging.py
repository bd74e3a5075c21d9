"""Parts merged by their normalizers: exact, in any order, and finite without keys."""

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax.attention import dense_attention, merge_attention


def parts(masks, q, k, v):
    found = [dense_attention(q, k, v, mask=m, return_lse=True) for m in masks]
    return [p.out for p in found], [p.lse for p in found]


def test_a_thousand_random_partitions_merge_exactly() -> None:
    draw = np.random.default_rng(0)
    q, k, v = (jnp.asarray(draw.normal(size=(1000, 6, 4))) for _ in range(3))
    owner = draw.integers(0, 4, (1000, 6, 6))  # the fourth part is left out
    masks = [jnp.asarray(owner == r) for r in range(3)]
    whole = dense_attention(q, k, v, mask=jnp.asarray(owner < 3), return_lse=True)
    outs, lses = parts(masks, q, k, v)
    for order in ((0, 1, 2), (2, 0, 1)):
        merged = merge_attention(
            [outs[i] for i in order], [lses[i] for i in order], return_lse=True
        )
        assert np.abs(merged.out - whole.out).max() < 1e-13
        empty = np.isneginf(whole.lse)
        assert empty.any() and (np.isneginf(merged.lse) == empty).all()
        assert np.abs(np.where(empty, 0, merged.lse - whole.lse)).max() < 1e-13


def test_merging_is_associative() -> None:
    draw = np.random.default_rng(1)
    outs = jnp.asarray(draw.normal(size=(3, 1000, 2, 4)))
    lses = jnp.asarray(draw.normal(size=(3, 1000, 2)) * 20)
    once = merge_attention(outs, lses)
    first = merge_attention(outs[:2], lses[:2], return_lse=True)
    twice = merge_attention([first.out, outs[2]], [first.lse, lses[2]])
    assert np.abs(once - twice).max() < 1e-13


def test_parts_without_keys_have_no_weight_and_no_gradient() -> None:
    outs = jnp.ones((2, 3, 4)) * jnp.array([1.0, 5.0])[:, None, None]
    lses = jnp.array([[0.0, -jnp.inf, -jnp.inf], [0.0, 0.0, -jnp.inf]])
    merged = merge_attention(outs, lses)
    assert np.array_equal(merged[:, 0], [3.0, 5.0, 0.0])
    slopes = jax.grad(lambda o, s: jnp.sin(merge_attention(o, s)).sum(), (0, 1))(
        outs, lses
    )
    assert all(np.isfinite(g).all() for g in slopes)
    assert (slopes[1][:, 2] == 0).all() and (slopes[0][:, 2] == 0).all()
    assert slopes[1][0, 1] == 0


def test_bfloat16_parts_at_large_normalizers() -> None:
    outs = jnp.ones((2, 3, 4), jnp.bfloat16)
    lses = jnp.array([[1e4] * 3, [-1e4] * 3], jnp.float32)
    merged = merge_attention(outs, lses)
    assert merged.dtype == jnp.bfloat16 and (merged == 1).all()
