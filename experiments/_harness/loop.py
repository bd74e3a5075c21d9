"""The training loop: steps, metrics, saves, resumption and signals, nothing else.

The loss, the model, the data and the evaluation belong to the experiment.
"""

import collections
import itertools
import math
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol, Self, TypeVar

import jax
from jax.sharding import Mesh

from experiments._harness.checkpoint import Checkpointer
from experiments._harness.devices import replicate, shard_batch
from experiments._harness.errors import NonFinite, Stopped, UserError
from experiments._harness.metrics import MetricsWriter
from experiments._harness.progress import Progress

State = TypeVar("State")
Scalars = Mapping[str, Any]

# Metrics are read this many steps late, so that reading them never waits for the step
# that is running: the host stays ahead of the device, by a bounded number of batches.
_LAG = 4


class Batches(Protocol):
    """What the loop wants of the data: an endless iterator with a position."""

    def __next__(self) -> Any: ...

    def state(self) -> dict[str, int]: ...

    def restore(self, state: dict[str, int]) -> None: ...


def run(
    step: Callable[[State, Any], tuple[State, Scalars]],
    state: State,
    batches: Batches,
    *,
    num_steps: int,
    checkpointer: Checkpointer | None = None,
    metrics: MetricsWriter | None = None,
    mesh: Mesh | None = None,
    log_every: int = 100,
    save_every: int = 1000,
    evaluate: Callable[[State, int], Scalars] | None = None,
    evaluate_every: int = 0,
    progress: bool = True,
) -> State:
    """The state after ``num_steps`` steps from ``state``, or from where a run stopped.

    ``step(state, batch) -> (state, metrics)`` is jitted, with the state donated, by
    the experiment (devices.jit_step); metrics is a dict of scalars. With ``mesh`` the
    state is replicated and every batch sharded over it. Every ``log_every`` steps the
    means of the metrics since the last row go to ``metrics``; every
    ``evaluate_every`` (0: never) steps and at the end the scalars of
    ``evaluate(state, step)`` do; every ``save_every`` (0: only at the end) steps and
    at the end everything is saved: state, step, data position.

    Raises NonFinite at the first metric that is NaN or infinite, Stopped after
    SIGINT or SIGTERM, when all is saved.
    """
    if mesh is not None:
        state = replicate(mesh, state)
    window = _Window(metrics, log_every, num_steps)
    keeper = _Keeper(checkpointer, metrics, batches, window)
    state, start = keeper.resumed(state, num_steps)
    with (
        _Signals() as signals,
        Progress(num_steps, start=start, show=progress) as window.shown,
    ):
        for number in range(start + 1, num_steps + 1):
            batch = next(batches)
            if mesh is not None:
                batch = shard_batch(mesh, batch)
            state, scalars = step(state, batch)
            window.push(number, scalars)
            if evaluate is not None and _due(number, evaluate_every, num_steps):
                window.drain()
                row = {n: float(v) for n, v in evaluate(state, number).items()}
                if metrics is not None:
                    metrics.write(number, row)
            if _due(number, save_every, num_steps) or signals.caught is not None:
                keeper.save(number, state)
            if signals.caught is not None:
                farewell = keeper.farewell(number, num_steps)
                raise Stopped(signals.caught, farewell)
    return state


def _due(number: int, every: int, last: int) -> bool:
    return number == last or (every > 0 and number % every == 0)


class _Keeper:
    """What of a run is on the disk: it resumes from there, and saves to there."""

    def __init__(
        self,
        checkpointer: Checkpointer | None,
        metrics: MetricsWriter | None,
        batches: Batches,
        window: "_Window",
    ) -> None:
        self.checkpointer, self.metrics = checkpointer, metrics
        self.batches, self.window = batches, window

    def resumed(self, state: State, last: int) -> tuple[State, int]:
        """The state to go on from and its step; rows past that step are dropped."""
        saved = self.checkpointer.restore(state) if self.checkpointer else None
        start = 0
        if saved is not None:
            state, start = saved.state, saved.step
            if start > last:
                raise UserError(
                    f"{start} steps are saved already: wanted at most {last}"
                )
            self.batches.restore(saved.meta["batches"])
            self.window.restore(saved.meta["window"])
        if self.metrics is not None:
            self.metrics.truncate(start)
        return state, start

    def save(self, number: int, state: Any) -> None:
        """Save step ``number``, once every metric so far is read, good and on disk."""
        self.window.drain()
        if self.metrics is not None:
            self.metrics.sync()
        if self.checkpointer is not None:
            meta = {"batches": self.batches.state(), "window": self.window.state()}
            self.checkpointer.save(number, state, meta)

    def farewell(self, number: int, last: int) -> str:
        if self.checkpointer is None:
            return f"stopped at step {number} of {last}; nothing is saved in this run"
        return (
            f"stopped at step {number} of {last} and saved in "
            f"{self.checkpointer.folder}: the same command goes on from there"
        )


class _Window:
    """The metrics of the steps since the last row, read late, checked, averaged."""

    def __init__(self, writer: MetricsWriter | None, every: int, last: int) -> None:
        self.writer, self.every, self.last = writer, every, last
        self.shown: Progress | None = None
        self._waiting: collections.deque[tuple[int, Scalars]] = collections.deque()
        self._sums: dict[str, float] = {}
        self._count = 0

    def push(self, number: int, scalars: Scalars) -> None:
        """Note the metrics of a step; read those of _LAG steps before."""
        for value in scalars.values():
            if isinstance(value, jax.Array):
                value.copy_to_host_async()
        self._waiting.append((number, scalars))
        if len(self._waiting) > _LAG:
            self._read()

    def drain(self) -> None:
        """Read the metrics of every step so far."""
        while self._waiting:
            self._read()

    def state(self) -> dict[str, Any]:
        return {"sums": self._sums, "count": self._count}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._sums, self._count = dict(state["sums"]), state["count"]

    def _read(self) -> None:
        number, scalars = self._waiting.popleft()
        values = {name: float(value) for name, value in scalars.items()}
        for name, value in values.items():
            if not math.isfinite(value):
                raise NonFinite(f"{name} became {value} at step {number}: stopped")
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        if self.shown is not None:
            self.shown.update(number, dict(itertools.islice(values.items(), 1)))
        if _due(number, self.every, self.last):
            means = {name: total / self._count for name, total in self._sums.items()}
            if self.writer is not None:
                self.writer.write(number, means)
            self._sums, self._count = {}, 0


class _Signals:
    """SIGINT and SIGTERM are noted, so that the step ends; a second one interrupts."""

    def __init__(self) -> None:
        self.caught: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                self._before[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _note(self, signum: int, frame: Any) -> None:
        if self.caught is not None:
            raise KeyboardInterrupt
        self.caught = signum
