"""What the articles say of linear attention, and how it is decided."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from experiments._harness import spread
from experiments._harness.results import Claim, Table, judge
from experiments._language.attentions import KINDS
from experiments._language.lengths import LINEAR, REPEATS, ROOM, WIDE, Costs, slope

NEXT, HIDDEN = "next byte", "hidden bytes"
# Hidden bytes take most of the time: one kind fewer is trained on them.
TASKS = {NEXT: KINDS, HIDDEN: tuple(kind for kind in KINDS if kind != "efficient")}
LEARNT = 0.98  # of the loss that needs no attention: more is a plateau


class Report(NamedTuple):
    """Held-out loss by task and kind, one a seed; memory and time by form.

    ``frequency`` is the loss of the hidden bytes by their frequency alone.
    """

    losses: dict[str, dict[str, list[float]]]
    frequency: float
    costs: dict[str, Costs]

    def loss(self, task: str, kind: str) -> np.ndarray:
        return np.array(self.losses[task][kind])

    def gap(self, task: str, kind: str) -> np.ndarray:
        """Loss over that of softmax, less 1, by seed."""
        return self.loss(task, kind) / self.loss(task, "softmax") - 1

    def place(self, task: str, kind: str) -> np.ndarray:
        """0: as good as softmax; 1: no better than the mean of the values."""
        low, high = self.loss(task, "softmax"), self.loss(task, "uniform")
        return (self.loss(task, kind) - low) / (high - low)

    def left(self, kind: str) -> np.ndarray:
        """How far hidden bytes are below LEARNT of the loss without attention."""
        floor = np.minimum(self.frequency, self.loss(HIDDEN, "uniform"))
        return LEARNT * floor - self.loss(HIDDEN, kind)


def claims(report: Report) -> list[Claim]:
    """What the articles say of memory and of quality."""
    growth = [*_growth(report), _sums(report)]
    orders = [_order(report), *(_taylor(report, task) for task in TASKS)]
    return [*growth, *_close(report), *orders, _cosine(report), _masked(report)]


def _growth(report: Report) -> list[Claim]:
    dense = "softmax, causal"
    found = []
    for what, said, field in (
        ("memory", "compiled temporary memory", "memory"),
        ("time", f"median time of {REPEATS} runs", "seconds"),
    ):
        sizes = {n: getattr(report.costs[n], field) for n in (*LINEAR, dense)}
        found.append(
            judge(
                f"the {what} of linear attention grows as n, that of softmax as n^2",
                {name: slope(by_n) for name, by_n in sizes.items()},
                rule=f"exponent of n in the {said} of value and gradient of one head, "
                "upper half of the lengths; confirmed if linear forms are below 1.2 "
                "and softmax above 1.7, qualified if all linear are below 1.5",
                confirmed=lambda m: (
                    max(m[name] for name in LINEAR) < 1.2 and m[dense] > 1.7
                ),
                qualified=lambda m: max(m[name] for name in LINEAR) < 1.5,
                reported="O(n) against O(n^2)",
                source="kexue.fm/archives/7546",
            )
        )
    return found


def _sums(report: Report) -> Claim:
    dense = report.costs["softmax, causal"].memory
    last = max(n for n in dense if n <= WIDE**2)
    sums = report.costs["linear by cumulative sums, causal"].memory[last]
    return judge(
        "by cumulative sums of outer products linear attention takes more memory "
        "than softmax attention as long as n is below m d_v",
        {
            f"bytes over those of softmax, n = {last}, m d_v = {WIDE**2}": sums
            / dense[last]
        },
        rule="compiled temporary memory of value and gradient; confirmed above 1",
        confirmed=lambda m: next(iter(m.values())) > 1,
    )


def _close(report: Report) -> list[Claim]:
    return [
        judge(
            f"causal linear attention with {kind} features is close to softmax",
            {"loss over that of softmax, less 1": report.gap(NEXT, kind)},
            rule="held-out loss of the next byte; confirmed up to 0.05, "
            "qualified up to 0.15, for the mean of the seeds and two standard errors",
            confirmed=lambda m: spread.exceeds(0.05 - next(iter(m.values()))),
            qualified=lambda m: spread.exceeds(0.15 - next(iter(m.values()))),
            reported="close to softmax in a causal model",
            source=f"kexue.fm/archives/{article}",
        )
        for kind, article in (("exp", 8338), ("elu1", 8338), ("taylor2", 8601))
    ]


def _order(report: Report) -> Claim:
    said = {"reported": "exp", "source": "kexue.fm/archives/8338"}
    text = "exp is the best of the pointwise kernels"
    return _best(report, NEXT, "exp", text, "held-out loss of the next byte", **said)


def _taylor(report: Report, task: str) -> Claim:
    text = f"order-2 Taylor features beat elu1 and cosine ({task})"
    return _best(report, task, "taylor2", text, "held-out loss")


def _best(
    report: Report, task: str, best: str, text: str, what: str, **said: str
) -> Claim:
    others = ("elu1", "cosine")
    losses = {kind: report.loss(task, kind) for kind in (best, *others)}

    def above(m: Any) -> list[np.ndarray]:
        return [m[kind] - m[best] for kind in others]

    return judge(
        text,
        losses,
        rule=f"{what}; confirmed if elu1 and cosine each exceed {best} by two standard "
        "errors over the seeds, qualified if one does and neither falls below by as "
        "much",
        confirmed=lambda m: spread.everywhere(above(m)),
        qualified=lambda m: spread.somewhere(above(m)),
        **said,
    )


def _cosine(report: Report) -> Claim:
    return judge(
        "the cosine kernel is near to no attention at all",
        {"place between softmax (0) and mean (1)": report.place(NEXT, "cosine")},
        rule="held-out loss of the next byte; confirmed from 0.5 on, qualified "
        "from 0.25 on, for the mean of the seeds less two standard errors",
        confirmed=lambda m: spread.exceeds(next(iter(m.values())) - 0.5),
        qualified=lambda m: spread.exceeds(next(iter(m.values())) - 0.25),
        reported="it does not work well (a comment of 2024)",
        source="kexue.fm/archives/7546",
    )


def _masked(report: Report) -> Claim:
    kinds = ("exp", "elu1")
    gaps = {
        f"{task}: {kind}": report.gap(task, kind) for task in TASKS for kind in kinds
    }
    learnt = [kind for kind in kinds if spread.exceeds(report.left(kind))]
    whole = learnt == [*kinds] and spread.exceeds(report.left("softmax"))

    def more(m: Any, times: float) -> bool:
        masked, causal = (
            np.mean([m[f"{task}: {kind}"] for kind in learnt], 0)
            for task in (HIDDEN, NEXT)
        )
        return spread.exceeds(masked - times * causal)

    return judge(
        "linear attention loses much more to softmax where it is bidirectional",
        gaps,
        rule="held-out loss over that of softmax, less 1, mean of exp and elu1; "
        "confirmed if with hidden bytes it is more than twice that of the next "
        "byte by two standard errors over the seeds, qualified if larger so; "
        "also qualified if the loss of hidden bytes of softmax, exp or elu1 is not "
        f"below {LEARNT:g} times that by frequency alone and that of the mean of the "
        "values by two standard errors: such a kind is still on the plateau from "
        "which all start and shows only that it leaves it later",
        confirmed=lambda m: whole and more(m, 2),
        qualified=lambda m: not whole or more(m, 1),
        reported="clearly worse in a masked model",
        source="kexue.fm/archives/9529",
    )


def tables(report: Report) -> list[Table]:
    """Losses of all trainings, and memory by length."""
    rows: list[list[Any]] = []
    for task, kinds in TASKS.items():
        for kind in kinds:
            found = report.loss(task, kind)
            gap, place = report.gap(task, kind), report.place(task, kind)
            rows.append(
                [
                    task,
                    kind,
                    found.mean(),
                    spread.deviation(found),
                    gap.mean(),
                    float(place.mean()),
                ]
            )
    alone = report.frequency / report.loss(HIDDEN, "softmax") - 1
    named = "bytes by their frequency alone"
    rows.append([HIDDEN, named, report.frequency, None, alone.mean(), None])
    columns = ["task", "attention", "held-out loss", "spread", "over softmax, less 1"]
    return [
        Table(
            "Held-out loss, nats a byte",
            [*columns, "0: softmax, 1: mean of values"],
            rows,
        ),
        _by_length(
            "Compiled temporary memory of value and gradient of a head, MiB",
            {name: c.memory for name, c in report.costs.items()},
            1 / 2**20,
        ),
        _by_length(
            "Time of value and gradient of a head, ms; none above "
            f"{ROOM >> 20} MiB of memory",
            {name: c.seconds for name, c in report.costs.items()},
            1e3,
        ),
    ]


def _by_length(title: str, sizes: Mapping[str, dict[int, Any]], unit: float) -> Table:
    """Sizes in a unit by form and length, and the exponent of the length."""
    lengths = list(dict.fromkeys(n for by_n in sizes.values() for n in by_n))
    rows = [
        [name, *[unit * by_n[n] if n in by_n else None for n in lengths], slope(by_n)]
        for name, by_n in sizes.items()
    ]
    return Table(title, ["form", *[f"n = {n}" for n in lengths], "exponent"], rows)
