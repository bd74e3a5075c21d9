"""Lists that flags stand for: numbers with commas between, the seeds of a run."""

import math
from collections.abc import Callable
from typing import Any

from experiments._harness.errors import UserError


def numbers(
    flag: str,
    text: str,
    wanted: str,
    fits: Callable[[Any], bool],
    *,
    of: Callable[[str], Any] = float,
    fewest: int = 1,
) -> list[Any]:
    """The numbers in a comma list, in rising order; UserError unless all fit."""
    try:
        found = sorted({of(part) for part in text.split(",")})
    except ValueError:
        found = []
    if len(found) < fewest or not all(map(fits, found)):
        raise UserError(f"flag --{flag}={text}: wanted {wanted}, commas between")
    return found


def positive(
    flag: str,
    text: str,
    *,
    below: float = math.inf,
    whole: bool = False,
    fewest: int = 1,
) -> list[Any]:
    """The positive numbers in a comma list, in rising order; integers if ``whole``."""
    wanted = f"positive {'integers' if whole else 'numbers'}"
    if fewest > 1:
        wanted = f"{'two' if fewest == 2 else fewest} {wanted} or more"
    if math.isfinite(below):
        wanted += f" below {below:g}"

    def fits(value: float) -> bool:
        return 0 < value < below and (not whole or value.is_integer())

    found = numbers(flag, text, wanted, fits, fewest=fewest)
    return [int(value) for value in found] if whole else found


def seeds(config: Any) -> list[int]:
    """The seeds of a run: ``num_seeds`` of them, from ``seed`` on."""
    return [config.seed + i for i in range(config.num_seeds)]
