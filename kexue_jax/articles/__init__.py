"""The table of articles: what each names here, how far the work is, how to cite it.

``ARTICLES`` has one row for every article of kexue.fm that this library builds on or
means to build on, sorted by id. ``TOOLS`` has the public names that are no article's
own method. Everything is strings, so that the table costs no import of jax: the names
are resolved only when ``cite`` is asked for one of them. ``python -m
kexue_jax.articles`` prints the table.
"""

import importlib
import inspect
import re
from collections.abc import Callable
from typing import Any

from kexue_jax.articles import (
    _attention,
    _decoding,
    _diffusion,
    _embeddings,
    _evaluation,
    _generative,
    _losses,
    _numerics,
    _optim,
    _positions,
    _ssm,
    _structured,
    _theory,
    _tools,
    _training,
)
from kexue_jax.articles._article import Article, Tool

__all__ = ["ARTICLES", "TOOLS", "Article", "Tool", "cite", "table"]

_ROOMS = (
    _attention,
    _decoding,
    _diffusion,
    _embeddings,
    _evaluation,
    _generative,
    _losses,
    _numerics,
    _optim,
    _positions,
    _ssm,
    _structured,
    _theory,
    _training,
)

ARTICLES: tuple[Article, ...] = tuple(
    sorted((row for room in _ROOMS for row in room.ROWS), key=lambda row: row.id)
)

TOOLS: tuple[Tool, ...] = _tools.ROWS

_SECTIONS = "Shapes|Article|Paper|Differs|Cost|Raises|Example"


def cite(f: Callable[..., Any] | str) -> str:
    """The references of a public function, one a line.

    cite(f) = "Su Jianlin, TITLE (TITLE_ZH), kexue.fm/archives/ID, DATE" for each
    article, then the papers that the docstring of f names.

    Shapes: f a public function or class, or its dotted name -> text.
    Article: none; Paper: none (the table of articles itself).
    Differs: no.
    Cost: the import of the topic that f belongs to.
    Raises: TypeError if ``f`` is neither callable nor a string; ValueError if it is
    not in the table.
    Example:
        >>> from kexue_jax.articles import cite
        >>> print(cite("diffusion.Schedule").splitlines()[-1])
        arXiv 2006.11239, section 2
    """
    name = f.removeprefix("kexue_jax.") if isinstance(f, str) else _dotted_name(f)
    lines = [row.reference for row in ARTICLES if name in row.names]
    source = next((tool.source for tool in TOOLS if tool.name == name), None)
    if not lines and source is None:
        from kexue_jax._base import checks  # here, for it imports jax

        wanted = "a public function of kexue_jax, or its name as in 'diffusion.f'"
        if isinstance(f, str) or callable(f):
            raise checks.fail("cite", "f", repr(f), wanted)
        raise checks.fail_type("cite", "f", f"a {type(f).__name__}", wanted)
    papers = _papers(name)
    if papers and not papers.startswith("none"):
        lines.append(papers)
    elif source is not None:
        lines.append(source)
    return "\n".join(lines)


def table() -> str:
    """The whole table as aligned text, with a last line that counts.

    One line an article: id, date, status, card, title, number of public names,
    experiments; a dash stands for what is not known or not there.

    Shapes: -> text.
    Article: none; Paper: none (the table of articles itself).
    Differs: no.
    Cost: none worth the name.
    Raises: nothing.
    Example:
        >>> from kexue_jax.articles import table
        >>> table().splitlines()[0].split()
        ['id', 'date', 'status', 'card', 'title', 'names', 'experiments']
    """
    rows = [("id", "date", "status", "card", "title", "names", "experiments")]
    for row in ARTICLES:
        start = (str(row.id or "-"), row.date or "-", row.status, row.card, row.title)
        experiments = " ".join(row.experiments) or "-"
        rows.append((*start, str(len(row.names)), experiments))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    right = {0, 5}  # the numbers
    lines = [
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in rows
    ]
    built = sum(row.status == "built" for row in ARTICLES)
    planned = len(ARTICLES) - built
    lines.append(f"{len(ARTICLES)} articles, {built} built, {planned} planned")
    return "\n".join(lines)


def _dotted_name(f: Any) -> str:
    """ "topic.name" for a function or class of ours, and "" for anything else."""
    module = getattr(f, "__module__", None) or ""
    if not module.startswith("kexue_jax."):
        return ""
    return f"{module.split('.')[1]}.{getattr(f, '__name__', '')}"


def _papers(name: str) -> str:
    """What the docstring of the public name ``name`` says after ``Paper:``."""
    topic, _, attribute = name.partition(".")
    target = getattr(importlib.import_module(f"kexue_jax.{topic}"), attribute)
    text = inspect.getdoc(target) or ""
    found = re.search(
        rf"\bPaper:\s*(.+?)(?=\n\s*\n|\n\s*(?:{_SECTIONS}):|\Z)", text, flags=re.DOTALL
    )
    return " ".join(found.group(1).split()).rstrip(".") if found else ""
