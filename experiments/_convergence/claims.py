"""What is claimed of online descent, each claim with its rule; tables."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from experiments._convergence.runs import Beyond, Ran
from experiments._harness.ranks import spearman
from experiments._harness.results import Claim, Table, judge

FIRST, SECOND = "kexue.fm/archives/9902", "kexue.fm/archives/11469"
TUNED = ("const", "sqrt")  # the schedules whose rates the theorem tunes
FALLING = (*TUNED, "inv_sqrt")  # those whose bounds fall as T^(-1/2)
KINDS = ("regret", "theorem")


class Report(NamedTuple):
    """Runs by schedule and horizon, and networks outside the assumptions."""

    runs: Mapping[str, Mapping[int, Ran]]
    networks: Mapping[str, Beyond]

    @property
    def horizon(self) -> int:
        """The longest one."""
        return max(next(iter(self.runs.values())))

    def last(self, name: str) -> Ran:
        """The longest run of a schedule."""
        return self.runs[name][self.horizon]


def all_claims(report: Report) -> list[Claim]:
    """The rows, in the order of the report."""
    return [
        _bounds(report),
        _bound_slope(report),
        _slopes(report),
        _tuned(report),
        _order(report),
        _linear(report),
        _averaged(report),
        _last(report),
        _convex(report),
    ]


def slope(runs: Mapping[int, Ran], part: str) -> np.ndarray:
    """The exponent of the horizon in the value at its end, for each seed."""
    horizons = sorted(runs)
    ends = np.stack([getattr(runs[h], part)[:, -1] for h in horizons])
    logs = np.log(np.maximum(ends, 1e-12))
    return np.polyfit(np.log(horizons), logs, 1)[0]


def _bounds(report: Report) -> Claim:
    worst = {}
    for name, runs in report.runs.items():
        pairs = (("regret", "trajectory"), ("trajectory", "theorem"))
        for low, high in pairs:
            over = [getattr(r, low) - getattr(r, high) for r in runs.values()]
            worst[f"{name}: {low} less {high}"] = max(float(o.max()) for o in over)
    return judge(
        "the average regret is below the bound of its run, that below the theorem's",
        worst,
        rule="the largest difference after any step, of all horizons and seeds; "
        "confirmed if none is above 1e-9 (float64)",
        confirmed=lambda m: max(m.values()) <= 1e-9,
        reported="holds for every convex loss, at every T",
        source=FIRST,
    )


def _bound_slope(report: Report) -> Claim:
    slopes = {n: slope(report.runs[n], "theorem") for n in TUNED if n in report.runs}
    return judge(
        "the theorem's bound falls as T^(-1/2) for constant and falling rates",
        slopes,
        rule="log-log slope of the bound over horizons; confirmed within 0.03 of -1/2",
        confirmed=lambda m: all((np.abs(v + 0.5) <= 0.03).all() for v in m.values()),
        reported="O(1 / sqrt(T))",
        source=FIRST,
    )


def _slopes(report: Report) -> Claim:
    names = [n for n in FALLING if n in report.runs]
    found = {}
    for name in names:
        found[f"{name}: regret"] = slope(report.runs[name], "regret")
        found[f"{name}: theorem"] = slope(report.runs[name], "theorem")

    def fast(m: Any, name: str) -> bool:
        regret, theorem = (np.atleast_1d(m[f"{name}: {k}"]) for k in KINDS)
        error = regret.std(ddof=1) / len(regret) ** 0.5 if len(regret) > 1 else 0.0
        return bool(regret.mean() <= theorem.mean() + error)

    return judge(
        "measured regrets fall at least as fast as the theorem's bound",
        found,
        rule="log-log slopes over horizons; confirmed if that of the regret, in the "
        "mean of the seeds, is at most that of the bound plus the standard error of "
        "the mean, for those of const, sqrt and inv_sqrt that ran; qualified if for "
        "const and sqrt, whose rates are tuned",
        confirmed=lambda m: all(fast(m, n) for n in names),
        qualified=lambda m: all(fast(m, n) for n in TUNED),
        reported="O(1 / sqrt(T))",
        source=FIRST,
    )


def _order(report: Report) -> Claim:
    """Of all schedules at the longest horizon, seed by seed."""
    ends = {
        kind: np.stack([getattr(report.last(n), kind)[:, -1] for n in report.runs])
        for kind in KINDS
    }
    ranks = [spearman(a, b) for a, b in zip(*(e.T for e in ends.values()), strict=True)]
    return judge(
        "the order of the schedules by their bounds is that by their regrets",
        {f"rank correlation of {len(report.runs)} schedules": np.array(ranks)},
        rule="Spearman's correlation of the theorem's bounds and the regrets of all "
        "schedules at the longest horizon; confirmed if at least 0.9 for every seed, "
        "qualified if above 0.5 in their mean",
        confirmed=lambda m: bool((next(iter(m.values())) >= 0.9).all()),
        qualified=lambda m: bool(np.mean(next(iter(m.values()))) > 0.5),
    )


def _tuned(report: Report) -> Claim:
    found = {}
    for name in TUNED:
        if name in report.runs:
            last = report.last(name)
            found[f"{name}: bound"] = last.theorem[:, -1]
            found[f"{name}: regret"] = last.regret[:, -1]
    return judge(
        "the tuned constant rate, whose bound is smaller, has the smaller regret",
        found,
        rule="at the longest horizon; confirmed if so for every seed, qualified if in "
        "the mean",
        confirmed=lambda m: bool((m["const: regret"] < m["sqrt: regret"]).all()),
        qualified=lambda m: bool(
            np.mean(m["const: regret"]) < np.mean(m["sqrt: regret"])
        ),
        reported="the constant rate may converge faster in theory",
        source=FIRST,
    )


def _linear(report: Report) -> Claim:
    others = [n for n in report.runs if n not in ("linear", "warmup")]
    found = {
        "linear: bound": report.last("linear").theorem[:, -1],
        "linear: regret": report.last("linear").regret[:, -1],
        "largest other regret": np.max(
            [report.last(n).regret[:, -1] for n in others], axis=0
        ),
    }
    return judge(
        "a large bound means a large regret: linear decay, whose bound does not fall",
        found,
        rule="at the longest horizon; confirmed if the regret of linear decay is above "
        "that of every other schedule, for every seed",
        confirmed=lambda m: bool(
            (m["linear: regret"] > m["largest other regret"]).all()
        ),
    )


def _averaged(report: Report) -> Claim:
    found = {}
    for name in report.runs:
        last = report.last(name)
        found[f"{name}: mean"] = last.gap_mean
        found[f"{name}: last"] = last.gap_last
    names = [n for n in TUNED if n in report.runs]
    return judge(
        "the mean of the iterates is better than the last one",
        found,
        rule="loss of all rows over the best in the ball, at the longest horizon; "
        "confirmed if so for const and sqrt and every seed, qualified for one of them",
        confirmed=lambda m: all(_better(m, n) for n in names),
        qualified=lambda m: any(_better(m, n) for n in names),
        reported="the theorem is about the mean, not the last iterate",
        source=FIRST,
    )


def _last(report: Report) -> Claim:
    found = {n: report.last(n).gap_last for n in ("linear", "const", "sqrt")}
    return judge(
        "a rate that falls to zero in a straight line has the best last iterate",
        found,
        rule="loss of all rows over the best in the ball, at the longest horizon; "
        "confirmed if linear is below const and sqrt for every seed, qualified if "
        "below const",
        confirmed=lambda m: bool(
            (m["linear"] < np.minimum(m["const"], m["sqrt"])).all()
        ),
        qualified=lambda m: bool((m["linear"] < m["const"]).all()),
        reported="no log T in the bound of the last iterate",
        source="kexue.fm/archives/11494",
    )


def _better(m: Any, name: str) -> bool:
    return bool((m[f"{name}: mean"] < m[f"{name}: last"]).all())


def _convex(report: Report) -> Claim:
    over = {
        name: float((b.regret - b.trajectory).max())
        for name, b in report.networks.items()
    }
    return judge(
        "the bound of a run holds for a network with a hidden layer, too",
        over,
        rule="largest regret less the bound of the run, against the last iterate, "
        "after any step; confirmed if none is above 1e-9 (no theorem says so: its "
        "losses are not convex)",
        confirmed=lambda m: max(m.values()) <= 1e-9,
    )


def tables(report: Report) -> list[Table]:
    """All runs at all horizons."""
    rows = []
    for name, runs in report.runs.items():
        for horizon, r in sorted(runs.items()):
            ends = [r.regret, r.trajectory, r.theorem]
            gaps = [r.gap_mean, r.gap_weighted, r.gap_last]
            rows.append(
                [name, horizon]
                + [float(e[:, -1].mean()) for e in ends]
                + [float(g.mean()) for g in gaps]
            )
    heads = ["schedule", "T", "regret", "bound of the run", "theorem"]
    heads += ["gap of the mean", "of the weighted mean", "of the last"]
    return [Table("Average regret, bounds and gaps, means over seeds", heads, rows)]
