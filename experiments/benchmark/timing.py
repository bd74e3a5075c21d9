"""Times of several forms in one interleaved run, and what they say of each other."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

# Worker threads of a library may go on spinning for a moment after its work is done.
_SETTLE_SECONDS = 0.02
_MOST_CALLS = 10_000


class Ratio(NamedTuple):
    """The median over the rounds of one form's time over another's, and quartiles."""

    median: float
    low: float
    high: float


class Spread(NamedTuple):
    """Seconds a call: median, smallest, and the quartiles' distance over the median."""

    median: float
    minimum: float
    relative: float


def interleave(
    calls: Mapping[str, Callable[[], Any]], *, rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Seconds a call of every form, one number a round.

    After a warm-up the forms take turns: in each round every form runs for about its
    share of ``seconds``, at least once, and each round starts with another form. The
    first call of a turn is not timed: it gives the caches back to the form.
    """
    names = list(calls)
    share = seconds / (rounds * len(names))
    turns = {name: _calls_in(calls[name], share) for name in names}
    samples: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            time.sleep(_SETTLE_SECONDS)
            calls[name]()
            samples[name].append(_timed(calls[name], turns[name]))
    return samples


def _calls_in(call: Callable[[], Any], share: float) -> int:
    """How many calls fill ``share`` seconds; warms the form up on the way."""
    call()
    once = _timed(call, 1)
    return max(1, min(_MOST_CALLS, int(share / max(once, 1e-7))))


def _timed(call: Callable[[], Any], count: int) -> float:
    begun = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - begun) / count


def spread(samples: Sequence[float]) -> Spread:
    """Median, minimum and relative interquartile range of the samples of a form."""
    median = statistics.median(samples)
    low, high = _quartiles(samples)
    return Spread(median, min(samples), (high - low) / median if median else 0.0)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """The ratio of two forms round by round, so that slow spells of the machine, which
    both suffer, cancel."""
    pairs = [a / b for a, b in zip(ours, theirs, strict=True)]
    return Ratio(statistics.median(pairs), *_quartiles(pairs))


def _quartiles(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high
