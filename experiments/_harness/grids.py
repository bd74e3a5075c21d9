"""Grids of numbers to try: doubles, and whether a choice lies on an edge."""

from collections.abc import Collection

EDGE = "the table marks a rate on its grid's edge"


def doubles(first: int, last: int) -> list[int]:
    """``first`` and its doubles up to ``last``."""
    found = [first]
    while 2 * found[-1] <= last:
        found.append(2 * found[-1])
    return found


def on_edge(value: float, tried: Collection[float]) -> bool:
    """Whether a value is the largest or the smallest of several."""
    return len(tried) > 1 and value in (min(tried), max(tried))
