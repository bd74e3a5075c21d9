"""What is claimed of critics of bounded slope, each claim with its rule."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments._gan.measures import COLUMNS, MAIN, Scores
from experiments._gan.training import PATHS, RADII, WORST, Cell, Outcome
from experiments._harness import spread
from experiments._harness.results import Claim, Table, judge

ARTICLE = "kexue.fm/archives/8757"
TWO_ERRORS = (
    "means over seeds; confirmed if better by two standard errors of the paired "
    "differences everywhere, qualified if somewhere and nowhere worse"
)


class Report(NamedTuple):
    """Outcomes and scores by (task, method), losses, seeds, gaps of ``apart``."""

    outcomes: Mapping[tuple[str, str], Outcome]
    scores: Mapping[tuple[str, str], Mapping[Cell, Scores]]
    losses: Sequence[str]
    seeds: Sequence[int]
    gaps: Mapping[str, np.ndarray]

    @property
    def tasks(self) -> list[str]:
        """The names of what was drawn."""
        return list(dict.fromkeys(task for task, _ in self.outcomes))

    @property
    def methods(self) -> list[str]:
        """The names of the methods."""
        return list(dict.fromkeys(method for _, method in self.outcomes))

    def values(self, task: str, method: str, loss: str, metric: str = "") -> np.ndarray:
        """One a seed, of the task's main metric unless another is named."""
        found = self.scores[task, method]
        name = metric or MAIN[task]
        return np.array([found[Cell(loss, seed)][name] for seed in self.seeds])

    def has(self, *methods: str) -> bool:
        """Whether all of them were trained."""
        return set(methods) <= set(self.methods)


def all_claims(report: Report) -> list[Claim]:
    """The rows, in the order of the report."""
    rows = []
    if report.has("inner", "gn"):
        words = "the inner product <g / |g|, x> draws far worse than GN"
        rows.append(_better(report, words, "gn", "inner", "extremely poor"))
    if report.has("gp", "gn"):
        words = "at equal steps GP draws better than GN"
        rows.append(_better(report, words, "gp", "gn", "GN is worse than GP"))
        rows.append(_equal_time(report))
        rows.append(_slower(report))
    if report.has("none", "gn"):
        words = "GN draws better than a critic without any bound"
        rows.append(_better(report, words, "gn", "none", None))
    if report.has("clip", "gp") and "wasserstein" in report.losses:
        words = "under the Wasserstein loss GP draws better than clipped weights"
        rows.append(_better(report, words, "gp", "clip", None, ["wasserstein"]))
    if report.has("gran") and {"wasserstein", "ns"} <= set(report.losses):
        rows.append(_unbounded(report))
    if report.has("gn") and {"wasserstein", "hinge"} <= set(report.losses):
        rows.append(_one_game(report))
    rows += [_bound(report, m) for m in ("gn", "gran") if report.has(m)]
    if report.gaps:
        rows += _same_path(report)
    return rows


def _better(
    report: Report,
    words: str,
    good: str,
    bad: str,
    reported: str | None,
    losses: Sequence[str] | None = None,
) -> Claim:
    chosen = losses or report.losses
    measured = {
        f"{task}, {loss}, {name}": report.values(task, name, loss)
        for task in report.tasks
        for loss in chosen
        for name in (good, bad)
    }
    differences = [
        report.values(task, bad, loss) - report.values(task, good, loss)
        for task in report.tasks
        for loss in chosen
    ]
    return judge(
        words,
        measured,
        rule="energy distance (ring), Frechet distance of features (images); a run "
        f"that is not finite counts as {WORST:g}; {TWO_ERRORS}, over tasks and losses",
        confirmed=lambda m: spread.everywhere(differences),
        qualified=lambda m: spread.somewhere(differences),
        reported=reported,
        source=ARTICLE if reported else None,
    )


def _equal_time(report: Report) -> Claim:
    """Energy distances where the cheaper method's whole time has passed."""
    measured, differences = {}, []
    for task in report.tasks:
        pair = [report.outcomes[task, name] for name in ("gp", "gn")]
        budget = min(outcome.seconds for outcome in pair)
        for loss in report.losses:
            found = []
            for name, outcome in zip(("gp", "gn"), pair, strict=True):
                curves = [outcome.energy[Cell(loss, seed)] for seed in report.seeds]
                place = budget / outcome.seconds * len(curves[0])
                grid = np.arange(1, len(curves[0]) + 1)
                found.append(np.array([np.interp(place, grid, c) for c in curves]))
                measured[f"{task}, {loss}, {name}"] = found[-1]
            differences.append(found[1] - found[0])
    return judge(
        "at equal time GP draws better than GN",
        measured,
        rule="energy distance, between the points of its curve, where the CPU time of "
        f"the cheaper of the two has passed; {TWO_ERRORS}, over tasks and losses",
        confirmed=lambda m: spread.everywhere(differences),
        qualified=lambda m: spread.somewhere(differences),
        reported="GN is worse than GP and slower",
        source=ARTICLE,
    )


def _slower(report: Report) -> Claim:
    measured = {}
    for task in report.tasks:
        gn, gp = (report.outcomes[task, name] for name in ("gn", "gp"))
        measured[f"{task}, time"] = gn.seconds / gp.seconds
        measured[f"{task}, memory"] = gn.memory / gp.memory
    return judge(
        "GN is slower and takes more memory than GP",
        measured,
        rule="CPU seconds of a step (medians) and temporary bytes of its program, GN "
        "with first-order generator steps over GP; confirmed if all are above 1.1, "
        "qualified if one is",
        confirmed=lambda m: all(v > 1.1 for v in m.values()),
        qualified=lambda m: any(v > 1.1 for v in m.values()),
        reported="clearly slower, heavier in memory",
        source=ARTICLE,
    )


def _unbounded(report: Report) -> Claim:
    measured = {
        f"{task}, {loss}": report.values(task, "gran", loss)
        for task in report.tasks
        for loss in ("wasserstein", "ns")
    }
    differences = [
        measured[f"{task}, wasserstein"] - measured[f"{task}, ns"]
        for task in report.tasks
    ]
    return judge(
        "GraN needs a loss that saturates",
        measured,
        rule="as above: GraN under the Wasserstein loss, which is unbounded for it, "
        f"against ns; {TWO_ERRORS}, over tasks",
        confirmed=lambda m: spread.everywhere(differences),
        qualified=lambda m: spread.somewhere(differences),
    )


def _one_game(report: Report) -> Claim:
    gaps = []
    for task in report.tasks:
        found = report.outcomes[task, "gn"].samples
        pairs = [
            [found[Cell(name, seed)] for name in ("wasserstein", "hinge")]
            for seed in report.seeds
        ]
        gaps += [float(np.abs(a - b).max()) for a, b in pairs]
    return judge(
        "behind GN the hinge loss is the Wasserstein loss",
        {"largest difference of a sample": gaps},
        rule="samples after training, by task and seed; confirmed if all are below "
        "1e-3, qualified if half are (float32, rounding grows over training)",
        confirmed=lambda m: bool((np.atleast_1d(_only(m)) < 1e-3).all()),
        qualified=lambda m: bool((np.atleast_1d(_only(m)) < 1e-3).mean() >= 0.5),
    )


def _bound(report: Report, method: str) -> Claim:
    cells = [Cell(loss, seed) for loss in report.losses for seed in report.seeds]
    most, jumps = [], []
    for task in report.tasks:
        outcome = report.outcomes[task, method]
        most.append(max(outcome.norms[cell].max() for cell in cells))
        jumps += [outcome.quotients[cell][0].max() for cell in cells]
    return judge(
        f"the gradient of a critic by {method} is at most 1 and yet the critic is not "
        "1-Lipschitz",
        {"largest gradient": max(most), "largest quotient of each game": jumps},
        rule="trained critics at real points and between; difference quotients over "
        f"steps of {RADII[0]:g}; confirmed if no gradient is above 1 + 1e-4 and the "
        "largest quotient of every game is above 1.01, qualified if of half of them",
        confirmed=lambda m: _gentle(m) and _share(m) == 1,
        qualified=lambda m: _gentle(m) and _share(m) >= 0.5,
        reported="gradients of at most 1 make the critic 1-Lipschitz, in doubt about "
        "its jumps",
        source=ARTICLE,
    )


def _gentle(m: Mapping) -> bool:
    return bool(m["largest gradient"] <= 1 + 1e-4)


def _share(m: Mapping) -> float:
    return float((m["largest quotient of each game"] > 1.01).mean())


def _same_path(report: Report) -> list[Claim]:
    """Both forms of the step beside what rounding does by itself, in two precisions."""
    gaps, (double, rounded, *_) = report.gaps, PATHS
    steps = gaps[double].shape[1]
    least = np.finfo(np.float64).eps
    ratio = gaps[double] / np.maximum(gaps[rounded], least)
    ends = {f"{name}, after {steps} steps": gap[:, -1] for name, gap in gaps.items()}
    alone = [gap[:, -1] for name, gap in gaps.items() if "alone" in name]
    return [
        judge(
            "the first-order step of the generator leaves training as it is",
            {
                "largest ratio on the way": ratio.max(1),
                f"{double}, after 1 step": gaps[double][:, 0],
            },
            rule="largest difference of a parameter between games of GN by both forms, "
            f"in double precision, in the first {steps} steps, over that of the exact "
            "form from parameters a rounding away (any difference grows); "
            "confirmed if the ratio is below 1,000 at every step of every seed, "
            "qualified if the difference is below 1e-12 after the first step",
            confirmed=lambda m: bool((ratio < 1e3).all()),
            qualified=lambda m: bool((gaps[double][:, 0] < 1e-12).all()),
        ),
        judge(
            "rounding alone parts two games of GN",
            ends,
            rule="largest difference of a parameter; confirmed if that of the exact "
            "form from parameters a rounding away is above 1e-4 at the end for every "
            "seed, in both precisions, qualified if in one",
            confirmed=lambda m: all((gap > 1e-4).all() for gap in alone),
            qualified=lambda m: any((gap > 1e-4).all() for gap in alone),
        ),
    ]


def _only(m: Mapping) -> np.ndarray:
    return next(iter(m.values()))


def tables(report: Report) -> list[Table]:
    """Scores and costs by task, method and loss."""
    made = []
    for task in report.tasks:
        names = COLUMNS[task]
        rows, costs = [], []
        for method in report.methods:
            outcome = report.outcomes[task, method]
            for loss in report.losses:
                found = [report.values(task, method, loss, n) for n in names]
                cells = [Cell(loss, seed) for seed in report.seeds]
                most = [
                    max(float(part[c].max()) for c in cells)
                    for part in (outcome.norms, outcome.quotients)
                ]
                row = [float(v.mean()) for v in found]
                rows.append([method, loss, *row, float(found[0].std(ddof=0)), *most])
            base = report.outcomes[task, report.methods[-1]]
            ms, mb = outcome.seconds * 1e3, outcome.memory / 2**20
            ratio = outcome.seconds / base.seconds
            costs.append([method, ms, ratio, mb, outcome.memory / base.memory])
        columns = ["method", "loss", *names, f"std of {names[0]}", "slope", "quotient"]
        made.append(Table(f"{task}: means over seeds; largest slopes", columns, rows))
        over = f"over {report.methods[-1]}"
        columns = ["method", "CPU ms a step", over, "MiB", f"MiB {over}"]
        made.append(Table(f"{task}: cost of all games of a method", columns, costs))
    return made
