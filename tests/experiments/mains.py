"""The mains of all experiments, found in the folder, not listed by hand."""

import importlib
from types import ModuleType

from tests.house.public import ROOT

NAMES = [
    path.stem
    for path in sorted((ROOT / "experiments").glob("*.py"))
    if path.stem != "__init__" and "launch(" in path.read_text()
]


def module(name: str) -> ModuleType:
    return importlib.import_module(f"experiments.{name}")


def experiments() -> list[str]:
    """Those that train or measure something: they have presets."""
    return [name for name in NAMES if hasattr(module(name), "PRESETS")]
