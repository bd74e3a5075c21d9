"""What is claimed of AdaX, each claim with the rule that decides."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments._adax.training import PLANS, Cell, Outcome
from experiments._harness import spread
from experiments._harness.grids import EDGE, on_edge
from experiments._harness.results import Claim, Table, judge
from kexue_jax import optim

ARTICLE = "kexue.fm/archives/7387"
PAPER = "arXiv 2004.09740"
MARGINS = {"digits": 0.01, "text": 0.05}  # scores that count as equal
FASTER = 0.3  # exponents by which freezing is more than the fall of a mean


class Report(NamedTuple):
    """Outcomes by task and rule."""

    outcomes: Mapping[tuple[str, str], Outcome]
    seeds: Sequence[int]

    def best(self, task: str, rule: str) -> tuple[float, str]:
        """The rate and plan of the best mean validation score."""
        return self.outcomes[task, rule].best()

    def on_edge(self, task: str, rule: str) -> bool:
        """Whether the best rate is the largest or the smallest of several."""
        return on_edge(self.best(task, rule)[0], self.outcomes[task, rule].rates)

    def of(self, what: str, task: str, rule: str) -> np.ndarray:
        """One value (or row) of ``what`` a seed, at the best rate and plan."""
        values = getattr(self.outcomes[task, rule], what)
        setting = self.best(task, rule)
        return np.array([values[Cell(*setting, seed)] for seed in self.seeds])

    def change(self, task: str, rule: str) -> np.ndarray:
        """The change of v a step, of the constant plan at the best of its rates."""
        outcome = self.outcomes[task, rule]
        setting = outcome.best(PLANS[:1])
        return np.array([outcome.change[Cell(*setting, s)] for s in self.seeds])


def slope(change: np.ndarray) -> np.ndarray:
    """The exponent of t in the change, over the last nine tenths, by seed.

    Left out are the steps whose change is 0 in float32.
    """
    start = max(1, change.shape[1] // 10)
    times = np.log(np.arange(1, change.shape[1] + 1)[start:])
    found = []
    for row in change[:, start:]:
        moved = row > 0 if (row > 0).sum() > 1 else np.full(row.shape, True)
        logs = np.log(np.maximum(row[moved], 1e-30))
        found.append(np.polyfit(times[moved], logs, 1)[0])
    return np.array(found)


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
        for rule in ("AdaX-W", "AdaX-W, 10 b2", "running mean", "AdamW")
    }
    mine, more, mean, adam = measured
    return judge(
        f"AdaX's second moment freezes as training goes on, Adam's does not ({task})",
        measured,
        rule="fit of log mean |v_{t+1} / v_t - 1| over log t, last nine tenths, "
        "best constant rate, steps without a change in float32 left out; confirmed if "
        f"both exponents of AdaX-W are {FASTER:g} or more below that of the running "
        "mean, whose own is -1 for equal squares, and that of AdamW above -0.5, for "
        "every seed; qualified if AdaX-W falls faster than AdamW for every seed, which "
        "a running mean may do too",
        confirmed=lambda m: bool(
            (m[mine] <= m[mean] - FASTER).all()
            and (m[more] <= m[mean] - FASTER).all()
            and (m[adam] > -0.5).all()
        ),
        qualified=lambda m: bool((m[mine] < m[adam]).all()),
        source=ARTICLE,
    )


def _better(report: Report, task: str, mine: str, theirs: str, words: str) -> Claim:
    measured = {rule: report.of("test", task, rule) for rule in (mine, theirs)}
    return judge(
        f"{mine} {words} ({task})",
        measured,
        rule=f"test score at the rate and plan of the best validation score ({EDGE}); "
        "confirmed if the mean difference exceeds two standard errors over seeds, "
        "qualified if one",
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
        rule=f"as above ({EDGE}); confirmed if the mean less two standard errors is "
        f"no more than {margin:g} below, qualified if the mean is",
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
        f"in a run of {steps} steps AdaX-W does as a running mean of the squares "
        f"({task})",
        measured,
        rule=f"as above ({EDGE}); confirmed if the mean difference and two standard "
        f"errors stay within {margin:g}, qualified if the mean difference does",
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
        edge = "yes" if report.on_edge(task, rule) else "no"
        stats = [float(scores.mean()), float(scores.std()), losses.mean()]
        rows.append([rule, rate, plan, edge, *stats])
    columns = ["rule", "rate", "plan", "on the grid's edge"]
    columns += ["test score", "std over seeds", "training loss"]
    title = "accuracy" if task == "digits" else "minus the bits a byte"
    return Table(f"{task}: score is {title}", columns, rows)
