"""The config of an experiment and its launch: flags in, exit status out.

from experiments._harness.config import BaseConfig, launch, setting
"""

import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from experiments._harness import command_line, devices, lock, processes
from experiments._harness.errors import (
    Finished,
    Stopped,
    Terminated,
    UserError,
    one_line,
)
from experiments._harness.settings import BaseConfig, Settings, setting
from experiments._harness.signals import interrupt
from experiments._harness.training_config import TrainingConfig

__all__ = [
    "BaseConfig",
    "Settings",
    "TrainingConfig",
    "UserError",
    "launch",
    "setting",
]

C = TypeVar("C", bound=Settings)


def launch(
    main: Callable[[C], Any],
    Config: type[C],
    presets: Mapping[str, Mapping[str, Any]] | None = None,
    doc: str | None = None,
    *,
    argv: Sequence[str] | None = None,
) -> int:
    """Run ``main(config)`` as a command: flags in, exit status out.

    Precedence: an explicit flag, then the preset, then the default. Bad flags end in
    one line and status 2, a UserError in one line and status 1, Ctrl-C in one line
    and status 130, SIGTERM in one and status 143; anything else is a bug and keeps its
    traceback. Without ``argv`` the command line is read, JAX is prepared
    (devices.prepare) and the process exits; with it, this returns the status and
    leaves JAX's settings and the signals alone.
    """
    name = command_line.experiment_name(Config)
    if argv is None:
        sys.exit(_launch(name, main, Config, presets or {}, doc, sys.argv[1:], True))
    return _launch(name, main, Config, presets or {}, doc, list(argv), False)


def _launch(
    name: str,
    main: Callable[[C], Any],
    Config: type[C],
    presets: Mapping[str, Mapping[str, Any]],
    doc: str | None,
    argv: list[str],
    prepare: bool,
) -> int:
    def say(message: object) -> None:
        print(f"{name}: {one_line(str(message))}", file=sys.stderr, flush=True)

    try:
        config = command_line.parse(name, Config, presets, argv, doc)
        if config is None:
            return 0
    except UserError as error:
        say(error)
        return 2
    try:
        if prepare:
            signal.signal(signal.SIGTERM, interrupt)
        if prepare and isinstance(config, BaseConfig):
            devices.prepare(config.host_devices, config.compile_cache)
            if isinstance(config, TrainingConfig):
                processes.join(
                    config.coordinator, config.num_processes, config.process_id
                )
        main(config)
    except UserError as error:
        say(error)
        return 1
    except Finished as done:
        print(f"{name}: {one_line(str(done))}", flush=True)
    except Stopped as stop:
        say(stop)
        return 128 + stop.signum
    except KeyboardInterrupt as stop:
        terminated = isinstance(stop, Terminated)
        source = "SIGTERM" if terminated else "Ctrl-C"
        say(f"stopped by {source}; the same command goes on from what was saved")
        return 143 if terminated else 130
    finally:
        lock.release()
        if prepare:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return 0
