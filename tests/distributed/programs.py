"""Programs of the tests, each in a process of its own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.house.public import ROOT

# A machine that is shared may take long; nothing here is a measure of speed.
PATIENCE = 1800


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """That of this process but for what it says of JAX, save for the cache."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("JAX_", "XLA_")) or name.startswith("JAX_COMPILATION")
    }
    return {**kept, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", **(extra or {})}


def output(module: str, *argv: str) -> str:
    """What ``python -m module argv`` prints; it must end well and without warnings."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", module, *argv],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Group:
    """Processes that run one command together, ``devices`` CPU devices each."""

    def __init__(
        self, module: str, folder: Path, count: int, devices: int, *flags: str
    ) -> None:
        self.folder = folder
        logs = folder.with_name(f"{folder.name}.logs")
        logs.mkdir(exist_ok=True)
        command = [sys.executable, "-W", "error", "-m", module, f"--workdir={folder}"]
        command += [f"--host_devices={devices}", *flags]
        joined = [f"--coordinator=127.0.0.1:{free_port()}", f"--num_processes={count}"]
        self.members, self.logs = [], []
        for number in range(count):
            own = [*joined, f"--process_id={number}"] if count > 1 else []
            self.logs.append(logs / f"{len(list(logs.iterdir()))}.{number}.txt")
            with self.logs[-1].open("w") as file:
                member = subprocess.Popen(
                    [*command, *own],
                    cwd=ROOT,
                    env=environment(),
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
            self.members.append(member)

    def statuses(self) -> list[int]:
        """The exit status of each, once all have ended."""
        try:
            return [member.wait(PATIENCE) for member in self.members]
        finally:
            self.kill()

    def said(self) -> list[str]:
        """What each has printed so far."""
        return [log.read_text() for log in self.logs]

    def kill(self) -> None:
        """End those that are left."""
        for member in self.members:
            member.kill()
            member.wait()


def wait_for(condition: Callable[[], bool], group: Group) -> None:
    """Wait until ``condition()``; all of ``group`` must go on running."""
    end = time.monotonic() + PATIENCE
    while not condition():
        alive = all(member.poll() is None for member in group.members)
        if not alive or time.monotonic() > end:
            group.kill()
            raise AssertionError(group.said())
        time.sleep(0.05)
