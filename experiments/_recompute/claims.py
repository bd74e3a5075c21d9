"""What is claimed of recomputation, each claim with the rule that decides."""

from typing import Any

import numpy as np

from experiments._harness import spread
from experiments._harness.results import Claim, Table, judge
from experiments._recompute.measurement import BATCHED, COUNTED, Report, kept
from experiments._recompute.network import WAYS

ARTICLE, PAPER = "kexue.fm/archives/7367", "arXiv 1604.06174"
MIB = 2**20
ROOTS = ("none", "segments", "nested segments")
# In the order of falling operations.
FRONTIER = ("per layer", "named outputs", "dots without batch", "dots", "none")


def all_claims(report: Report) -> list[Claim]:
    """The rows, in the order of the report."""
    gains = [gain(report, name, "per layer") for name in models(report)]
    needed = [
        (_equal, WAYS[:2]),
        (_whole, ("none", "whole model")),
        (_per_layer, WAYS[:2]),
        (_exponents, ROOTS),
        (_frontier, FRONTIER),
        (_operations, WAYS[:2]),
        (_time, WAYS[:2]),
        (_unrolled, WAYS[:2]),
        *([] if None in gains else [(_batches, WAYS[:2])]),
    ]
    return [claim(report) for claim, ways in needed if set(ways) <= set(report.ways)]


def _equal(report: Report) -> Claim:
    return judge(
        "recomputation changes no gradient",
        {
            way: np.max([report.apart[way, n] for n in report.timed], axis=0)
            for way in report.ways[1:]
        },
        rule="largest difference over the largest entry of each array, float32, of all "
        "depths that were run; confirmed if at most 1e-6 in every way and for every "
        "seed, qualified if at most 1e-5",
        confirmed=lambda m: all((v <= 1e-6).all() for v in m.values()),
        qualified=lambda m: all((v <= 1e-5).all() for v in m.values()),
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
        rule="temporary memory over that of keeping all; confirmed if within 2 % of 1 "
        "at every depth, qualified if above 0.9",
        confirmed=lambda m: all(0.98 <= v <= 1.02 for v in m.values()),
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
    return judge(
        "memory grows as the depth, and with segments as its square root",
        {way: report.slope(way) for way in ROOTS},
        rule="exponent of the depth through all depths; confirmed if above 0.9 "
        "for none and below 0.65 for segments, qualified if lower for segments",
        confirmed=lambda m: m["none"] > 0.9 and m["segments"] < 0.65,
        qualified=lambda m: m["segments"] < m["none"],
        reported="O(sqrt(L))",
        source=PAPER,
    )


def _frontier(report: Report) -> Claim:
    deepest = report.depths[-1]

    def rising(m: Any) -> bool:
        found = [m[way] for way in FRONTIER]
        return found == sorted(found)

    return judge(
        "what a policy keeps more, it need not compute again",
        {way: report.memory[way, deepest] / MIB for way in FRONTIER},
        rule=f"temporary memory, MiB, {deepest} layers, in the order of falling "
        "operations; confirmed if it rises throughout, qualified if the ends do",
        confirmed=rising,
        qualified=lambda m: m[FRONTIER[0]] < m[FRONTIER[-1]],
        source=PAPER,
    )


def _operations(report: Report) -> Claim:
    counted = kept(report, COUNTED)[1:]
    ratios = {way: report.flops[way] / report.flops["none"] for way in counted}
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
    ratios = {
        f"{way}, {n} layers": over_none(report, way, n)
        for way in kept(report, ("per layer", "segments"))
        for n in report.timed
    }
    return judge(
        "a step takes about a quarter longer",
        ratios,
        rule="median time of a gradient over that of none, by seed, "
        f"{report.timed_rows} rows a batch and the depths run (memory is that of "
        f"{report.sizes.rows} rows and other depths); confirmed if between 1.15 and "
        "1.35 for both at every depth, the mean and two standard errors, qualified if "
        "less than 1.35: it costs no more than is said",
        confirmed=lambda m: _below(m, 1.35) and _above(m, 1.15),
        qualified=lambda m: _below(m, 1.35),
        reported="about +25 %",
        source=ARTICLE,
    )


def _below(m: dict[str, np.ndarray], bound: float) -> bool:
    return spread.everywhere(bound - v for v in m.values())


def _above(m: dict[str, np.ndarray], bound: float) -> bool:
    return spread.everywhere(v - bound for v in m.values())


def over_none(report: Report, way: str, layers: int) -> np.ndarray:
    """The time of a step over that of keeping everything, by seed."""
    return np.divide(report.seconds[way, layers], report.seconds["none", layers])


def models(report: Report) -> list[str]:
    """Those of the budget."""
    return list(dict.fromkeys(name for name, _ in report.batches))


def _batches(report: Report) -> Claim:
    names = models(report)
    gains: dict[str, Any] = {n: gain(report, n, "per layer") for n in names}
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


def gain(report: Report, name: str, way: str) -> float | None:
    """The largest batch over that of keeping everything, None where that is 0."""
    least = report.batches[name, "none"]
    return report.batches[name, way] / least if least else None


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
        for way in report.ways
    ]
    residuals = [
        [way, *(round(report.residuals[way, n] / MIB, 1) for n in report.depths)]
        for way in report.ways
    ]
    costs = [
        [
            layers,
            way,
            float(np.mean(report.seconds[way, layers])),
            float(over_none(report, way, layers).mean()),
            float(np.max(report.apart[way, layers])),
            _mib(report.peaks[way, layers]),
        ]
        for layers in report.timed
        for way in report.ways
    ]
    operations = [
        [way, report.flops[way], report.flops[way] / report.flops["none"]]
        for way in kept(report, COUNTED)
    ]
    names = models(report)
    batches = [
        [
            way,
            *(v for n in names for v in (report.batches[n, way], gain(report, n, way))),
        ]
        for way in kept(report, BATCHED)
    ]
    heads = ["", *(text for n in names for text in (n, "times as large"))]
    return [
        Table("Temporary memory of value and gradient, MiB", columns, memory),
        Table("Residuals between the passes, MiB", columns[:-1], residuals),
        Table(
            "Cost of a gradient",
            [
                "layers",
                "",
                "seconds",
                "over none",
                "gradient apart",
                "peak of the device, MiB",
            ],
            costs,
        ),
        Table("Operations of unrolled layers", ["", "flops", "over none"], operations),
        Table("Largest batch in the budget", heads, batches),
    ]


def _mib(size: int | None) -> float | None:
    return None if size is None else round(size / MIB, 1)
