"""What is claimed of HiPPO's memories, each claim with the rule that decides."""

from typing import Any

import numpy as np

from experiments._harness.results import Claim, Table, judge
from experiments._memory.measurement import PARTS, REPEATS, Report
from experiments._memory.memories import HELD, MEASURES, NAMES, STEPS

FIRST, SECOND = "kexue.fm/archives/10114", "kexue.fm/archives/10137"
WINDOWED = ("legt", "fourier_real")


def all_claims(report: Report) -> list[Claim]:
    """The rows, in the order of the report."""
    sizes = sorted({n for _, n in report.fits})
    return [
        _uniform(report),
        _no_step_size(report),
        _forgetting(report),
        _factor_two(report, sizes),
        _trapezoid(report, sizes),
        _second_order(report, sizes),
        _forward(report),
        _exact(report, sizes),
        _more_is_better(report, sizes),
    ]


def _uniform(report: Report) -> Claim:
    by_part = report.parts["legs"]
    ratio = by_part.max(0) / by_part.mean(0)
    return judge(
        "LegS remembers all parts of the history alike",
        {
            "worst part over mean of parts": ratio,
            **{f"part {i + 1} of {PARTS}": by_part[i] for i in range(PARTS)},
        },
        rule="relative error of the read-out by fifths of the history, oldest first, "
        "at the largest n; confirmed if the worst is at most 1.5 times their mean in "
        "every channel, qualified if at most 3 times",
        confirmed=lambda m: bool((m["worst part over mean of parts"] <= 1.5).all()),
        qualified=lambda m: bool((m["worst part over mean of parts"] <= 3).all()),
        reported="all of the history is kept with equal weight",
        source=FIRST,
    )


def _no_step_size(report: Report) -> Claim:
    measured = {
        f"{name}, each sample {m} times": report.rates[name, m]
        for name in ("LegS, exact", "LegS, trapezoid", "LegT, zoh")
        for m in REPEATS[1:]
    }

    def at_most(m: Any, name: str, bound: float) -> bool:
        return all((v <= bound).all() for k, v in m.items() if k.startswith(name))

    def legt_moves(m: Any) -> bool:
        return all((v > 0.2).all() for k, v in m.items() if k.startswith("LegT"))

    return judge(
        "the coefficients of LegS do not depend on the step size",
        measured,
        rule="relative change of the coefficients where each sample is held for "
        "several steps; confirmed if at most 1e-9 for exact steps and 0.05 for the "
        "trapezoid, and above 0.2 for LegT at one clock, in every channel; qualified "
        "if the exact steps alone are at most 1e-9",
        confirmed=lambda m: (
            at_most(m, "LegS, exact", 1e-9)
            and at_most(m, "LegS, trapezoid", 0.05)
            and legt_moves(m)
        ),
        qualified=lambda m: at_most(m, "LegS, exact", 1e-9),
        reported="no hyperparameter of time scale",
        source=FIRST,
    )


def _forgetting(report: Report) -> Claim:
    return judge(
        "windows forget what is older than the window, LegS does not",
        {f"{NAMES[m]}": report.older[m] for m in ("legt", "fourier_real", "legs")},
        rule="share of the squared influence on the coefficients that samples older "
        "than the window have, at the largest n; confirmed if at most 0.05 for LegT "
        "and Fourier and above 0.5 for LegS, qualified if LegS's is ten times theirs",
        confirmed=lambda m: max(m["LegT"], m["Fourier"]) <= 0.05 and m["LegS"] > 0.5,
        qualified=lambda m: max(m["LegT"], m["Fourier"]) * 10 <= m["LegS"],
        reported="a sliding window against the whole history",
        source=FIRST,
    )


def _factor_two(report: Report, sizes: list[int]) -> Claim:
    measured = {
        f"factor {f}, n = {n + 1}": report.fourier[f, n] for n in sizes for f in (1, 2)
    }

    def better(m: Any, times: float) -> bool:
        pairs = [
            (m[f"factor 2, n = {n + 1}"], m[f"factor 1, n = {n + 1}"]) for n in sizes
        ]
        return all((times * two < one).all() for two, one in pairs)

    return judge(
        "the Fourier window needs the factor 2 where the article prints 1",
        measured,
        rule="relative error of the coefficients against those of the window; "
        "confirmed if factor 2 has less than half the error of factor 1 at every n "
        "and in every channel, qualified if less",
        confirmed=lambda m: better(m, 2),
        qualified=lambda m: better(m, 1),
        reported="factor 1",
        source=FIRST,
    )


def _trapezoid(report: Report, sizes: list[int]) -> Claim:
    measured = {
        f"n = {n}": report.steps["bilinear", n] / report.steps["trapezoid", n]
        for n in sizes
    }
    return judge(
        "the trapezoid-consistent step beats the article's bilinear step",
        measured,
        rule="error of the article's step over that of the trapezoid, of the final "
        "coefficients of LegS against the projection; confirmed if above 1 at every n "
        "and in every channel, qualified if its mean over channels is at every n",
        confirmed=lambda m: all((v > 1).all() for v in m.values()),
        qualified=lambda m: all(v.mean() > 1 for v in m.values()),
        reported="the article's step is the bilinear method",
        source=SECOND,
    )


def _second_order(report: Report, sizes: list[int]) -> Claim:
    rivals = ("bilinear", "frozen_bilinear", "ln_weight", "log_bilinear")
    measured = {
        f"{rival}, n = {n}": report.steps[rival, n] / report.steps["trapezoid", n]
        for rival in rivals
        for n in sizes
    }

    def least(m: Any, names: tuple[str, ...], bound: float) -> bool:
        kept = [v for k, v in m.items() if k.split(",")[0] in names]
        return all((v > bound).all() for v in kept)

    return judge(
        "no other cheap step is much better than the trapezoid",
        measured,
        rule="error of the rival over that of the trapezoid; confirmed if none is "
        "below 0.8 at any n in any channel, qualified if none but log_bilinear is",
        confirmed=lambda m: least(m, rivals, 0.8),
        qualified=lambda m: least(m, rivals[:3], 0.8),
    )


def _forward(report: Report) -> Claim:
    return judge(
        "forward Euler of LegS overflows float32 where the other steps do not",
        dict(report.single),
        rule="whether every coefficient was finite after every sample, 1 or 0 a "
        "channel, at the largest n; confirmed if 0 for forward and 1 for the others in "
        "every channel, qualified if forward overflows in some channel",
        confirmed=lambda m: all(
            (v == (name != "forward")).all() for name, v in m.items()
        ),
        qualified=lambda m: bool((m["forward"] == 0).any()),
    )


def _exact(report: Report, sizes: list[int]) -> Claim:
    return judge(
        "exact steps of LegS are the projection of the whole history",
        {f"n = {n}": report.steps["exact", n] for n in sizes},
        rule="relative error of the final coefficients; confirmed if at most 1e-10 at "
        "every n and in every channel (float64), qualified if at most 1e-6",
        confirmed=lambda m: all((v <= 1e-10).all() for v in m.values()),
        qualified=lambda m: all((v <= 1e-6).all() for v in m.values()),
    )


def _more_is_better(report: Report, sizes: list[int]) -> Claim:
    names = [m for m in MEASURES if m != "s4"]
    measured = {
        f"{NAMES[m]}, n = {n}": report.fits[m, n]
        for m in names
        for n in (min(sizes), max(sizes))
    }

    def falls(m: Any, which: list[str]) -> bool:
        ends = [f"n = {n}" for n in (min(sizes), max(sizes))]
        return all(
            (m[f"{NAMES[w]}, {ends[1]}"] < m[f"{NAMES[w]}, {ends[0]}"]).all()
            for w in which
        )

    return judge(
        "more coefficients read the past back better, whatever the measure",
        measured,
        rule="relative error of the read-out over the reach of the memory; confirmed "
        "if the largest n has less than the smallest in every channel for LegS, LegT, "
        "LagT and Fourier, qualified if for LegS and LegT",
        confirmed=lambda m: falls(m, names),
        qualified=lambda m: falls(m, ["legs", "legt"]),
        reported="an expansion in an orthogonal basis",
        source=FIRST,
    )


def tables(report: Report) -> list[Table]:
    """Errors by n: of read-outs, of LegS's steps, of a window's; and by age."""
    sizes = sorted({n for _, n in report.fits})
    columns = ["", *(f"n = {n}" for n in sizes)]
    fits = [
        (NAMES[m], *(float(report.fits[m, n].mean()) for n in sizes)) for m in MEASURES
    ]
    steps = [
        (method, *(_mean(report.steps[method, n]) for n in sizes)) for method in STEPS
    ]
    held = [
        (f"{NAMES[m]}, {method}", *(_mean(report.held[m, method, n]) for n in sizes))
        for m in WINDOWED
        for method in HELD
    ]
    ages = [(NAMES[m], *(float(v) for v in report.parts[m].mean(-1))) for m in MEASURES]
    parts = ["", *(f"part {i + 1}" for i in range(PARTS))]
    return [
        Table("Relative error of the read-out over its reach", columns, fits),
        Table("Relative error of LegS's coefficients by step", columns, steps),
        Table("Relative error of a window's coefficients by step", columns, held),
        Table(
            "Relative error by fifths of the history, oldest first, largest n",
            parts,
            ages,
        ),
    ]


def _mean(values: np.ndarray) -> float | None:
    mean = float(values.mean())
    return mean if np.isfinite(mean) else None
