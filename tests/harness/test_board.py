"""TensorBoard's event files hold the rows of metrics.jsonl, each step once."""

import struct
import sys
from collections import defaultdict

import pytest

from experiments._harness.board import BoardWriter
from experiments._harness.errors import UserError
from experiments._harness.metrics import MetricsWriter, read_metrics
from experiments._harness.workdir import Run, open_run
from tests.experiments.mains import module

board = pytest.importorskip("tensorboardX")


def events(folder):
    """What stands in the event files, in the order in which TensorBoard reads them."""
    for path in sorted(folder.glob("events.*")):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            record = board.record_writer.masked_crc32c(content[12 : 12 + length])
            assert content[12 + length : 16 + length] == struct.pack("<I", record)
            yield board.proto.event_pb2.Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]


def shown(folder):
    """``{name: [(step, value)]}`` as TensorBoard shows it: a start drops what follows
    its step in the files before.
    """
    found = defaultdict(list)
    for event in events(folder):
        if event.session_log.status == 1:
            for name, rows in found.items():
                found[name] = [row for row in rows if row[0] < event.step]
        for value in event.summary.value:
            found[value.tag].append((event.step, value.simple_value))
    return dict(found)


def test_rows_are_shown_as_they_are_written(tmp_path):
    writer = BoardWriter(tmp_path / "metrics.jsonl", tmp_path / "board")
    writer.rewind(0, None)
    writer.write(5, {"loss": 0.5, "norm": float("nan")})
    writer.write(10, {"loss": 0.25, "norm": 2.0})
    writer.mark()
    expected = {"loss": [(5, 0.5), (10, 0.25)], "norm": [(10, 2.0)]}
    assert shown(tmp_path / "board") == expected
    assert [row["step"] for row in read_metrics(writer.path)] == [5, 10]


def test_a_resumed_run_shows_no_step_twice(tmp_path):
    marks = {0: None}
    for start, steps in ((0, (5, 10, 15)), (10, (15, 20)), (0, (5, 10))):
        writer = BoardWriter(tmp_path / "metrics.jsonl", tmp_path / "board")
        writer.rewind(start, marks[start])
        for step in steps:
            writer.write(step, {"loss": step + start / 1024})
            marks[step] = writer.mark()
        rows = read_metrics(writer.path)
        expected = [(row["step"], row["loss"]) for row in rows]
        assert shown(tmp_path / "board") == {"loss": expected}


def test_each_part_of_a_run_has_its_folder_and_it_must_be_asked_for(tmp_path):
    run = Run(tmp_path, False, 0.0, True)
    writer = run.metrics("seed_3")
    writer.write(1, {"loss": 1.0})
    writer.mark()
    assert shown(tmp_path / "tensorboard" / "seed_3") == {"loss": [(1, 1.0)]}
    assert type(Run(tmp_path, False, 0.0).metrics()) is MetricsWriter


def test_the_extra_is_named_before_there_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    folder = tmp_path / "run"
    config = module("ddpm").Config(workdir=str(folder), tensorboard=True)
    monkeypatch.setattr("experiments._harness.workdir.require", only_tensorboard)
    with pytest.raises(UserError, match=r"tensorboardX: pip install .*\[tensorboard\]"):
        open_run(config)
    assert not folder.exists()


def only_tensorboard(extra, *modules):
    """``require`` where nothing but the extra tensorboard is missing."""
    from experiments._harness.extras import require

    if extra == "tensorboard":
        require(extra, *modules)
