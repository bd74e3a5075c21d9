"""What is claimed of Mitchell's products, each claim with the rule that decides."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments._harness import spread
from experiments._harness.results import Claim, Table, judge
from experiments._mitchell.arms import (
    EXACT,
    LMUL,
    MIMIC,
    OPTIMIZER,
    PIECES,
    PLAIN,
    Arm,
    best,
)
from kexue_jax import numerics

ARTICLE = "kexue.fm/archives/7991"
POINT = 0.01  # of accuracy
SLOPES = {PLAIN.name: 0.9614, LMUL.name: 1.0039}  # of the card, for Gaussian matrices
ATTENTION = "in attention alone"
EVERYWHERE = "everywhere"


class Task(NamedTuple):
    """By name of the arm, one number a seed; the shrink is of the first seed.

    ``trained``: accuracies of networks trained and run with an arm. ``swapped``: of
    those trained exactly, run with it, by what is exchanged. ``shrink``: [layers, 3].
    """

    layers: Sequence[str]
    trained: Mapping[str, np.ndarray]
    swapped: Mapping[str, Mapping[str, np.ndarray]]
    shrink: Mapping[str, np.ndarray]

    def drop(self, arm: Arm) -> np.ndarray:
        """Accuracy of ``arm`` over the exact one's."""
        return self.trained[arm.name] - self.trained[EXACT.name]


class Sweep(NamedTuple):
    """By offset: rms error of a product of mantissas at random, and of logits."""

    offsets: np.ndarray
    mantissas: np.ndarray
    logits: np.ndarray

    @property
    def least(self) -> float:
        """The offset of the least error of logits: of the parabola through three."""
        place = int(np.clip(np.argmin(self.logits), 1, len(self.offsets) - 2))
        near = slice(place - 1, place + 2)
        a, b, _ = np.polyfit(self.offsets[near], self.logits[near], 2)
        return float(-b / (2 * a)) if a > 0 else float(self.offsets[place])


class Report(NamedTuple):
    """Both tasks and the sweep of offsets."""

    images: Task
    text: Task
    text_loss: Mapping[str, np.ndarray]
    sweep: Sweep

    @property
    def tasks(self) -> dict[str, Task]:
        return {"images": self.images, "next byte": self.text}


def all_claims(report: Report) -> list[Claim]:
    """The rows, in the order of the report."""
    forward = (PLAIN, PIECES, LMUL, best()[0])
    backwards = (MIMIC, OPTIMIZER)
    return [
        _training(report, "with approximate products", forward),
        _training(report, "without any multiplication, backwards too", backwards),
        _attention(report),
        _slopes(report),
        _absorbed(report),
        _offset(report),
        _base(),
    ]


def _training(report: Report, words: str, arms: Sequence[Arm]) -> Claim:
    drops = {
        f"{name}: {arm.name}": task.drop(arm)
        for name, task in report.tasks.items()
        for arm in arms
        if arm.name in task.trained
    }
    return judge(
        f"networks trained {words}, hyperparameters unchanged, lose at most one point",
        drops,
        rule="test accuracy less that of exact products; confirmed if two standard "
        f"errors below every mean stay above -{POINT:g}, qualified if every mean does",
        confirmed=lambda m: all(spread.not_below(v, POINT) for v in m.values()),
        qualified=lambda m: all(v.mean() >= -POINT for v in m.values()),
        reported="little or nothing (ResNet-50 on ImageNet)",
        source=f"{ARTICLE}, arXiv 2012.03458",
    )


def _attention(report: Report) -> Claim:
    exact = report.text.trained[EXACT.name]
    drops = {
        name: found - exact for name, found in report.text.swapped[ATTENTION].items()
    }
    return judge(
        "in the attention of a trained model approximate products cost nothing",
        drops,
        rule="share of right bytes less that of exact products; confirmed if two "
        "standard errors below every mean stay above -0.001, qualified if L-Mul's does",
        confirmed=lambda m: all(spread.not_below(v, 1e-3) for v in m.values()),
        qualified=lambda m: spread.not_below(m[LMUL.name], 1e-3),
        reported="0.07 % on average (L-Mul)",
        source="arXiv 2410.00907",
    )


def _slopes(report: Report) -> Claim:
    found = {}
    for task in report.tasks.values():
        for name in SLOPES:
            for layer, row in zip(task.layers, task.shrink[name], strict=True):
                found[f"{name}: {layer}"] = row[0] - SLOPES[name]
    return judge(
        "sums of products shrink by the factor of Gaussian matrices, 0.9614 (Mitchell) "
        "and 1.0039 (L-Mul), layer by layer",
        found,
        rule="slope of a layer's sums on the exact ones, first seed, less the card's; "
        "confirmed if all are within 0.005, qualified if within 0.02",
        confirmed=lambda m: all(abs(v) <= 0.005 for v in m.values()),
        qualified=lambda m: all(abs(v) <= 0.02 for v in m.values()),
    )


def _absorbed(report: Report) -> Claim:
    return judge(
        "normalization absorbs the shrink; without it factors multiply",
        {
            "into the last layer, no norm": report.images.shrink[PLAIN.name][-1, 2],
            "into the last product, norms": report.text.shrink[PLAIN.name][-1, 2],
        },
        rule="slope of what enters the last layer on that of exact products; confirmed "
        "if below 0.9614 without norms and within 0.02 of 1 with them",
        confirmed=lambda m: (
            m["into the last layer, no norm"] < SLOPES[PLAIN.name]
            and abs(m["into the last product, norms"] - 1) <= 0.02
        ),
    )


def _offset(report: Report) -> Claim:
    wanted = numerics.optimal_offset(criterion="rms")
    return judge(
        "the offset of least rms error over mantissas is the best for a network",
        {"of the logits": report.sweep.least, "of mantissas": wanted},
        rule="offset of the least rms error of the logits of networks trained exactly; "
        "confirmed if within 0.005, qualified if within 0.02",
        confirmed=lambda m: abs(m["of the logits"] - wanted) <= 0.005,
        qualified=lambda m: abs(m["of the logits"] - wanted) <= 0.02,
    )


def _base() -> Claim:
    return judge(
        "base 3 would be more precise than base 2, because e is near 3",
        {f"largest error, base {b}": worst(b) for b in (2, 3)},
        rule="largest relative error on a grid of mantissas; confirmed if that of base "
        "3 is smaller",
        confirmed=lambda m: m["largest error, base 3"] < m["largest error, base 2"],
        reported="base 3",
        source=ARTICLE,
    )


def worst(base: int) -> float:
    """The largest error of a product by straight lines between powers of ``base``."""
    x = np.linspace(0, 1, 401)[:-1]
    s = x[:, None] + x[None]
    value = np.where(s < 1, 1 + (base - 1) * s, base * (1 + (base - 1) * (s - 1)))
    true = np.outer(1 + (base - 1) * x, 1 + (base - 1) * x)
    return float(np.abs(value / true - 1).max())


def tables(report: Report) -> list[Table]:
    """Accuracies; exchanges; shrink by layer; the sweep."""
    rows = []
    for name, exchanged in report.text.swapped.items():
        for arm, found in exchanged.items():
            images = report.images.swapped.get(name, {}).get(arm)
            rows.append(
                [name, arm, found.mean(), "" if images is None else images.mean()]
            )
    head = ["task", "arm", "mean", "std over seeds", "loss in nats"]
    shrink = [
        [task, layer, arm, *row]
        for task, found in report.tasks.items()
        for arm, layers in found.shrink.items()
        for layer, row in zip(found.layers, layers, strict=True)
    ]
    return [
        Table("Test accuracy of trained networks", head, _accuracies(report)),
        Table(
            "Exchanged after training", ["where", "arm", "next byte", "images"], rows
        ),
        Table(
            "Sums of products on the exact ones (first seed)",
            ["task", "layer", "arm", "slope", "rest", "slope of what enters"],
            shrink,
        ),
        Table(
            "Offsets",
            ["offset", "rms error of mantissas", "of logits"],
            [list(map(float, row)) for row in zip(*report.sweep, strict=True)],
        ),
    ]


def _accuracies(report: Report) -> list[list]:
    rows: list[list] = []
    for name, task in report.tasks.items():
        for arm, found in task.trained.items():
            lost = report.text_loss[arm].mean() if name == "next byte" else ""
            rows.append([name, arm, found.mean(), found.std(), lost])
    return rows
