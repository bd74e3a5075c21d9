"""What the articles say of linear recurrences, each with the rule that decides."""

import dataclasses
from typing import Any

import numpy as np

from experiments._harness.results import Claim, judge

ARTICLE = "kexue.fm/archives/9554"
COMPARED = ("attention", "rwkv", "lru", "slru")
STATES = ("s4", "s4d", "s5", "lru", "rtf")


@dataclasses.dataclass
class Report:
    """Losses by kind and length, by position of the longer texts; accuracies."""

    long: int
    short: int
    losses: dict[tuple[str, int], list[float]] = dataclasses.field(default_factory=dict)
    by_position: dict[str, list[np.ndarray]] = dataclasses.field(default_factory=dict)
    accuracies: dict[str, list[float]] = dataclasses.field(default_factory=dict)

    def add_bytes(self, kind: str, length: int, loss: float, places: Any) -> None:
        """One seed more."""
        self.losses.setdefault((kind, length), []).append(loss)
        if length == self.long:
            self.by_position.setdefault(kind, []).append(np.asarray(places))

    def kinds(self) -> list[str]:
        """The kinds that were trained, in their order."""
        return list(self.accuracies)

    def loss(self, kind: str, length: int) -> np.ndarray:
        """Held-out loss by seed."""
        return np.array(self.losses[kind, length])

    def accuracy(self, kind: str) -> np.ndarray:
        """Share of test images by seed."""
        return np.array(self.accuracies[kind])

    def gain(self, kind: str) -> np.ndarray:
        """What the longer texts take off the loss, by seed."""
        return self.loss(kind, self.short) - self.loss(kind, self.long)


def claims(report: Report) -> list[Claim]:
    """The rows of results.json."""
    return [_complex(report), _order(report), *_length(report), _pixels(report)]


def _complex(report: Report) -> Claim:
    return judge(
        "complex decays (LRU) predict bytes better than real ones (SLRU)",
        {kind: report.loss(kind, report.long) for kind in ("lru", "slru")},
        rule="held-out loss of the longer texts; confirmed if LRU's is lower for every "
        "seed, qualified if in the mean",
        confirmed=lambda m: bool((m["lru"] < m["slru"]).all()),
        qualified=lambda m: float(m["lru"].mean()) < float(m["slru"].mean()),
        reported="LRU > SLRU",
        source=ARTICLE,
    )


def _order(report: Report) -> Claim:
    order = COMPARED

    def ordered(m: Any) -> bool:
        means = [float(np.mean(m[kind])) for kind in order]
        return means == sorted(means)

    return judge(
        "attention predicts bytes better than RWKV, RWKV better than LRU, LRU better "
        "than SLRU",
        {kind: report.loss(kind, report.long) for kind in order},
        rule="held-out loss of the longer texts, means of the seeds; confirmed in that "
        "order, qualified if attention is the best of the four",
        confirmed=ordered,
        qualified=lambda m: min(order, key=lambda k: float(np.mean(m[k]))) == order[0],
        reported="GAU > attention > RWKV > LRU > SLRU, 100M parameters",
        source=ARTICLE,
    )


def _length(report: Report) -> list[Claim]:
    return [
        judge(
            f"attention gains more from longer texts than {kind.upper()}",
            {name: report.gain(name) for name in ("attention", kind)},
            rule=f"held-out loss at {report.short} bytes less that at {report.long}, "
            "as many bytes a step; confirmed if attention's is larger for every seed, "
            "qualified if in the mean",
            confirmed=lambda m, kind=kind: bool((m["attention"] > m[kind]).all()),
            qualified=lambda m, kind=kind: (
                float(m["attention"].mean()) > float(m[kind].mean())
            ),
            reported="attention improves with the length, recurrences get worse",
            source=ARTICLE,
        )
        for kind in ("lru", "rwkv")
    ]


def _pixels(report: Report) -> Claim:
    known = [kind for kind in STATES if kind in report.accuracies]
    best = max(known, key=lambda kind: float(report.accuracy(kind).mean()))
    return judge(
        "state spaces tell images from their pixels one by one better than attention",
        {kind: report.accuracy(kind) for kind in (best, "attention")},
        rule="share of test images told right, the best of S4, S4D, S5, LRU and RTF in "
        "the mean; confirmed if it is higher for every seed, qualified if in the mean",
        confirmed=lambda m: bool((m[best] > m["attention"]).all()),
        qualified=lambda m: float(m[best].mean()) > float(m["attention"].mean()),
        reported="higher accuracy on sequences of pixels",
        source="arXiv 2111.00396, 2303.06349",
    )
