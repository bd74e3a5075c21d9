"""What is claimed of AdaX, each claim with the rule that decides."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments._adax.training import PLANS, Cell, Outcome
from experiments._harness.results import Claim, Table, judge
from kexue_jax import optim

ARTICLE = "kexue.fm/archives/7387"
PAPER = "arXiv 2004.09740"


class Report(NamedTuple):
    """Outcomes by task and rule."""

    outcomes: Mapping[tuple[str, str], Outcome]
    seeds: Sequence[int]

    def best(self, task: str, rule: str) -> tuple[float, str]:
        """The rate and plan of the best mean validation score."""
        validation = self.outcomes[task, rule].validation
        settings = sorted({cell[:2] for cell in validation})

        def worth(setting: tuple[float, str]) -> float:
            found = [validation[Cell(*setting, s)] for s in self.seeds]
            finite = np.nan_to_num(found, nan=-np.inf)
            return float(np.mean(finite))

        return max(settings, key=worth)

    def of(self, what: str, task: str, rule: str) -> np.ndarray:
        """One value (or row) of ``what`` a seed, at the best rate and plan."""
        values = getattr(self.outcomes[task, rule], what)
        setting = self.best(task, rule)
        return np.array([values[Cell(*setting, seed)] for seed in self.seeds])

    def change(self, task: str, rule: str) -> np.ndarray:
        """The change of v a step, of the constant plan at the best of its rates."""
        validation = self.outcomes[task, rule].validation
        kept = {c: v for c, v in validation.items() if c.plan == PLANS[0]}
        rate = max(kept, key=lambda c: np.nan_to_num(kept[c], nan=-np.inf)).rate
        rows = self.outcomes[task, rule].change
        return np.array([rows[Cell(rate, PLANS[0], seed)] for seed in self.seeds])


def slope(change: np.ndarray) -> np.ndarray:
    """The exponent of t in the change, over the last nine tenths, by seed."""
    steps = np.arange(1, change.shape[1] + 1)
    late = slice(max(1, change.shape[1] // 10), None)
    logs = np.log(np.maximum(change[:, late], 1e-30))
    return np.array([np.polyfit(np.log(steps[late]), row, 1)[0] for row in logs])


def all_claims(report: Report, tasks: Mapping[str, int]) -> list[Claim]:
    """The rows, in the order of the report; tasks are names with counts of steps."""
    found = [_order()]
    for task, steps in tasks.items():
        found += [
            _freezes(report, task),
            _better(report, task, "AdaX-W", "AdamW", "generalizes better than AdamW"),
            _reaches(report, task),
            _mean(report, task, steps),
        ]
    return found


def _order() -> Claim:
    t = np.unique(np.geomspace(2, 1e6, 3000).round())
    kinds = ("adax", "mean", "adafactor")
    one, two, three = (
        np.asarray(optim.second_moment_weight(jnp.asarray(t), kind=kind), float)
        for kind in kinds
    )
    return judge(
        "the newest squared gradient counts less in AdaX than in a mean, and less in a "
        "mean than in AdaFactor",
        {
            "largest AdaX / mean": float((one / two).max()),
            "largest mean / AdaFactor": float((two / three).max()),
        },
        rule="weights of the library at steps 2 to 1e6; confirmed if both ratios stay "
        "below 1",
        confirmed=lambda m: all(v < 1 for v in m.values()),
        source=ARTICLE,
    )


def _freezes(report: Report, task: str) -> Claim:
    measured = {
        f"exponent of t, {rule}": slope(report.change(task, rule))
        for rule in ("AdaX-W", "AdaX-W, b2 = 1e-3", "AdamW")
    }
    return judge(
        f"AdaX's second moment freezes as training goes on, Adam's does not ({task})",
        measured,
        rule="fit of log mean |v_{t+1} / v_t - 1| over log t, last nine tenths, "
        "constant rate; confirmed if both exponents of AdaX-W are below -0.5 and that "
        "of AdamW above -0.5 for every seed, qualified if AdaX-W falls faster for "
        "every seed",
        confirmed=lambda m: bool(
            (m["exponent of t, AdaX-W"] < -0.5).all()
            and (m["exponent of t, AdaX-W, b2 = 1e-3"] < -0.5).all()
            and (m["exponent of t, AdamW"] > -0.5).all()
        ),
        qualified=lambda m: bool(
            (m["exponent of t, AdaX-W"] < m["exponent of t, AdamW"]).all()
        ),
        source=ARTICLE,
    )


def _better(report: Report, task: str, mine: str, theirs: str, words: str) -> Claim:
    measured = {rule: report.of("test", task, rule) for rule in (mine, theirs)}

    def spread(m: Mapping[str, Any]) -> float:
        return float(max(v.std() for v in m.values()))

    return judge(
        f"{mine} {words} ({task})",
        measured,
        rule="test score at the rate and plan of the best validation score; confirmed "
        "if the mean is higher by more than the larger standard deviation over seeds, "
        "qualified if it is higher",
        confirmed=lambda m: bool(m[mine].mean() - m[theirs].mean() > spread(m)),
        qualified=lambda m: bool(m[mine].mean() > m[theirs].mean()),
        reported="better than AdamW on images and texts",
        source=PAPER,
    )


def _reaches(report: Report, task: str) -> Claim:
    measured = {rule: report.of("test", task, rule) for rule in ("AdaX-W", "SGDM")}
    return judge(
        f"AdaX-W reaches what SGD with momentum does ({task})",
        measured,
        rule="as above; confirmed if the mean is not lower by more than the standard "
        "deviation of SGDM over seeds",
        confirmed=lambda m: bool(
            m["AdaX-W"].mean() >= m["SGDM"].mean() - m["SGDM"].std()
        ),
        reported="SGD-level generalization",
        source=PAPER,
    )


def _mean(report: Report, task: str, steps: int) -> Claim:
    rules = ("AdaX-W", "running mean")
    measured: dict[str, Any] = {r: report.of("test", task, r) for r in rules}
    measured["steps times b2"] = steps * 1e-4
    return judge(
        f"in a run of {steps} steps AdaX-W is a running mean of the squares ({task})",
        measured,
        rule="confirmed if the mean test scores differ by less than the larger "
        "standard deviation over seeds",
        confirmed=lambda m: bool(
            abs(m["AdaX-W"].mean() - m["running mean"].mean())
            <= max(m[r].std() for r in rules)
        ),
    )


def table(report: Report, task: str, rules: Sequence[str]) -> Table:
    """Every rule at its best."""
    rows = []
    for rule in rules:
        rate, plan = report.best(task, rule)
        scores = report.of("test", task, rule)
        losses = report.of("losses", task, rule)[:, -1]
        rows.append(
            [rule, rate, plan, float(scores.mean()), float(scores.std()), losses.mean()]
        )
    columns = ["rule", "rate", "plan", "test score", "std over seeds", "training loss"]
    title = "accuracy" if task == "digits" else "minus the bits a byte"
    return Table(f"{task}: score is {title}", columns, rows)
