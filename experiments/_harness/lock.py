"""One process at a time works in a folder; the lock goes when the process does."""

import os
import platform
from pathlib import Path
from typing import IO

from experiments._harness.errors import UserError

try:
    import fcntl
except ImportError:  # not on this platform: two processes are not told apart
    fcntl = None  # type: ignore[assignment]

_NAME = ".lock"
_held: dict[Path, IO[str]] = {}


def take(folder: Path) -> None:
    """Own ``folder`` until this process ends or calls ``release``.

    The system drops the lock of a process that is killed. UserError if another
    process has it; nothing happens if this one has it already.
    """
    place = folder.resolve()
    if fcntl is None or place in _held:
        return
    path = place / _NAME
    try:
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"--workdir={folder} cannot be used: {reason}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        owner = file.read(200).strip() or "another process"
        file.close()
        raise UserError(
            f"--workdir={folder} is in use by {owner}: wait for it, or choose "
            "another folder"
        ) from None
    except OSError as error:  # a file system without locks
        file.close()
        reason = error.strerror or error
        print(f"no lock on {folder} ({reason}): start no second run in it", flush=True)
        return
    try:
        os.ftruncate(file.fileno(), 0)
        owner = f"process {os.getpid()} on {platform.node()}\n"
        os.write(file.fileno(), owner.encode())
    except OSError as error:
        file.close()
        reason = error.strerror or error
        raise UserError(f"--workdir={folder} cannot be used: {reason}") from None
    _held[place] = file


def release() -> None:
    """Give back every folder that this process owns."""
    while _held:
        _held.popitem()[1].close()
