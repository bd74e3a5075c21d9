"""A trace of some steps of the loop, for TensorBoard's and Perfetto's viewers."""

from pathlib import Path
from typing import Any, Self

import jax

from experiments._harness.errors import UserError


def parse_steps(text: str) -> tuple[int, int] | None:
    """The first and last step of ``--profile_steps=FIRST:LAST``; None for "none"."""
    if text == "none":
        return None
    first, _, last = text.partition(":")
    if first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last):
        return int(first), int(last)
    raise UserError(
        f"flag --profile_steps={text}: wanted FIRST:LAST, such as 10:12, or none"
    )


class Profiler:
    """Traces the steps ``steps = (first, last)`` into ``folder``; None: no steps."""

    def __init__(self, steps: tuple[int, int] | None, folder: Path | None = None):
        self.steps, self.folder = steps, folder
        self._running = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._running:
            self._stop()

    def before(self, number: int) -> None:
        """Start the trace if ``number`` is its first step."""
        if self.steps is not None and number == self.steps[0]:
            jax.profiler.start_trace(str(self.folder))
            self._running = True

    def after(self, number: int, state: Any) -> None:
        """Stop the trace if ``number`` was its last step, once it is computed."""
        if self._running and self.steps is not None and number >= self.steps[1]:
            jax.block_until_ready(state)
            self._stop()

    def _stop(self) -> None:
        jax.profiler.stop_trace()
        self._running = False
