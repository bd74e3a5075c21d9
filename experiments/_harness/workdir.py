"""The folder of a run: config.json, what may be resumed, and where its files go."""

import dataclasses
import importlib.metadata
import platform
import shlex
import time
from pathlib import Path
from typing import Any, TypeVar

import kexue_jax
from experiments._harness import lock, processes
from experiments._harness.board import BoardWriter
from experiments._harness.checkpoint import Checkpointer
from experiments._harness.command_line import experiment_name
from experiments._harness.devices import device_facts
from experiments._harness.errors import Finished, UserError
from experiments._harness.extras import require
from experiments._harness.files import json_text, read_json, write_text
from experiments._harness.metrics import MetricsWriter
from experiments._harness.settings import BaseConfig, same_run, settings_of

C = TypeVar("C", bound=BaseConfig)

# Where and how a run is started, not what it computes.
_NOT_IN_COMMAND = (
    "workdir",
    "preset",
    "resume",
    "host_devices",
    "compile_cache",
    "coordinator",
    "num_processes",
    "process_id",
    "save_every",
    "save_minutes",
    "profile_steps",
    "tensorboard",
)


@dataclasses.dataclass(frozen=True)
class Run:
    """An open run: its folder, and the writers that belong in it."""

    folder: Path
    resumed: bool
    began: float
    tensorboard: bool = False

    def checkpointer(self, part: str = "") -> Checkpointer:
        """The checkpoints of the run; a ``part`` of it ("seed_3") has its own."""
        return Checkpointer(self.folder / "checkpoints" / part)

    def metrics(self, part: str = "") -> MetricsWriter | None:
        """The metrics file of the run, or that of a ``part``; the leader's alone."""
        if not processes.leader():
            return None
        name = f"metrics_{part}.jsonl" if part else "metrics.jsonl"
        if self.tensorboard:
            return BoardWriter(self.folder / name, self.path("tensorboard") / part)
        return MetricsWriter(self.folder / name)

    def path(self, name: str) -> Path:
        """Where the file ``name`` (a figure, say) belongs."""
        return self.folder / name

    def seconds(self) -> float:
        """Wall seconds since this process opened the run."""
        return time.monotonic() - self.began


def open_run(config: BaseConfig) -> Run:
    """Make or resume the run that ``config`` names; load the data before this.

    Raises UserError if an extra is missing, or if the folder cannot be used, holds
    something else or a run with other settings, or must be empty (``resume="never"``)
    and is not; Finished if the run has its results. Nothing is ever deleted.
    """
    require("experiments", "matplotlib", "orbax")
    shown = getattr(config, "tensorboard", False)
    if shown:
        require("tensorboard", "tensorboardX")
    folder = Path(config.workdir)
    name = experiment_name(type(config))
    resumed = [False]
    processes.led(lambda: resumed.append(_open(folder, name, config)))
    went_on = bool(processes.from_leader(resumed[-1]))
    return Run(folder, went_on, time.monotonic(), shown)


def _open(folder: Path, name: str, config: BaseConfig) -> bool:
    """Check, make and lock the folder; whether it holds this very run already."""
    if not _check(folder, name, config):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"--workdir={folder} cannot be made: {reason}") from None
    lock.take(folder)
    if _check(folder, name, config):  # again: it may have changed before it was ours
        return True
    write_text(folder / "config.json", json_text(_record(name, config)) + "\n")
    return False


def _check(folder: Path, name: str, config: BaseConfig) -> bool:
    """Whether the folder holds this very run already; UserError if it cannot serve."""
    try:
        if not folder.exists():
            return False
        if not folder.is_dir():
            raise UserError(f"--workdir={folder} is a file: wanted a folder")
        present = sorted(p.name for p in folder.iterdir() if p.name[0] != ".")
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"--workdir={folder} cannot be used: {reason}") from None
    if not present:
        return False
    if config.resume == "never":
        raise UserError(
            f"--workdir={folder} is not empty, and --resume=never: nothing saved is "
            "overwritten; choose another folder"
        )
    if "config.json" not in present:
        raise UserError(
            f"--workdir={folder} is not empty and holds no run (no config.json): "
            "choose another folder"
        )
    saved = read_record(folder)
    if saved["experiment"] != name:
        raise UserError(
            f"--workdir={folder} holds a run of {saved['experiment']}, not of {name}: "
            "choose another folder"
        )
    differing = same_run(saved["config"], config)
    if differing:
        raise UserError(
            f"--workdir={folder} holds a run with other settings: "
            f"{', '.join(differing)}; give the saved ones or choose another folder"
        )
    if "results.json" in present:
        raise Finished(
            f"the run in {folder} is finished: see {folder / 'report.md'}, or choose "
            "another --workdir"
        )
    return True


def saved_config(config: C) -> C:
    """The config of the run in ``config.workdir``, to work on it without training.

    Settings that shape a run come from the folder, the others from ``config``.
    """
    saved = read_record(Path(config.workdir))
    name = experiment_name(type(config))
    if saved["experiment"] != name:
        raise UserError(
            f"--workdir={config.workdir} holds a run of {saved['experiment']}, "
            f"not of {name}"
        )
    shaping = [f.name for f, _, about in settings_of(type(config)) if about.shapes_run]
    missing = [field for field in shaping if field not in saved["config"]]
    if missing:
        raise UserError(
            f"--workdir={config.workdir}: its config.json lacks {', '.join(missing)}"
        )
    return dataclasses.replace(config, **{n: saved["config"][n] for n in shaping})


def read_record(folder: Path) -> dict[str, Any]:
    """The content of ``config.json`` in ``folder``; UserError if there is no run."""
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"--workdir={folder} holds no run: looked for {path}")
    record = read_json(path)
    if not isinstance(record, dict) or not isinstance(record.get("config"), dict):
        raise UserError(f"{path} is not the config of a run")
    return {"experiment": "", **record}


def _record(name: str, config: BaseConfig) -> dict[str, Any]:
    """config.json; not where the folder lies, so that a run may be moved."""
    values = dataclasses.asdict(config).items()
    return {
        "experiment": name,
        "command": command(name, config),
        "config": {n: value for n, value in values if n != "workdir"},
        "versions": versions(),
        "device": device_facts(),
    }


def command(name: str, config: BaseConfig) -> str:
    """The command that computes what ``config`` does: each flag off its default."""
    words = [f"python -m experiments.{name}"]
    for field, _, _ in settings_of(type(config)):
        value = getattr(config, field.name)
        if field.name not in _NOT_IN_COMMAND and value != field.default:
            words.append(shlex.quote(f"--{field.name}={value}"))
    return " ".join(words)


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that decide a result."""
    packages = ("jax", "jaxlib", "flax", "optax", "numpy")
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
        "kexue_jax": kexue_jax.__version__,
    }
