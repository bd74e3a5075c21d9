"""The training loop: steps, metrics, saves, resumption and signals, nothing else.

The loss, the model, the data and the evaluation belong to the experiment.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from jax.sharding import Mesh

from experiments._harness import processes
from experiments._harness.checkpoint import Checkpointer
from experiments._harness.errors import NonFinite, Stopped, UserError
from experiments._harness.guard import Guarded, go
from experiments._harness.mesh import place_batch, place_state, spans_processes
from experiments._harness.metrics import MetricsWriter
from experiments._harness.profiling import Profiler
from experiments._harness.progress import Progress
from experiments._harness.signals import Wishes
from experiments._harness.window import BadStep, Window

State = TypeVar("State")
Scalars = Mapping[str, Any]


class Batches(Protocol):
    """What the loop wants of the data: an endless iterator with a position."""

    def __next__(self) -> Any: ...

    def state(self) -> dict[str, int]: ...

    def restore(self, state: dict[str, int]) -> None: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How a run is logged and kept; nothing here changes what a step computes.

    ``save_every`` counts steps (0: only at the end), ``save_seconds`` the time since
    the last save (0: never). ``on_nonfinite`` is "stop" or "skip" (guard.py).
    """

    log_every: int = 100
    save_every: int = 1000
    save_seconds: float = 0.0
    on_nonfinite: str = "stop"
    evaluate_every: int = 0
    progress: bool = True
    profiler: Profiler | None = None


def run(
    step: Callable[[State, Any], tuple[State, Scalars]] | Guarded,
    state: State,
    batches: Batches,
    *,
    num_steps: int,
    options: Options | None = None,
    checkpointer: Checkpointer | None = None,
    metrics: MetricsWriter | None = None,
    mesh: Mesh | None = None,
    evaluate: Callable[[State, int], Scalars] | None = None,
) -> State:
    """The state after ``num_steps`` steps from ``state``, or from where a run stopped.

    ``step(state, batch) -> (state, metrics)`` is pure; metrics is a dict of scalars.
    It is compiled here, with the state donated; a ``Guarded`` step is taken as it is,
    so that several runs can share one. With ``mesh`` the state is placed on it and
    every batch divided over it. Every ``log_every`` steps the means of the metrics
    since the last row go to ``metrics``; every ``evaluate_every`` (0: never) steps and
    at the end the scalars of ``evaluate(state, step)`` do; when it is time and at the
    end everything is saved: state, step, data position.

    Raises NonFinite at the first metric that is NaN or infinite, when the state before
    that step and its batch are saved (with ``on_nonfinite="skip"`` such an update is
    left out and counted); Stopped after SIGINT or SIGTERM, when all is saved.
    """
    chosen = options or Options()
    if mesh is not None:
        state = place_state(mesh, state)
    if not isinstance(step, Guarded):
        step = Guarded(step, state, chosen.on_nonfinite)
    window = Window(metrics, chosen.log_every, num_steps, skip=step.skip)
    keeper = _Keeper(checkpointer, metrics, batches, window)
    state, start = keeper.resumed(state, num_steps)
    halted = go() if mesh is None else place_state(mesh, go())
    profiler = chosen.profiler or Profiler(None)
    shown = Progress(
        num_steps, start=start, show=chosen.progress and processes.leader()
    )
    wishes = Wishes(chosen.save_seconds, shared=spans_processes(mesh))
    with wishes, profiler, shown as window.shown:
        try:
            for number in range(start + 1, num_steps + 1):
                profiler.before(number)
                batch = next(batches)
                if mesh is not None:
                    batch = place_batch(mesh, batch)
                state, outcome, halted = step(state, batch, halted)
                window.push(number, outcome, batch)
                profiler.after(number, state)
                if evaluate is not None and _due(
                    number, chosen.evaluate_every, num_steps
                ):
                    window.drain()
                    row = {n: float(v) for n, v in evaluate(state, number).items()}
                    if metrics is not None:
                        metrics.write(number, row)
                wish = wishes.poll(last=number == num_steps)
                if wish.save or _due(number, chosen.save_every, num_steps):
                    keeper.save(number, state)
                    wishes.saved()
                if wish.stop is not None:
                    raise Stopped(wish.stop, keeper.farewell(number, num_steps))
        except BadStep as bad:
            raise NonFinite(keeper.keep_bad(bad, state)) from None
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
        window: Window,
    ) -> None:
        self.checkpointer, self.metrics = checkpointer, metrics
        self.batches, self.window = batches, window

    def resumed(self, state: State, last: int) -> tuple[State, int]:
        """The state to go on from and its step; rows after it was saved are dropped."""
        saved = self.checkpointer.restore(state) if self.checkpointer else None
        start, mark = 0, None
        if saved is not None:
            state, start = saved.state, saved.step
            if start > last:
                raise UserError(
                    f"{start} steps are saved already: wanted at most {last}"
                )
            self.batches.restore(saved.meta["batches"])
            self.window.restore(saved.meta["window"])
            mark = saved.meta.get("metrics")
        if self.metrics is not None:
            self.metrics.rewind(start, mark)
        return state, start

    def save(self, number: int, state: Any) -> None:
        """Save step ``number``, once every metric so far is read, good and on disk."""
        self.window.drain()
        meta = {"batches": self.batches.state(), "window": self.window.state()}
        if self.metrics is not None:
            meta["metrics"] = self.metrics.mark()
        if self.checkpointer is not None:
            self.checkpointer.save(number, state, meta)

    def keep_bad(self, bad: BadStep, state: Any) -> str:
        """Save the state before a bad step, and its batch; say where they are."""
        advice = "--on_nonfinite=skip leaves such updates out"
        if self.checkpointer is None:
            return f"{bad}: stopped; nothing is saved in this run; {advice}"
        beside = Checkpointer(self.checkpointer.folder / "nonfinite", keep=1)
        meta = {"fault": str(bad), "bad_step": bad.number}
        path = beside.save(bad.number - 1, {"state": state, "batch": bad.batch}, meta)
        return (
            f"{bad}: stopped; the state before it and its batch are in {path}; {advice}"
        )

    def farewell(self, number: int, last: int) -> str:
        if self.checkpointer is None:
            return f"stopped at step {number} of {last}; nothing is saved in this run"
        return (
            f"stopped at step {number} of {last} and saved in "
            f"{self.checkpointer.folder}: the same command goes on from there"
        )
