"""What is claimed of L2 and of WEISSI, each claim with the rule that decides."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments._harness.results import Claim, Table, judge
from experiments._weissi.balance import COEFFICIENT, RATE, Curves
from experiments._weissi.training import ATTACKS, PENALTIES, Answer, Cell, Setting

ARTICLE = "kexue.fm/archives/7681"
PAPER = "arXiv 2008.02965"
Group = tuple[int, float, str]


class Report(NamedTuple):
    """Curves by seed and penalty; answers by setting and cell."""

    flows: Sequence[Mapping[str, Curves]]
    answers: Mapping[Setting, Mapping[Cell, Answer]]
    seeds: Sequence[int]

    def best(self, setting: Setting) -> float:
        """The coefficient of the best mean validation accuracy."""
        answers = self.answers[setting]

        def worth(coefficient: float) -> float:
            cells = [Cell(coefficient, seed) for seed in self.seeds]
            return float(np.mean([answers[cell].validation for cell in cells]))

        return max(sorted({c.coefficient for c in answers}), key=worth)

    def of(self, what: Callable[[Answer], float], setting: Setting) -> np.ndarray:
        """One value a seed, at the best coefficient."""
        best = self.best(setting)
        answers = self.answers[setting]
        return np.array([what(answers[Cell(best, seed)]) for seed in self.seeds])

    @property
    def groups(self) -> list[Group]:
        """Depth, noise and optimizer of the settings."""
        return sorted({setting[:3] for setting in self.answers})


def clean(answer: Answer) -> float:
    return answer.test


def attacked(answer: Answer) -> float:
    return answer.attacked[1]


def all_claims(report: Report, interval: int) -> list[Claim]:
    """The rows, in the order of the report."""
    return [
        _conserved(report, "none", "the loss alone keeps"),
        _conserved(report, "log", "the log term keeps"),
        _shrinks(report, interval),
        _rebalances(report),
        _better(report, clean, "generalizes better than L2", "accuracy"),
        _better(
            report,
            attacked,
            "is more robust than L2",
            f"accuracy after a step of {ATTACKS[1]} along the gradient's sign",
        ),
    ]


def _drift(curves: Curves) -> float:
    """The largest change of a difference over the largest squared norm."""
    moved = np.abs(curves.apart - curves.apart[:1]).max()
    return float(moved / curves.squares[0].max())


def _conserved(report: Report, penalty: str, words: str) -> Claim:
    measured = {
        f"change, {name}": np.array([_drift(flow[name]) for flow in report.flows])
        for name in (penalty, "L2")
    }
    measured["change of the norms"] = np.array(
        [
            np.abs(flow[penalty].squares[-1] / flow[penalty].squares[0] - 1).max()
            for flow in report.flows
        ]
    )
    mine = f"change, {penalty}"
    return judge(
        f"{words} the differences of the layers' squared norms",
        measured,
        rule=f"bias-free ReLU network, full-batch descent at {RATE:g}, change over the "
        "largest squared norm; confirmed if below 1 % for every seed, qualified if a "
        "tenth of that under L2",
        confirmed=lambda m: bool((m[mine] < 0.01).all()),
        qualified=lambda m: bool((m[mine] < 0.1 * m["change, L2"]).all()),
        source=ARTICLE,
    )


def _shrinks(report: Report, interval: int) -> Claim:
    ratios = []
    for flow in report.flows:
        apart = flow["L2"].apart
        time = RATE * interval * (len(apart) - 1)
        wanted = np.exp(-4 * COEFFICIENT["L2"] * time)
        ratios.append(np.median(apart[-1] / apart[0]) / wanted)
    return judge(
        "L2 shrinks the differences of the layers' squared norms as e^(-4 coef t)",
        {"measured over predicted": np.array(ratios)},
        rule="median over pairs of neighbors; confirmed if within 2 % of 1 for every "
        "seed, qualified within 10 %",
        confirmed=lambda m: bool((abs(m["measured over predicted"] - 1) < 0.02).all()),
        qualified=lambda m: bool((abs(m["measured over predicted"] - 1) < 0.1).all()),
    )


def _rebalances(report: Report) -> Claim:
    def balanced(curves: Curves) -> float:
        """The share of the fall of the sum of squares that balancing alone gives."""
        before, after = curves.squares[0].sum(), curves.squares[-1].sum()
        excess = curves.excess[0] * before - curves.excess[-1] * after
        return float(excess / max(before - after, 1e-9))

    measured = {
        "share of L2's fall": np.array([balanced(f["L2"]) for f in report.flows]),
        "excess at the start": np.array([f["L2"].excess[0] for f in report.flows]),
        "excess at the end, L2": np.array([f["L2"].excess[-1] for f in report.flows]),
        "excess at the end, log": np.array([f["log"].excess[-1] for f in report.flows]),
    }
    return judge(
        "part of what L2 lowers is mere rebalancing of layers",
        measured,
        rule="the removable part of the sum of squares, start less end, over the fall "
        "of the sum; confirmed if above 5 % for every seed, qualified if positive",
        confirmed=lambda m: bool((m["share of L2's fall"] > 0.05).all()),
        qualified=lambda m: bool((m["share of L2's fall"] > 0).all()),
        reported="weight-scale shifting",
        source=ARTICLE,
    )


def _better(
    report: Report, what: Callable[[Answer], float], words: str, label: str
) -> Claim:
    measured: dict[str, Any] = {}
    spreads = {}
    for group in report.groups:
        pair = [report.of(what, Setting(*group, p)) for p in ("WEISSI", "L2")]
        name = f"WEISSI - L2, {group[0]} layers, {group[1]:.0%} wrong, {group[2]}"
        measured[name] = pair[0] - pair[1]
        spreads[name] = max(v.std() for v in pair)
    return judge(
        f"WEISSI {words}",
        measured,
        rule=f"{label} on test rows at the coefficient of the best validation "
        "accuracy; confirmed if the mean difference exceeds the larger standard "
        "deviation over seeds in every setting, qualified if it does in some and no "
        "mean is lower by as much",
        confirmed=lambda m: all(v.mean() > spreads[n] for n, v in m.items()),
        qualified=lambda m: (
            any(v.mean() > spreads[n] for n, v in m.items())
            and all(v.mean() > -spreads[n] for n, v in m.items())
        ),
        reported="improves generalization and adversarial robustness",
        source=PAPER,
    )


def tables(report: Report) -> list[Table]:
    """Every penalty at its best coefficient."""
    rows = []
    for group in report.groups:
        for penalty in PENALTIES:
            setting = Setting(*group, penalty)
            if setting not in report.answers:
                continue
            test = report.of(clean, setting)
            harmed = [
                float(report.of(lambda a, i=i: a.attacked[i], setting).mean())
                for i in range(len(ATTACKS))
            ]
            more = [
                float(report.of(f, setting).mean())
                for f in (
                    lambda a: a.log_norms,
                    lambda a: a.squares,
                    lambda a: a.slope,
                )
            ]
            row = [group[0], group[1], group[2], penalty, report.best(setting)]
            rows.append([*row, float(test.mean()), float(test.std()), *harmed, *more])
    columns = ["layers", "wrong labels", "optimizer", "penalty", "coefficient"]
    columns += ["accuracy", "std", *(f"attacked, {size:g}" for size in ATTACKS)]
    columns += ["sum log norms", "sum of squares", "input gradient"]
    return [Table("Best coefficients", columns, rows)]
