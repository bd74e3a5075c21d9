"""The claims about means and task sets, each with the rule that decides; the tables."""

import collections
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from experiments._harness.results import Claim, Table, judge
from experiments._leaderboards.measures import (
    HUMAN,
    NAMES,
    Curves,
    Stability,
    first,
    human_ranks,
    means,
    mixed_human,
    official_gap,
    rules_found,
)
from kexue_jax.evaluation import ScoreTable

ARTICLE = "kexue.fm/archives/8783"


class Report(NamedTuple):
    """The tables by name, the ranks over orders, and how ranks move."""

    tables: Mapping[str, ScoreTable]
    curves: Mapping[str, Curves]
    moves: Mapping[str, Stability]

    def sources(self) -> dict[str, int]:
        """How many cells come from each source."""
        rows = [row for table in self.tables.values() for row in table.sources]
        return dict(collections.Counter(source for row in rows for source in row))

    def human_curve(self, name: str, mixed: bool) -> np.ndarray:
        """The human's rank over the orders."""
        curves = self.curves[name]
        ranks = curves.mixed if mixed else curves.same
        return ranks[:, self.tables[name].systems.index(HUMAN)]


def all_claims(report: Report) -> list[Claim]:
    """The rows, in the order of the report."""
    return [
        _averages(report),
        _rules(report),
        _glue_fixed(report),
        _glue_mixed(report),
        _superglue(report),
        _superglue_eight(report),
        _alike(report),
        _never(report),
        _one_task(report),
    ]


def _averages(report: Report) -> Claim:
    kinds = (("glue_2021", True), ("glue_2019", True), ("superglue_2022", False))
    gaps = {n: np.abs(official_gap(report.tables[n], g)).max() for n, g in kinds}
    return judge(
        "the official tasks alone, diagnostic ones left out, give the benchmarks' own "
        "averages",
        gaps,
        rule="largest distance from a published average; confirmed if all are within "
        "0.05 and the rounding of the scores (0.0501)",
        confirmed=lambda m: all(gap <= 0.0501 for gap in m.values()),
    )


def _rules(report: Report) -> Claim:
    table = report.tables["glue_2021"]
    found = rules_found(table)
    human = table.systems.index(HUMAN)
    wanted = {"AM": (10, 10), "GM": (11, 10), "HM": (11, 10)}
    models = {n: [r for i, r in enumerate(v) if i != human] for n, v in found.items()}
    measured = {
        f"tasks behind {n} of {who}": float(np.mean(rows))
        for n in NAMES
        for who, rows in (("models", models[n]), ("the human", [found[n][human]]))
    }
    return judge(
        "from averages rounded to a decimal, tasks and mean of every row can be told: "
        "GM and HM of models from 11 tasks, of the human from 10",
        measured,
        rule="averages made as the article says and searched over the first 1 to 11 "
        "tasks (0: none or several fit); confirmed if every row gives its own away",
        confirmed=lambda _: all(
            set(models[n]) == {wanted[n][0]} and found[n][human] == wanted[n][1]
            for n in NAMES
        ),
        reported="AM from 10, GM and HM from 11, human from 10",
        source=ARTICLE,
    )


def _glue_fixed(report: Report) -> Claim:
    curve = report.human_curve("glue_2021", mixed=False)
    last = len(report.tables["glue_2021"].systems)
    return judge(
        "GLUE on one set of tasks: no mean lifts the human from the last place",
        {"best rank over p": float(curve.min()), "systems": float(last)},
        rule="all orders p from -5 to 5; confirmed if the human is last under all, "
        "qualified if under AM, GM and HM",
        confirmed=lambda m: m["best rank over p"] == last,
        qualified=lambda _: bool(
            (human_ranks(report.tables["glue_2021"], 10) == last).all()
        ),
    )


def _glue_mixed(report: Report) -> Claim:
    ranks = mixed_human(report.tables["glue_2021"])
    return judge(
        "GLUE with unequal tasks: the mixture alone makes the human first",
        dict(zip((f"rank by {n}" for n in NAMES), map(float, ranks), strict=True)),
        rule="models averaged over 11 tasks, the human over 10; confirmed if first by "
        "all three means, qualified if first by HM",
        confirmed=lambda m: all(rank == 1 for rank in m.values()),
        qualified=lambda m: m["rank by HM"] == 1,
    )


def _superglue(report: Report) -> Claim:
    table = report.tables["superglue_2022"]
    ten, eight = (human_ranks(table, k) for k in (10, 8))
    measured = {
        f"rank by {n}, {tasks} tasks": float(ranks[i])
        for tasks, ranks in ((10, ten), (8, eight))
        for i, n in enumerate(NAMES)
    }
    return judge(
        "SuperGLUE: the set of tasks, not the mean, makes the human first",
        measured,
        rule="confirmed if the human is first by AM, GM and HM on 10 tasks and by none "
        "on the official 8",
        confirmed=lambda _: bool((ten == 1).all() and (eight > 1).all()),
    )


def _superglue_eight(report: Report) -> Claim:
    ranks = human_ranks(report.tables["superglue_2022"], 8)
    return judge(
        "the paper's thesis, that GM and HM rank the human better than AM does, on the "
        "official tasks of SuperGLUE",
        dict(zip((f"rank by {n}" for n in NAMES), map(float, ranks), strict=True)),
        rule="confirmed if GM and HM both give a smaller rank than AM, qualified if "
        "one does",
        confirmed=lambda m: max(m["rank by GM"], m["rank by HM"]) < m["rank by AM"],
        qualified=lambda m: min(m["rank by GM"], m["rank by HM"]) < m["rank by AM"],
    )


def _alike(report: Report) -> Claim:
    turned, pairs = {}, {}
    for name in ("glue_2021", "superglue_2022"):
        count = len(report.tables[name].systems)
        pairs[name] = count * (count - 1) // 2
        turned[name] = float(report.moves[name].inversions.max())
    return judge(
        "on one set of tasks the three means rank the top systems nearly alike",
        {f"{n}, pairs turned of {pairs[n]}": v for n, v in turned.items()},
        rule="the most pairs that two of AM, GM and HM order differently; confirmed if "
        "none, qualified if at most one pair in five",
        confirmed=lambda m: all(v == 0 for v in m.values()),
        qualified=lambda _: all(turned[n] <= pairs[n] / 5 for n in turned),
        reported="no difference",
        source=ARTICLE,
    )


def _never(report: Report) -> Claim:
    inversions = report.moves["glue_models"].inversions
    return judge(
        "the choice of mean makes no difference to ranks in general",
        {
            "AM against GM": float(inversions[0, 1]),
            "AM against HM": float(inversions[0, 2]),
        },
        rule="eight models from BiLSTM to ERNIE, eight tasks, 28 pairs; confirmed if "
        "no pair is turned",
        confirmed=lambda m: all(v == 0 for v in m.values()),
    )


def _one_task(report: Report) -> Claim:
    worst = {}
    for name in ("glue_2021", "superglue_2022"):
        full = human_ranks(report.tables[name], report.tables[name].official)
        place = report.tables[name].systems.index(HUMAN)
        left = report.moves[name].left_out[:, :, place]
        by_task = np.abs(left - full[:, None]).max()
        worst[f"{name}: places by a task left out"] = float(by_task)
        worst[f"{name}: places by the mean"] = float(np.ptp(full))
    return judge(
        "leaving out one task moves the human at least as far as the choice of mean",
        worst,
        rule="most places under any of AM, GM and HM; confirmed if so in both tables "
        "and somewhere farther",
        confirmed=lambda _: _farther(worst),
    )


def _farther(worst: Mapping[str, float]) -> bool:
    values = list(worst.values())
    gains = [a - b for a, b in zip(values[::2], values[1::2], strict=True)]
    return min(gains) >= 0 and max(gains) > 0


def all_tables(report: Report) -> list[Table]:
    """The means on both sets of tasks; who is first over resampled tasks."""
    found = []
    for name, table in report.tables.items():
        sizes = sorted({table.official, table.scores.shape[1]})
        columns = ["system", *(f"{n}{k}" for k in sizes for n in NAMES), "published"]
        rows, by_size = [], {k: means(table, first(table, k)) for k in sizes}
        for i, system in enumerate(table.systems):
            cells: list[object] = [system]
            for k in sizes:
                whole = table.reported[i, :k].all()
                values = by_size[k][i] if whole else [None] * 3
                cells += [None if v is None else round(float(v), 2) for v in values]
            known = not np.isnan(table.published[i])
            rows.append([*cells, float(table.published[i]) if known else None])
        found.append(Table(f"Means, {name}", columns, rows))
    for name, moved in report.moves.items():
        table = report.tables[name]
        rows = [
            [system, *(round(float(s), 3) for s in moved.shares[:, i])]
            for i, system in enumerate(table.systems)
        ]
        title = f"Share of resampled sets of tasks on which a system is first, {name}"
        found.append(Table(title, ["system", *NAMES], rows))
    return found
