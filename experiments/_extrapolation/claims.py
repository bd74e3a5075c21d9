"""What the articles say of each rule, and how it is decided."""

import itertools
from typing import Any, NamedTuple

import numpy as np

from experiments._harness import spread
from experiments._harness.results import Claim, Table, judge

NEAR, FAR = 1, 8  # contexts, in trained lengths
CONTEXTS = (1, 2, 4, 8)
LAST = "over the last N bytes, N the trained length"


class Report(NamedTuple):
    """Held-out loss by rule and context, and of repeated texts at 8 N, one a seed.

    ``repetition`` says in words how the texts repeat.
    """

    losses: dict[str, dict[int, list[float]]]
    repeated: dict[str, list[float]]
    repetition: str

    def loss(self, rule: str, context: int = FAR) -> np.ndarray:
        return np.array(self.losses[rule][context])

    def growth(self, rule: str) -> np.ndarray:
        """The loss at 8 N over that at N, by seed."""
        return self.loss(rule, FAR) / self.loss(rule, NEAR)

    def again(self, rule: str) -> np.ndarray:
        """The loss of repeated texts at 8 N, by seed."""
        return np.array(self.repeated[rule])


def ratio_claim(
    text: str,
    what: str,
    values: np.ndarray,
    *,
    confirmed: tuple[float, float],
    qualified: tuple[float, float] | None = None,
    reported: str | None = None,
    source: str | None = None,
    repetition: str | None = None,
) -> Claim:
    """A claim that the mean over the seeds lies between two bounds, by two errors."""

    def within(bounds: tuple[float, float]) -> Any:
        low, high = bounds

        def shown(m: Any) -> bool:
            above = low == 0 or spread.exceeds(m[what] - low)
            return above and (high == np.inf or spread.exceeds(high - m[what]))

        return shown

    said = "confirmed from {} to {}".format(*confirmed)
    if qualified is not None:
        said += ", qualified from {} to {}".format(*qualified)
    if repetition is not None:
        said += f"; repeated texts are {repetition}"
    return judge(
        text,
        {what: values},
        rule=f"held-out loss {LAST}, mean of the seeds and two standard errors of it; "
        f"{said}",
        confirmed=within(confirmed),
        qualified=None if qualified is None else within(qualified),
        reported=reported,
        source=source,
    )


def claims(report: Report) -> list[Claim]:
    """The claims, in the order of the articles."""
    return [
        *_rope(report),
        *_rerope(report),
        _good_windows(report),
        _yarn(report),
        *_leaky(report),
        *_far_away(report),
        *_log_n(report),
    ]


_GROWTH = "loss at 8 N / loss at N"
_AT_8N = "kexue.fm/archives/9708"


def _rope(report: Report) -> list[Claim]:
    order = ("PI", "RoPE", "NTK-mixed", "ReRoPE w = N/2")
    losses = {name: report.loss(name) for name in order}

    def in_order(m: Any, names: tuple[str, ...] = order) -> bool:
        return spread.everywhere(m[a] - m[b] for a, b in itertools.pairwise(names))

    return [
        ratio_claim(
            "RoPE fails beyond the trained length",
            _GROWTH,
            report.growth("RoPE"),
            confirmed=(1.5, np.inf),
            qualified=(1.1, np.inf),
            reported="accuracy 49.4 % at 512, 23.2 % at 4096",
            source=_AT_8N,
        ),
        judge(
            "without training PI is worse than RoPE, RoPE than NTK, NTK than ReRoPE",
            losses,
            rule=f"held-out loss at 8 N {LAST}; confirmed if they stand in this "
            "order, each mean difference above two standard errors, qualified if NTK "
            "and ReRoPE do, below RoPE",
            confirmed=in_order,
            qualified=lambda m: in_order(m, order[1:]),
            reported="accuracy 13.5, 23.2, 40.1, 48.5 %",
            source=_AT_8N,
        ),
    ]


def _rerope(report: Report) -> list[Claim]:
    chosen = "ReRoPE w = N/2"
    return [
        ratio_claim(
            "ReRoPE (w = N/2) loses nothing at the trained length",
            "loss at N / that of RoPE",
            report.loss(chosen, NEAR) / report.loss("RoPE", NEAR),
            confirmed=(0, 1.01),
            qualified=(0, 1.05),
            reported="49.41 % both",
            source=_AT_8N,
        ),
        ratio_claim(
            "with ReRoPE (w = N/2) the loss does not grow with the context",
            _GROWTH,
            report.growth(chosen),
            confirmed=(0, 1.02),
            qualified=(0, 1.1),
            reported="LLaMA-2-13B: 1.4996 at 4096, 1.4001 at 16384",
            source=_AT_8N,
        ),
        ratio_claim(
            "a window as long as the training collapses (w = N)",
            "loss at 8 N / that of w = N/2",
            report.loss("ReRoPE w = N") / report.loss(chosen),
            confirmed=(1.2, np.inf),
            qualified=(1.05, np.inf),
            reported="8.3 % against 48.5 %",
            source=_AT_8N,
        ),
    ]


def _good_windows(report: Report) -> Claim:
    """The article's rule for w, over all windows tested."""
    inside, outside = ("N/4", "N/2"), ("N/8", "3N/4", "N")
    losses = {w: report.loss(f"ReRoPE w = {w}") for w in (*inside, *outside)}

    def ahead(m: Any, chosen: tuple[str, ...]) -> bool:
        return spread.everywhere(m[b] - m[a] for a in chosen for b in outside)

    return judge(
        "the good windows of ReRoPE are from N/4 to N/2",
        losses,
        rule=f"held-out loss at 8 N {LAST}, by w; confirmed if those of N/4 and N/2 "
        "are both below each other one, qualified if the better one of the two is, "
        "each mean difference above two standard errors",
        confirmed=lambda m: ahead(m, inside),
        qualified=lambda m: ahead(m, (min(inside, key=lambda w: m[w].mean()),)),
        reported="accuracy 47.82, 48.48 % at N/4, N/2; 45.19, 48.15, 8.25 % at N/8, "
        "3N/4, N",
        source=_AT_8N,
    )


def _yarn(report: Report) -> Claim:
    return ratio_claim(
        "YaRN is slightly behind ReRoPE (w = N/2)",
        "loss at 8 N / that of ReRoPE",
        report.loss("YaRN") / report.loss("ReRoPE w = N/2"),
        confirmed=(1.0, 1.1),
        qualified=(1.0, 1.2),
        reported="slightly behind",
        source="kexue.fm/archives/9948",
    )


def _leaky(report: Report) -> list[Claim]:
    leaks = {k: report.loss(f"Leaky w = N/4, k = {k}") for k in (8, 16, 32)}
    return [
        ratio_claim(
            "Leaky ReRoPE collapses where its largest position passes N (k = 8 at 8 N)",
            "loss at 8 N / that of k = 16",
            leaks[8] / leaks[16],
            confirmed=(1.05, np.inf),
            qualified=(1.0, np.inf),
            reported="w256: 45.7 % with k = 8, 48.9 % with k = 16",
            source=_AT_8N,
        ),
        ratio_claim(
            "trained as InvLeaky, plain RoPE works at 8 N",
            _GROWTH,
            report.growth("InvLeaky training, RoPE"),
            confirmed=(0, 1.05),
            qualified=(0, 1.2),
            reported="49.38 % at 512, 48.32 % at 4096",
            source="kexue.fm/archives/9728",
        ),
        ratio_claim(
            "trained with ReRoPE from the start there is no extrapolation at all",
            _GROWTH,
            report.growth("ReRoPE training, ReRoPE"),
            confirmed=(1.5, np.inf),
            qualified=(1.1, np.inf),
            reported="none at all",
            source="kexue.fm/archives/9948",
        ),
    ]


def _far_away(report: Report) -> list[Claim]:
    chosen = "ReRoPE w = N/2"
    return [
        ratio_claim(
            "with ReRoPE repeated text is predicted much better",
            "loss of repeated text / of other text, at 8 N",
            report.again(chosen) / report.loss(chosen),
            confirmed=(0, 0.7),
            qualified=(0, 0.95),
            reported="77.9 % against 48.5 % (w256)",
            source=_AT_8N,
            repetition=report.repetition,
        ),
        ratio_claim(
            "ReRoPE sees more than a window of N does",
            "loss at 8 N, repeated text / that of the window",
            report.again(chosen) / report.again("window N"),
            confirmed=(0, 0.98),
            qualified=(0, 1.0),
            repetition=report.repetition,
        ),
    ]


def _log_n(report: Report) -> list[Claim]:
    rerope = "ReRoPE w = N/2"
    return [
        ratio_claim(
            "training with the log n factor helps ReRoPE at 8 N",
            "loss at 8 N / that without it",
            report.loss("log n training, ReRoPE w = N/2") / report.loss(rerope),
            confirmed=(0, 0.99),
            qualified=(0, 1.0),
            reported="49.07 % against 48.48 % (w256)",
            source=_AT_8N,
        ),
        ratio_claim(
            "the log n factor at the test alone helps ReRoPE at 8 N",
            "loss at 8 N / that without it",
            report.loss("ReRoPE w = N/2, log n at test") / report.loss(rerope),
            confirmed=(0, 0.99),
            qualified=(0, 1.0),
            reported="48.85 % against 48.48 % (w256)",
            source=_AT_8N,
        ),
    ]


def tables(report: Report) -> list[Table]:
    """All rules by context."""
    rows = []
    for name, losses in report.losses.items():
        at = [float(np.mean(losses[context])) for context in CONTEXTS]
        far = report.loss(name)
        rows.append(
            [name, *at, spread.deviation(far), float(report.again(name).mean())]
        )
    columns = ["rule", *[f"{c} N" for c in CONTEXTS], "spread at 8 N", "8 N, repeated"]
    return [Table(f"Held-out loss {LAST}, nats a byte, by context", columns, rows)]
