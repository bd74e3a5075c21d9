"""The metrics of the steps since the last row: read late, checked, averaged."""

import collections
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from experiments._harness.guard import Outcome
from experiments._harness.metrics import MetricsWriter
from experiments._harness.progress import Progress

# Metrics are read this many steps late, so that reading them never waits for the step
# that is running: the host stays ahead of the device, by a bounded number of batches.
LAG = 4


class BadStep(Exception):
    """A metric of step ``number`` is not finite; ``batch`` is what it was given."""

    def __init__(self, number: int, name: str, value: float, batch: Any) -> None:
        super().__init__(f"{name} became {value} at step {number}")
        self.number, self.batch = number, batch


class Window:
    """Sums of the metrics since the last row, and how many updates were skipped."""

    def __init__(
        self, writer: MetricsWriter | None, every: int, last: int, *, skip: bool
    ) -> None:
        self.writer, self.every, self.last, self.skip = writer, every, last, skip
        self.shown: Progress | None = None
        self.skipped = 0
        self._waiting: collections.deque[tuple[int, Outcome, Any]] = collections.deque()
        self._sums: dict[str, float] = {}
        self._count = 0

    def push(self, number: int, outcome: Outcome, batch: Any) -> None:
        """Note the outcome of a step; read that of LAG steps before."""
        for value in jax.tree.leaves(outcome):
            if isinstance(value, jax.Array):
                value.copy_to_host_async()
        self._waiting.append((number, outcome, batch))
        if len(self._waiting) > LAG:
            self._read()

    def drain(self) -> None:
        """Read the outcome of every step so far."""
        while self._waiting:
            self._read()

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"sums": self._sums, "count": self._count, "skipped": self.skipped}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to what ``state`` gave."""
        self._sums, self._count = dict(state["sums"]), state["count"]
        self.skipped = state.get("skipped", 0)

    def _read(self) -> None:
        number, outcome, batch = self._waiting.popleft()
        values = {name: float(np.asarray(v)) for name, v in outcome.scalars.items()}
        fault = int(np.asarray(outcome.fault))
        if fault:
            name = sorted(values)[fault - 1]
            if not self.skip:
                raise BadStep(number, name, values[name], batch)
            self.skipped += 1
        else:
            for name, value in values.items():
                self._sums[name] = self._sums.get(name, 0.0) + value
            self._count += 1
        if self.shown is not None:
            told = {n: v for n, v in values.items() if n == "loss"} or values
            self.shown.update(number, told)
        if number == self.last or number % self.every == 0:
            self._write(number)

    def _write(self, number: int) -> None:
        row: dict[str, Any] = {n: s / self._count for n, s in self._sums.items()}
        if self.skip:
            row["skipped"] = self.skipped
        if self.writer is not None:
            self.writer.write(number, row)
        self._sums, self._count = {}, 0
