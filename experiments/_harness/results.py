"""Results: the claims of an article as rows, each verdict computed by its rule.

A row is made by ``judge`` and nothing else; ``write_results`` puts the rows, with the
tables, facts, versions and command of the run, into ``results.json``.
"""

import dataclasses
import datetime
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments._harness.errors import UserError
from experiments._harness.files import json_text, plain, read_json, write_text
from experiments._harness.workdir import Run

VERDICTS = ("confirmed", "qualified", "refuted")
Values = float | Sequence[float] | np.ndarray
Measured = Values | Mapping[str, Values]
Rule = Callable[[Any], bool]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of a report: a title, the names of its columns, its rows."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"Table {self.title!r}: a row of {len(row)} entries under "
                    f"{len(self.columns)} columns."
                )


@dataclasses.dataclass(frozen=True)
class Claim:
    """One claim with what was measured and the rule that decides; made by judge.

    ``measured`` maps each quantity to its values, one a seed ("" names the only one).
    """

    text: str
    measured: Mapping[str, tuple[float, ...]]
    rule: str
    reported: str | None
    source: str | None
    verdict: str = dataclasses.field(init=False)
    confirmed: dataclasses.InitVar[Rule]
    qualified: dataclasses.InitVar[Rule | None]
    argument: dataclasses.InitVar[Any]

    def __post_init__(
        self, confirmed: Rule, qualified: Rule | None, argument: Any
    ) -> None:
        verdict = _verdict(self, confirmed, qualified, argument)
        object.__setattr__(self, "verdict", verdict)

    def row(self) -> dict[str, Any]:
        """The claim as it stands in results.json."""
        return {
            "claim": self.text,
            "reported": self.reported,
            "source": self.source,
            "measured": {n: _summary(v) for n, v in self.measured.items()},
            "rule": self.rule,
            "verdict": self.verdict,
        }


def judge(
    claim: str,
    measured: Measured,
    *,
    rule: str,
    confirmed: Rule,
    qualified: Rule | None = None,
    reported: str | float | None = None,
    source: str | None = None,
) -> Claim:
    """The row of ``claim``: its verdict is what ``confirmed`` and ``qualified`` say.

    ``measured`` is a number, one number a seed, or a dict of either; the rules get it
    as floats (numbers) and float64 arrays (one entry a seed) of the same shape. The
    verdict is "confirmed" if ``confirmed(measured)``, else "qualified" if
    ``qualified(measured)``, else "refuted"; also "refuted" where a measured value is
    NaN or infinite. ``rule`` says in words what the two functions compute. A value
    ``reported`` by article or paper needs its ``source``.

    Example: ``judge("fewer steps shrink the variance", {"10": v10, "50": v50},
    rule="confirmed if var(S=10) < var(S=50) for every seed",
    confirmed=lambda m: bool((m["10"] < m["50"]).all()))``
    """
    if reported is not None and source is None:
        raise ValueError(f"judge: `source` must be given with `reported` ({claim!r}).")
    if not rule.strip() or not claim.strip():
        raise ValueError(
            "judge: `claim` and `rule` must be sentences, got an empty one."
        )
    several = isinstance(measured, Mapping)
    named = measured if isinstance(measured, Mapping) else {"": measured}
    if not named:
        raise ValueError(f"judge: `measured` is empty ({claim!r}).")
    arrays = {str(n): np.asarray(v, np.float64) for n, v in named.items()}
    for name, value in arrays.items():
        if value.ndim > 1 or not value.size:
            raise ValueError(
                f"judge: `measured` {name!r} must be a number or one number a seed, "
                f"got shape {value.shape}."
            )
    seen = {n: float(a) if a.ndim == 0 else a for n, a in arrays.items()}
    return Claim(
        text=claim,
        measured={n: tuple(float(x) for x in a.ravel()) for n, a in arrays.items()},
        rule=rule,
        reported=None if reported is None else str(reported),
        source=source,
        confirmed=confirmed,
        qualified=qualified,
        argument=seen if several else seen[""],
    )


def _verdict(
    claim: Claim, confirmed: Rule, qualified: Rule | None, argument: Any
) -> str:
    if not all(math.isfinite(x) for v in claim.measured.values() for x in v):
        return "refuted"
    for verdict, holds in (("confirmed", confirmed), ("qualified", qualified)):
        if holds is None:
            continue
        answer = holds(argument)
        if not isinstance(answer, (bool, np.bool_)):
            raise TypeError(
                f"judge: the rule `{verdict}` of {claim.text!r} must return a bool, "
                f"got a {type(answer).__name__}."
            )
        if answer:
            return verdict
    return "refuted"


def _summary(values: tuple[float, ...]) -> dict[str, Any]:
    """Mean, spread over seeds (standard deviation; None for one value) and values."""
    finite = all(math.isfinite(x) for x in values)
    spread = statistics.stdev(values) if finite and len(values) > 1 else None
    mean = statistics.fmean(values) if finite else None
    return {"mean": mean, "std": spread, "values": list(values)}


def write_results(
    run: Run,
    claims: Sequence[Claim],
    tables: Sequence[Table] = (),
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``results.json`` of ``run``, which marks it finished; return its path.

    Beside claims, tables and facts (name to a number or text) it holds what
    config.json has (command, config, versions, device), the date and the wall
    seconds of this process.
    """
    content = {
        **read_json(run.folder / "config.json"),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "wall_seconds": round(run.seconds(), 1),
        "resumed": run.resumed,
        "claims": [claim.row() for claim in claims],
        "tables": [
            {"title": t.title, "columns": list(t.columns), "rows": plain(t.rows)}
            for t in tables
        ],
        "facts": dict(facts or {}),
    }
    path = run.folder / "results.json"
    write_text(path, json_text(content) + "\n")
    return path


def read_results(folder: Path) -> dict[str, Any]:
    """The content of ``results.json`` in ``folder``; UserError if it is not one."""
    path = folder / "results.json"
    content = read_json(path)
    wanted = {"experiment", "command", "config", "versions", "claims", "tables"}
    if not isinstance(content, dict) or not wanted <= content.keys():
        raise UserError(f"{path} is not the results of an experiment")
    for claim in content["claims"]:
        if claim.get("verdict") not in VERDICTS:
            raise UserError(f"{path}: a claim without a verdict")
    return content
