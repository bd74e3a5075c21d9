"""What is claimed of L2 and of WEISSI, each claim with the rule that decides."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments._harness import spread
from experiments._harness.grids import on_edge
from experiments._harness.results import Claim, Table, judge
from experiments._weissi.balance import COEFFICIENT, PLANTED, RATE, Curves
from experiments._weissi.training import ATTACKS, PENALTIES, Answer, Cell, Setting

ARTICLE = "kexue.fm/archives/7681"
PAPER = "arXiv 2008.02965"
Group = tuple[int, float, bool, str]
Choice = tuple[float, float]


class Report(NamedTuple):
    """Curves by seed and penalty, from planted layers and (L2) plain ones; answers."""

    flows: Sequence[Mapping[str, Curves]]
    plain: Sequence[Mapping[str, Curves]]
    answers: Mapping[Setting, Mapping[Cell, Answer]]
    seeds: Sequence[int]

    def choices(self, setting: Setting) -> list[Choice]:
        """Coefficients and directions that were tried."""
        return sorted({(c.coefficient, c.direction) for c in self.answers[setting]})

    def best(self, setting: Setting) -> Choice:
        """Coefficient and direction of the best mean validation accuracy."""

        def worth(choice: Choice) -> float:
            found = self._at(setting, choice)
            return float(np.mean([answer.validation for answer in found]))

        return max(self.choices(setting), key=worth)

    def on_edge(self, setting: Setting) -> bool:
        """Whether the best coefficient or direction is the first or last of several."""
        columns = zip(*self.choices(setting), strict=True)
        pairs = zip(self.best(setting), map(set, columns), strict=True)
        return any(on_edge(x, tried) for x, tried in pairs)

    def of(self, what: Callable[[Answer], float], setting: Setting) -> np.ndarray:
        """One value a seed, at the best choice."""
        return np.array([what(a) for a in self._at(setting, self.best(setting))])

    def _at(self, setting: Setting, choice: Choice) -> list[Answer]:
        coefficient, direction = choice
        answers = self.answers[setting]
        return [answers[Cell(coefficient, s, direction)] for s in self.seeds]

    @property
    def groups(self) -> list[Group]:
        """Depth, noise, biases and optimizer of the settings."""
        return sorted({setting[:4] for setting in self.answers})


def named(group: Group) -> str:
    """The setting in words."""
    depth, noise, biased, optimizer = group
    return f"{depth} layers{'' if biased else ' without biases'}, {noise:.0%}, " + (
        optimizer
    )


def clean(answer: Answer) -> float:
    return answer.test


def attacked(answer: Answer) -> float:
    return answer.attacked[1]


def all_claims(report: Report, interval: int) -> list[Claim]:
    """The rows, in the order of the report."""
    return [
        _conserved(report, "none", "the loss alone keeps"),
        _conserved(report, "log", "the log term keeps"),
        _conserved(report, "WEISSI", "WEISSI keeps"),
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

    drawn = "share of L2's fall, layers as drawn"
    measured = {
        drawn: np.array([balanced(f["L2"]) for f in report.plain]),
        "share of L2's fall, planted": np.array(
            [balanced(f["L2"]) for f in report.flows]
        ),
        "excess at the start, planted": np.array(
            [f["L2"].excess[0] for f in report.flows]
        ),
        "excess at the end, L2": np.array([f["L2"].excess[-1] for f in report.flows]),
        "excess at the end, log": np.array([f["log"].excess[-1] for f in report.flows]),
    }
    return judge(
        "part of what L2 lowers is mere rebalancing of layers",
        measured,
        rule="the removable part of the sum of squares, start less end, over the fall "
        "of the sum, from layers as they are drawn (planted: made unequal by factors "
        f"e^-{PLANTED:g} to e^{PLANTED:g}); confirmed if above 5 % for every seed, "
        "qualified if positive",
        confirmed=lambda m: bool((m[drawn] > 0.05).all()),
        qualified=lambda m: bool((m[drawn] > 0).all()),
        reported="weight-scale shifting",
        source=ARTICLE,
    )


def _better(
    report: Report, what: Callable[[Answer], float], words: str, label: str
) -> Claim:
    measured: dict[str, Any] = {}
    for group in report.groups:
        pair = [report.of(what, Setting(*group, p)) for p in ("WEISSI", "L2")]
        measured[f"WEISSI - L2, {named(group)}"] = pair[0] - pair[1]
    return judge(
        f"WEISSI {words}",
        measured,
        rule=f"{label} on test rows at the coefficients of the best validation "
        "accuracy; confirmed if the mean difference exceeds two standard errors over "
        "seeds in every setting, qualified if in one or more and it lies as far below "
        "0 in none",
        confirmed=lambda m: spread.everywhere(m.values()),
        qualified=lambda m: spread.somewhere(m.values()),
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
            best, edge = report.best(setting), report.on_edge(setting)
            row = [named(group), penalty, *best, "yes" if edge else "no"]
            rows.append([*row, float(test.mean()), float(test.std()), *harmed, *more])
    columns = ["setting", "penalty", "coefficient", "direction", "on the grid's edge"]
    columns += ["accuracy", "std", *(f"attacked, {size:g}" for size in ATTACKS)]
    columns += ["sum log norms", "sum of squares", "input gradient"]
    return [Table("Best coefficients (of AdamW's L2: times 100)", columns, rows)]
