"""Signals to a real process: it ends soon, says how to go on, and goes on the same."""

import signal
import time

import pytest

from experiments._harness.errors import Terminated
from experiments._harness.signals import Wish, Wishes
from tests.harness.commands import complete, finish, left, start, wait_for

STATUS = {signal.SIGTERM: 143, signal.SIGINT: 130}


@pytest.fixture(autouse=True, scope="module")
def interruptible():
    """Ctrl-C as in a terminal: a shell's background jobs, pytest too, ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a run leaves that met no signal."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    complete(folder)
    return left(folder)


def stopped(process, signum):
    """Status and stderr of a process that gets a signal; it has ten seconds."""
    began = time.monotonic()
    process.send_signal(signum)
    status, _, error = finish(process)
    assert time.monotonic() - began < 10
    return status, error


@pytest.mark.parametrize("signum", STATUS)
def test_in_the_middle_of_training(tmp_path, whole, signum):
    folder = tmp_path / "run"
    process = start(folder, "--pause=0.2")
    wait_for(process, "step 5")
    status, error = stopped(process, signum)
    assert status == STATUS[signum]
    assert error.startswith("killed: stopped at step ") and error.count("\n") == 1
    said = f" of 36 and saved in {folder}/checkpoints: the same command goes on from"
    assert f"{said} there\n" in error
    complete(folder)
    assert left(folder) == whole


@pytest.mark.parametrize("signum", STATUS)
def test_after_the_training(tmp_path, whole, signum):
    folder = tmp_path / "run"
    process = start(folder, "--linger=1000")
    wait_for(process, "trained")
    status, error = stopped(process, signum)
    assert status == STATUS[signum]
    name = "SIGTERM" if signum == signal.SIGTERM else "Ctrl-C"
    said = f"stopped by {name}; the same command goes on from what was saved"
    assert error == f"killed: {said}\n"
    complete(folder)
    assert left(folder) == whole


def test_one_that_comes_after_the_last_poll_is_not_lost():
    with pytest.raises(KeyboardInterrupt), Wishes() as wishes:
        assert wishes.poll() == Wish(False, None)
        signal.raise_signal(signal.SIGINT)


def test_the_second_of_two_interrupts():
    with pytest.raises(Terminated), Wishes():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
