"""What the article says of extended positions, and how it is decided."""

import itertools
from typing import Any, NamedTuple

import numpy as np

from experiments._harness import spread
from experiments._harness.results import Claim, Table, judge
from experiments._hierarchical.methods import ALPHAS, TIMES, hierarchical

SOURCE = "kexue.fm/archives/7947"
CHOSEN = hierarchical(0.4)


class Course(NamedTuple):
    """One method and seed: steps, and accuracy and loss at each, over all blocks.

    ``first`` and ``last`` are the accuracies of the blocks before and after training.
    """

    steps: list[int]
    accuracy: list[float]
    loss: list[float]
    first: list[float]
    last: list[float]

    def regained(self, wanted: float) -> int | None:
        """The first step with accuracy ``wanted``, if there is one."""
        pairs = zip(self.steps, self.accuracy, strict=True)
        return next((step for step, value in pairs if value >= wanted), None)


class Report(NamedTuple):
    """Courses by method, and what the short model makes of the same bytes; by seed.

    ``change`` is the largest change of a loss on texts of the pretrained length.
    """

    courses: dict[str, list[Course]]
    reference: list[float]
    change: list[float]
    pretraining: int

    def numbers(self, name: str, what: str, step: int) -> np.ndarray:
        """The accuracy or loss of a method at an entry of its course, by seed."""
        return np.array([getattr(c, what)[step] for c in self.courses[name]])


def above(measured: Any, bound: float) -> bool:
    """Whether the mean over the seeds of the only quantity is shown to exceed it."""
    return spread.exceeds(next(iter(measured.values())) - bound)


def below(measured: Any, bound: float) -> bool:
    """Whether the mean over the seeds of the only quantity is shown to be less."""
    return spread.exceeds(bound - next(iter(measured.values())))


def claims(report: Report) -> list[Claim]:
    """The claims, in the order of the article."""
    return [*_extension(report), *_choice(report), *_rivals(report)]


def _extension(report: Report) -> list[Claim]:
    reference = np.array(report.reference)
    start = report.numbers(CHOSEN, "accuracy", 0) / reference
    end = report.numbers(CHOSEN, "accuracy", -1) / reference
    steps = report.courses[CHOSEN][0].steps[-1]
    share = steps / report.pretraining
    return [
        judge(
            "texts of the pretrained length are read as before",
            {"largest change of a loss": np.array(report.change)},
            rule="alpha = 0.4, without training; confirmed if no loss changes by more "
            "than 1e-5",
            confirmed=lambda m: bool((m["largest change of a loss"] <= 1e-5).all()),
        ),
        judge(
            f"without training, accuracy falls at {TIMES} times the length",
            {"accuracy / that of the short model on the same bytes": start},
            rule="alpha = 0.4; confirmed if the mean over the seeds and two standard "
            "errors are below 0.95, qualified below 1",
            confirmed=lambda m: below(m, 0.95),
            qualified=lambda m: below(m, 1),
            reported="38 % of 55 %, a ratio of 0.69",
            source=SOURCE,
        ),
        judge(
            "a short training regains the accuracy of the short model",
            {f"accuracy after {share:.0%} of the pretraining's steps / it": end},
            rule="alpha = 0.4; confirmed if the mean over the seeds less two standard "
            "errors is above 1, qualified above 0.97",
            confirmed=lambda m: above(m, 1),
            qualified=lambda m: above(m, 0.97),
            reported="above 55 % after about 3000 steps",
            source=SOURCE,
        ),
    ]


def _choice(report: Report) -> list[Claim]:
    start = {
        hierarchical(a): report.numbers(hierarchical(a), "loss", 0) for a in ALPHAS
    }

    def near(m: Any, bound: float) -> bool:
        return spread.everywhere(bound - m[CHOSEN] / values for values in m.values())

    ends = [
        judge(
            f"an alpha above 1/2 recovers slower than one below{said}",
            {
                "loss of alpha 0.6 / of 0.4": report.numbers(high, "loss", -1)
                / report.numbers(low, "loss", -1)
            },
            rule="held-out loss at the end of the training; confirmed if the mean "
            "ratio over the seeds less two standard errors is above 1.003, qualified "
            "above 1",
            confirmed=lambda m: above(m, 1.003),
            qualified=lambda m: above(m, 1),
            reported="alpha < 1/2 preferred",
            source=SOURCE,
        )
        for low, high, said in (
            (CHOSEN, hierarchical(0.6), ""),
            (hierarchical(0.4, True), hierarchical(0.6, True), ", rows live"),
        )
    ]
    return [
        judge(
            "alpha = 0.4 is at or near the best without training",
            start,
            rule="held-out loss at the extended length; confirmed if that of 0.4 is "
            "less than 0.5 % above each other one, the mean over the seeds of the "
            "ratio and two standard errors, qualified less than 2 %",
            confirmed=lambda m: near(m, 1.005),
            qualified=lambda m: near(m, 1.02),
            reported="0.4 is the default",
            source=SOURCE,
        ),
        *ends,
    ]


def _rivals(report: Report) -> list[Claim]:
    found = []
    for rival, against in (
        ("tile", CHOSEN),
        ("random", CHOSEN),
        ("interpolate", CHOSEN),
        ("zeros", CHOSEN),
        ("tile, live", hierarchical(0.4, True)),
    ):
        for when, step in (("without training", 0), ("after the training", -1)):
            ratio = report.numbers(rival, "loss", step) / report.numbers(
                against, "loss", step
            )
            found.append(
                judge(
                    f"hierarchical rows beat {rival} rows, {when}",
                    {f"loss of {rival} / of {against}": ratio},
                    rule="held-out loss at the extended length; confirmed if the mean "
                    "ratio over the seeds less two standard errors is above 1.003, "
                    "qualified above 1",
                    confirmed=lambda m: above(m, 1.003),
                    qualified=lambda m: above(m, 1),
                )
            )
    return found


def tables(report: Report) -> list[Table]:
    """Accuracy by block and step, losses, and the steps that regain the accuracy."""
    blocks = [f"block {b + 1}" for b in range(TIMES)]
    first, last, losses = [], [], []
    for name, courses in report.courses.items():
        for rows, step in ((first, 0), (last, -1)):
            by_block = np.mean([c.last if step else c.first for c in courses], 0)
            overall = float(report.numbers(name, "accuracy", step).mean())
            rows.append([name, overall, *by_block.tolist()])
        pairs = zip(courses, report.reference, strict=True)
        regained = [c.regained(r) for c, r in pairs]
        shown = ", ".join("never" if s is None else str(s) for s in regained)
        found = [report.numbers(name, "loss", step) for step in (0, -1)]
        apart = spread.deviation(found[1])
        losses.append([name, *(float(v.mean()) for v in found), apart, shown])
    short = float(np.mean(report.reference))
    head = f"Accuracy, overall and by block (the short model, overall: {short:.4f})"
    columns = ["method", "overall", *blocks]
    return [
        Table(f"{head}, without training", columns, first),
        Table(f"{head}, after the training", columns, last),
        Table(
            "Held-out loss, nats a byte, and steps to the short model's accuracy",
            ["method", "without training", "after", "spread", "steps, by seed"],
            losses,
        ),
    ]


def mean_course(courses: list[Course]) -> tuple[list[int], list[float]]:
    """Steps and the accuracy, mean over the seeds."""
    steps = courses[0].steps
    for one, other in itertools.pairwise(courses):
        if one.steps != other.steps:
            raise ValueError("mean_course: courses of different steps.")
    return steps, np.mean([c.accuracy for c in courses], 0).tolist()
