"""Compiled memory by depth, time and gradients by depth, batches in a budget."""

import dataclasses
import math
import statistics
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments._recompute import network
from experiments._recompute.network import WAYS, Sizes
from kexue_jax.training import MemoryReport, memory_report, segment_length

BATCHED = ("none", "per layer", "named outputs", "dots without batch")
# Programs that are compiled for their bytes alone: those of XLA's CPU compiler are the
# same without its last, longest passes.
QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}
COUNTED = ("none", "per layer", "named outputs", "dots without batch", "dots")


@dataclasses.dataclass
class Report:
    """All numbers of a run by way, or way and depth; lists have one entry a seed.

    ``peaks`` is what the device's allocator has held at most, None where it is not
    told. Steps are run with ``timed_rows`` rows a batch, memory is that of
    ``sizes.rows``.
    """

    sizes: Sizes
    timed_rows: int = 1
    memory: dict[tuple[str, int], int] = dataclasses.field(default_factory=dict)
    residuals: dict[tuple[str, int], int] = dataclasses.field(default_factory=dict)
    seconds: dict[tuple[str, int], list[float]] = dataclasses.field(
        default_factory=dict
    )
    apart: dict[tuple[str, int], list[float]] = dataclasses.field(default_factory=dict)
    peaks: dict[tuple[str, int], int | None] = dataclasses.field(default_factory=dict)
    flops: dict[str, float] = dataclasses.field(default_factory=dict)
    unrolled: dict[str, int] = dataclasses.field(default_factory=dict)
    batches: dict[tuple[str, str], int] = dataclasses.field(default_factory=dict)

    @property
    def depths(self) -> list[int]:
        """The depths, in rising order."""
        return sorted({layers for _, layers in self.memory})

    @property
    def ways(self) -> tuple[str, ...]:
        """The ways that were compiled, in their order."""
        there = {way for way, _ in self.memory}
        return tuple(way for way in WAYS if way in there)

    @property
    def timed(self) -> list[int]:
        """The depths whose steps were run, in rising order."""
        return sorted({layers for _, layers in self.seconds})

    def slope(self, way: str) -> float:
        """The exponent of the depth in the memory, through all depths."""
        found = [self.memory[way, layers] for layers in self.depths]
        return float(np.polyfit(np.log(self.depths), np.log(found), 1)[0])

    def layer_bytes(self) -> float:
        """What a layer keeps where nothing is recomputed."""
        low, high = self.depths[0], self.depths[-1]
        more = self.memory["none", high] - self.memory["none", low]
        return more / (high - low)

    def best_segment(self, layers: int) -> int:
        """What ``segment_length`` says of the measured layer."""
        return segment_length(
            num_layers=layers,
            layer_bytes=self.layer_bytes(),
            boundary_bytes=self.sizes.boundary_bytes,
        )


def measure_memory(report: Report, depths: list[int], ways: Sequence[str]) -> None:
    """Temporary bytes and residuals of value and gradient, compiled, never run."""
    for layers in depths:
        sizes = dataclasses.replace(report.sizes, layers=layers)
        args = network.shapes(sizes), network.tokens(sizes)
        for way in ways:
            found = _report(network.loss(sizes, way), args)
            report.memory[way, layers] = int(found.temp_bytes or 0)
            report.residuals[way, layers] = found.residual_bytes


def kept(report: Report, ways: Sequence[str]) -> list[str]:
    """Those of ``ways`` that were asked for."""
    return [way for way in ways if way in report.ways]


def measure_operations(report: Report, layers: int) -> None:
    """Operations of unrolled layers, where none is counted once for a whole loop."""
    sizes = dataclasses.replace(report.sizes, layers=layers)
    args = network.shapes(sizes), network.tokens(sizes)
    for way in kept(report, COUNTED):
        run = network.loss(sizes, way, unrolled=True)
        found = _report(run, args)
        report.flops[way] = float(found.flops or 0)
        report.unrolled[way] = int(found.temp_bytes or 0)


def _report(run: Any, args: Any) -> MemoryReport:
    quick = QUICK if jax.default_backend() == "cpu" else None
    return memory_report(run, args, compiler_options=quick)


def measure_steps(
    report: Report, sizes: Sizes, text: np.ndarray, seeds: list[int], repeats: int
) -> None:
    """Time of a gradient by way, and how far it is from that of keeping everything."""
    rows = text[: len(text) // (sizes.length + 1) * (sizes.length + 1)]
    rows = rows.reshape(-1, sizes.length + 1).astype(np.int32)
    # The least memory first: the allocator tells the most since the process began.
    order = sorted(
        report.ways, key=lambda way: report.memory.get((way, sizes.layers), 0)
    )
    report.timed_rows = sizes.rows
    runs: dict[str, Any] = {
        way: jax.jit(jax.value_and_grad(network.loss(sizes, way))) for way in order
    }
    draw = jax.jit(lambda key: network.init(key, sizes))
    for seed in seeds:
        chosen = np.random.default_rng(seed).integers(0, len(rows), sizes.rows)
        params = draw(jax.random.key(seed))
        args = jax.block_until_ready((params, jnp.asarray(rows[chosen])))
        results = {}
        for way, run in runs.items():
            results[way] = jax.device_get(run(*args))
            report.peaks.setdefault((way, sizes.layers), device_peak())
        times = timed(runs, args, repeats)
        for way in report.ways:
            place = way, sizes.layers
            report.seconds.setdefault(place, []).append(statistics.median(times[way]))
            distance = _apart(results[way][1], results["none"][1])
            report.apart.setdefault(place, []).append(distance)


def timed(runs: dict[str, Any], args: Any, repeats: int) -> dict[str, list[float]]:
    """Seconds of every run, in turns, so that noise is shared."""
    times: dict[str, list[float]] = {way: [] for way in runs}
    for _ in range(repeats):
        for way, run in runs.items():
            began = time.perf_counter()
            jax.block_until_ready(run(*args))
            times[way].append(time.perf_counter() - began)
    return times


def device_peak() -> int | None:
    """The most bytes the first device has held, None where it does not tell."""
    stats = jax.local_devices()[0].memory_stats()
    return None if not stats else stats.get("peak_bytes_in_use")


def _apart(tree: Any, wanted: Any) -> float:
    """The largest difference over the largest entry of its array."""
    ratios = [
        float(np.abs(a - b).max() / np.abs(b).max())
        for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(wanted), strict=True)
    ]
    return max(ratios)


def measure_batches(report: Report, models: dict[str, Sizes], budget: float) -> None:
    """The largest batch whose state (Adam's) and temporary memory fit the budget."""
    for name, sizes in models.items():
        count = sum(leaf.size for leaf in jax.tree.leaves(network.shapes(sizes)))
        free = budget - 4 * 4 * count  # parameters, two moments, gradient
        for way in kept(report, BATCHED):
            report.batches[name, way] = largest_batch(sizes, way, free)


def largest_batch(sizes: Sizes, way: str, free: float) -> int:
    """By secants: temporary memory is nearly affine in the rows of a batch."""
    known: dict[int, float] = {}

    def temporary(rows: int) -> float:
        if rows not in known:
            sized = dataclasses.replace(sizes, rows=rows)
            args = network.shapes(sized), network.tokens(sized)
            # Gradients are results, counted in the state.
            found = _report(network.loss(sized, way), args)
            known[rows] = float(found.temp_bytes or 0)
        return known[rows]

    if temporary(1) > free:
        return 0
    # The line through two known points tells where to look for the third.
    each = max(temporary(2) - temporary(1), 1.0)
    low, high = 1, max(2, 1 + math.ceil((free - temporary(1)) / each))
    while temporary(high) <= free:
        low, high = high, high + max(1, high // 32)
    while high - low > 1:
        below = temporary(low)
        share = (free - below) / max(temporary(high) - below, 1.0)
        middle = low + math.floor(share * (high - low))
        middle = min(max(middle, low + 1), high - 1)
        if temporary(middle) <= free:
            low = middle
        else:
            high = middle
    return low
