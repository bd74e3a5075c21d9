"""One frozen dataclass per experiment is the single truth of its settings.

``Config`` names each setting once, with type, default, bounds and help; flags, checks,
``config.json`` and the comparison of a resumed run are all derived from it.
"""

import dataclasses
import math
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from experiments._harness.errors import UserError

_INT32 = 2**31 - 1
_LONGEST_TEXT = 4096


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is known of a setting beside its name, type and default."""

    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] | None = None
    open_minimum: bool = False
    shapes_run: bool = True


def setting(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence[str] | None = None,
    open_minimum: bool = False,
    shapes_run: bool = True,
) -> Any:
    """The dataclass field of one setting (an int, float, bool or str).

    ``open_minimum`` leaves the minimum itself out. A setting that changes nothing
    of what is computed (where files go, how often a line is logged) is marked
    ``shapes_run=False``: a saved run may be resumed with another value of it.
    """
    known = tuple(choices) if choices is not None else None
    about = Setting(help, minimum, maximum, known, open_minimum, shapes_run)
    return dataclasses.field(default=default, metadata={"setting": about})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The base of every config: all fields are checked when one is made."""

    def __post_init__(self) -> None:
        for field, kind, about in settings_of(type(self)):
            value = getattr(self, field.name)
            if kind is float and type(value) is int:
                value = float(value)
                object.__setattr__(self, field.name, value)
            if value != field.default and not fits(value, kind, about):
                raise UserError(
                    f"flag --{field.name}={value}: wanted {wanted(kind, about)}"
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class BaseConfig(Settings):
    """The settings that every experiment has; subclass it, frozen and kw_only."""

    workdir: str = setting("", "folder of the run (made if missing)", shapes_run=False)
    preset: str = setting("default", "set of values to start from", shapes_run=False)
    seed: int = setting(0, "seed of everything random", minimum=0, maximum=2**32 - 1)
    resume: str = setting(
        "auto",
        "auto: go on from what the folder holds; never: want an empty folder",
        choices=("auto", "never"),
        shapes_run=False,
    )
    host_devices: int = setting(
        0,
        "JAX devices to make of a CPU-only host; 0: one a core",
        minimum=0,
        maximum=1024,
        shapes_run=False,
    )
    compile_cache: str = setting(
        "auto",
        "folder of compiled programs; auto: one in the user's cache folder; off: none",
        shapes_run=False,
    )


def settings_of(config: type) -> list[tuple[Any, type, Setting]]:
    """Each field of ``config`` with its type and its Setting, in order."""
    hints = typing.get_type_hints(config)
    rows = []
    for field in dataclasses.fields(config):
        kind, about = hints[field.name], field.metadata.get("setting")
        if kind not in (int, float, bool, str) or about is None:
            raise TypeError(
                f"{config.__name__}.{field.name} must be an int, float, bool or str "
                "made by setting(...)."
            )
        rows.append((field, kind, about))
    return rows


def fits(value: Any, kind: type, about: Setting) -> bool:
    """Whether ``value`` is of type ``kind`` and within the bounds of the setting."""
    if type(value) is not kind:
        return False
    if kind is str:
        if about.choices is not None:
            return value in about.choices
        return value.isprintable() and 0 < len(value.strip()) <= _LONGEST_TEXT
    if kind is bool:
        return True
    low, high = _bounds(kind, about)
    above = value > low if about.open_minimum else value >= low
    return math.isfinite(value) and above and value <= high


def _bounds(kind: type, about: Setting) -> tuple[float, float]:
    end = _INT32 if kind is int else math.inf
    low = -end if about.minimum is None else about.minimum
    return low, end if about.maximum is None else about.maximum


def wanted(kind: type, about: Setting) -> str:
    """The values that a setting takes, in words."""
    if kind is bool:
        return "true or false"
    if kind is str and about.choices is not None:
        return f"one of {', '.join(about.choices)}"
    if kind is str:
        return "a line of printable text, not empty"
    noun = "an integer" if kind is int else "a finite number"
    low, high = about.minimum, about.maximum
    if low is None:
        return noun if high is None else f"{noun} of at most {high}"
    if about.open_minimum:
        return f"{noun} above {low}" + ("" if high is None else f", at most {high}")
    return (
        f"{noun} of at least {low}" if high is None else f"{noun} from {low} to {high}"
    )


def same_run(saved: Mapping[str, Any], config: Settings) -> list[str]:
    """The fields that shape the run and differ from ``saved``, with both values."""
    current = dataclasses.asdict(config)
    shaping = [f.name for f, _, about in settings_of(type(config)) if about.shapes_run]
    missing = object()
    differing = [
        f"{name} (saved {saved.get(name, 'none')}, now {current[name]})"
        for name in shaping
        if saved.get(name, missing) != current[name]
    ]
    gone = [f"{name} (no longer a setting)" for name in saved if name not in current]
    return differing + gone
