"""What must never stand in the sources, and how long a file may be."""

import ast
import re

import pytest

from tests.house.public import relative, sources

EVERY = sources("kexue_jax", "experiments", "tests")
OURS = sources("kexue_jax", "experiments")
UNSAFE_MODULES = {"pickle", "dill", "cloudpickle", "shelve", "marshal"}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__"}


def limit(path) -> int:
    return 250 if "_harness" in path.parts else 400


@pytest.mark.parametrize("path", EVERY, ids=relative)
def test_file_is_short(path) -> None:
    lines = path.read_text().count("\n")
    assert lines <= limit(path), f"{lines} lines"


@pytest.mark.parametrize("path", OURS, ids=relative)
def test_function_bodies_are_short(path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert lines <= 60, f"{node.name}: {lines} lines"


@pytest.mark.parametrize("path", OURS, ids=relative)
def test_nothing_unsafe_or_hidden(path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, ast.Assert), f"assert at line {node.lineno}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in UNSAFE_CALLS, f"line {node.lineno}"
        if isinstance(node, ast.Import):
            assert not UNSAFE_MODULES & {a.name for a in node.names}, path
        if isinstance(node, ast.ImportFrom):
            assert node.module not in UNSAFE_MODULES, path


@pytest.mark.parametrize("path", sources("kexue_jax"), ids=relative)
def test_library_neither_jits_nor_prints_nor_makes_keys(path) -> None:
    text = path.read_text()
    code = re.sub(r'"""[\s\S]*?"""', "", text)
    allowed = "articles" in path.parts  # prints its table
    # Reports on compiled programs, and so has to compile; it runs none.
    compiles = path.parts[-2:] == ("training", "memory.py")
    for banned in (
        r"@jax\.jit",
        r"jax\.jit\(",
        r"\bprint\(",
        r"random\.(key|PRNGKey)\(",
    ):
        reporting = compiles and banned == r"jax\.jit\("
        assert allowed or reporting or not re.search(banned, code), banned


@pytest.mark.parametrize("path", OURS, ids=relative)
def test_no_leftovers(path) -> None:
    for number, line in enumerate(path.read_text().splitlines(), 1):
        assert not re.search(r"TODO|FIXME|XXX|HACK", line), f"line {number}"
        commented = re.match(
            r"\s*#\s*(def|class|return|import|from \w+ import)\b.*[:)]$", line
        )
        assert not commented, f"commented-out code at line {number}"
