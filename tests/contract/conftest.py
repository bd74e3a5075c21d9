"""The tests of a row run one after another, so that they share its programs."""

import jax
import pytest

from tests.contract.cases import CASES

PLACES = {case.id: place for place, case in enumerate(CASES)}
ROWS_KEPT = 20


def row(item: pytest.Item | None) -> int:
    """The place of the row that a test is about; behind all rows if about none."""
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    return PLACES[parameters["case"].id] if "case" in parameters else len(PLACES)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group the battery by row; nothing else is moved."""
    places = [i for i, item in enumerate(items) if item.get_closest_marker("contract")]
    moved = sorted((items[i] for i in places), key=row)
    for place, item in zip(places, moved, strict=True):
        items[place] = item


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Let go of the programs of the rows before, some rows at a time."""
    if row(item) != row(nextitem) and row(item) % ROWS_KEPT == 0:
        jax.clear_caches()
