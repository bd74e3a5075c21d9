"""What is public, and the source files of the project, for the house tests."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import kexue_jax

ROOT = Path(__file__).resolve().parents[2]
TOPICS = [name for name in kexue_jax.__all__ if name != "articles"]


def modules() -> Iterator[tuple[str, ModuleType]]:
    for topic in TOPICS:
        yield topic, getattr(kexue_jax, topic)


def public_names() -> list[tuple[str, Any]]:
    return [(f"{t}.{n}", getattr(m, n)) for t, m in modules() for n in m.__all__]


def public_functions() -> list[tuple[str, FunctionType]]:
    return [(n, f) for n, f in public_names() if inspect.isfunction(f)]


def public_classes() -> list[tuple[str, type]]:
    return [(n, c) for n, c in public_names() if inspect.isclass(c)]


def sources(*folders: str) -> list[Path]:
    return [p for folder in folders for p in sorted((ROOT / folder).rglob("*.py"))]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> list[str]:
    """Dotted names of all modules that a file imports, wherever in the file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found
