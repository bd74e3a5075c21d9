"""The results of the cases as tables and as claims, for results.json and report.md."""

from collections.abc import Sequence
from typing import Any

from experiments._harness.results import Claim, Table, judge

COLUMNS = (
    "case",
    "form",
    "median ms",
    "min ms",
    "spread",
    "fast / form",
    "same, per flop",
    "compile s",
    "GFLOP",
    "MB moved",
    "peak MB",
)
WORK_COLUMNS = ("case", "form", "version", "difference", "parameters", "GFLOP", "GF/s")


def tables(results: Sequence[dict[str, Any]]) -> list[Table]:
    """Times and costs, and what the forms were checked to have in common."""
    times, work = [], []
    for result in results:
        case = result["case"]
        if result["status"] != "measured":
            times.append([case, result["status"], *[None] * (len(COLUMNS) - 2)])
        for row in result["forms"]:
            times.append([case, *_time_cells(row, result["forms"][0])])
            if row["status"] == "measured":
                work.append([case, *_work_cells(row)])
    return [
        Table("Times, in one interleaved run a case", COLUMNS, times),
        Table("What the forms have in common", WORK_COLUMNS, work),
    ]


def _time_cells(row: dict[str, Any], fast: dict[str, Any]) -> list[Any]:
    if row["status"] != "measured":
        return [f"{row['form']}: {row['status']}", *[None] * (len(COLUMNS) - 2)]
    against, per_flop = row["ratio"], None
    ours, theirs = (r.get("work_flops_per_second") for r in (fast, row))
    if ours and theirs:
        per_flop = theirs / ours
    text = f"{against['median']:.3f} ({against['low']:.3f} to {against['high']:.3f})"
    return [
        row["form"] + ("" if row.get("equal", True) else " (not equal)"),
        row["median_seconds"] * 1e3,
        row["min_seconds"] * 1e3,
        f"{row['spread']:.0%}",
        "1" if row is fast else text,
        per_flop,
        row.get("compile_seconds"),
        _scaled(row.get("flops"), 1e9),
        _scaled(row.get("bytes"), 1e6),
        _scaled(row.get("peak_bytes"), 1e6),
    ]


def _work_cells(row: dict[str, Any]) -> list[Any]:
    work = row["work"]
    return [
        row["form"],
        row.get("version"),
        row.get("difference"),
        work.get("parameters"),
        _scaled(work.get("flops"), 1e9),
        _scaled(row.get("work_flops_per_second"), 1e9),
    ]


def _scaled(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit


def claims(results: Sequence[dict[str, Any]]) -> list[Claim]:
    """The goals of the cases that were measured, each with its verdict."""
    return [
        claim
        for result in results
        if result["status"] == "measured"
        for claim in (*_times(result), *_memory(result))
    ]


def _times(result: dict[str, Any]) -> list[Claim]:
    """Of the best peer's time (of the twin's, if there is no peer), and of others'."""
    found, goal = [], result["goal"]
    peers = any("package" in row for row in result["forms"])
    rival = result["best_peer"] if peers else "twin"
    if goal is not None and rival is not None:
        rank = f"the best peer ({rival})" if peers else "the twin"
        found.append(_within(result, rival, goal, rank))
    measured = {row["form"] for row in result["forms"] if row["status"] == "measured"}
    for form, goal in result["goals"].items():
        if form in measured:
            found.append(_within(result, form, goal, form))
    return found


def _within(result: dict[str, Any], form: str, goal: float, rank: str) -> Claim:
    row = next(row for row in result["forms"] if row["form"] == form)
    return judge(
        f"{result['case']} takes at most {goal} of the time of {rank}",
        {f"fast / {form}": row["ratio"]["median"]},
        rule=f"confirmed if the median ratio is at most {goal}"
        + (", qualified if at most 1" if goal < 1 else ""),
        confirmed=lambda m: all(value <= goal for value in m.values()),
        qualified=lambda m: goal < 1 and all(value <= 1 for value in m.values()),
    )


def _memory(result: dict[str, Any]) -> list[Claim]:
    goal = result["memory_goal"]
    peaks = {row["form"]: row.get("peak_bytes") for row in result["forms"]}
    ours, theirs = peaks.get("fast"), peaks.get("twin")
    if goal is None or not ours or not theirs:
        return []
    return [
        judge(
            f"{result['case']} takes at most {goal} of the memory of the twin",
            {"fast / twin": ours / theirs},
            rule=f"compiled peak of bytes; confirmed if the ratio is at most {goal}, "
            "qualified if at most 1",
            confirmed=lambda m: m["fast / twin"] <= goal,
            qualified=lambda m: m["fast / twin"] <= 1,
        )
    ]
