"""How far a long piece of work is: a bar at a terminal, else a line now and then."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar


class Progress:
    """``with Progress(3000, "train") as shown: shown.update(step, {'loss': 0.3})``.

    At a terminal (stderr) a bar with rate, time left and the current numbers;
    elsewhere one line on stdout every ``interval`` seconds. ``show=False``: nothing.
    """

    def __init__(
        self,
        total: int,
        label: str = "train",
        *,
        start: int = 0,
        show: bool = True,
        interval: float = 10.0,
    ) -> None:
        self.total, self.label, self.start, self.show = total, label, start, show
        self.interval = interval
        self._said = time.monotonic()
        self._origin: tuple[float, int] | None = None
        self._bar: Bar | None = None
        self._task: Any = None
        console = Console(stderr=True)
        if show and console.is_terminal:
            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[numbers]}"),
                console=console,
            )
            self._task = self._bar.add_task(
                label, total=total, completed=start, rate="", numbers=""
            )

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, step: int, numbers: Mapping[str, float]) -> None:
        """Show that ``step`` of ``total`` is done, and the current numbers.

        The rate counts from the first call, so that compilation is not in it; that
        call itself writes no line.
        """
        if not self.show:
            return
        now = time.monotonic()
        if self._origin is None:
            self._origin = (now, step)
        began, first = self._origin
        rate = (step - first) / max(now - began, 1e-9)
        shown = " ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        if self._bar is not None:
            self._bar.update(
                self._task, completed=step, rate=f"{rate:.1f}/s", numbers=shown
            )
        elif step > first and now - self._said >= self.interval:
            self._said = now
            left = duration((self.total - step) / max(rate, 1e-9))
            print(
                f"{self.label} {step}/{self.total} {shown} {rate:.1f}/s, {left} left",
                file=sys.stdout,
                flush=True,
            )


def duration(seconds: float) -> str:
    """``seconds`` as "42s", "3m07s" or "2h05m"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
