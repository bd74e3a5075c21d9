"""One process at a time in a folder."""

import signal

from tests.harness.commands import complete, finish, left, run, start, wait_for


def test_the_second_process_is_refused_and_the_lock_goes_with_the_first(tmp_path):
    complete(tmp_path / "whole")
    folder = tmp_path / "run"
    first = start(folder, "--pause=1000")
    wait_for(first, "step 1")
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    status, _, error = run(folder)
    assert (status, error.count("\n")) == (1, 1)
    assert f"--workdir={folder} is in use by process {first.pid} on " in error
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    assert first.poll() is None
    first.send_signal(signal.SIGKILL)
    assert finish(first)[0] == -signal.SIGKILL
    complete(folder)
    assert left(folder) == left(tmp_path / "whole")
