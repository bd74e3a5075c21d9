"""Checkpoints: the whole state of a run, saved by orbax, trusted only when verified.

``checkpoints/000123/`` holds ``state/`` (orbax), ``meta.json`` (step, data position,
what the loop keeps) and ``COMMIT``, which is written last and lists the SHA-256 of
every other file. The folder is built beside its place and renamed into it, so a step
either is there whole or is not there; what a disk damages afterwards is seen at
restoring, named, and the step before is taken.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiments._harness import processes
from experiments._harness import state_tree as tree
from experiments._harness.errors import UserError
from experiments._harness.extras import need
from experiments._harness.files import json_text, read_json, write_text

_COMMIT = "COMMIT"


class Saved(NamedTuple):
    """What a checkpoint holds."""

    step: int
    state: Any
    meta: dict[str, Any]


class Checkpointer:
    """The checkpoints in one folder; the newest ``keep`` of them are kept."""

    def __init__(self, folder: str | os.PathLike[str], *, keep: int = 2) -> None:
        self.folder, self.keep = Path(folder), keep
        _orbax()  # imported later it would add to JAX's settings: steps traced again

    def steps(self) -> list[int]:
        """The steps that are there, ascending, whether damaged or not."""
        names = [path.name for path in self.folder.glob("*")]
        return sorted(int(name) for name in names if name.isdecimal())

    def latest(self) -> int | None:
        """The newest step that is whole and undamaged; a warning line for others."""
        for step in reversed(self.steps()):
            damage = self._damage(step)
            if damage is None:
                return step
            print(
                f"checkpoint {self._path(step)} is damaged ({damage}): "
                "looking for the step before",
                file=sys.stderr,
                flush=True,
            )
        return None

    def save(
        self, step: int, state: Any, meta: Mapping[str, Any] | None = None
    ) -> Path:
        """Save ``state`` (any tree of arrays and typed keys) as ``step``.

        ``meta`` is what JSON can hold. Returns the folder, on the disk when this
        returns.
        """
        path = self._path(step)
        temporary = path.with_name(f"{path.name}.tmp")
        leaves = tree.named(state)
        about = {
            "step": step,
            "meta": dict(meta or {}),
            "leaves": tree.described(leaves),
            "keys": tree.key_kinds(leaves),
        }
        try:
            processes.led(lambda: _make_empty(temporary))
            self._write_arrays(temporary.absolute() / "state", leaves)
            processes.led(lambda: self._commit(temporary, path, about))
            processes.led(lambda: self._drop_old(step))
        except (OSError, UserError) as error:
            if processes.leader():  # what is half there takes room on a full disk
                shutil.rmtree(temporary, ignore_errors=True)
            reason = getattr(error, "strerror", None) or error
            message = f"cannot save step {step} in {path}: {reason}"
            raise UserError(message) from None
        return path

    def restore(self, state: Any) -> Saved | None:
        """The newest good checkpoint in the structure, types and places of ``state``.

        ``state`` is a tree of arrays or of jax.ShapeDtypeStruct. None if nothing has
        been saved. UserError if the saved tree is another one, or if steps are there
        and every one is damaged.
        """
        step = self._agreed()
        if step is None:
            return None
        about = read_json(self._path(step) / "meta.json")
        leaves = tree.named(state)
        self._check_tree(step, about["leaves"], tree.described(leaves))
        source = (self._path(step) / "state").absolute()
        loaded = tree.named(_orbax().load(source, tree.wanted(leaves)))
        return Saved(step, tree.rebuilt(state, loaded, about["keys"]), about["meta"])

    def _agreed(self) -> int | None:
        """The step that all processes restore, the leader's ``latest``."""
        found: list[int | None] = [None]

        def look() -> None:
            found[0] = self.latest()
            if found[0] is None and self.steps():
                raise UserError(
                    f"every checkpoint in {self.folder} is damaged: move the folder "
                    "away to start again"
                )

        processes.led(look)
        chosen = found[0]
        number = processes.from_leader(0 if chosen is None else chosen + 1)
        return number - 1 if number else None

    def _write_arrays(self, place: Path, leaves: Mapping[str, Any]) -> None:
        """Save by orbax, whose own errors become an OSError with their first line.

        Its threads also log what goes wrong, with tracebacks, even after it has
        raised: they are silenced, and stay so after a save that failed.
        """
        log = logging.getLogger("absl")
        level, hook = log.level, sys.unraisablehook
        log.setLevel(logging.CRITICAL + 1)
        sys.unraisablehook = lambda unraisable: None
        try:
            _orbax().save(place, tree.nested(leaves))
            log.setLevel(level)
            sys.unraisablehook = hook
        except OSError:
            raise
        except Exception as error:
            text = str(error).strip()
            if code := re.search(r"os_error_code='(\d+)'", text):
                raise OSError(os.strerror(int(code[1]))) from error
            raise OSError(text.split("\n")[0]) from error

    def _commit(self, temporary: Path, path: Path, about: Mapping[str, Any]) -> None:
        """Hash and sync every file, write COMMIT, and put the folder in its place."""
        write_text(temporary / "meta.json", json_text(about))
        hashes = _hashes(temporary)
        for file in hashes:
            _sync(temporary / file)
        write_text(temporary / _COMMIT, json_text(hashes))
        if path.exists():  # damaged, or saved twice
            _set_aside(path)
        temporary.rename(path)
        _sync(self.folder)

    def _path(self, step: int) -> Path:
        return self.folder / f"{step:06d}"

    def _damage(self, step: int) -> str | None:
        """What is wrong with the files of ``step``, or None."""
        path = self._path(step)
        try:
            noted = json.loads((path / _COMMIT).read_text(encoding="utf-8"))
            found = _hashes(path)
        except (OSError, ValueError):
            return f"{_COMMIT} cannot be read"
        if not isinstance(noted, dict):
            return f"{_COMMIT} is no list of files"
        for name in sorted(noted.keys() | found.keys()):
            if name not in found:
                return f"{name} is missing"
            if found[name] != noted.get(name):
                return f"{name} has changed"
        if (of := read_json(path / "meta.json")["step"]) != step:
            return f"it is step {of} under another name"
        return None

    def _check_tree(
        self, step: int, saved: Mapping[str, Any], wanted: Mapping[str, Any]
    ) -> None:
        for name in sorted(saved.keys() | wanted.keys()):
            if saved.get(name) != wanted.get(name):
                raise UserError(
                    f"checkpoint {self._path(step)} does not fit: {name} is "
                    f"{saved.get(name, 'missing')} in it, wanted "
                    f"{wanted.get(name, 'no such array')}"
                )

    def _drop_old(self, newest: int) -> None:
        """Keep ``newest`` and those before it; one after it is damaged, or no run's."""
        steps = self.steps()
        kept = [step for step in steps if step <= newest][-self.keep :]
        for step in steps:
            if step not in kept:
                _set_aside(self._path(step))
        for path in self.folder.glob("*.tmp"):
            shutil.rmtree(path, ignore_errors=True)


def _make_empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _set_aside(path: Path) -> None:
    """Take a step out at once; what is aside goes when old steps are dropped."""
    aside = path.with_name(f"{path.name}.old.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)


def _orbax() -> Any:
    return need("orbax.checkpoint", "experiments").v1


def _hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file under ``folder`` but COMMIT, by its relative path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != _COMMIT:
            with path.open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _sync(path: Path) -> None:
    """Return when ``path``, a file or a folder, is on the disk."""
    if os.name != "posix":  # elsewhere a folder cannot be opened
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
