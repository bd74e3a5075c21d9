"""When to save and when to stop: signals and the clock, agreed on by all processes."""

import collections
import signal
import threading
import time
from typing import Any, NamedTuple, NoReturn, Self

import jax

from experiments._harness import processes
from experiments._harness.errors import Terminated

# With several processes each step submits a wish that is read so many steps later, at
# the same step by all of them, so that nobody waits for it.
_LAG = 4
_SAVE, _STOP = 1, 2


class Wish(NamedTuple):
    """Whether to save now, and the signal that asks to stop after that."""

    save: bool
    stop: int | None


class Wishes:
    """SIGINT and SIGTERM are noted, so that the step ends; a second one interrupts.

    One that came after the last ``poll`` is sent again when this is left.

    ``save_seconds`` after the last save (0: never) the clock wishes one more.
    ``shared`` says that several processes take the same steps.
    """

    def __init__(self, save_seconds: float = 0.0, *, shared: bool = False) -> None:
        self.save_seconds, self.shared = save_seconds, shared
        self._caught: int | None = None
        self._before: dict[int, Any] = {}
        self._waiting: collections.deque[jax.Array] = collections.deque()
        self._met = 0  # so many of the oldest of them were submitted before a save
        self._saved = time.monotonic()

    def __enter__(self) -> Self:
        self._saved = time.monotonic()
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                self._before[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        if kind is None and self._caught is not None:
            signal.raise_signal(self._caught)

    def saved(self) -> None:
        """A save was made, by all: the clock starts again, wishes for it are met."""
        self._saved = time.monotonic()
        self._met = len(self._waiting)

    def poll(self, *, last: bool = False) -> Wish:
        """What all processes wish after this step, the same for each of them.

        After the ``last`` step nothing is left for later.
        """
        wish = self._mine()
        if not self.shared:
            return wish
        mine = _STOP + wish.stop if wish.stop is not None else _SAVE * wish.save
        self._waiting.append(processes.submit(mine))
        agreed = 0
        while len(self._waiting) > (0 if last else _LAG):
            submitted = int(self._waiting.popleft())
            met, self._met = self._met > 0, max(0, self._met - 1)
            agreed = max(agreed, 0 if met and submitted == _SAVE else submitted)
        return Wish(agreed > 0, agreed - _STOP if agreed > _SAVE else None)

    def _mine(self) -> Wish:
        waited = time.monotonic() - self._saved
        due = self.save_seconds > 0 and waited >= self.save_seconds
        return Wish(due or self._caught is not None, self._caught)

    def _note(self, signum: int, frame: Any) -> None:
        if self._caught is not None:
            interrupt(signum, frame)
        self._caught = signum


def interrupt(signum: int, frame: Any) -> NoReturn:
    """The handler of a signal that ends what is going on, without a save."""
    raise Terminated if signum == signal.SIGTERM else KeyboardInterrupt
