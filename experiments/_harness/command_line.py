"""absl flags derived from a config dataclass, read strictly, and their --help.

The flags live in a FlagValues of their own, so that any number of experiments can be
read in one process, and absl's own flags (logging and the like) are not among them.
"""

import dataclasses
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from absl import flags

from experiments._harness.errors import UserError
from experiments._harness.settings import (
    BaseConfig,
    Setting,
    Settings,
    fits,
    settings_of,
    wanted,
)

C = TypeVar("C", bound=Settings)
Row = tuple[Any, type, Setting]

_BOOLS = {"true": True, "1": True, "false": False, "0": False}
_HELP = ("-h", "-help", "--help", "--helpfull", "--helpshort")
# FlagValues gives these a meaning of its own: files of flags, unknown flags forgiven.
_ABSL_SPECIALS = ("flagfile", "undefok")


class _Parser(flags.ArgumentParser):
    """Text to a checked value of a setting; the error says what is wanted."""

    def __init__(self, kind: type, about: Setting) -> None:
        super().__init__()
        self.kind, self.about = kind, about

    def parse(self, argument: Any) -> Any:
        text = str(argument)
        try:
            value = _BOOLS[text.lower()] if self.kind is bool else self.kind(text)
        except (KeyError, ValueError):
            value = None
        if not fits(value, self.kind, self.about):
            raise ValueError(f"wanted {wanted(self.kind, self.about)}")
        return value


def experiment_name(owner: Any) -> str:
    """The name of the module in which a class or function stands: "ddpm"."""
    module = sys.modules[owner.__module__]
    spec = getattr(module, "__spec__", None)
    full = spec.name if spec is not None else Path(module.__file__ or "main").stem
    return full.removesuffix(".__main__").rpartition(".")[2]


def parse(
    name: str,
    Config: type[C],
    presets: Mapping[str, Mapping[str, Any]],
    argv: Sequence[str],
    doc: str | None,
) -> C | None:
    """The config that ``argv`` asks for, or None after printing the help.

    Raises UserError, one line that names the flag, for anything malformed.
    """
    rows = _rows(name, Config, presets)
    filled: dict[str, Any] = {}
    if issubclass(Config, BaseConfig):
        filled["workdir"] = f"runs/{name}"
    if any(token in _HELP for token in argv):
        print(_help(name, rows, filled, presets, doc))
        return None
    given = _given(rows, argv)
    chosen = presets.get(given.get("preset", "default"), {})
    return Config(**{**filled, **chosen, **given})


def _rows(
    name: str, Config: type, presets: Mapping[str, Mapping[str, Any]]
) -> list[Row]:
    """The settings of Config, the choices of --preset filled in; presets checked."""
    names = tuple(dict.fromkeys(["default", *presets]))
    rows = []
    for field, kind, about in settings_of(Config):
        if field.name == "preset":
            about = dataclasses.replace(about, choices=names)
        rows.append((field, kind, about))
    for preset, values in presets.items():
        try:
            Config(**values)
        except (TypeError, UserError) as error:
            raise ValueError(f"{name}: preset {preset!r} is wrong: {error}") from error
    return rows


def _given(rows: Sequence[Row], argv: Sequence[str]) -> dict:
    """The flags that stand in ``argv``, typed and checked."""
    known = flags.FlagValues()
    for field, kind, about in rows:
        parser = _Parser(kind, about)
        flag = flags.Flag(
            parser,
            flags.ArgumentSerializer(),
            field.name,
            None,
            about.help,
            boolean=kind is bool,
        )
        flags.DEFINE_flag(flag, known, module_name="experiments")
    for token in argv:
        if token.startswith("-") and token.lstrip("-").split("=")[0] in _ABSL_SPECIALS:
            raise UserError(f"unknown flag {token.split('=')[0]}: see --help")
    try:
        stray = known(["experiment", *argv])[1:]
    except flags.UnrecognizedFlagError as error:
        raise UserError(f"unknown flag --{error.flagname}: see --help") from None
    except (flags.Error, ValueError) as error:  # ValueError: --noflag=value
        raise UserError(f"{error}") from None
    if stray:
        raise UserError(f"stray argument {stray[0]!r}: wanted only --flag=value")
    return {f.name: known[f.name].value for f, _, _ in rows if known[f.name].present}


def _help(
    name: str,
    rows: Sequence[Row],
    filled: Mapping[str, Any],
    presets: Mapping[str, Mapping[str, Any]],
    doc: str | None,
) -> str:
    lines = [
        (doc or "").strip(),
        "",
        f"python -m experiments.{name} [--flag=value ...]",
    ]
    for field, kind, about in rows:
        default = filled.get(field.name, field.default)
        shown = str(default).lower() if kind is bool else default
        lines.append(f"  --{field.name}={shown}")
        text = f"{about.help} ({wanted(kind, about)})"
        lines += textwrap.wrap(
            text, 80, initial_indent=" " * 6, subsequent_indent=" " * 6
        )
    for preset, values in presets.items():
        inside = " ".join(f"--{key}={value}" for key, value in values.items())
        text = f"--preset={preset}: {inside or 'the defaults'}"
        lines += textwrap.wrap(
            text, 84, initial_indent="  ", subsequent_indent="      "
        )
    return "\n".join(lines).strip()
