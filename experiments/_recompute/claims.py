"""What is claimed of recomputation, each claim with the rule that decides."""

from typing import Any

import numpy as np

from experiments._harness.results import Claim, Table, judge
from experiments._recompute.measurement import BATCHED, COUNTED, Report
from experiments._recompute.network import WAYS

ARTICLE, PAPER = "kexue.fm/archives/7367", "arXiv 1604.06174"
MIB = 2**20


def all_claims(report: Report) -> list[Claim]:
    """The rows, in the order of the report."""
    return [
        _equal(report),
        _whole(report),
        _per_layer(report),
        _exponents(report),
        _frontier(report),
        _operations(report),
        _time(report),
        _batches(report),
        _unrolled(report),
    ]


def _equal(report: Report) -> Claim:
    return judge(
        "recomputation changes no gradient",
        {way: report.apart[way] for way in WAYS[1:]},
        rule="largest difference over the largest entry of each array, float32; "
        "confirmed if at most 1e-5 in every way and for every seed",
        confirmed=lambda m: all((v <= 1e-5).all() for v in m.values()),
        reported="equal",
        source=ARTICLE,
    )


def _whole(report: Report) -> Claim:
    ratios = {
        f"{n} layers": report.memory["whole model", n] / report.memory["none", n]
        for n in report.depths
    }
    return judge(
        "one checkpoint around the whole model saves nothing",
        ratios,
        rule="temporary memory over that of keeping all; confirmed if between 0.98 and "
        "1.05 at every depth, qualified if above 0.9",
        confirmed=lambda m: all(0.98 <= v <= 1.05 for v in m.values()),
        qualified=lambda m: all(v > 0.9 for v in m.values()),
        reported="checkpoint each layer, not the model",
        source=ARTICLE,
    )


def _per_layer(report: Report) -> Claim:
    low, high = report.depths[0], report.depths[-1]
    found = {w: report.memory["per layer", w] for w in (low, high)}
    slope = (found[high] - found[low]) / (high - low) / report.sizes.boundary_bytes
    each, share = "bytes a layer over those of its input", f"over none, {high} layers"
    return judge(
        "a checkpoint a layer leaves the inputs of the layers to be kept",
        {each: slope, share: found[high] / report.memory["none", high]},
        rule="confirmed if a layer adds 0.9 to 1.5 times its input and the deepest "
        "model takes less than 0.15 of the memory, qualified if less than 0.3",
        confirmed=lambda m: 0.9 <= m[each] <= 1.5 and m[share] < 0.15,
        qualified=lambda m: m[share] < 0.3,
        reported="L b + a",
        source=PAPER,
    )


def _exponents(report: Report) -> Claim:
    ways = ("none", "segments", "segments, nested")
    return judge(
        "memory grows as the depth, and with segments as its square root",
        {way: report.slope(way) for way in ways},
        rule="exponent of the depth, upper half of the depths; confirmed if above 0.9 "
        "for none and below 0.65 for segments, qualified if lower for segments",
        confirmed=lambda m: m["none"] > 0.9 and m["segments"] < 0.65,
        qualified=lambda m: m["segments"] < m["none"],
        reported="O(sqrt(L))",
        source=PAPER,
    )


def _frontier(report: Report) -> Claim:
    order = ("per layer", "named outputs", "dots, no batch axes", "dots", "none")
    deepest = report.depths[-1]

    def rising(m: Any) -> bool:
        kept = [m[way] for way in order]
        return kept == sorted(kept)

    return judge(
        "what a policy keeps more, it need not compute again",
        {way: report.memory[way, deepest] / MIB for way in order},
        rule=f"temporary memory, MiB, {deepest} layers, in the order of falling "
        "operations; confirmed if it rises throughout, qualified if the ends do",
        confirmed=rising,
        qualified=lambda m: m[order[0]] < m[order[-1]],
        source=PAPER,
    )


def _operations(report: Report) -> Claim:
    ratios = {w: report.flops[w] / report.flops["none"] for w in COUNTED[1:]}
    return judge(
        "a checkpoint a layer costs at most one more forward pass",
        ratios,
        rule="operations of unrolled layers over those of none; confirmed if between "
        "1.1 and 4/3 by layers and lower by the other policies, qualified if at most "
        "4/3",
        confirmed=lambda m: (
            1.1 <= m["per layer"] <= 4 / 3 and max(m.values()) == m["per layer"]
        ),
        qualified=lambda m: max(m.values()) <= 4 / 3,
        reported="4/3 of the operations",
        source=PAPER,
    )


def _time(report: Report) -> Claim:
    base = np.array(report.seconds["none"])
    ratios = {w: np.array(report.seconds[w]) / base for w in ("per layer", "segments")}
    return judge(
        "a step takes about a quarter longer",
        ratios,
        rule="median time of a gradient over that of none, by seed; confirmed if at "
        "most 1.35 in the mean for both, qualified if at most 1.5",
        confirmed=lambda m: all(v.mean() <= 1.35 for v in m.values()),
        qualified=lambda m: all(v.mean() <= 1.5 for v in m.values()),
        reported="about +25 %",
        source=ARTICLE,
    )


def _batches(report: Report) -> Claim:
    names = list(dict.fromkeys(name for name, _ in report.batches))
    gains = {n: gain(report, n, "per layer") for n in names}
    first, last = names[0], names[-1]
    return judge(
        "a batch three or four times as large fits, and more so the deeper the model",
        gains,
        rule="largest batch with a checkpoint a layer over that without, same budget; "
        "confirmed if at least 3 for the shallower model and more for the deeper, "
        "qualified if at least 2",
        confirmed=lambda m: m[first] >= 3 and m[last] > m[first],
        qualified=lambda m: min(m.values()) >= 2,
        reported="about 3 times for 12 layers, 4 times for 24",
        source=ARTICLE,
    )


def gain(report: Report, name: str, way: str) -> float:
    """The largest batch over that of keeping everything."""
    return report.batches[name, way] / max(1, report.batches[name, "none"])


def _unrolled(report: Report) -> Claim:
    return judge(
        "XLA's CPU compiler saves no memory where layers are unrolled",
        {
            "memory over that of none": report.unrolled["per layer"]
            / report.unrolled["none"]
        },
        rule="temporary memory of unrolled layers with a checkpoint each; confirmed if "
        "above 0.9 of that without, qualified if above 0.5",
        confirmed=lambda m: next(iter(m.values())) > 0.9,
        qualified=lambda m: next(iter(m.values())) > 0.5,
    )


def tables(report: Report) -> list[Table]:
    """Memory by depth, costs of a step, batches."""
    deepest = report.depths[-1]
    columns = ["", *(f"{n} layers" for n in report.depths), "over none, deepest"]
    memory = [
        [
            way,
            *(round(report.memory[way, n] / MIB, 1) for n in report.depths),
            round(report.memory[way, deepest] / report.memory["none", deepest], 3),
        ]
        for way in WAYS
    ]
    residuals = [
        [way, *(round(report.residuals[way, n] / MIB, 1) for n in report.depths)]
        for way in WAYS
    ]
    base = np.mean(report.seconds["none"])
    costs = [
        [
            way,
            float(np.mean(report.seconds[way])),
            float(np.mean(report.seconds[way]) / base),
            float(np.max(report.apart[way])),
            report.flops[way] / report.flops["none"] if way in report.flops else None,
        ]
        for way in WAYS
    ]
    names = list(dict.fromkeys(name for name, _ in report.batches))
    batches = [
        [
            way,
            *(v for n in names for v in (report.batches[n, way], gain(report, n, way))),
        ]
        for way in BATCHED
    ]
    heads = ["", *(text for n in names for text in (n, "times as large"))]
    return [
        Table("Temporary memory of value and gradient, MiB", columns, memory),
        Table("Residuals between the passes, MiB", columns[:-1], residuals),
        Table(
            "Cost of a gradient",
            ["", "seconds", "over none", "gradient apart", "operations over none"],
            costs,
        ),
        Table("Largest batch in the budget", heads, batches),
    ]
