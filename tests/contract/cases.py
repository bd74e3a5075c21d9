"""All rows of the contract battery: ROWS of every ``rows_*.py`` beside this file."""

import importlib
import pkgutil

import tests.contract
from tests.contract.case import Case


def all_rows() -> tuple[Case, ...]:
    """The rows in the order of files and rows."""
    names = sorted(m.name for m in pkgutil.iter_modules(tests.contract.__path__))
    modules = [
        importlib.import_module(f"tests.contract.{name}")
        for name in names
        if name.startswith("rows_")
    ]
    return tuple(row for module in modules for row in module.ROWS)


CASES = all_rows()
