"""The settings of every experiment that trains: where it runs and how it is kept."""

import dataclasses
from typing import Any

from experiments._harness.guard import MODES
from experiments._harness.loop import Options
from experiments._harness.mesh import parse_mesh
from experiments._harness.profiling import Profiler, parse_steps
from experiments._harness.settings import BaseConfig, setting
from experiments._harness.workdir import Run


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig(BaseConfig):
    """Settings of the loop, none of which changes what a step computes."""

    mesh: str = setting(
        "auto",
        "sizes of the device axes, such as data:4,fsdp:2; auto: all devices on data",
        shapes_run=False,
    )
    coordinator: str = setting(
        "none",
        "host:port of process 0 of a run of several processes; auto: the cluster says; "
        "none: one process",
        shapes_run=False,
    )
    num_processes: int = setting(
        1,
        "processes of the run, beside --coordinator=host:port",
        minimum=1,
        maximum=1_000_000,
        shapes_run=False,
    )
    process_id: int = setting(
        -1,
        "number of this process, from 0, beside --coordinator=host:port",
        minimum=-1,
        maximum=999_999,
        shapes_run=False,
    )
    save_every: int = setting(
        1000, "steps between saves; 0: only at the end", minimum=0, shapes_run=False
    )
    save_minutes: float = setting(
        10.0,
        "minutes after which a save is due; 0: never",
        minimum=0,
        maximum=1e6,
        shapes_run=False,
    )
    on_nonfinite: str = setting(
        "stop",
        "at NaN or infinity, stop and save the case, or skip the update and count it",
        choices=MODES,
        shapes_run=False,
    )
    profile_steps: str = setting(
        "none",
        "FIRST:LAST, steps to trace into the folder profile; none: no trace",
        shapes_run=False,
    )
    tensorboard: bool = setting(
        False,
        "write the metrics for TensorBoard too, into the folder tensorboard",
        shapes_run=False,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_mesh(self.mesh)
        parse_steps(self.profile_steps)


def options(config: TrainingConfig, run: Run, **values: Any) -> Options:
    """The options of the loop that ``config`` asks for; ``values`` add to them."""
    steps = parse_steps(config.profile_steps)
    return Options(
        save_every=config.save_every,
        save_seconds=60 * config.save_minutes,
        on_nonfinite=config.on_nonfinite,
        profiler=Profiler(steps, run.path("profile")),
        **values,
    )
