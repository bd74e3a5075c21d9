"""Two real processes on loopback are one run: the same numbers, one fate."""

import signal

import numpy as np
import pytest

from experiments._harness import processes
from experiments._harness.checkpoint import Checkpointer
from experiments._harness.errors import UserError
from experiments._harness.metrics import read_metrics, series
from tests.distributed.cases import apart
from tests.distributed.programs import Group, wait_for

TINY = "tests.distributed.tiny"


def finished(folder, count, devices, *flags, module=TINY):
    """A group that must end well; what it leaves."""
    group = Group(module, folder, count, devices, *flags)
    assert group.statuses() == [0] * count, group.said()
    return folder


def final(folder):
    """The last state of a tiny run, by the numbers of its leaves."""
    with np.load(folder / "final.npz") as content:
        return {name: content[name] for name in content.files if name != "divided"}


def losses(folder):
    return series(read_metrics(folder / "metrics.jsonl"))["loss"]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The run of one process on four devices."""
    return finished(tmp_path_factory.mktemp("one") / "run", 1, 4)


def same_bits(a, b):
    both = zip(final(a).values(), final(b).values(), strict=True)
    return all(x.tobytes() == y.tobytes() for x, y in both)


def test_two_processes_are_one_and_repeat_to_the_bit(one, tmp_path):
    first, again = (finished(tmp_path / name, 2, 2) for name in ("a", "b"))
    assert apart(final(first), final(one)) < 1e-5
    assert losses(first)[0] == losses(one)[0] == list(range(1, 21))
    np.testing.assert_allclose(losses(first)[1], losses(one)[1], rtol=1e-5)
    assert same_bits(first, again)
    rows = [(f / "metrics.jsonl").read_bytes() for f in (first, again)]
    assert rows[0] == rows[1]


@pytest.mark.slow
@pytest.mark.parametrize("mesh", ["data:2,fsdp:2", "data:1,fsdp:4"])
def test_divided_parameters_are_the_same_too(one, tmp_path, mesh):
    first, again = (finished(tmp_path / n, 2, 2, f"--mesh={mesh}") for n in "ab")
    with np.load(first / "final.npz") as content:
        assert content["divided"] == 3  # a weight and its two moments
    assert apart(final(first), final(one)) < 1e-5
    assert same_bits(first, again)


FSDP = "--mesh=data:2,fsdp:2"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((2, 2), (1, 1)),
        ((1, 8), (2, 2)),
        ((2, 2, FSDP), (1, 4)),
        ((1, 4), (2, 2, FSDP)),
        ((1, 4, FSDP), (1, 4, "--mesh=data:4")),
    ],
    ids=str,
)
def test_a_run_goes_on_on_another_topology(one, tmp_path, before, after):
    group = Group(TINY, tmp_path / "run", *before, "--stop_at=7")
    assert group.statuses() == [128 + signal.SIGTERM] * before[0], group.said()
    saved = Checkpointer(tmp_path / "run" / "checkpoints").steps()
    assert len(saved) == 1 and 7 <= saved[0] < 20
    folder = finished(tmp_path / "run", *after)
    assert apart(final(folder), final(one)) < 1e-5
    assert losses(folder)[0] == list(range(1, 21))
    np.testing.assert_allclose(losses(folder)[1], losses(one)[1], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("who", [0, 1])
@pytest.mark.parametrize("step", [7, 20])
def test_a_signal_to_one_saves_and_stops_both(one, tmp_path, who, step):
    flags = [f"--stop_at={step}", f"--stop_process={who}"]
    group = Group(TINY, tmp_path / "run", 2, 2, *flags)
    assert group.statuses() == [128 + signal.SIGTERM] * 2, group.said()
    (saved,) = Checkpointer(tmp_path / "run" / "checkpoints").steps()
    assert saved == min(step + 4, 20)
    for said in group.said():
        assert f"stopped at step {saved} of 20 and saved in" in said
        assert "Traceback" not in said
    twice = finished(tmp_path / "run", 2, 2)
    straight = finished(tmp_path / "straight", 2, 2)
    assert same_bits(twice, straight)


@pytest.mark.slow
@pytest.mark.parametrize("who", [0, 1])
def test_the_end_of_one_process_is_the_end_of_the_other(tmp_path, who):
    flags = ["--num_steps=100000", "--pause=0.05", "--save_every=3"]
    group = Group(TINY, tmp_path / "run", 2, 2, *flags)
    checkpoints = Checkpointer(tmp_path / "run" / "checkpoints")
    wait_for(lambda: len(checkpoints.steps()) > 1, group)
    group.members[who].kill()
    try:
        status = group.members[1 - who].wait(60)
    finally:
        group.kill()
    assert status not in (0, -signal.SIGKILL)
    assert "Terminating process because the JAX distributed" in group.said()[1 - who]
    again = Group(TINY, tmp_path / "run", 2, 2, *flags, "--pause=0")  # goes on
    last = checkpoints.steps()[-1]
    wait_for(lambda: checkpoints.steps()[-1] > last + 6, again)
    again.kill()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ddpm", "ddpm_variance", "ddpm_loss_scale"])
def test_whole_experiments(tmp_path, name):
    module = f"experiments.{name}"
    flags = ["--preset=smoke"]
    alone = finished(tmp_path / "one", 1, 4, *flags, module=module)
    both = finished(tmp_path / "two", 2, 2, *flags, module=module)
    names = [sorted(p.name for p in folder.iterdir()) for folder in (alone, both)]
    assert names[0] == names[1]
    for path in alone.glob("metrics*.jsonl"):
        rows, others = (series(read_metrics(f / path.name)) for f in (alone, both))
        assert rows.keys() == others.keys()
        for quantity, (steps, values) in rows.items():
            assert others[quantity][0] == steps
            np.testing.assert_allclose(others[quantity][1], values, rtol=1e-3)


@pytest.mark.slow
def test_a_mesh_that_leaves_devices_out_is_refused_by_both(tmp_path):
    group = Group(TINY, tmp_path / "run", 2, 2, "--mesh=data:2")
    assert group.statuses() == [1, 1]
    wanted = "flag --mesh=data:2: 2 devices, 4 are present, and all must be used"
    for said in group.said():
        assert wanted in said and "Traceback" not in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("x", 2, 0), "--coordinator=x: wanted host:port"),
        (("host:port", 2, 0), "--coordinator=host:port: wanted host:port"),
        ((":1234", 2, 0), "--coordinator=:1234: wanted host:port"),
        (("localhost:1", 2, 2), "--process_id=2: wanted a number from 0 to"),
        (("localhost:1", 2, -1), "--process_id=-1: wanted a number from 0 to"),
        (("none", 2, -1), "--coordinator=none: wanted host:port"),
        (("none", 1, 0), "--coordinator=none: wanted host:port"),
    ],
)
def test_flags_that_name_no_group_are_refused(flags, said):
    with pytest.raises(UserError, match=said):
        processes.join(*flags)


@pytest.mark.parametrize("flag", ["--coordinator=x", "--num_processes=2"])
def test_a_bad_group_is_one_line_and_no_folder(tmp_path, flag):
    group = Group(TINY, tmp_path / "run", 1, 1, flag)
    assert group.statuses() == [1]
    (said,) = group.said()
    assert said.startswith("tiny: flag --coordinator=") and said.count("\n") == 1
    assert not (tmp_path / "run").exists()
