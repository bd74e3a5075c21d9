"""What is claimed of AdaX, each claim with the rule that decides."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments._adax.training import PLANS, Cell, Outcome
from experiments._harness import spread
from experiments._harness.results import Claim, Table, judge
from kexue_jax import optim

ARTICLE = "kexue.fm/archives/7387"
PAPER = "arXiv 2004.09740"
MARGINS = {"digits": 0.01, "text": 0.05}  # scores that count as equal


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


def all_claims(report: Report, tasks: Mapping[str, int], b2: float) -> list[Claim]:
    """The rows, in the order of the report; tasks are names with counts of steps."""
    found = [_order()]
    for task, steps in tasks.items():
        found += [
            _freezes(report, task),
            _better(report, task, "AdaX-W", "AdamW", "generalizes better than AdamW"),
            _reaches(report, task),
            _mean(report, task, steps, b2),
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
        for rule in ("AdaX-W", "AdaX-W, 10 b2", "AdamW")
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
            and (m["exponent of t, AdaX-W, 10 b2"] < -0.5).all()
            and (m["exponent of t, AdamW"] > -0.5).all()
        ),
        qualified=lambda m: bool(
            (m["exponent of t, AdaX-W"] < m["exponent of t, AdamW"]).all()
        ),
        source=ARTICLE,
    )


def _better(report: Report, task: str, mine: str, theirs: str, words: str) -> Claim:
    measured = {rule: report.of("test", task, rule) for rule in (mine, theirs)}
    return judge(
        f"{mine} {words} ({task})",
        measured,
        rule="test score at the rate and plan of the best validation score; confirmed "
        "if the mean difference exceeds two standard errors over seeds, qualified if "
        "one",
        confirmed=lambda m: spread.exceeds(m[mine] - m[theirs]),
        qualified=lambda m: spread.exceeds(m[mine] - m[theirs], 1.0),
        reported="better than AdamW on images and texts",
        source=PAPER,
    )


def _reaches(report: Report, task: str) -> Claim:
    measured = {rule: report.of("test", task, rule) for rule in ("AdaX-W", "SGDM")}
    margin = MARGINS[task]
    return judge(
        f"AdaX-W reaches what SGD with momentum does ({task})",
        measured,
        rule="as above; confirmed if the mean less two standard errors is no more "
        f"than {margin:g} below, qualified if the mean is",
        confirmed=lambda m: spread.not_below(m["AdaX-W"] - m["SGDM"], margin),
        qualified=lambda m: bool((m["AdaX-W"] - m["SGDM"]).mean() >= -margin),
        reported="SGD-level generalization",
        source=PAPER,
    )


def _mean(report: Report, task: str, steps: int, b2: float) -> Claim:
    rules = ("AdaX-W", "running mean")
    measured: dict[str, Any] = {r: report.of("test", task, r) for r in rules}
    measured["steps times b2"] = steps * b2
    margin = MARGINS[task]
    return judge(
        f"in a run of {steps} steps AdaX-W is a running mean of the squares ({task})",
        measured,
        rule=f"confirmed if the mean difference and two standard errors stay within "
        f"{margin:g}, qualified if the mean difference does",
        confirmed=lambda m: spread.within(m[rules[0]] - m[rules[1]], margin),
        qualified=lambda m: bool(abs((m[rules[0]] - m[rules[1]]).mean()) <= margin),
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
