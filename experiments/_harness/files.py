"""Small files written whole or not at all, and JSON that every reader takes."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments._harness.errors import UserError


def plain(value: Any) -> Any:
    """``value`` in JSON's own types: NumPy and JAX numbers unwrapped, NaN and inf null.

    Raises TypeError for what has no plain form.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return plain(np.asarray(value).tolist())
    raise TypeError(f"plain: a {type(value).__name__} has no JSON form.")


def json_text(value: Any, *, indent: int | None = 1) -> str:
    """Strict JSON of ``plain(value)``."""
    return json.dumps(plain(value), allow_nan=False, ensure_ascii=False, indent=indent)


def write_text(path: Path, text: str) -> None:
    """Put ``text`` into ``path`` at once: a crash leaves the old or the new file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        reason = error.strerror or error
        raise UserError(f"cannot write {path}: {reason}") from None


def read_json(path: Path) -> Any:
    """The content of a JSON file; UserError, naming the file, if there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from None
