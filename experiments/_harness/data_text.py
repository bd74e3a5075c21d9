"""Text as bytes: the standard library of the running Python, or files of a folder."""

import dataclasses
import hashlib
import sysconfig
from pathlib import Path

import numpy as np

from experiments._harness.data_types import order_of
from experiments._harness.errors import UserError

TEXTS = ("stdlib", "folder")
VOCABULARY = 256  # bytes
END = 0  # a byte that no text holds stands between two files

_SUFFIXES = (".txt", ".md", ".rst", ".py")
_LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test"}
_TESTED = 10  # one file of so many is test


@dataclasses.dataclass(frozen=True)
class TextData:
    """Bytes uint8 [N] to train on and [M] to test on, of different files.

    ``source`` says in a sentence where they come from.
    """

    train: np.ndarray
    test: np.ndarray
    name: str
    source: str

    def rows(self, length: int) -> np.ndarray:
        """The training bytes in rows of ``length`` [N // length, length], no copy."""
        return _rows(self.train, length, self.name)

    def test_rows(self, length: int, count: int) -> np.ndarray:
        """``count`` test rows of ``length``, evenly spread over the test bytes."""
        rows = _rows(self.test, length, self.name)
        if len(rows) < count:
            raise UserError(
                f"{self.name}: {len(self.test)} test bytes hold {len(rows)} rows of "
                f"{length}: {count} are wanted"
            )
        return rows[(np.arange(count) * len(rows)) // count]


def load_text(dataset: str, data_dir: str = "none") -> TextData:
    """The text of ``dataset``, one of TEXTS, split by files in a fixed way.

    "stdlib" is the .py files of the standard library of the Python that runs this: it
    is always there, and differs a little from version to version. "folder" takes the
    .txt, .md, .rst and .py files below ``data_dir``.
    """
    if dataset == "stdlib":
        folder = Path(sysconfig.get_path("stdlib"))
        named = f"standard library of Python {sysconfig.get_python_version()}"
    else:
        if not Path(data_dir).is_dir():
            raise UserError(
                f"--dataset=folder needs --data_dir, a folder of text; got {data_dir}"
            )
        folder, named = Path(data_dir), "folder"
    files = sorted(
        path
        for path in folder.rglob("*.py" if dataset == "stdlib" else "*")
        if path.suffix in _SUFFIXES
        and not _LEFT_OUT & set(path.relative_to(folder).parts)
        and path.is_file()
    )
    texts = [text for text in map(_bytes, files) if len(text)]
    if len(texts) < 2:
        raise UserError(
            f"{folder}: {len(texts)} files of text there: wanted 2 or more "
            f"({', '.join(_SUFFIXES)})"
        )
    tested = set(order_of(len(texts), 0)[: max(1, len(texts) // _TESTED)].tolist())
    train, test = (
        np.concatenate([t for i, t in enumerate(texts) if (i in tested) == wanted])
        for wanted in (False, True)
    )
    digest = hashlib.sha256(train.tobytes() + test.tobytes()).hexdigest()[:12]
    return TextData(
        train,
        test,
        dataset,
        f"{len(texts)} files of text ({named}), {len(train)} bytes to train and "
        f"{len(test)} to test, split by files in a fixed order, sha256 {digest}",
    )


def _bytes(path: Path) -> np.ndarray:
    """The bytes of a file and an END; nothing if it is empty or not text."""
    content = path.read_bytes()
    if not content.strip() or bytes([END]) in content:
        return np.zeros(0, np.uint8)
    return np.frombuffer(content + bytes([END]), np.uint8)


def _rows(text: np.ndarray, length: int, name: str) -> np.ndarray:
    if len(text) < length:
        raise UserError(f"{name}: {len(text)} bytes: wanted {length} or more")
    return text[: len(text) // length * length].reshape(-1, length)
