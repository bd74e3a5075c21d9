"""Compiled memory by depth, time and gradients at one depth, batches in a budget."""

import dataclasses
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments._recompute import network
from experiments._recompute.network import WAYS, Sizes
from kexue_jax.training import memory_report, segment_length

BATCHED = ("none", "per layer", "named outputs", "dots, no batch axes")
COUNTED = ("none", "per layer", "named outputs", "dots, no batch axes", "dots")


@dataclasses.dataclass
class Report:
    """All numbers of a run; lists have one entry a seed."""

    sizes: Sizes
    memory: dict[tuple[str, int], int] = dataclasses.field(default_factory=dict)
    residuals: dict[tuple[str, int], int] = dataclasses.field(default_factory=dict)
    seconds: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    apart: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    flops: dict[str, float] = dataclasses.field(default_factory=dict)
    unrolled: dict[str, int] = dataclasses.field(default_factory=dict)
    batches: dict[tuple[str, str], int] = dataclasses.field(default_factory=dict)

    @property
    def depths(self) -> list[int]:
        """The depths, in rising order."""
        return sorted({layers for _, layers in self.memory})

    def slope(self, way: str) -> float:
        """The exponent of the depth in the memory, over the upper half of depths."""
        depths = self.depths[len(self.depths) // 2 - (len(self.depths) == 2) :]
        found = [self.memory[way, layers] for layers in depths]
        return float(np.polyfit(np.log(depths), np.log(found), 1)[0])

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


def measure_memory(report: Report, depths: list[int]) -> None:
    """Temporary bytes and residuals of value and gradient, compiled, never run."""
    for layers in depths:
        sizes = dataclasses.replace(report.sizes, layers=layers)
        args = network.shapes(sizes), network.tokens(sizes)
        for way in WAYS:
            found = memory_report(network.loss(sizes, way), args)
            report.memory[way, layers] = int(found.temp_bytes or 0)
            report.residuals[way, layers] = found.residual_bytes


def measure_operations(report: Report, layers: int) -> None:
    """Operations of unrolled layers, where none is counted once for a whole loop."""
    sizes = dataclasses.replace(report.sizes, layers=layers)
    args = network.shapes(sizes), network.tokens(sizes)
    for way in COUNTED:
        run = network.loss(sizes, way, unrolled=True)
        found = memory_report(run, args)
        report.flops[way] = float(found.flops or 0)
        report.unrolled[way] = int(found.temp_bytes or 0)


def measure_steps(
    report: Report, layers: int, text: np.ndarray, seeds: list[int], repeats: int
) -> None:
    """Time of a gradient by way, and how far it is from that of keeping everything."""
    sizes = dataclasses.replace(report.sizes, layers=layers)
    runs: dict[str, Any] = {
        way: jax.jit(jax.value_and_grad(network.loss(sizes, way))) for way in WAYS
    }
    rows = text[: len(text) // (sizes.length + 1) * (sizes.length + 1)]
    rows = rows.reshape(-1, sizes.length + 1).astype(np.int32)
    for seed in seeds:
        chosen = np.random.default_rng(seed).integers(0, len(rows), sizes.rows)
        params = network.init(jax.random.key(seed), sizes)
        args = jax.block_until_ready((params, jnp.asarray(rows[chosen])))
        results = {way: jax.block_until_ready(run(*args)) for way, run in runs.items()}
        times: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(repeats):  # in turns, so that noise is shared
            for way, run in runs.items():
                began = time.perf_counter()
                jax.block_until_ready(run(*args))
                times[way].append(time.perf_counter() - began)
        for way in WAYS:
            report.seconds.setdefault(way, []).append(statistics.median(times[way]))
            distance = _apart(results[way][1], results["none"][1])
            report.apart.setdefault(way, []).append(distance)


def _apart(tree: Any, wanted: Any) -> float:
    """The largest difference over the largest entry of its array."""
    ratios = [
        float(jnp.abs(a - b).max() / jnp.abs(b).max())
        for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(wanted), strict=True)
    ]
    return max(ratios)


def measure_batches(report: Report, models: dict[str, Sizes], budget: float) -> None:
    """The largest batch whose state (Adam's) and temporary memory fit the budget."""
    for name, sizes in models.items():
        count = sum(leaf.size for leaf in jax.tree.leaves(network.shapes(sizes)))
        free = budget - 4 * 4 * count  # parameters, two moments, gradient
        for way in BATCHED:
            report.batches[name, way] = largest_batch(sizes, way, free)


def largest_batch(sizes: Sizes, way: str, free: float) -> int:
    """By secants: temporary memory is nearly affine in the rows of a batch."""
    known: dict[int, float] = {}

    def temporary(rows: int) -> float:
        if rows not in known:
            sized = dataclasses.replace(sizes, rows=rows)
            args = network.shapes(sized), network.tokens(sized)
            # Gradients are results, counted in the state.
            found = memory_report(network.loss(sized, way), args)
            known[rows] = float(found.temp_bytes or 0)
        return known[rows]

    low, high = 0, 16
    while temporary(high) <= free:
        low, high = high, 2 * high
    while high - low > 1:
        below = temporary(low) if low else 0.0
        share = (free - below) / (temporary(high) - below)
        middle = low + round(share * (high - low))
        middle = min(max(middle, low + 1), high - 1)
        if temporary(middle) <= free:
            low = middle
        else:
            high = middle
    return low
