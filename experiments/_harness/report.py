"""report.md of one run and RESULTS.md of all, written from results.json alone."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments._harness.files import write_text
from experiments._harness.results import VERDICTS, read_results


def write_report(folder: Path) -> Path:
    """Write ``report.md`` of the run in ``folder``; return its path."""
    content = read_results(folder)
    lines = [f"# {content['experiment']}", "", *_provenance(content), ""]
    lines += ["## Claims", "", *_claims(content["claims"]), ""]
    for table in content["tables"]:
        lines += [f"## {table['title']}", ""]
        lines += [*_table(table["columns"], table["rows"]), ""]
    if content["facts"]:
        lines += ["## Facts", "", *_table(["name", "value"], content["facts"].items())]
        lines += [""]
    figures = sorted(path.name for path in folder.glob("*.png"))
    if figures:
        lines += ["## Figures", ""]
        lines += [f"![{Path(name).stem}]({name})\n" for name in figures]
    path = folder / "report.md"
    write_text(path, "\n".join(lines).rstrip() + "\n")
    return path


def results_page(folder: Path, page: Path) -> str:
    """The text of ``page``: the claims of every ``folder/NAME/results.json``."""
    runs = {
        p.parent.name: read_results(p.parent) for p in folder.glob("*/results.json")
    }
    verdicts = [c["verdict"] for content in runs.values() for c in content["claims"]]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in VERDICTS)
    lines = [
        "# Results",
        "",
        "Written by `python -m experiments.report` from the committed results; every",
        f"verdict is computed by the rule beside it. {len(verdicts)} claims: {counts}.",
        "",
    ]
    for name in sorted(runs):
        lines += [f"## {name}", "", *_provenance(runs[name]), ""]
        lines += [*_claims(runs[name]["claims"]), ""]
        report = os.path.relpath(folder / name / "report.md", page.parent)
        lines += [f"[Report]({Path(report).as_posix()})", ""]
    return "\n".join(lines).rstrip() + "\n"


def _provenance(content: Mapping[str, Any]) -> list[str]:
    device = content.get("device") or {}
    versions = ", ".join(f"{n} {v}" for n, v in content["versions"].items())
    return [
        f"    {content['command']}",
        "",
        f"{content.get('date', '')}; {device.get('count')} x {device.get('kind')} "
        f"on {device.get('cores')} cores of {device.get('processor')}; "
        f"{_number(content.get('wall_seconds'))} s"
        f"{' after a resumption' if content.get('resumed') else ''}; "
        f"seed {content['config'].get('seed')}; {versions}.",
    ]


def _claims(claims: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        (
            claim["claim"],
            _reported(claim),
            _measured(claim["measured"]),
            claim["rule"],
            f"**{claim['verdict']}**",
        )
        for claim in claims
    ]
    if not rows:
        return ["No claims."]
    return _table(["claim", "reported", "measured", "rule", "verdict"], rows)


def _reported(claim: Mapping[str, Any]) -> str:
    if claim["reported"] is None:
        return "none"
    return f"{claim['reported']} ({claim['source']})"


def _measured(measured: Mapping[str, Any]) -> str:
    parts = []
    for name, value in measured.items():
        text = _number(value["mean"])
        if value["std"] is not None:
            text += f" ± {_number(value['std'])} (n = {len(value['values'])})"
        parts.append(f"{name}: {text}" if name else text)
    return "; ".join(parts)


def _table(columns: Sequence[str], rows: Any) -> list[str]:
    lines = [_line(columns), "|" + " --- |" * len(columns)]
    return lines + [_line([_number(entry) for entry in row]) for row in rows]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(c.replace('|', chr(92) + '|') for c in cells)} |"


def _number(value: Any) -> str:
    """A cell: floats with four digits, None (not finite, not there) as a dash."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value).replace("\n", " ")
