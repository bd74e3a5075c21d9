"""All cases: the CASES of every ``cases_<topic>.py`` beside this file."""

import fnmatch
import importlib
import pkgutil

import experiments.benchmark
from experiments._harness.errors import UserError
from experiments.benchmark.case import Case


def all_cases() -> dict[str, Case]:
    """Every case by name, in the order of files and rows."""
    found: dict[str, Case] = {}
    for module in sorted(
        m.name for m in pkgutil.iter_modules(experiments.benchmark.__path__)
    ):
        if not module.startswith("cases_"):
            continue
        for case in importlib.import_module(f"experiments.benchmark.{module}").CASES:
            if case.name in found:
                raise ValueError(f"two cases are named {case.name!r}")
            found[case.name] = case
    return found


def chosen(patterns: str) -> list[Case]:
    """The cases that fit a comma list of names or globs; UserError if one fits none."""
    cases, names = all_cases(), []
    for pattern in (part.strip() for part in patterns.split(",")):
        fitting = [name for name in cases if fnmatch.fnmatchcase(name, pattern)]
        if not fitting:
            raise UserError(
                f"flag --cases={patterns}: no case fits {pattern!r}; --list names them"
            )
        names += [name for name in fitting if name not in names]
    return [cases[name] for name in names]
