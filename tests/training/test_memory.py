"""What is kept between the passes, by policy: residuals, compiled bytes, operations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from kexue_jax.training import Residual, memory_report, remat, scan_layers
from tests.training import blocks
from tests.training.blocks import compiled, residual_bytes

QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}
BOUNDARY = blocks.ROWS * blocks.LENGTH * blocks.WIDTH * 4


def test_a_layer_keeps_its_input_and_nothing_else() -> None:
    """Beside the input of each layer, the last output (for the loss)."""
    report = memory_report(blocks.WAYS["layers"], blocks.shapes(16), compiled=False)
    computed = [r for r in report.residuals if r.source == "scan"]
    x = (blocks.ROWS, blocks.LENGTH, blocks.WIDTH)
    assert computed == [Residual((16, *x), "float32", 16 * BOUNDARY, "scan")]
    assert report.residual_bytes <= 17 * BOUNDARY
    assert sum(r.source == "argument" for r in report.residuals) == 6


@pytest.mark.parametrize("way", ["segments", "nested"])
def test_segments_keep_the_input_of_each(way) -> None:
    extra = residual_bytes(way, 16) - 4 * BOUNDARY
    assert 0 <= extra <= BOUNDARY


def test_a_shorter_last_segment_costs_a_copy_of_the_parameters() -> None:
    params = sum(leaf.size for leaf in jax.tree.leaves(blocks.shapes(16)[0])) * 4
    extra = residual_bytes("uneven", 16) - 4 * BOUNDARY
    assert 0 <= extra - params <= BOUNDARY


def test_levels_of_segments_keep_logarithmically_much() -> None:
    assert residual_bytes("three levels", 16) <= 3 * BOUNDARY
    assert residual_bytes("none", 16) > 16 * 25 * BOUNDARY


def test_residuals_rise_from_policy_to_policy() -> None:
    order = ("layers", "names", "dots_no_batch", "dots", "everything")
    sizes = [residual_bytes(way, 16) for way in order]
    assert sizes == sorted(sizes) and len(set(sizes)) == len(sizes)
    assert residual_bytes("everything", 16) <= residual_bytes("none", 16)
    for way in order[:-1]:  # twice the layers, twice the bytes
        assert residual_bytes(way, 32) / residual_bytes(way, 16) > 1.9


def test_compiled_memory_falls_by_layer_and_not_around_the_whole() -> None:
    size = {way: compiled(way, 16).temp_bytes for way in ("none", "layers", "whole")}
    assert size["layers"] < 0.15 * size["none"]
    # One checkpoint around all keeps no residual and yet needs all memory at once.
    assert residual_bytes("whole", 16) == 0
    assert 0.98 * size["none"] < size["whole"] < 1.02 * size["none"]


@pytest.mark.slow
def test_compiled_memory_of_segments_lies_between() -> None:
    size = {way: compiled(way, 16).temp_bytes for way in ("none", "segments", "nested")}
    assert size["nested"] < 0.2 * size["none"]
    assert size["nested"] < size["segments"] < 0.45 * size["none"]


@pytest.mark.slow
def test_operations_of_unrolled_layers() -> None:
    shapes = blocks.shapes(3)

    def flops(policy, **options):
        report = memory_report(blocks.unrolled(policy), shapes, **options)
        assert report.flops is not None
        return report.flops

    plain = flops(None)
    # The card's six layers: 1.219, 1.193, 1.029, 1.004 (wider ones: their products are
    # more of the whole).
    order = ("nothing", blocks.NAMES, "dots_no_batch", "dots")
    ratios = [flops(policy) / plain for policy in order]
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[1] > 1.1 and ratios[0] < 4 / 3
    assert ratios[2] < 1.15 and ratios[3] < 1.1
    assert 0.3 < flops(None, gradient=False) / plain < 0.37


def test_report_of_known_sizes() -> None:
    table = jnp.arange(3.0)

    def f(w, x):
        return jnp.sum(jnp.exp(x @ w) * table)

    args = tuple(jax.ShapeDtypeStruct(s, "float64") for s in ((2, 3), (2,)))
    report = memory_report(f, args, argnums=(0, 1))
    assert report.argument_bytes == 64
    # Three results; XLA may count the pointers to them.
    assert 8 + 64 <= report.output_bytes <= 8 + 64 + 3 * 8
    sources = {(r.shape, r.source) for r in report.residuals}
    assert {((3,), "exp"), ((2, 3), "argument")} <= sources
    only = memory_report(f, args, argnums=1, compiled=False)
    assert ((2,), "argument") not in {(r.shape, r.source) for r in only.residuals}
    forward = memory_report(f, args, gradient=False)
    assert (forward.residuals, forward.output_bytes) == ((), 8)


def test_named_values_and_arrays_closed_over_are_told_apart() -> None:
    big = jnp.asarray(np.ones((50, 50)))

    def f(x):
        x = checkpoint_name(jnp.sin(x) @ big, "product")
        return jnp.sum(x**2)

    run = remat(f, policy="names:product")
    report = memory_report(run, (jnp.ones((2, 50)),), compiled=False)
    kept = [(r.source, r.bytes) for r in report.residuals]
    assert sorted(kept) == [
        ("argument", 800),
        ("constant", 20_000),
        ("name: product", 800),
    ]
    assert report.residual_bytes == 800


def test_a_name_stays_with_its_value_through_copies_and_views() -> None:
    """And an argument through views alone: a rounded one is another array."""
    x = jnp.ones((2, 50))
    named, moved = (
        remat(
            lambda x: jnp.sum(jnp.sin(checkpoint_name(jnp.sin(x), "wave"))),
            policy=policy,
        )
        for policy in ("names:wave", "offload_names:wave")
    )

    def viewed(x):
        return jnp.sum(jnp.exp(jnp.sin(x.reshape(-1))))

    def rounded(x):
        return jnp.sum(jnp.sin(jax.lax.reduce_precision(x, 5, 10)))

    def sources(f):
        found = memory_report(f, (x,), compiled=False).residuals
        return {(r.source, r.bytes) for r in found}

    assert sources(named) == sources(moved) == {("argument", 800), ("name: wave", 800)}
    assert "argument" not in {source for source, _ in sources(rounded)}
    assert {source for source, _ in sources(viewed)} == {"cos", "exp"}


def test_options_reach_the_compiler_and_change_no_byte_on_the_cpu() -> None:
    def f(x):
        return jnp.sum(jnp.sin(x @ x))

    args = (jax.ShapeDtypeStruct((30, 30), "float32"),)
    fast = memory_report(f, args, compiler_options=QUICK)
    assert fast == memory_report(f, args)
    with pytest.raises(RuntimeError, match="no_such_option"):
        memory_report(f, args, compiler_options={"no_such_option": 1})
    with pytest.raises(TypeError, match=r"memory_report: `compiler_options` must be"):
        memory_report(f, args, compiler_options=[("a", 1)])


@pytest.mark.parametrize(
    "fn", [lambda x: x, lambda x: (x.sum(), x.sum()), lambda x: x.sum().astype(int)]
)
def test_a_function_without_a_scalar_is_refused(fn) -> None:
    with pytest.raises(ValueError, match=r"memory_report: `fn` must be .* scalar"):
        memory_report(fn, (jnp.ones(2),))


def test_operations_of_a_loop_are_those_of_one_layer() -> None:
    """XLA counts the body of a scan once: operations are compared unrolled."""

    def f(w, x):
        return jnp.sum(scan_layers(lambda x, w: jnp.tanh(x @ w), w, x))

    few, many = (
        memory_report(
            f,
            (
                jax.ShapeDtypeStruct((n, 30, 30), "float32"),
                jax.ShapeDtypeStruct((5, 30), "float32"),
            ),
            gradient=False,
        ).flops
        for n in (8, 64)
    )
    assert many < 1.1 * few
