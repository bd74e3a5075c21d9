"""metrics.jsonl: one strict JSON object a line, the numbers of one step each.

Nothing in it depends on the clock, so that two runs of one config write the same file.
"""

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from experiments._harness.errors import UserError
from experiments._harness.files import json_text


class MetricsWriter:
    """Appends rows to a metrics file."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._append("")

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Append the row of ``step``; NaN and infinity are written as null."""
        self._append(json_text({"step": step, **values}, indent=None) + "\n")

    def mark(self) -> dict[str, Any]:
        """Size and SHA-256 of the file, once every row is on the disk."""
        self._append("", sync=True)
        content = self._content()
        return {"bytes": len(content), "sha256": _digest(content)}

    def rewind(self, step: int, mark: Mapping[str, Any] | None) -> None:
        """Drop what came after ``mark``, taken at ``step``; None: all.

        UserError if what came before it has changed; but a file that was moved away,
        rows and all, is begun anew, and a line says so.
        """
        size = mark["bytes"] if mark else 0
        content = self._content()
        if mark and size and not content:
            lost = f"{self.path} was empty or gone: the rows up to step {step} are lost"
            print(lost, file=sys.stderr, flush=True)
        elif mark and _digest(content[:size]) != mark["sha256"]:
            raise UserError(
                f"{self.path} is damaged (its first {size} bytes have changed since "
                f"step {step} was saved): put the right file back, or move it away to "
                "go on without its rows"
            )
        try:
            with self.path.open("r+b") as file:
                file.truncate(min(size, len(content)))
                os.fsync(file.fileno())
        except OSError as error:
            self._refuse(error)

    def _content(self) -> bytes:
        try:
            return self.path.read_bytes()
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"cannot read {self.path}: {reason}") from None

    def _append(self, text: str, *, sync: bool = False) -> None:
        try:
            with self.path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(text)
                if sync:
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as error:
            self._refuse(error)

    def _refuse(self, error: OSError) -> NoReturn:
        reason = error.strerror or error
        raise UserError(f"cannot write {self.path}: {reason}") from None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The rows of a metrics file, in order; a last line cut short is left out."""
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    rows = []
    for number, line in enumerate(lines[:-1], 1):
        try:
            row = json.loads(line)
            if not isinstance(row["step"], int):
                raise ValueError("its step is not an integer")
        except (ValueError, KeyError, TypeError) as error:
            message = f"{path}: line {number} is not a metrics row: {error}"
            raise UserError(message) from None
        rows.append(row)
    return rows


def series(
    rows: list[dict[str, Any]], names: list[str] | None = None
) -> dict[str, tuple[list[int], list[float]]]:
    """``{name: (steps, values)}`` of ``names``, or of every quantity in the rows."""
    found = names or list(
        dict.fromkeys(name for row in rows for name in row if name != "step")
    )
    return {
        name: (
            [row["step"] for row in rows if row.get(name) is not None],
            [row[name] for row in rows if row.get(name) is not None],
        )
        for name in found
    }
