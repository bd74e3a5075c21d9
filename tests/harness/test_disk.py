"""A full disk, a folder that may not be written: one line, and the last step stays."""

import errno
import os
import subprocess

import pytest

from experiments._harness import loop
from experiments._harness.checkpoint import Checkpointer
from experiments._harness.config import launch
from experiments._harness.guard import Guarded
from experiments._harness.workdir import open_run
from tests.harness import toy
from tests.harness.commands import complete, left, run

MEGABYTE = 2**20
FULL = os.strerror(errno.ENOSPC)
READ_ONLY = os.strerror(errno.EROFS)


def mount(*words):
    """Run mount, or skip the test where it is refused."""
    try:
        done = subprocess.run(
            ["mount", *words], capture_output=True, text=True, check=False
        )
    except OSError as error:
        pytest.skip(f"no mount here: {error}")
    if done.returncode:
        pytest.skip(f"no mount here: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path):
    """A file system of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place))
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a run leaves that met no trouble."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    complete(folder)
    return left(folder)


@pytest.fixture
def begun(disk):
    """A run on that disk that ended in step 10, with steps 6 and 9 saved."""
    assert run(disk / "run", "--kill=step:10")[0] == -9
    assert steps(disk) == [6, 9]
    return disk / "run"


def steps(disk):
    return Checkpointer(disk / "run" / "checkpoints").steps()


def fill(disk, free):
    """Leave so many bytes free, to the size of a page."""
    room = os.statvfs(disk)
    size = room.f_bavail * room.f_frsize - free
    (disk / "ballast").write_bytes(bytes(size))


def one_line(result, *words):
    """The process ended with status 1 and one line that holds ``words``."""
    status, _, error = result
    assert (status, error.count("\n")) == (1, 1), error
    assert error.startswith("killed: ")
    for word in words:
        assert word in error


@pytest.mark.parametrize(
    "free",
    [0, 24_000, *(pytest.param(n, marks=pytest.mark.slow) for n in (12_000, 36_000))],
)
def test_a_full_disk(disk, begun, whole, free):
    fill(disk, free)
    one_line(run(begun), FULL)
    assert steps(disk) == [6, 9]
    (disk / "ballast").unlink()
    complete(begun)
    assert left(begun) == whole


def test_a_full_disk_at_the_start(disk, whole):
    fill(disk, 0)
    one_line(run(disk / "run"), FULL)
    (disk / "ballast").unlink()
    complete(disk / "run")
    assert left(disk / "run") == whole


def test_a_read_only_disk(disk, begun, whole):
    mount("-o", "remount,ro", str(disk))
    one_line(run(begun), str(begun), READ_ONLY)
    one_line(run(disk / "other"), str(disk / "other"), READ_ONLY)
    mount("-o", "remount,rw", str(disk))
    assert steps(disk) == [6, 9]
    complete(begun)
    assert left(begun) == whole


def refusing(*arguments, **options):
    raise OSError(errno.ENOSPC, FULL)


@pytest.fixture(scope="module")
def compiled():
    return Guarded(toy.step, toy.start())


def train(compiled, folder, between=None):
    """Twelve steps of the toy in this process; ``between`` is called before step 8."""
    data, last = toy.batches(), []

    def hook(state):
        if between is not None and data.state()["batches"] == 8:
            between()

    def main(config):
        opened = open_run(config)
        last.append(
            loop.run(
                toy.Hooked(compiled, hook),
                toy.start(),
                data,
                num_steps=12,
                options=loop.Options(log_every=2, save_every=3, progress=False),
                checkpointer=opened.checkpointer(),
                metrics=opened.metrics(),
            )
        )

    argv = [f"--workdir={folder}", "--num_steps=12"]
    return launch(main, toy.Config, {}, None, argv=argv), last


@pytest.mark.parametrize(
    "place",
    [
        "orbax.checkpoint.v1.save",
        "experiments._harness.checkpoint._make_empty",
        "experiments._harness.checkpoint._hashes",
        "os.fsync",
        "pathlib.Path.open",
        "pathlib.Path.replace",
        "pathlib.Path.rename",
    ],
)
def test_a_call_that_finds_no_room(tmp_path, compiled, monkeypatch, capsys, place):
    """One line, wherever it is met, and the last step is there to go on from."""
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        status, last = train(compiled, folder, lambda: patch.setattr(place, refusing))
        said = capsys.readouterr().err
        assert (status, last, said.count("\n")) == (1, [], 1)
        assert said.startswith("toy: cannot ") and FULL in said
    assert Checkpointer(folder / "checkpoints").latest() == 6
    status, last = train(compiled, folder)
    assert (status, capsys.readouterr().err) == (0, "")
    _, whole = train(compiled, tmp_path / "whole")
    assert toy.same(last[0], whole[0])
    paths = [place / "metrics.jsonl" for place in (folder, tmp_path / "whole")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
