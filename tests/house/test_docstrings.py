"""The docstring of every public function follows the template of the house."""

import doctest
import inspect
import re

import pytest

from tests.house.public import public_classes, public_functions

SECTIONS = ("Shapes:", "Article:", "Differs:", "Cost:", "Raises:", "Example:")
FUNCTIONS = public_functions()
CLASSES = public_classes()


def sections(name: str, doc: str) -> dict[str, str]:
    """The text of each section, or a failure that says which one is out of place."""
    places = []
    for section in SECTIONS:
        found = [m.start() for m in re.finditer(rf"^{section}", doc, re.MULTILINE)]
        assert len(found) == 1, f"{name}: `{section}` stands {len(found)} times"
        places.append(found[0])
    assert places == sorted(places), f"{name}: sections out of order"
    ends = [*places[1:], len(doc)]
    texts = [
        doc[a:b].split(":", 1)[1].strip() for a, b in zip(places, ends, strict=True)
    ]
    return dict(zip(SECTIONS, texts, strict=True))


@pytest.mark.parametrize(("name", "function"), FUNCTIONS, ids=[n for n, _ in FUNCTIONS])
def test_docstring_follows_the_template(name, function) -> None:
    doc = inspect.getdoc(function)
    assert doc, f"{name}: no docstring"
    head = doc[: doc.index("Shapes:")] if "Shapes:" in doc else doc
    paragraphs = [p for p in head.strip().split("\n\n") if p.strip()]
    assert "\n" not in paragraphs[0], f"{name}: the first line says what comes back"
    assert paragraphs[0].endswith("."), f"{name}: the first line is a sentence"
    assert len(paragraphs) >= 2, f"{name}: the formula follows the first line"
    found = sections(name, doc)
    assert all(found.values()), f"{name}: an empty section"
    source = found["Article:"]
    assert re.search(r"kexue\.fm(/archives/\d+|, id not known)|^none", source), name
    assert "Paper:" in source, f"{name}: `Paper:` follows `Article:`"


@pytest.mark.parametrize(("name", "function"), FUNCTIONS, ids=[n for n, _ in FUNCTIONS])
def test_docstring_has_a_short_example_that_checks_something(name, function) -> None:
    doc = inspect.getdoc(function) or ""
    examples = doctest.DocTestParser().get_examples(doc)
    lines = sum(e.source.count("\n") + e.want.count("\n") for e in examples)
    assert 1 <= lines <= 8, f"{name}: {lines} lines of example"
    assert any(e.want for e in examples), f"{name}: the example shows no result"


@pytest.mark.parametrize(("name", "cls"), CLASSES, ids=[n for n, _ in CLASSES])
def test_public_class_says_what_it_holds(name, cls) -> None:
    doc = inspect.getdoc(cls) or ""
    own = cls.__doc__ and not cls.__doc__.startswith(f"{cls.__name__}(")
    assert own and len(doc) > 20, f"{name}: a docstring of its own is missing"
